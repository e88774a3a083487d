"""Lower slopes of each form's own, found by ascent on its bound.

The direction is that of Adam, for its scale, without the components that press against
an end of their range. The length is Polyak's, as the bound of a form of one layer is
concave in the slopes there: no longer than what would reach the aim along the gradient.

References:
    Xu et al. Fast and Complete: Enabling Complete Verification with Rapid and Massively
        Parallel Incomplete Verifiers. ICLR 2021. (alpha-CROWN.)
    Kingma, Ba. Adam: A Method for Stochastic Optimization. ICLR 2015. (The scale.)
    Polyak. Minimization of Unsmooth Functionals. USSR Computational Mathematics and
        Mathematical Physics 1969. (The length.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.certify.crown.forms import Forms, Relaxed
from robustcert.certify.crown.substitution import least_values
from robustcert.graph.layers import Elementwise
from robustcert.tensors import rows_like

_DECAY = 0.97
_MOMENTUM, _MEMORY = 0.5, 0.9
_TINY = 1e-8
_BEYOND = 0.5
"""An aim lies beyond what is enough by this share of what was missing at first."""

_CROWDED = 0.75

Slopes = dict[int, Tensor]


@dataclass(frozen=True, slots=True)
class Ascent:
    """How long and how fast slopes are improved.

    Attributes:
        steps: gradient steps, each about three times the work of a bound.
        rate: longest first step of a slope, about; slopes lie between 0 and 1 mostly.
    """

    steps: int
    rate: float


Over = Callable[[], bool]
"""Whether the time is up."""


def never() -> bool:
    """No limit."""
    return False


def best_slopes(
    relaxed: Relaxed, forms: Forms, enough: Tensor, ascent: Ascent, over: Over
) -> Slopes:
    """Free lower slopes for R forms; forms above ``enough`` are left as they are.

    Args:
        relaxed: in the dtype of the search.
        forms: R of them, in the same dtype; they are not used up.
        enough: ``(R,)`` bounds that need no improvement.
        ascent: steps and rate.
        over: asked before every step.

    Returns:
        Slopes ``(R, ...)`` by activation, laid out like the forms' coefficients.
    """
    every = torch.arange(len(forms.shift), device=forms.shift.device)
    best_so_far = _Best(*_start(relaxed, forms.taken(every)))
    climbers = _climbers(relaxed, every, best_so_far, enough)
    for step in range(ascent.steps if climbers.slopes else 0):
        if over():
            return best_so_far.slopes
        values, gradients = _rise(relaxed, forms.taken(climbers.rows), climbers.slopes)
        best_so_far.record(climbers.rows, values, climbers.slopes)
        rising = ~(values > enough[climbers.rows])
        if not bool(rising.any()):
            return best_so_far.slopes
        climbers.move(values, gradients, ascent.rate, _DECAY**step)
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
    """Rows that are still improved, their slopes, and the moments of their gradients.

    Attributes:
        rows: ``(R,)`` which of all forms.
        aims: ``(R,)`` bounds to reach.
        ranges: smallest and largest slope, by activation.
        slopes: ``(R, ...)`` by activation, and so are the moments.
        means: of the gradients, without what presses against an end.
        squares: of the gradients.
        moves: so far.
    """

    rows: Tensor
    aims: Tensor
    ranges: dict[int, tuple[float, float]]
    slopes: Slopes
    means: Slopes
    squares: Slopes
    moves: int = 0

    def move(
        self, values: Tensor, gradients: Slopes, rate: float, longest: float
    ) -> None:
        """One step uphill from the bounds ``values`` ``(R,)``."""
        self.moves += 1
        along: Slopes = {}
        rise = torch.zeros_like(values)
        for position, gradient in gradients.items():
            inward = self._inward(position, gradient)
            along[position] = self._direction(position, gradient, inward).mul_(rate)
            rise += (inward * along[position]).flatten(1).sum(dim=1)
        length = (self.aims - values) / rise.clamp(min=_TINY)
        length = length.clamp(min=0.0, max=longest)
        for position, direction in along.items():
            slopes = self.slopes[position]
            slopes.addcmul_(direction, rows_like(length, direction))
            slopes.clamp_(*self.ranges[position])

    def taken(self, rows: Tensor) -> _Climbers:
        """Some of them."""
        return _Climbers(
            self.rows[rows],
            self.aims[rows],
            self.ranges,
            {position: held[rows] for position, held in self.slopes.items()},
            {position: held[rows] for position, held in self.means.items()},
            {position: held[rows] for position, held in self.squares.items()},
            self.moves,
        )

    def _inward(self, position: int, gradient: Tensor) -> Tensor:
        slopes, (least, most) = self.slopes[position], self.ranges[position]
        falling = (slopes <= least) & (gradient < 0.0)
        rising = (slopes >= most) & (gradient > 0.0)
        return gradient.masked_fill(falling | rising, 0.0)

    def _direction(self, position: int, gradient: Tensor, inward: Tensor) -> Tensor:
        """Entries of about one."""
        mean, square = self.means[position], self.squares[position]
        mean.lerp_(inward, 1.0 - _MOMENTUM)
        square.mul_(_MEMORY).addcmul_(gradient, gradient, value=1.0 - _MEMORY)
        scale = (square / (1.0 - _MEMORY**self.moves)).sqrt_().add_(_TINY)
        return (mean / scale).div_(1.0 - _MOMENTUM**self.moves)


def _climbers(
    relaxed: Relaxed, rows: Tensor, start: _Best, enough: Tensor
) -> _Climbers:
    ranges = {
        position: layer.activation.slopes
        for position, layer in enumerate(relaxed.graph.layers)
        if isinstance(layer, Elementwise)
    }
    missing = (enough - start.values).clamp(min=0.0)
    slopes = start.slopes
    return _Climbers(
        rows,
        enough + _BEYOND * missing,
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
