"""``robustcert smooth``, run as a user would."""

from __future__ import annotations

import json
import sys

import pytest

from tests.models.bad_inputs import BAD_INPUTS


def smooth(folder, *more):
    samples = ("--samples", folder / "samples.npz", "--sigma", "0.25")
    return ("smooth", folder / "model.pt", *samples, "--n", "500", *more)


def test_the_table_is_the_same_inside_the_sandbox_and_outside(run, files):
    inside = run(*smooth(files, "--json", files / "in.json", "--seed", "3"))
    outside = run(*smooth(files, "--json", files / "out.json", "--seed", "3"),
                  "--trust-model")  # fmt: skip
    assert inside[:2] == outside[:2]
    assert inside[0] == 0
    documents = [
        json.loads((files / name).read_text()) for name in ("in.json", "out.json")
    ]
    assert documents[0]["schema"] == "robustcert/smoothing/v1"
    assert (
        "landlock" in documents[0]["provenance"]["sandbox"] or sys.platform != "linux"
    )
    for part in ("rows", "accuracy", "smoothing", "failure_probability"):
        assert documents[0][part] == documents[1][part]


def test_what_is_printed_is_about_the_smoothed_model_and_may_fail(run, files):
    code, out, _ = run(*smooth(files, "--trust-model", "--epsilon", "0.2"))
    assert code == 0
    assert "smoothed model, sigma 0.25: 4 samples" in out
    assert "a radius is wrong with probability 0.001 at most" in out
    assert "any of them with 0.004" in out
    assert "none is about the base model" in out
    assert "\n0.2 " in out


def test_json_on_standard_output_leaves_it_to_the_document(run, files):
    words = ("--trust-model", "--json", "-", "--alpha", "0.01", "--count", "2")
    code, out, err = run(*smooth(files, *words))
    assert code == 0
    document = json.loads(out)
    assert document["failure_probability"] == {"sample": 0.01, "table": 0.02}
    assert len(document["rows"]) == 2
    assert "abstains on" in err


@pytest.mark.parametrize(
    "options",
    [
        ("--sigma", "0"),
        ("--sigma", "nan"),
        ("--n", "0"),
        ("--n0", "0"),
        ("--alpha", "0.5"),
        ("--epsilon", "-1"),
        ("--box", "1", "0"),
        ("--input-shape", "3,x"),
    ],
)
def test_bad_usage_exits_with_2(run, files, options):
    code, _, err = run(*smooth(files, *options, "--trust-model"))
    assert code == 2
    assert "remedy: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize("case", ["NaN weights", "labels out of range", "tuple"])
def test_bad_input_gets_one_clear_error(run, tmp_path, case):
    bad = BAD_INPUTS[case]
    (tmp_path / "model.pt").write_bytes(bad.model())
    (tmp_path / "samples.npz").write_bytes(bad.samples())
    code, out, err = run(*smooth(tmp_path, "--trust-model"))
    assert code in (2, 4)
    assert err.count("error: ") == 1
    assert "Traceback" not in out + err
