"""``robustcert train``: what it prints, writes and exits with."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from typer.main import get_command

from robustcert.cli.main import app
from robustcert.evaluation.load import load_model
from robustcert.train.names import SUMMARIES
from robustcert.train.registry import TRAINERS


@pytest.fixture
def run(run):
    """As elsewhere, within ``robustcert train``."""
    return lambda *words: run("train", *words)


@pytest.fixture
def samples(tmp_path):
    """Points of the unit square, labelled by their larger coordinate."""
    inputs = np.random.default_rng(0).random((80, 2)).astype(np.float32)
    labels = (inputs[:, 0] > inputs[:, 1]).astype(np.int64)
    np.savez(tmp_path / "points.npz", inputs=inputs, labels=labels)
    return tmp_path / "points.npz"


def small(samples, *more):
    return ("--samples", samples, "--net", "mlp:8", "--epochs", 2, "--batch", 16, *more)


@pytest.mark.parametrize(
    ("name", "kind"), [("m.pt", "torchscript"), ("m.pt2", "torch.export")]
)
def test_a_training_writes_its_model_and_a_record_beside_it(run, samples, name, kind):
    out = samples.parent / name
    code, said, _ = run("clip+", *small(samples, "--set", "lambda=.2", "--out", out))
    assert code == 0
    record = json.loads((samples.parent / f"{name}.json").read_text())
    assert record["schema"] == "robustcert/training/v1"
    assert (record["trainer"], record["options"]["lambda"]) == ("clip+", 0.2)
    assert record["plan"]["epochs"] == len(record["epochs"]) == 2
    assert record["data"]["training"] == 64
    assert {"python", "torch", "robustcert"} <= set(record["provenance"]["versions"])
    loaded = load_model(out.read_bytes(), sample_shape=(2,))
    assert loaded.format == record["model"]["format"] == kind
    assert loaded.sha256 == record["model"]["sha256"]
    assert loaded.parameters == record["model"]["parameters"] == 8 * 3 + 2 * 9
    assert "epoch" in said
    assert f"wrote {name}" in said
    assert sorted(path.name for path in samples.parent.iterdir()) == sorted(
        [name, f"{name}.json", "points.npz"]
    )


def test_without_a_file_for_the_model_only_the_epochs_are_shown(run, samples):
    code, said, _ = run("erm", *small(samples))
    assert code == 0
    assert "validation" in said
    assert [path.name for path in samples.parent.iterdir()] == ["points.npz"]


def test_the_record_on_standard_output_leaves_it_to_the_document(run, samples):
    code, out, err = run("erm", *small(samples, "--json", "-"))
    assert code == 0
    assert json.loads(out)["model"]["file"] is None
    assert json.loads(out)["epochs"][0]["penalty"] is None
    assert "accuracy" in err


def test_a_folder_of_idx_files_is_trained_on_with_extra_samples(run, samples):
    folder = samples.parent / "set"
    folder.mkdir()
    for part in ("train", "t10k"):
        pixels = bytes(range(160)) * 4
        head = b"\x00\x00\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (40, 4, 4))
        (folder / f"{part}-images-idx3-ubyte").write_bytes(head + pixels)
        labels = b"\x00\x00\x08\x01" + (40).to_bytes(4, "big") + bytes([0, 1] * 20)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    code, out, _ = run(
        "erm", *small(folder, "--extra", folder, "--extra-share", 0.25, "--json", "-")
    )
    assert code == 0
    data = json.loads(out)["data"]
    assert (data["name"], data["training"], data["extra_share"]) == ("set", 32, 0.25)


def test_each_trainer_is_a_command_and_the_list_names_everything(run):
    commands = get_command(app).commands["train"].commands
    assert set(commands) == {*TRAINERS, "list", "reproduce", "compare"}
    for name, summary in SUMMARIES.items():
        assert commands[name].help == summary
        assert all(parameter.help for parameter in commands[name].params)
    code, out, _ = run("list", "--json", "-")
    assert code == 0
    assert set(json.loads(out)["trainers"]) == set(TRAINERS)
    code, out, _ = run("list")
    assert code == 0
    assert all(f"  {name}: " in out for name in TRAINERS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "height=3"], "sets no option"),
        (["--set", "pairs=many"], "no integer"),
        (["--net", "resnet"], "no net is called"),
        (["--optimiser", "best"], "no optimiser"),
        (["--schedule", "best"], "no schedule"),
        (["--select", "best"], "no selection"),
        (["--rate", "-1"], "no rate"),
        (["--reserve", "1"], "leave nothing"),
        (["--box", "0", "0.1"], "outside the box"),
        (["--device", "abacus"], "no device"),
        (["--device", "meta:9x"], "no device"),
        (["--resume"], "no checkpoint is named"),
        (["--extra", "fashion-mnist-500"], "extra inputs have shape"),
        (["--samples", "nothing.npz"], "no readable file"),
    ],
)
def test_a_request_without_an_answer_is_refused_with_a_remedy(
    run, samples, words, message
):
    code, _, err = run("clip", *small(samples), *words)
    assert code == 2
    assert message in err
    assert "remedy: " in err


def test_a_training_that_was_ended_is_not_overwritten(run, samples):
    out = samples.parent / "m.pt"
    kept = samples.parent / "m.pt.checkpoint"
    kept.write_bytes(b"hours of work")
    code, _, err = run("erm", *small(samples, "--out", out))
    assert code == 2
    assert "--resume" in err
    assert kept.read_bytes() == b"hours of work"


def test_the_checkpoint_stays_where_the_model_cannot_be_written(run, samples):
    folder = samples.parent / "m.pt"
    folder.mkdir()
    code, _, err = run("erm", *small(samples, "--out", folder))
    assert code == 2
    assert "cannot be written" in err
    assert (samples.parent / "m.pt.checkpoint").is_file()


def hear_interrupts():
    """Jobs in the background ignore interrupts, and so would their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_leaves_a_checkpoint_and_resuming_gives_the_same_model(run, samples):
    def words(name):
        out = samples.parent / name
        return ["erm", *small(samples, "--epochs", 150, "--out", out)]

    command = [sys.executable, "-m", "robustcert.cli.main", "train"]
    child = subprocess.Popen(
        [*command, *map(str, words("cut.pt"))],
        stderr=subprocess.PIPE,
        preexec_fn=hear_interrupts,
    )
    kept = samples.parent / "cut.pt.checkpoint"
    while not kept.is_file() and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 130
    assert b"--resume" in err
    assert not (samples.parent / "cut.pt").exists()
    assert run(*words("cut.pt"), "--resume")[0] == 0
    assert run(*words("whole.pt"))[0] == 0
    records = [
        json.loads((samples.parent / f"{name}.pt.json").read_text())
        for name in ("cut", "whole")
    ]
    for record in records:
        for epoch in record["epochs"]:
            del epoch["seconds"]
    assert records[0]["epochs"] == records[1]["epochs"]
    assert records[0]["best"] == records[1]["best"]
    assert not kept.exists()
