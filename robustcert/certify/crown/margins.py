"""Margins over a ball: what decides whether a sample keeps its class."""

from __future__ import annotations

import torch
from torch import Tensor

from robustcert.certify.crown.forms import Forms
from robustcert.certify.crown.hidden import Enclosure, Least, proved_least
from robustcert.certify.interface import CertificationTask


def margin_rows(labels: Tensor, classes: int) -> Tensor:
    """Coefficients of the logits in each margin ``f_y - f_k``, k != y.

    Args:
        labels: ``(N,)`` int64.
        classes: K logits; where K is 1, the margin is the logit or minus it.

    Returns:
        ``(N, K - 1, K)`` float64, or ``(N, 1, 1)``.
    """
    if classes == 1:
        return (2.0 * labels.double() - 1.0).reshape(-1, 1, 1)
    unit = torch.eye(classes, dtype=torch.float64, device=labels.device)
    rows = unit[labels][:, None] - unit[None]
    every = torch.arange(classes, device=labels.device)
    others = every != labels[:, None]
    return rows[others].reshape(len(labels), classes - 1, classes)


def margin_bounds(task: CertificationTask, known: Enclosure, least: Least) -> Tensor:
    """Lower bounds ``(N, K - 1)`` of the margins over the balls, rounded down.

    Args:
        task: N samples.
        known: about all layers of the graph, on the samples' balls.
        least: how the margins are bounded.
    """
    target = len(known.graph.layers) - 1
    rows = margin_rows(task.labels, known.graph.outputs)
    count, margins = rows.shape[:2]
    every = torch.arange(count, device=rows.device)
    samples = every.repeat_interleave(margins)
    whole = rows.flatten(0, 1)
    forms = Forms(samples, {target: whole}, whole.new_zeros(len(whole)))
    errors = (whole.abs() * known.errors[target][samples]).sum(dim=1)
    return proved_least(known, forms, errors, least).reshape(count, margins)


def kept(task: CertificationTask, margins: Tensor) -> Tensor:
    """Samples ``(N,)`` all of whose margins ``(N, K - 1)`` are above the slack."""
    return (margins > task.slack[:, None]).all(dim=1)
