"""An evaluation that was ended goes on behind its finished parts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from robustcert.attacks.budget import Budget
from robustcert.errors import UsageError
from robustcert.evaluation.local import in_sandbox
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.request import EvaluationRequest, to_request
from robustcert.evaluation.run import Surroundings, attack, certify, evaluate
from robustcert.models.samples import Samples
from robustcert.models.torchscript import load_torchscript
from robustcert.results.document import to_document, without_times
from robustcert.results.norm import Norm
from robustcert.results.threat_model import ThreatSweep
from robustcert.sandbox.limits import Limits
from tests.models import nets
from tests.models.bad_inputs import good_samples

SIZE = 4
COUNT = 12
PLAN = EvaluationPlan(
    ThreatSweep(Norm.LINF, (0.05, 0.2)),
    seed=3,
    attacks=("fgsm", "pgd"),
    certifiers=("lipschitz-margin", "interval"),  # none that a slow machine cuts short
)


def model_bytes():
    return nets.scripted(nets.settled(nets.mlp(6, 8, 3)))


@pytest.fixture
def model():
    return load_torchscript(model_bytes(), input_shape=(6,))


@pytest.fixture
def samples(model):
    return random_samples(model)


def random_samples(model):
    inputs = torch.rand(COUNT, 6, generator=torch.Generator().manual_seed(4))
    return Samples(inputs, model.logits(inputs).argmax(1), "random", "0" * 64)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr("robustcert.evaluation.shards.SIZE", SIZE)


def document(report):
    return without_times(to_document(report))


def shard_files(folder):
    return sorted(path.name for path in folder.iterdir())


class EndedError(Exception):
    """Somebody pulled the plug."""


def ended_in_shard(number):
    """A listener that ends the evaluation once it certifies shard ``number``."""

    def listener(progress):
        if progress.stage == "certify" and progress.done >= SIZE * number:
            raise EndedError

    return listener


def test_a_restarted_evaluation_gives_the_document_of_one_that_was_not_ended(
    model, samples, tmp_path
):
    whole = document(evaluate(model, samples, PLAN))
    around = Surroundings(ended_in_shard(2), checkpoints=tmp_path)
    with pytest.raises(EndedError):
        evaluate(model, samples, PLAN, around)
    assert shard_files(tmp_path) == ["shard-0-4.json"]
    heard = []
    report = evaluate(
        model, samples, PLAN, Surroundings(heard.append, checkpoints=tmp_path)
    )
    assert document(report) == whole
    assert (report.provenance.cache.hits, report.provenance.cache.misses) == (1, 2)
    assert min(event.done for event in heard if event.stage == "certify") == SIZE
    assert len(shard_files(tmp_path)) == 3


SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = {path!r}
from robustcert.evaluation import shards
from robustcert.evaluation.run import Surroundings, evaluate
from tests.unit.evaluation import test_checkpoint as here

shards.SIZE = here.SIZE

def listener(progress):
    if progress.stage == "certify" and progress.done > here.SIZE:
        os.kill(os.getpid(), signal.SIGKILL)

model = here.load_torchscript(Path({model!r}).read_bytes(), input_shape=(6,))
samples = here.random_samples(model)
around = Surroundings(listener, checkpoints=Path({folder!r}))
evaluate(model, samples, here.PLAN, around)
"""


def test_a_killed_process_is_followed_by_one_that_goes_on(tmp_path):
    path, folder = tmp_path / "model.pt", tmp_path / "kept"
    path.write_bytes(model_bytes())
    code = SCRIPT.format(path=sys.path, folder=str(folder), model=str(path))
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert shard_files(folder) == ["shard-0-4.json"]
    model = load_torchscript(path.read_bytes(), input_shape=(6,))
    samples = random_samples(model)
    report = evaluate(model, samples, PLAN, Surroundings(checkpoints=folder))
    assert report.provenance.cache.hits == 1
    assert document(report) == document(evaluate(model, samples, PLAN))


def test_a_sandboxed_child_writes_to_the_folder_and_the_next_one_reads_it(tmp_path):
    (tmp_path / "model.pt").write_bytes(nets.scripted(nets.settled(nets.mlp(6, 5, 3))))
    (tmp_path / "samples.npz").write_bytes(good_samples())
    folder = tmp_path / "kept"
    request = EvaluationRequest(
        str(tmp_path / "model.pt"),
        str(tmp_path / "samples.npz"),
        PLAN,
        checkpoints=str(folder),
    )
    documents = [
        in_sandbox("evaluate", to_request(request), Limits(), lambda _: None)[
            "document"
        ]
        for _ in range(2)
    ]
    first, second = documents
    assert shard_files(folder) == ["shard-0-4.json"]
    assert first["provenance"]["cache"] == {"hits": 0, "misses": 1}
    assert second["provenance"]["cache"] == {"hits": 1, "misses": 0}
    assert without_times(first) == without_times(second)


