"""The benchmark of certificates: what it counts, what it keeps, whom it refuses."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmarks import (
    bound_propagation_peer,
    certification,
    certification_measures,
    lirpa_peer,
)
from benchmarks.certification_lines import JOINTS, LINES, RATIOS, Line, RatioLine
from benchmarks.certification_measures import bench_of, outcome
from robustcert.certify.interface import Proof
from robustcert.errors import UnsupportedLayerError
from robustcert.graph.execute import run
from robustcert.graph.extract import extract
from robustcert.models.samples import Samples
from robustcert.models.torchscript import load_torchscript
from robustcert.results.norm import Norm
from tests.models import nets

LINE = Line("brightness", "greys", Norm.LINF, 0.1, 4)


def bench():
    """Class 1 iff the first number exceeds one half; the last of four is wrong.

    Radii are .45, .05, .25 and 0.
    """
    head = nn.Linear(2, 2)
    head.weight.data = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    head.bias.data = torch.tensor([0.5, -0.5])
    model = load_torchscript(nets.scripted(nn.Sequential(head)), input_shape=(2,))
    greys = torch.tensor([0.05, 0.45, 0.75, 0.9])
    inputs = torch.stack([greys, torch.zeros(4)], dim=1).reshape(4, 1, 2)
    samples = Samples(inputs, torch.tensor([0, 0, 1, 0]), "greys", "0" * 64)
    return bench_of(model, samples, seconds=1.0)


def test_samples_of_another_layout_are_given_as_the_model_takes_them():
    assert bench().subject.samples.inputs.shape == (4, 2)


def test_shares_count_the_samples_that_the_model_gets_wrong():
    row = certification_measures.certified_share(bench(), LINE, "interval")
    assert row["clean"] == 0.75
    assert row["certified"] == 0.5
    assert row["proved_rows"] == [0, 2]
    assert row["open"] == 0.25


def test_an_attack_breaks_what_no_certificate_can_cover():
    row = certification_measures.attacked_share(bench(), LINE)
    assert row["broken_rows"] == [1]
    assert row["certified"] == 0.0


def test_cheap_bounds_and_attacks_settle_all_samples_of_a_linear_net():
    row = certification_measures.settled_share(bench(), LINE)
    assert (row["proved_rows"], row["broken_rows"], row["open"]) == ([0, 2], [1], 0.0)


def test_suspects_count_as_broken_only_if_the_model_errs_on_them():
    class Suspicious:
        def prove(self, task, _radii, _seconds):
            far = {1: task.inputs[1] + 0.1, 2: task.inputs[2]}
            return Proof(torch.zeros(len(task), dtype=torch.bool), far)

    subject = bench()
    found = certification_measures.judged(subject, Suspicious(), LINE, subject.right)
    assert found.broken.tolist() == [False, True, False]


def test_a_certifier_that_contradicts_the_model_ends_the_benchmark():
    class Wrong:
        def prove(self, task, _radii, _seconds):
            return Proof(
                torch.ones(len(task), dtype=torch.bool), {1: task.inputs[1] + 0.1}
            )

    subject = bench()
    with pytest.raises(ArithmeticError, match="certified and broken"):
        certification_measures.judged(subject, Wrong(), LINE, subject.right)


def test_the_ratio_of_a_linear_net_is_one():
    line = RatioLine("brightness", "greys", Norm.LINF, 1.0, 3, 1.3)
    reached = certification_measures.distances(bench(), line)
    assert reached["distances"] == pytest.approx([0.45, 0.05, 0.25], rel=1e-3)
    row = certification_measures.ratio(bench(), line, "lipschitz-margin", reached)
    assert row["median_ratio"] == pytest.approx(1.0, rel=1e-2)
    assert row["uncertified"] == 0


def test_the_joint_cost_is_that_of_certificates_and_attacks_over_the_peers():
    line = replace(JOINTS[0], model="brightness", samples="greys", count=4)
    reference = {"cpu_seconds": 100.0, "robust": 0.5}
    row = certification_measures.joint(bench(), line, "interval", reference)
    assert (row["certified"], row["robust"]) == (0.5, 0.5)
    assert row["cost"] == pytest.approx(row["cpu_seconds"] / 100.0)


@pytest.mark.parametrize(
    ("known", "verdict", "word"),
    [
        (True, True, "alike"),
        (False, False, "alike"),
        (True, False, "wrong"),
        (False, True, "wrong"),
        (None, True, "new"),
        (True, None, "open"),
        (None, None, "open"),
    ],
)
def test_an_instance_is_compared_with_what_is_known(known, verdict, word):
    assert outcome(known, verdict) == word


def test_lines_have_names_of_their_own():
    names = [line.name for line in (*LINES, *RATIOS, *JOINTS)]
    assert len(set(names)) == len(names)


def test_rows_of_a_line_stated_otherwise_are_dropped_and_the_rest_is_kept(tmp_path):
    log = certification.Log.opened(tmp_path / "certification.json")
    part = log.part("lines", "a", {"epsilon": 0.1, "stated": None, "target": ""})
    row = certification_measures.certified_share(bench(), LINE, "interval")
    log.note(part, "rows", "interval", row)
    again = certification.Log.opened(log.path)
    head = part["head"]
    assert again.part("lines", "a", head)["rows"]["interval"]["clean"] == 0.75
    assert again.part("lines", "a", head | {"epsilon": 0.2})["rows"] == {}


def test_the_page_has_a_table_for_each_kind_of_line(tmp_path):
    log = certification.Log.opened(tmp_path / "certification.json")
    stated = {"clean": 99, "crown": [59, 0.1], "alpha": None, "attacked": 80}
    head = {"epsilon": 0.1, "stated": stated, "target": "much"}
    part = log.part("lines", "greys", head)
    row = certification_measures.certified_share(bench(), LINE, "interval")
    log.note(part, "rows", "interval", row | {"seconds_a_sample": 0.25})
    log.note(part, "peers", "another", {"refused": "it cannot\nat all"})
    part = log.part("radii", "greys", {"target": 1.3})
    log.note(part, "rows", "interval", {
        "median_ratio": 1.5, "uncertified": 2, "seconds_a_sample": 0.5,
    })  # fmt: skip
    part = log.part("instances", "some", {})
    log.note(part, "rows", "one", {"outcome": "alike", "wall_seconds": 6.0})
    part = log.part("joint", "greys", {})
    log.note(part, "rows", "interval", {
        "certified": 0.5, "robust": 0.75, "certify_seconds": 1.0,
        "attack_seconds": 2.0, "reference_seconds": 30.0, "reference_robust": 0.75,
        "cost": 0.1,
    })  # fmt: skip
    shown = log.path.with_suffix(".md").read_text()
    for line in (
        "| **interval** | 75.0 | 50.0 | 0.0 | 25.0 | 0.2500 |",
        "| another | - (it cannot) |  |  |  |  |",
        "| stated: auto_LiRPA crown | 99 | 59 |  |  | 0.1 |",
        "| stated: PGD | 99 |  | 19 |  |  |",
        "| greys | 1.3 | interval | 1.5 | 2 | 0.500 |",
        "| alike | 1 | 6.00 | 6.00 | 0 |",
        "| greys | interval | 0.5000 | 0.7500 | 1.00 | 2.00 | 30.0 | 0.7500 | 10.0% |",
    ):
        assert line in shown


def test_what_the_library_refuses_is_a_row():
    row = certification.attempted(
        lambda: certification_measures.certified_share(
            bench(), replace(LINE, norm=Norm.L2), "milp"
        )
    )
    assert "milp" in row["refused"]


def test_a_peer_that_cannot_be_imported_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "bound_propagation", None)
    task = certification_measures.peer_task(bench(), LINE)
    assert "cannot be imported" in bound_propagation_peer.refusal(task)


def test_margin_nets_for_peers_compute_margins():
    net = nets.settled(nets.mlp(6, 5, 4))
    graph = extract(load_torchscript(nets.scripted(net), input_shape=(6,)))
    inputs = torch.rand(3, 6, generator=torch.Generator().manual_seed(0))
    logits = run(graph, inputs.double()).float()
    chain = bound_propagation_peer.dense_chain(graph)
    margins = bound_propagation_peer.margin_net(chain, 2)(inputs)
    torch.testing.assert_close(margins, logits[:, [2]] - logits[:, [0, 1, 3]])


def test_peers_for_dense_nets_refuse_convolutions_by_kind():
    net = nets.settled(nets.IMAGE_NETS["conv"]())
    graph = extract(load_torchscript(nets.scripted(net), input_shape=nets.IMAGE))
    with pytest.raises(UnsupportedLayerError, match="conv"):
        bound_propagation_peer.dense_chain(graph)


@pytest.mark.parametrize("kind", ["conv strided", "sigmoid"])
def test_nets_for_auto_lirpa_compute_the_logits(kind):
    net = nets.settled(nets.IMAGE_NETS[kind]())
    graph = extract(load_torchscript(nets.scripted(net), input_shape=nets.IMAGE))
    inputs = torch.rand(3, *nets.IMAGE, generator=torch.Generator().manual_seed(0))
    logits = run(graph, inputs.double()).float()
    torch.testing.assert_close(lirpa_peer.Module(graph)(inputs), logits)


def test_auto_lirpa_that_cannot_be_imported_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "auto_LiRPA", None)
    task = certification_measures.peer_task(bench(), LINE)
    assert "cannot be imported" in lirpa_peer.refusal(task)
