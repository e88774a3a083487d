"""Gaps between a class's logit and all others."""

from __future__ import annotations

import torch

from robustcert.certify.gaps import gaps_at, with_gaps
from robustcert.graph.execute import run
from robustcert.graph.layers import Input, LayerGraph, Linear


def head(weight):
    start = Input("input", (), (weight.shape[1],))
    return LayerGraph((start, Linear("head", (0,), (len(weight),), weight, None)))


def test_every_other_class_has_one_gap_to_the_label():
    g = torch.Generator().manual_seed(0)
    graph = head(torch.randn(4, 3, generator=g, dtype=torch.float64))
    x = torch.randn(5, 3, generator=g, dtype=torch.float64)
    logits = run(graph, x)
    for label in range(4):
        others = [k for k in range(4) if k != label]
        expected = logits[:, [label]] - logits[:, others]
        torch.testing.assert_close(run(with_gaps(graph, label), x), expected)


def test_one_logit_is_far_from_zero_on_the_labels_side():
    graph = head(torch.tensor([[2.0]], dtype=torch.float64))
    x = torch.tensor([[0.75]], dtype=torch.float64)
    assert run(with_gaps(graph, 1), x).item() == 1.5
    assert run(with_gaps(graph, 0), x).item() == -1.5


def test_gaps_at_a_point_are_rounded_down_by_next_to_nothing():
    weight = torch.tensor([[0.1, 0.2, 0.3], [0.0, 0.0, 0.0]], dtype=torch.float64)
    point = torch.ones(3, dtype=torch.float64)
    found = gaps_at(with_gaps(head(weight), 0), point).item()
    assert 0.6 - 1e-14 < found < 0.6