def test_a_child_is_given_no_folder_that_holds_something_else(tmp_path):
    (tmp_path / "thesis.tex").write_text("do not touch")
    for folder in (tmp_path, tmp_path / "thesis.tex"):
        request = EvaluationRequest("m.pt", "s.npz", PLAN, checkpoints=str(folder))
        with pytest.raises(UsageError, match=r"thesis\.tex") as caught:
            in_sandbox("evaluate", to_request(request), Limits(), lambda _: None)
        assert "folder of its own" in caught.value.remedy


def changed(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c.update(version=1), "version 1"),
        (lambda c: c["mark"].update(model="f" * 64), "another model"),
        (lambda c: c["mark"].update(samples="f" * 64), "another samples"),
        (lambda c: c["mark"].update(program="f" * 64), "another program"),
        (lambda c: c.update(start=4), "other samples"),
        (lambda c: c["result"]["rows"].pop(), "other samples"),
        (lambda c: c["result"]["rows"][0].update(margin=9.0), "contradicts the model"),
        (
            lambda c: c["result"]["rows"][1].update(
                certified_radius=1.0, certified_by=None
            ),
            "without a certifier",
        ),
        (lambda c: c["result"].pop("rows"), "cannot be read"),
        (lambda c: c["result"]["rows"][0].update(label="3"), "cannot be read"),
    ],
)
def test_a_file_that_does_not_fit_is_not_believed(
    model, samples, tmp_path, change, reason
):
    around = Surroundings(checkpoints=tmp_path)
    whole = evaluate(model, samples, PLAN, around)
    changed(tmp_path / "shard-0-4.json", change)
    report = evaluate(model, samples, PLAN, around)
    (finding,) = (f for f in report.findings if f.rule == "checkpoint-ignored")
    assert reason in finding.message
    assert finding.remedy
    assert report.rows == whole.rows
    again = evaluate(model, samples, PLAN, around)
    assert document(again) == document(whole)


def test_a_certification_that_was_ended_goes_on_and_keeps_its_costs(
    model, samples, tmp_path
):
    around = Surroundings(checkpoints=tmp_path)
    whole = certify(model, samples, PLAN, around)
    (tmp_path / "shard-4-8.json").unlink()
    again = certify(model, samples, PLAN, around)
    assert (again.provenance.cache.hits, again.provenance.cache.misses) == (2, 1)
    assert document(again) == document(whole)
    assert [run.samples for run in again.certifiers] == [COUNT, COUNT]


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[1, 2]"])
def test_a_file_that_is_no_checkpoint_is_computed_anew(model, samples, tmp_path, data):
    (tmp_path / "shard-0-4.json").write_bytes(data)
    report = evaluate(model, samples, PLAN, Surroundings(checkpoints=tmp_path))
    assert "checkpoint-ignored" in {finding.rule for finding in report.findings}
    assert len(report.rows) == COUNT


def test_parts_of_another_plan_or_another_side_are_not_used(model, samples, tmp_path):
    around = Surroundings(checkpoints=tmp_path)
    evaluate(model, samples, PLAN, around)
    for report in (
        evaluate(model, samples, replace(PLAN, seed=4), around),
        attack(model, samples, replace(PLAN, seed=4), around),
    ):
        assert report.provenance.cache.hits == 0


def test_a_folder_that_cannot_be_written_costs_the_checkpoints_alone(
    model, samples, tmp_path
):
    (tmp_path / "file").write_bytes(b"")
    around = Surroundings(checkpoints=tmp_path / "file")
    report = evaluate(model, samples, PLAN, around)
    assert len(report.rows) == COUNT
    assert "checkpoint-ignored" in {finding.rule for finding in report.findings}


def test_queries_spent_before_the_restart_count_against_the_budget(
    model, samples, tmp_path
):
    plan = replace(PLAN, budget=Budget(queries=400))
    whole = attack(model, samples, plan)
    assert any(finding.rule == "budget-spent" for finding in whole.findings)
    around = Surroundings(checkpoints=tmp_path)
    attack(model, samples, plan, around)
    (tmp_path / "shard-8-12.json").unlink()
    assert document(attack(model, samples, plan, around)) == document(whole)
