"""Decision region quantification: a test-time wrapper that asks whose region is wider.

For each input x and every likely class k:

1. *Calibration.* The model's own prediction at x is attacked within ``reach``. On the
   segment to the point found, the nearest place where another class has at least
   ``confidence`` gives x its exploration radius r: ``stretch`` times as far, between a
   quarter of the reach and the reach. Where no such place is found, r is the reach.
2. *Exploration.* A targeted ascent within r of x finds the point that is most
   confidently of class k.
3. *Quantification.* An untargeted ascent within ``depth * r`` of that point finds where
   class k is weakest. What is left of its margin there is the class's score.

The class with the largest score wins: a narrow pocket of a wrong class is explored but
does not survive quantification. The minimum around a maximum smooths spurious extrema;
two affine logits gain the same and keep their order.

The three steps are the paper's. Ours are: margins in place of probabilities, which
saturate; in calibration the segment search, the stretch and the bounds of the radius;
normalised ascents whose steps shrink; classes beyond the likeliest ``rivals`` keep
their margin at x, put below all explored ones.

This is no certificate, and an adversary who attacks the wrapper itself must be
expected: it is differentiable (Danskin's theorem, with the offsets of the points found
held fixed).

Reference:
    Schwinn, Bungert, Nguyen, Raab, Pulsmeyer, Precup, Eskofier, Zanca. Improving
    robustness against real-world and worst-case distribution shifts through decision
    region quantification. ICML 2022.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NoReturn

import torch
from torch import Tensor

from robustcert.attacks.slope import slope
from robustcert.errors import UnsupportedLayerError, UsageError
from robustcert.models.interface import LoadedModel
from robustcert.results.norm import Norm
from robustcert.results.report import OutputKind
from robustcert.results.threat_model import ThreatModel
from robustcert.tensors import (
    clip_to_box,
    lp_norms,
    margins,
    rows_like,
    steepest_unit,
)

ROWS = 1024
"""Points that are moved at once: inputs times classes."""

_PLACES = 8
"""Places tried on the segment of the calibration."""

_LEAST = 0.25
"""The smallest exploration radius, as a share of the reach."""

_WOBBLE = 0.1
"""How far an ascent starts from its centre, as a share of its radius: a centre on a
plateau or a kink has no slope."""


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """How far around an input one looks, and how hard.

    Attributes:
        threat: norm and box; its epsilon is the reach, in input units.
        stretch: exploration radius over the distance that calibration finds, at
            least 1: how far beyond its border another region is explored.
        depth: radius of quantification over that of exploration, in [0, 1]. At 1 every
            ball of quantification holds x itself.
        steps: gradient steps of each ascent.
        confidence: probability at which calibration takes another class for real.
        rivals: how many classes are explored, likeliest first.
        seed: of the point at which ascents start.
    """

    threat: ThreatModel
    stretch: float = 2.0
    depth: float = 0.5
    steps: int = 10
    confidence: float = 0.9
    rivals: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0.0 <= self.depth <= 1.0 <= self.stretch):
            raise UsageError(
                f"a depth of {self.depth} and a stretch of {self.stretch} fit no ball",
                remedy="Give a depth in [0, 1] and a stretch of at least 1.",
            )
        if not 0.5 <= self.confidence < 1.0:
            raise UsageError(
                f"{self.confidence} is no confidence", remedy="Give one in [0.5, 1)."
            )
        if min(self.steps, self.rivals - 1) < 1:
            raise UsageError(
                f"{self.steps} steps towards {self.rivals} classes decide nothing",
                remedy="Give at least 1 step and 2 rivals.",
            )


@dataclass(frozen=True, slots=True, eq=False)
class DecisionRegion:
    """A model whose predictions are those of the widest region nearby.

    Each row is treated on its own: what is random is one start for all rows, drawn
    from the seed, so that a batch changes nothing beyond rounding.

    Attributes:
        model: what is wrapped; it must be differentiable.
        around: how far and how hard one looks.
    """

    model: LoadedModel
    around: Neighbourhood

    def __call__(self, inputs: Tensor) -> Tensor:
        """Scores ``(N, K)`` in units of margins, differentiable by ``inputs``."""
        rows = max(1, ROWS // min(self.around.rivals, self.model.classes))
        parts = [self._scores(part) for part in torch.split(inputs, rows)]
        return torch.cat(parts)

    @property
    def graph(self) -> NoReturn:
        """There is none: whoever reads layers is told so.

        Raises:
            UnsupportedLayerError: always.
        """
        raise UnsupportedLayerError(
            "decision region", "follows gradients of the model that it wraps"
        )

    def as_model(self) -> LoadedModel:
        """The wrapper as a model that can be attacked and judged like any other."""
        told = f"{self.model.sha256}:{self.around!r}"
        return replace(
            self.model,
            function=self,
            artifact=self,
            sha256=hashlib.sha256(told.encode()).hexdigest(),
            format=f"decision region of {self.model.format}",
            output=OutputKind.LOGITS,
        )

    def _scores(self, inputs: Tensor) -> Tensor:
        logits = self.model.logits(inputs)
        if self.around.threat.epsilon == 0.0 or not len(inputs):
            return class_margins(logits)
        classes = logits.detach().topk(self._explored, dim=1).indices
        centres = inputs.detach().repeat_interleave(self._explored, dim=0)
        radii = self._radii(inputs.detach(), logits.detach())
        radii = radii.repeat_interleave(self._explored)
        offsets = self._weakest(centres, classes.flatten(), radii) - centres
        moved = inputs.repeat_interleave(self._explored, dim=0) + offsets
        left = margins(self.model.logits(moved), classes.flatten())
        return _merged(class_margins(logits), classes, left.reshape(classes.shape))

    @property
    def _explored(self) -> int:
        return min(self.around.rivals, self.model.classes)

    def _radii(self, inputs: Tensor, logits: Tensor) -> Tensor:
        """``(N,)`` exploration radii."""
        reach = self.around.threat.epsilon
        own = logits.argmax(dim=1)
        most = torch.full_like(logits[:, 0], reach)
        found = self._ascent(inputs, most, lambda z: -margins(z, own))
        nearest = most.clone()
        for place in range(_PLACES, 0, -1):
            share = place / _PLACES
            with torch.no_grad():
                there = self.model.logits(inputs + share * (found - inputs))
            sure = there.softmax(dim=1) >= self.around.confidence
            other = sure.scatter(1, own[:, None], False).any(dim=1)  # noqa: FBT003
            length = lp_norms(share * (found - inputs), self.around.threat.norm)
            nearest = torch.where(other, length.to(nearest.dtype), nearest)
        return (self.around.stretch * nearest).clamp(_LEAST * reach, reach)

    def _weakest(self, centres: Tensor, classes: Tensor, radii: Tensor) -> Tensor:
        """Where each class is weakest around where it is strongest."""
        strongest = self._ascent(centres, radii, lambda z: margins(z, classes))
        depths = self.around.depth * radii
        return self._ascent(strongest, depths, lambda z: -margins(z, classes))

    def _ascent(
        self, centres: Tensor, radii: Tensor, loss: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """The best point that steepest ascent sees within ``radii`` of the centres.

        The k-th of n steps has length ``2 r (1 - k / n)``: together they cross the
        ball, and the last ones are short.
        """
        norm, steps = self.around.threat.norm, self.around.steps
        sizes = rows_like(radii, centres).to(centres.dtype)
        best = centres
        with torch.no_grad():
            highest = loss(self.model.logits(centres))
        points = self._near(
            centres + _WOBBLE * sizes * self._start(centres), centres, radii
        )
        for step in range(steps + 1):
            seen = slope(self.model.logits, points, loss)
            better = seen.losses > highest
            highest = torch.where(better, seen.losses.to(highest.dtype), highest)
            best = torch.where(rows_like(better, points), points, best)
            uphill = steepest_unit(seen.gradients, norm)
            length = 2.0 * (1.0 - step / steps) * sizes
            points = self._near(points + length * uphill, centres, radii)
        return best

    def _start(self, centres: Tensor) -> Tensor:
        """One direction of length 1 for all rows."""
        generator = torch.Generator().manual_seed(self.around.seed)
        draw = torch.randn(1, *centres.shape[1:], generator=generator)
        unit = steepest_unit(draw, self.around.threat.norm)
        return unit.to(dtype=centres.dtype, device=centres.device)

    def _near(self, points: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
        """The points pulled into their balls, then into the box."""
        sizes = rows_like(radii, centres).to(centres.dtype)
        offsets = points - centres
        if self.around.threat.norm is Norm.LINF:
            inside = torch.minimum(torch.maximum(offsets, -sizes), sizes)
        else:
            lengths = rows_like(lp_norms(offsets, Norm.L2), offsets)
            tiny = torch.finfo(offsets.dtype).tiny
            inside = offsets * (sizes / lengths.clamp(min=tiny)).clamp(max=1.0)
        return clip_to_box(centres + inside, self.around.threat.box)


def class_margins(logits: Tensor) -> Tensor:
    """``(N, K)``: each logit minus the best other one; the order of the logits."""
    first, second = logits.topk(2, dim=1).values.unbind(dim=1)
    rivals = torch.where(logits == first[:, None], second[:, None], first[:, None])
    return logits - rivals


def _merged(plain: Tensor, classes: Tensor, left: Tensor) -> Tensor:
    """Explored scores at ``classes``; the others' margins, below all of these."""
    ceiling = left.amin(dim=1, keepdim=True)
    return torch.minimum(plain, ceiling).scatter(1, classes, left)
