"""What trajectories climb: each has a label, perhaps a class to become.

An objective that the number of classes does not allow gives way to the margin by
itself: DLR below three classes, targeted DLR below four.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.attacks import losses
from robustcert.results.norm import Norm

SPREADS = (10.0, 30.0)
"""Least and largest spread of logits under cross-entropy. Between them, a model keeps
the scale it was trained at. Where logits lie closer, cross-entropy pulls towards all
classes at once; on nets that mask their gradients, a spread of 10 for all samples
breaks fewer of them."""


def temperatures(logits: Tensor) -> Tensor:
    """``(N, 1)`` factors that bring the samples' spreads between :data:`SPREADS`.

    Taken once at the samples: a factor that followed the query would hide whether the
    loss rises.

    Args:
        logits: ``(N, K)`` float64 of the samples.
    """
    spreads = (logits.amax(dim=1) - logits.amin(dim=1))[:, None]
    return (spreads.clamp(*SPREADS) / spreads).where(spreads > 0.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Goals:
    """What T trajectories are after.

    Attributes:
        labels: ``(T,)`` int64.
        targets: ``(T,)`` int64 classes to become; untargeted objectives ignore them.
        temperatures: ``(T, 1)`` float64, of the samples' logits.
    """

    labels: Tensor
    targets: Tensor
    temperatures: Tensor

    def subset(self, rows: Tensor) -> Goals:
        """Those at ``rows`` (positions or a mask) alone."""
        return Goals(self.labels[rows], self.targets[rows], self.temperatures[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """What an objective may know besides the logits.

    Attributes:
        goals: of T trajectories.
        perturbations: ``(T, *shape)`` in input units.
        norm: of the threat model.
        generator: on the logits' device.
    """

    goals: Goals
    perturbations: Tensor
    norm: Norm
    generator: torch.Generator


Objective = Callable[[Tensor, Query], Tensor]
"""``(T,)`` from float64 logits ``(T, K)``; made large."""


def tempered_cross_entropy(logits: Tensor, query: Query) -> Tensor:
    """Cross-entropy of logits at the samples' temperatures.

    Written as ``log(1 + exp(l - z_y))``, where l is the other logits' log-sum-exp: the
    usual form has the slope ``p_y - 1`` at the label, which rounds to 0 where the model
    is confident.
    """
    goals, place = query.goals, query.goals.labels[:, None]
    soft = goals.temperatures * logits
    others = soft.scatter(1, place, -math.inf).logsumexp(dim=1)
    return torch.nn.functional.softplus(others - soft.gather(1, place).squeeze(1))


def margin(logits: Tensor, query: Query) -> Tensor:
    """The best other logit against the label's."""
    return losses.negative_margin(logits, query.goals.labels)


def ratio(logits: Tensor, query: Query) -> Tensor:
    """DLR; below three classes, which it cannot rank, the margin."""
    if logits.shape[1] < losses.DLR_CLASSES:
        return margin(logits, query)
    return losses.dlr(logits, query.goals.labels)


def targeted_ratio(logits: Tensor, query: Query) -> Tensor:
    """Targeted DLR; below four classes, which it cannot rank, the targeted margin."""
    goals = query.goals
    if logits.shape[1] < losses.TARGETED_DLR_CLASSES:
        return losses.targeted_margin(logits, goals.labels, goals.targets)
    return losses.targeted_dlr(logits, goals.labels, goals.targets)


def with_unit_slopes(logits: Tensor) -> Tensor:
    """The same logits in float64; what flows back is scaled to 1 in each row.

    Directions are all that APGD takes from gradients. Narrower types drop those of a
    saturated loss and overflow on those of a steep one.
    """
    wide = logits.to(torch.float64, copy=True)
    if wide.requires_grad:
        wide.register_hook(_unit_rows)  # type: ignore[no-untyped-call] # torch's stub
    return wide


def _unit_rows(gradients: Tensor) -> Tensor:
    largest = gradients.abs().amax(dim=1, keepdim=True)
    return gradients / largest.where(largest > 0.0, 1.0)
