"""``robustcert corruptions`` and ``robustcert robustbench``, run as a user would."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from robustcert.formats.json_document import JsonFormat
from robustcert.results.document import without_times
from robustcert.results.report import Finding, Level
from tests.golden.handmade import small_report
from tests.models.bad_inputs import BAD_INPUTS


def table(folder, *more):
    samples = ("--samples", folder / "samples.npz")
    return ("corruptions", folder / "model.pt", *samples, *more)


def test_the_table_is_the_same_inside_the_sandbox_and_outside(run, files):
    inside = run(*table(files, "--json", files / "in.json", "--seed", "3"))
    outside = run(*table(files, "--json", files / "out.json", "--seed", "3"),
                  "--trust-model")  # fmt: skip
    assert inside[:2] == outside[:2]
    assert inside[0] == 0
    documents = [
        json.loads((files / name).read_text()) for name in ("in.json", "out.json")
    ]
    assert documents[0]["schema"] == "robustcert/corruptions/v1"
    assert (
        "landlock" in documents[0]["provenance"]["sandbox"] or sys.platform != "linux"
    )
    for document in documents:
        document["provenance"].pop("sandbox")
    assert (
        without_times(documents[0])["accuracy"]
        == without_times(documents[1])["accuracy"]
    )


def test_a_table_is_printed_with_its_mean_and_what_was_left_out(run, files):
    code, out, _ = run(*table(files, "--trust-model"))
    assert code == 0
    assert "mean corruption accuracy" in out
    assert "gaussian-noise" in out
    assert "note: pixelate was left out" in out


def test_json_on_standard_output_leaves_it_to_the_document(run, files):
    code, out, err = run(
        *table(files, "--trust-model", "--json", "-", "--corruption", "impulse-noise")
    )
    assert code == 0
    assert [*json.loads(out)["accuracy"]["by_corruption"]] == ["impulse-noise"]
    assert "clean accuracy" in err


@pytest.mark.parametrize(
    "options",
    [
        ("--corruption", "fog"),
        ("--corruption", "contrast"),
        ("--box", "1", "0"),
        ("--count", "0"),
        ("--input-shape", "3,x"),
    ],
)
def test_bad_usage_exits_with_2(run, files, options):
    code, _, err = run(*table(files, *options, "--trust-model"))
    assert code == 2
    assert "remedy: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize("case", ["NaN weights", "labels out of range", "tuple"])
def test_bad_input_gets_one_clear_error(run, tmp_path, case):
    bad = BAD_INPUTS[case]
    (tmp_path / "model.pt").write_bytes(bad.model())
    (tmp_path / "samples.npz").write_bytes(bad.samples())
    code, out, err = run(*table(tmp_path, "--trust-model"))
    assert code in (2, 4)
    assert err.count("error: ") == 1
    assert "Traceback" not in out + err


@pytest.fixture
def report_file(tmp_path):
    """A report without findings, as ``robustcert evaluate`` writes it."""
    path = tmp_path / "report.json"
    path.write_text(JsonFormat().write(replace(small_report(), findings=())))
    return path


def test_a_report_becomes_an_entry_on_standard_output(run, report_file):
    code, out, err = run(
        *("robustbench", report_file, "--epsilon", "0.1", "--name", "A title"),
        *("--dataset", "cifar10", "--reported", "58"),
    )
    assert code == 0, err
    entry = json.loads(out)
    assert (entry["name"], entry["dataset"]) == ("A title", "cifar10")
    assert (entry["eps"], entry["reported"]) == ("0.1", "58.00")


def test_an_entry_is_written_to_a_file(run, report_file, tmp_path):
    target = tmp_path / "folder" / "entry.json"
    code, out, _ = run(
        "robustbench", report_file, "--epsilon", "0.05", "--json", target
    )
    assert code == 0
    assert out == ""
    assert json.loads(target.read_text())["eps"] == "0.05"


def test_an_unreliable_report_is_refused_until_the_entry_says_so(run, tmp_path):
    doubt = Finding("gradient-masking", Level.ERROR, "It masks.", "Attack again.")
    path = tmp_path / "report.json"
    path.write_text(JsonFormat().write(replace(small_report(), findings=(doubt,))))
    words = ("robustbench", path, "--epsilon", "0.1")
    code, _, err = run(*words)
    assert code == 2
    assert "--unreliable" in err
    code, out, _ = run(*words, "--unreliable")
    assert code == 0
    assert json.loads(out)["unreliable"] is True


def test_what_is_no_report_exits_with_2(run, tmp_path):
    (tmp_path / "other.json").write_text('{"schema": "robustcert/attack/v1"}')
    for name in ("absent.json", "other.json"):
        code, _, err = run("robustbench", tmp_path / name)
        assert code == 2
        assert "remedy: " in err
