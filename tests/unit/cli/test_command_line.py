"""What the command line prints, writes and exits with."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from robustcert.cli.main import COMMANDS
from tests.models import nets
from tests.models.bad_inputs import BAD_INPUTS, good_samples
from tests.models.onnx_files import exported, model_file, node


def evaluation(folder, *more):
    return (
        *("evaluate", folder / "model.pt", "--samples", folder / "samples.npz"),
        *("--norm", "linf", "--tier", "quick", *more),
    )


def test_evaluate_writes_every_format_and_prints_the_bracket(run, files):
    code, out, err = run(
        *evaluation(files, "--epsilon", "0.05", "--epsilon", "0.01"),
        *("--json", files / "r.json", "--html", files / "r.html"),
        *("--markdown", files / "r.md"),
    )
    assert code == 0
    document = json.loads((files / "r.json").read_text())
    assert document["schema"] == "robustcert/report/v1"
    assert document["threat_model"]["epsilons"] == [0.01, 0.05]
    assert "landlock" in document["provenance"]["sandbox"] or sys.platform != "linux"
    assert "<svg" in (files / "r.html").read_text()
    assert (files / "r.md").read_text().startswith("## Robustness report")
    assert "Lipschitz constant (linf, global)" in out
    assert "0.01" in out
    assert "lipschitz: " in err


def test_json_on_standard_output_leaves_it_to_the_document(run, files):
    code, out, err = run(
        *evaluation(files, "--epsilon", "0.05", "--json", "-", "--trust-model")
    )
    assert code == 0
    assert json.loads(out)["schema"] == "robustcert/report/v1"
    assert "clean accuracy" in err


@pytest.mark.parametrize(
    ("command", "schema"),
    [("attack", "robustcert/attack/v1"), ("certify", "robustcert/certify/v1")],
)
def test_each_side_alone_writes_its_part(run, files, command, schema):
    code, out, _ = run(
        *(command, files / "model.pt", "--samples", files / "samples.npz"),
        *("--norm", "l2", "--epsilon", "0.1", "--json", "-", "--trust-model"),
    )
    assert code == 0
    document = json.loads(out)
    assert document["schema"] == schema
    assert ("attacks" in document) is (command == "attack")
    assert ("certifiers" in document) is (command == "certify")


def test_lipschitz_needs_no_samples(run, files):
    code, out, _ = run(
        *("lipschitz", files / "model.pt", "--json", "-", "--trust-model")
    )
    part = json.loads(out)["lipschitz"]
    assert code == 0
    assert 0.0 < part["lower"]["value"] <= part["upper"]["value"]


def test_the_certificate_of_a_bracket_is_verified_and_a_lower_claim_is_not(
    run, files, tmp_path
):
    model, path = files / "model.pt", tmp_path / "certificate.json"
    code, out, _ = run(
        *("lipschitz", model, "--effort", "tight", "--certificate", path),
        "--trust-model",
    )
    assert code == 0
    assert f"certificate: {path} proves L <= " in out
    assert run("verify", path, "--model", model, "--trust-model")[0] == 0
    claim = json.loads(path.read_text())
    path.write_text(json.dumps(claim | {"value": claim["value"] * 0.999}))
    assert run("verify", path, "--model", model, "--trust-model")[0] == 1


def test_no_certificate_is_written_where_none_was_proved(run, files, tmp_path):
    path = tmp_path / "certificate.json"
    code, _, err = run(
        *("lipschitz", files / "model.pt", "--norm", "linf", "--certificate", path),
        "--trust-model",
    )
    assert code == 2
    assert "remedy: Ask for the norm l2" in err
    assert not path.exists()


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_input_gets_one_clear_error_with_a_remedy(run, tmp_path, case):
    bad = BAD_INPUTS[case]
    (tmp_path / "model.pt").write_bytes(bad.model())
    (tmp_path / "samples.npz").write_bytes(bad.samples())
    code, out, err = run(*evaluation(tmp_path, "--epsilon", "0.1", "--trust-model"))
    assert code in (2, 4)
    assert err.count("error: ") == 1
    assert err.split("remedy: ")[1].strip()
    assert "Traceback" not in out + err


@pytest.mark.parametrize("case", ["NaN weights", "labels out of range", "tuple"])
def test_an_error_inside_the_sandbox_reads_the_same(run, tmp_path, case):
    bad = BAD_INPUTS[case]
    (tmp_path / "model.pt").write_bytes(bad.model())
    (tmp_path / "samples.npz").write_bytes(bad.samples())
    inside = run(*evaluation(tmp_path, "--epsilon", "0.1"))
    outside = run(*evaluation(tmp_path, "--epsilon", "0.1", "--trust-model"))
    assert inside == outside


@pytest.mark.parametrize(
    "options",
    [
        ("--epsilon", "-1"),
        ("--epsilon", "nan"),
        ("--epsilon", "0.1", "--box", "1", "0"),
        ("--epsilon", "0.1", "--norm", "l3"),
        ("--epsilon", "0.1", "--input-shape", "3,x"),
        ("--epsilon", "0.1", "--attack", "nope", "--trust-model"),
        ("--epsilon", "0.1", "--certifiers", "nope", "--trust-model"),
        ("--epsilon", "0.1", "--certifiers", "auto,interval", "--trust-model"),
        ("--epsilon", "0.1", "--certify-seconds", "-1", "--trust-model"),
        ("--epsilon", "0.1", "--json", "/proc/nowhere/r.json", "--trust-model"),
        (),
    ],
)
def test_bad_usage_exits_with_2(run, files, options):
    code, _, err = run(*evaluation(files, *options))
    assert code == 2
    assert "Traceback" not in err


def test_an_unknown_layer_is_reported_by_name_and_attacked_all_the_same(run, tmp_path):
    net = nn.Sequential(nn.Linear(6, 3), nn.LayerNorm(3))
    (tmp_path / "model.pt").write_bytes(nets.scripted(nets.settled(net)))
    (tmp_path / "samples.npz").write_bytes(good_samples())
    code, out, _ = run(
        *evaluation(tmp_path, "--epsilon", "0.1", "--json", "-", "--trust-model")
    )
    document = json.loads(out)
    assert code == 0
    assert "layer_norm" in document["model"]["unsupported"][0]["reason"]
    assert document["accuracy"]["curve"][0]["certified"] == 0.0
    assert document["lipschitz"]["upper"]["value"] is None
    assert document["attacks"]


POLICY = """
[evaluate]
samples = "samples.npz"
norm = "linf"
tier = "quick"
[[rule]]
metric = "clean_accuracy"
min = {clean}
[[rule]]
metric = "certified_accuracy"
epsilon = 0.001
min = 0.2
[[rule]]
metric = "lipschitz"
max = {lipschitz}
"""


@pytest.mark.parametrize(
    ("clean", "lipschitz", "code", "word"),
    [
        (0.2, 1e6, 0, "passed"),
        (1.0, 1e6, 1, "failed"),
        (0.2, 3.0, 3, "inconclusive"),
    ],
)
def test_the_gate_passes_fails_or_stays_open(
    run, tmp_path, clean, lipschitz, code, word
):
    net = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    torch.manual_seed(0)
    net[0].weight.data = torch.linalg.qr(torch.randn(6, 6)).Q
    net[2].weight.data = torch.linalg.qr(torch.randn(6, 6)).Q[:3] * 1.1
    (tmp_path / "model.pt").write_bytes(nets.scripted(net.eval()))
    (tmp_path / "samples.npz").write_bytes(good_samples())
    policy = tmp_path / "robustcert.toml"
    policy.write_text(POLICY.format(clean=clean, lipschitz=lipschitz))
    got, out, _ = run(
        *("gate", tmp_path / "model.pt", "--policy", policy, "--trust-model"),
        *("--junit", tmp_path / "gate.xml", "--summary", tmp_path / "gate.md"),
    )
    assert f"gate: {word}" in out
    assert got == code
    assert "testcase" in (tmp_path / "gate.xml").read_text()
    assert word in (tmp_path / "gate.md").read_text()


def test_a_policy_that_cannot_be_read_exits_with_2(run, files):
    code, _, err = run("gate", files / "model.pt", "--policy", files / "none.toml")
    assert code == 2
    assert "remedy: " in err


def test_doctor_says_what_is_there(run):
    code, out, _ = run("doctor")
    assert "torch" in out
    assert "sandbox" in out
    assert code in (0, 4)


def test_a_fault_of_ours_is_never_taken_for_a_failed_gate(run, files, monkeypatch):
    def fault(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("robustcert.cli.evaluate.run_locally", fault)
    code, _, err = run(*evaluation(files, "--epsilon", "0.1"))
    assert code == 4
    assert "ZeroDivisionError" in err


def test_ctrl_c_is_never_taken_for_a_failed_gate(run, files, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("robustcert.cli.evaluate.run_locally", interrupted)
    assert run(*evaluation(files, "--epsilon", "0.1"))[0] == 130


def test_help_names_every_command(run):
    code, out, _ = run("--help")
    assert code == 0
    for command in COMMANDS:
        assert command.__name__ in out


def test_the_command_line_starts_without_torch():
    code = (
        "import sys, robustcert.cli.main; "
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def onnx_file(tmp_path):
    """A net on 12 numbers as ONNX, and samples that are images of 3 x 2 x 2."""
    net = nets.settled(nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)))
    (tmp_path / "model.bin").write_bytes(exported(net, (12,), batch=1))
    images = torch.rand(12, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        labels = net(images.flatten(1)).argmax(dim=1)
    np.savez(tmp_path / "samples.npz", inputs=images.numpy(), labels=labels.numpy())
    return tmp_path


def onnx_evaluation(folder, *more):
    return (
        *("evaluate", folder / "model.bin", "--samples", folder / "samples.npz"),
        *("--norm", "linf", "--epsilon", "0.01", "--tier", "quick", *more),
    )


def test_an_onnx_file_is_evaluated_in_the_sandbox_whatever_its_name(run, onnx_file):
    code, _, err = run(
        *onnx_evaluation(onnx_file, "--input-shape", "3,2,2"),
        *("--json", onnx_file / "r.json"),
    )
    assert code == 0, err
    document = json.loads((onnx_file / "r.json").read_text())
    assert document["model"]["format"] == "onnx"
    assert document["model"]["input_shape"] == [3, 2, 2]
    assert document["model"]["layers"][1]["name"] == "input_shape"
    assert not document["model"]["unsupported"]
    assert document["accuracy"]["clean"] == 1.0


def test_samples_that_only_a_named_shape_fits_are_refused_with_that_remedy(
    run, onnx_file
):
    code, _, err = run(*onnx_evaluation(onnx_file))
    assert code == 2
    assert "samples have shape (3, 2, 2), the model takes (12,)" in err
    assert "--input-shape 3,2,2" in err.replace("\n", " ")


def test_an_onnx_operator_without_a_rule_refuses_the_file(run, onnx_file):
    data = model_file([node("Sin", ["x"], ["y"])], ("N", 12))
    (onnx_file / "model.bin").write_bytes(data)
    code, _, err = run(*onnx_evaluation(onnx_file))
    assert code == 4
    assert "operator Sin has no rule" in err
