"""``robustcert.evaluate``: a model in a sandbox on this machine, called from Python."""

from __future__ import annotations

import subprocess
import sys

import pytest

import robustcert
from robustcert.errors import InputShapeError, TimeLimitError, UnknownNameError
from robustcert.results.document import without_times
from tests.models.bad_inputs import BAD_INPUTS, good_model, good_samples


def test_bytes_and_files_give_the_same_document(tmp_path):
    (tmp_path / "samples.npz").write_bytes(good_samples())
    (tmp_path / "model.pt").write_bytes(good_model())
    heard = []
    options = {"count": 3, "tier": "quick", "seed": 2}
    first = robustcert.evaluate(
        good_model(), good_samples(), "l2", [0.1], heard.append, **options
    )
    second = robustcert.evaluate(
        tmp_path / "model.pt", tmp_path / "samples.npz", "l2", [0.1], **options
    )
    assert without_times(first) == without_times(second)
    assert robustcert.from_document(first).samples.count == 3
    assert heard


def test_an_error_in_the_child_arrives_with_its_type():
    bad = BAD_INPUTS["wrong input shape"]
    with pytest.raises(InputShapeError) as caught:
        robustcert.evaluate(bad.model(), bad.samples(), "linf", [0.1])
    assert caught.value.remedy


def test_a_time_limit_is_kept():
    with pytest.raises(TimeLimitError):
        robustcert.evaluate(good_model(), good_samples(), "linf", [0.1], seconds=0.2)


def test_an_unknown_norm_is_refused_before_a_child_starts():
    with pytest.raises(UnknownNameError, match="l2, linf"):
        robustcert.evaluate(b"", b"", "l7", [0.1])


def test_the_caller_never_loads_torch(tmp_path):
    (tmp_path / "samples.npz").write_bytes(good_samples())
    (tmp_path / "model.pt").write_bytes(good_model())
    code = (
        "import sys, robustcert; "
        "robustcert.evaluate('model.pt', 'samples.npz', 'linf', [0.1], tier='quick'); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
