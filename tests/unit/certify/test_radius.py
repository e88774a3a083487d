"""Radii from verdicts, where the true radius is known."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
import torch

from robustcert.certify.interface import CertificationTask, Proof
from robustcert.certify.radius import STEPS, ByBisection, searched
from robustcert.graph.layers import Input, LayerGraph
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box

BOX = Box(-8.0, 8.0)


@dataclass(slots=True)
class UpTo(ByBisection):
    """Proves what lies within the first coordinate of each sample."""

    batches: list[int] = field(default_factory=list)

    def prove(self, task, radii, _seconds=math.inf):
        self.batches.append(len(task))
        return Proof(radii <= task.inputs[:, 0])


class Lucky(UpTo):
    """Proves twice as much in a batch as alone."""

    def prove(self, task, radii, _seconds=math.inf):
        return UpTo.prove(self, task, radii / min(len(task), 2))


def task_of(radii):
    inputs = torch.tensor(radii, dtype=torch.float64)[:, None].repeat(1, 2)
    count = len(radii)
    labels = torch.zeros(count, dtype=torch.int64)
    slack = torch.zeros(count, dtype=torch.float64)
    graph = LayerGraph((Input("input", (), (2,)),))
    return CertificationTask(graph, inputs, labels, Norm.LINF, BOX, slack)


def everything(task):
    return torch.full_like(task.slack, math.inf)


TRUTHS = [0.003, 0.1, 0.5, 1.0, 3.0, 7.9]


def test_radii_lie_just_below_the_truth():
    task = task_of(TRUTHS)
    found, truth = UpTo().radii(task, everything(task)), torch.tensor(TRUTHS)
    assert (found <= truth).all()
    assert (found >= 0.99 * truth).all()


def test_a_radius_costs_few_passes_and_one_alone():
    certifier, task = UpTo(), task_of(TRUTHS)
    certifier.radii(task, everything(task))
    together, alone = certifier.batches[: -len(TRUTHS)], certifier.batches[-6:]
    assert len(together) <= STEPS + 1 <= 16
    assert alone == [1] * len(TRUTHS)


def test_a_radius_stops_at_what_is_asked_for_and_at_the_box():
    task = task_of([5.0, 100.0, 5.0])
    most = torch.tensor([2.0, math.inf, 0.0], dtype=torch.float64)
    assert UpTo().radii(task, most).tolist() == [2.0, BOX.width, 0.0]


@pytest.mark.parametrize("truth", [-1.0, 0.0, 1e-9, math.nan])
def test_what_is_not_proved_has_radius_0(truth):
    task = task_of([truth, 1.0])
    found = UpTo().radii(task, everything(task))
    assert found[0] == 0.0
    assert found[1] > 0.99


def test_a_radius_that_is_proved_in_company_only_is_given_up():
    task = task_of([1.0, 1.0])
    known = torch.tensor([0.25, 0.0], dtype=torch.float64)
    found = searched(Lucky().prove, task, known, torch.full_like(known, 4.0))
    assert found.tolist() == [0.25, 0.0]


def test_a_known_radius_is_where_the_search_begins():
    certifier, task = UpTo(), task_of([1.0])
    known = torch.tensor([0.99], dtype=torch.float64)
    found = searched(certifier.prove, task, known, torch.full_like(known, 1.01))
    assert 0.999 <= found.item() <= 1.0
    assert len(certifier.batches) <= 7


def test_no_samples_have_no_radii():
    task = task_of([])
    assert UpTo().radii(task, everything(task)).shape == (0,)
