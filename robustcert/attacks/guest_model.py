"""A model dressed as what image attacks expect: 4-D float32 inputs in [0, 1].

The guest sees a plain ``nn.Module`` without the original model's parameters, mode or
buffers, so it can change none of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robustcert.attacks.interface import Target
from robustcert.results.threat_model import Box
from robustcert.tensors import lp_norms, margins, rows_like

LogitMap = Callable[[Tensor], Tensor]
"""Logits ``(N, K)`` to logits with the same order in each row."""

SPREADS = (10.0, 30.0)
"""Least and largest typical spread of the logits that a guest sees. The softmax of a
wider row is one-hot in float32, and its cross-entropy has no gradient; that of a much
narrower one pulls towards all classes at once instead of towards the nearest."""

_ROUNDING = 1e-4
"""Relative slack on epsilon for iterates worth keeping; verification has none."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How inputs of any shape and box become pictures in the unit box.

    Pictures stay what they are. Everything else (tables, signals, very flat pictures)
    becomes a square of one channel, filled up with coordinates that nobody reads.

    Attributes:
        shape: of one input of the model.
        box: of the inputs; its width is above 0.
    """

    shape: tuple[int, ...]
    box: Box

    @property
    def size(self) -> int:
        """Number of coordinates of an input."""
        return math.prod(self.shape)

    @property
    def is_picture(self) -> bool:
        """Whether attacks that move windows over a picture can use the shape as it is.

        Square's first window covers .8 of the area and must fit both ways.
        """
        if len(self.shape) != 3:
            return False
        short, long = sorted(self.shape[1:])
        return short >= 5 and long <= 1.25 * short

    @property
    def picture(self) -> tuple[int, ...]:
        """Channels, height and width of the picture."""
        if self.is_picture:
            return self.shape
        side = max(5, math.ceil(math.sqrt(self.size)))
        return (1, side, side)

    def to_picture(self, inputs: Tensor) -> Tensor:
        """``(N, C, H, W)`` float32 in [0, 1] from ``(N, *shape)``."""
        unit = (inputs.double() - self.box.low) / self.box.width
        flat = unit.float().clamp(0.0, 1.0).flatten(1)
        spare = flat.new_full((len(flat), math.prod(self.picture) - self.size), 0.5)
        return torch.cat([flat, spare], dim=1).reshape(-1, *self.picture)

    def from_picture(self, pictures: Tensor) -> Tensor:
        """``(N, *shape)`` float64 in the box from ``(N, C, H, W)``."""
        flat = pictures.flatten(1)[:, : self.size].double()
        return (self.box.low + self.box.width * flat).reshape(-1, *self.shape)


def as_they_are(logits: Tensor) -> Tensor:
    """The same logits."""
    return logits


def from_zero(logits: Tensor) -> Tensor:
    """Logits shifted so that the smallest of each row is 0.

    Some guests multiply logits by a one-hot row and take the maximum, which reads 0
    wherever all the logits they mean are negative.
    """
    return logits - logits.amin(dim=1, keepdim=True).detach()


def temperature(logits: Tensor) -> float:
    """The number that brings the typical spread of ``(N, K)`` logits into the range.

    One number for all queries: a scale that followed the query would hide from a guest
    whether its loss rises.
    """
    spread = float((logits.amax(dim=1) - logits.amin(dim=1)).median())
    return min(max(spread, SPREADS[0]), SPREADS[1]) / spread if spread > 0.0 else 1.0


class _InputGradient(torch.autograd.Function):
    """Logits whose gradient reaches the input and nothing else.

    A guest's ``loss.backward()`` would otherwise leave gradients in the parameters.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context has no attributes of its own
        pictures: Tensor,
        logits: LogitMap,
    ) -> Tensor:
        """Build the graph from a copy of the input, apart from the guest's graph."""
        with torch.enable_grad():
            ctx.leaf = pictures.detach().clone().requires_grad_()
            ctx.logits = logits(ctx.leaf)
        shown: Tensor = ctx.logits.detach().clone()  # guests write into what they get
        return shown

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 - as above
        gradient: Tensor,
    ) -> tuple[Tensor, None]:
        """Guests go back through one forward pass several times."""
        if not ctx.logits.requires_grad:
            return torch.zeros_like(ctx.leaf), None
        (at_input,) = torch.autograd.grad(
            ctx.logits, ctx.leaf, gradient, retain_graph=True, materialize_grads=True
        )
        return at_input, None


class GuestModel(nn.Module):
    """The model as a guest sees it; remembers the adversarial queries it saw.

    Many guests return their last iterate, whatever they passed on the way. ``sighted``
    and ``sightings`` keep, for each sample, the latest query inside the budget that
    fooled the model.

    Args:
        target: the model and N samples.
        layout: of its inputs.
        logit_map: applied to the logits before the guest sees them.
    """

    def __init__(self, target: Target, layout: Layout, logit_map: LogitMap) -> None:
        super().__init__()
        place = target.model.device
        # Guests ask the first parameter for device and dtype.
        self.anchor = nn.Parameter(torch.zeros(1, device=place), requires_grad=False)
        self.target, self.layout, self.logit_map = target, layout, logit_map
        self.start = layout.to_picture(target.inputs)
        self.sightings = self.start.clone()
        self.sighted = torch.zeros(len(self.start), dtype=torch.bool, device=place)
        with torch.no_grad():
            self.scale = temperature(target.model.logits(target.inputs).double())

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits ``(N, K)`` float32 of ``(N, C, H, W)`` in [0, 1]."""
        if torch.is_grad_enabled() and pictures.requires_grad:
            logits: Tensor = _InputGradient.apply(  # type: ignore[no-untyped-call]
                pictures, self._logits
            )
        else:
            logits = self._logits(pictures.detach()).clone()
        self._watch(pictures.detach(), logits.detach())
        return logits

    def _logits(self, pictures: Tensor) -> Tensor:
        inputs = self.layout.from_picture(pictures)
        logits = self.target.model.logits(inputs).float()
        return self.logit_map(self.scale * logits)

    def _watch(self, pictures: Tensor, logits: Tensor) -> None:
        """Keep adversarial queries. A row mistaken for another fails verification."""
        if len(pictures) != len(self.start):
            return
        rows = (margins(logits, self.target.labels) < 0.0).nonzero().flatten()
        if not len(rows):
            return
        threat = self.target.threat
        moved = (pictures[rows] - self.start[rows]).flatten(1)[:, : self.layout.size]
        sizes = lp_norms(moved, threat.norm) * self.layout.box.width
        rows = rows[sizes <= threat.epsilon * (1.0 + _ROUNDING)]
        self.sightings[rows] = pictures[rows]
        self.sighted[rows] = True

    def best_of(self, last: Tensor) -> Tensor:
        """The latest adversarial query of each sample, else its ``last`` iterate."""
        with torch.no_grad():
            self(last)
        return self.sightings.where(rows_like(self.sighted, last), last)
