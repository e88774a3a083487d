"""The benchmark of attacks: what it keeps, what it compares, and how it judges."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from benchmarks import attack_peers, attacks
from robustcert.models.interface import LoadedModel
from robustcert.models.samples import Samples
from robustcert.results.effort import Tier
from robustcert.results.norm import Norm
from robustcert.results.report import OutputKind

CELL = attacks.Cell("brightness", "greys", Norm.LINF, 0.1, 4)


def row(broken, seconds=1.0, attacked=4):
    return {
        "clean": 1.0, "robust": 1.0 - len(broken) / 4, "attacked": attacked,
        "broken": broken, "cpu_seconds": seconds, "wall_seconds": seconds,
        "gradients": 40, "forwards": 8,
    }  # fmt: skip


def subject():
    """Class 1 iff a picture's mean is above one half; one of four samples is wrong."""

    def brightness(inputs):
        gap = inputs.flatten(1).mean(dim=1) - 0.5
        return torch.stack([-gap, gap], dim=1)

    model = LoadedModel(
        brightness, brightness, "0" * 64, "torchscript", (1, 4, 4), 2,
        OutputKind.LOGITS, 0, torch.float32, torch.device("cpu"),
    )  # fmt: skip
    greys = torch.tensor([0.1, 0.45, 0.58, 0.9]).reshape(4, 1, 1, 1)
    samples = Samples(
        greys.expand(4, 1, 4, 4).contiguous(),
        torch.tensor([0, 0, 1, 0]),
        "greys",
        "0" * 64,
    )
    return attacks.Subject(CELL, model, samples)


def test_a_peer_is_judged_on_what_the_model_gets_right_and_pays_for_its_queries(
    monkeypatch,
):
    def darker_and_brighter(task):
        task.model.logits(task.inputs)
        return task.inputs + torch.where(task.labels == 0, 0.1, -0.1).reshape(
            -1, 1, 1, 1
        )

    monkeypatch.setitem(attacks.PEERS, "shift", darker_and_brighter)
    found = attacks.theirs(subject(), "shift")
    assert found["attacked"] == 3
    assert found["broken"] == [1, 2]
    assert found["robust"] == pytest.approx(1 / 4)
    assert (found["forwards"], found["gradients"]) == (3, 0)


def test_what_a_peer_moved_too_far_counts_at_epsilon_only(monkeypatch):
    monkeypatch.setitem(
        attacks.PEERS, "far", lambda task: 1.0 - task.inputs.round() + 0.0 * task.inputs
    )
    assert attacks.theirs(subject(), "far")["broken"] == [1, 2]


def test_a_peer_that_fails_is_a_row_and_ends_nothing(monkeypatch):
    def failing(_):
        raise ZeroDivisionError("by nought")

    monkeypatch.setitem(attacks.PEERS, "failing", failing)
    found = attacks._attempt(subject(), "failing")
    assert found == {"failed": "ZeroDivisionError: by nought"}


def test_rows_of_another_threat_are_dropped_and_the_rest_is_kept(tmp_path):
    path = tmp_path / "attacks.json"
    log = attacks.Log.opened(path)
    log.part(CELL)["peers"]["AutoAttack"] = row([0])
    log.save()
    again = attacks.Log.opened(path)
    assert again.part(CELL)["peers"]["AutoAttack"]["broken"] == [0]
    assert again.part(replace(CELL, epsilon=0.2))["peers"] == {}


def test_the_page_says_who_broke_what_alone_and_for_which_share_of_the_cost(tmp_path):
    log = attacks.Log.opened(tmp_path / "attacks.json")
    part = log.part(CELL)
    part["tiers"]["standard"] = row([0, 1, 2], seconds=2.0)
    part["peers"]["AutoAttack"] = row([0, 3], seconds=8.0)
    part["peers"]["foolbox DDN-100"] = {"refused": "it has no version for this norm"}
    log.save()
    page = (tmp_path / "attacks.md").read_text()
    assert "| **standard** | 0.2500 | 2.00 | 2.00 | 25.0% | 10 | 2 |" in page
    assert "| AutoAttack | 0.5000 | 8.00 | 8.00 | 100.0% | 10 | 2 | 1 / 2 |" in page
    assert "DDN" not in page
    assert json.loads(log.path.read_text())["machine"]["threads"] >= 1


def test_peers_that_cannot_run_say_why():
    assert "norm" in attack_peers.refusal("foolbox DDN-100", Norm.LINF)
    for name in attack_peers.PEERS:
        reason = attack_peers.refusal(name, Norm.L2)
        assert reason == "" or "cannot be imported" in reason


@pytest.mark.data
def test_our_tiers_run_on_a_cell(trained):
    cell = replace(attacks.CELLS[0], count=6)
    found = attacks.ours(attacks.load(cell, "cpu"), Tier.QUICK)
    assert found["attacked"] == round(6 * found["clean"])
    assert found["robust"] <= found["clean"]
    assert found["gradients"] > 0
