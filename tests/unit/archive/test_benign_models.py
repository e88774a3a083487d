"""No classifier that people really save is refused."""

from __future__ import annotations

import subprocess
import sys
import time

import benign_models
import pytest
import torch

from robustcert.archive import operators
from robustcert.archive.inspect import inspect

TRACED = [*sorted(benign_models.ARCHITECTURES), "pool-max", "activation-GELU"]


def scanned(data: bytes) -> None:
    start = time.perf_counter()
    report = inspect(data)
    milliseconds = 1e3 * (time.perf_counter() - start)
    print(f"scan_ms={milliseconds:.1f}")  # noqa: T201 - for `pytest -s`
    assert report.format == "torchscript"
    assert report.size == len(data)
    assert report.classes >= 1


@pytest.mark.parametrize("name", sorted(benign_models.BUILDERS))
def test_a_scripted_classifier_is_accepted(name):
    scanned(benign_models.saved(torch.jit.script(benign_models.model(name))))


@pytest.mark.parametrize("name", TRACED)
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_traced_classifier_is_accepted(name):
    scanned(benign_models.saved(benign_models.traced(benign_models.model(name))))


@pytest.mark.parametrize("name", sorted(benign_models.ARCHITECTURES))
def test_a_frozen_classifier_is_accepted(name):
    scanned(benign_models.saved(benign_models.frozen(benign_models.model(name))))


def test_a_classifier_in_training_mode_with_extra_files_is_accepted():
    module = torch.jit.script(benign_models.Functional())
    data = module.save_to_buffer(_extra_files={"notes/labels.txt": b"cat\ndog"})
    scanned(data)


def test_models_that_others_trained_are_accepted(trained):
    files = sorted((trained / "models").glob("*.ts.pt"))
    assert len(files) >= 7
    for file in files:
        scanned(file.read_bytes())


def test_the_report_counts_code_and_tensors():
    data = benign_models.saved(torch.jit.script(torch.nn.Linear(3, 2)))
    report = inspect(data)
    assert report.tensors == 2
    sizes = {m.name: m.size for m in report.members}
    assert (sizes["data/0"], sizes["data/1"]) == (4 * 3 * 2, 4 * 2)
    assert report.code_size == sum(
        size for name, size in sizes.items() if name.endswith(".py")
    )


def test_every_listed_operator_is_one_of_torch():
    known = {schema.name for schema in torch._C._jit_get_all_schemas()}
    assert {f"aten::{name}" for name in operators.TORCH} <= known
    assert {f"{space}::{name}" for space, name in operators.OPS} <= known
    assert {f"aten::{name}" for name in operators.OUTSIDE_EFFECTS} <= known


def test_no_listed_operator_reaches_outside_the_model():
    reaching = {
        "save", "from_file", "set_", "set_data", "as_strided", "resize_", "wait",
        "manual_seed", "set_grad_enabled", "data_ptr", "backward", "seed", "grad",
    }  # fmt: skip
    assert not operators.TORCH & (reaching | operators.OUTSIDE_EFFECTS)
    assert not operators.BUILTINS & {"print", "fork", "awaitable", "setattr", "open"}


def test_the_scan_never_imports_torch():
    program = (
        "import sys, robustcert.archive.inspect; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
