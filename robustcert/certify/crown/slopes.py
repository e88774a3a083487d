"""Lower slopes of each form's own, found by gradient ascent on its bound.

Reference:
    Xu et al. Fast and Complete: Enabling Complete Verification with Rapid and Massively
        Parallel Incomplete Verifiers. ICLR 2021. (alpha-CROWN.)
    Kingma, Ba. Adam: A Method for Stochastic Optimization. ICLR 2015.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.certify.crown.forms import Forms, Relaxed
from robustcert.certify.crown.substitution import least_values
from robustcert.graph.layers import Elementwise

_DECAY = 0.97
_MOMENTUM, _SPREAD = 0.9, 0.99
_TINY = 1e-12
_CROWDED = 0.75

Slopes = dict[int, Tensor]


@dataclass(frozen=True, slots=True)
class Ascent:
    """How long and how fast slopes are improved.

    Attributes:
        steps: gradient steps, each about three times the work of a bound.
        rate: first length of a step; slopes lie between 0 and 1 mostly.
    """

    steps: int
    rate: float


def best_slopes(
    relaxed: Relaxed, forms: Forms, enough: Tensor, ascent: Ascent
) -> Slopes:
    """Free lower slopes for R forms; forms above ``enough`` are left as they are.

    Args:
        relaxed: in the dtype of the search.
        forms: R of them, in the same dtype; they are not used up.
        enough: ``(R,)`` bounds that need no improvement.
        ascent: steps and rate.

    Returns:
        Slopes ``(R, ...)`` by activation, laid out like the forms' coefficients.
    """
    every = torch.arange(len(forms.shift), device=forms.shift.device)
    best_so_far = _Best(*_start(relaxed, forms.taken(every)))
    climbers = _climbers(relaxed, every, best_so_far.slopes)
    for step in range(ascent.steps if climbers.slopes else 0):
        values, gradients = _rise(relaxed, forms.taken(climbers.rows), climbers.slopes)
        best_so_far.record(climbers.rows, values, climbers.slopes)
        rising = ~(values > enough[climbers.rows])
        if not bool(rising.any()):
            return best_so_far.slopes
        climbers.move(gradients, ascent.rate * _DECAY**step)
        if rising.double().mean() < _CROWDED:
            climbers = climbers.taken(rising.nonzero().flatten())
    last = forms.taken(climbers.rows)
    last.slopes = dict(climbers.slopes)
    best_so_far.record(climbers.rows, least_values(relaxed, last), climbers.slopes)
    return best_so_far.slopes


@dataclass(frozen=True, slots=True, eq=False)
class _Best:
    """The highest bounds ``(R,)`` so far and the slopes that gave them."""

    values: Tensor
    slopes: Slopes

    def record(self, rows: Tensor, values: Tensor, slopes: Slopes) -> None:
        better = values > self.values[rows]
        places = rows[better]
        self.values[places] = values[better]
        for position, held in slopes.items():
            self.slopes[position][places] = held[better]


@dataclass(slots=True, eq=False)
class _Climbers:
    """Rows that are still improved, their slopes, and Adam's two moments."""

    rows: Tensor
    ranges: dict[int, tuple[float, float]]
    slopes: Slopes
    drifts: Slopes
    spreads: Slopes
    moves: int = 0

    def move(self, gradients: Slopes, rate: float) -> None:
        """One step uphill."""
        self.moves += 1
        first, second = 1.0 - _MOMENTUM**self.moves, 1.0 - _SPREAD**self.moves
        for position, gradient in gradients.items():
            drift, spread = self.drifts[position], self.spreads[position]
            drift.lerp_(gradient, 1.0 - _MOMENTUM)
            spread.mul_(_SPREAD).addcmul_(gradient, gradient, value=1.0 - _SPREAD)
            scale = (spread / second).sqrt_().add_(_TINY)
            self.slopes[position].addcdiv_(drift, scale, value=rate / first)
            self.slopes[position].clamp_(*self.ranges[position])

    def taken(self, rows: Tensor) -> _Climbers:
        """Some of them."""
        return _Climbers(
            self.rows[rows],
            self.ranges,
            {position: held[rows] for position, held in self.slopes.items()},
            {position: held[rows] for position, held in self.drifts.items()},
            {position: held[rows] for position, held in self.spreads.items()},
            self.moves,
        )


def _climbers(relaxed: Relaxed, rows: Tensor, slopes: Slopes) -> _Climbers:
    ranges = {
        position: layer.activation.slopes
        for position, layer in enumerate(relaxed.graph.layers)
        if isinstance(layer, Elementwise)
    }
    return _Climbers(
        rows,
        ranges,
        {position: held.clone() for position, held in slopes.items()},
        {position: torch.zeros_like(held) for position, held in slopes.items()},
        {position: torch.zeros_like(held) for position, held in slopes.items()},
    )


def _start(relaxed: Relaxed, forms: Forms) -> tuple[Tensor, Slopes]:
    """Bounds with the lines' own slopes, and those."""
    slopes: Slopes = {}
    forms.slopes = slopes
    return least_values(relaxed, forms), slopes


def _rise(relaxed: Relaxed, forms: Forms, slopes: Slopes) -> tuple[Tensor, Slopes]:
    """Bounds ``(R,)`` and their gradients by the slopes."""
    with torch.enable_grad():
        leaves = {i: held.detach().requires_grad_() for i, held in slopes.items()}
        forms.slopes = dict(leaves)
        values = least_values(relaxed, forms)
        found = torch.autograd.grad(
            values.sum(),
            list(leaves.values()),
            allow_unused=True,
            materialize_grads=True,
        )
    return values.detach(), dict(zip(leaves, found, strict=True))
