"""CLIP with pairs that persist, keep their distance, stay in the box and never fall."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustcert.errors import UsageError
from robustcert.results.threat_model import Box
from robustcert.tensors import rows_like
from robustcert.train.climbers import (
    Climbers,
    Ground,
    climbed,
    climbers_at,
    ends,
    moved_to,
    renewed,
)
from robustcert.train.interface import Moment, State, drawn_from
from robustcert.train.pairs import Pairs, movements, sampled

_PURPOSE = 21  # of the random numbers that draw pairs
_SHARPEST = 50.0  # beyond it the gradients of flat pairs would be lost in float32


@dataclass(frozen=True, slots=True)
class ClipPlusOptions:
    """The pairs of CLIP+.

    Attributes:
        pairs: how many live on from step to step.
        every: steps between two in which the pairs take part, then with as many times
            the weight.
        separation: distance of the ends of a pair, as a share of the box's width.
        reach: longest step of a pair's middle, as a share of the box's diameter.
        sharpness: how much the steepest pairs outweigh the others: a pair with half
            the quotient of the steepest weighs ``exp(-sharpness / 2)`` of it.
        renewal: climbs after which the less steep half of the pairs is drawn anew.

    Raises:
        UsageError: a number is out of its range.
    """

    pairs: int = 64
    every: int = 3
    separation: float = 0.1
    reach: float = 0.02
    sharpness: float = 10.0
    renewal: int = 50

    def __post_init__(self) -> None:
        """Refuse pairs that cannot be drawn or moved."""
        if min(self.pairs, self.every, self.renewal) < 1:
            raise UsageError(
                "the pairs, the steps between two of their turns and the climbs until "
                f"renewal are {self.pairs}, {self.every} and {self.renewal}",
                remedy="Give at least 1 for each.",
            )
        if not 0.0 < self.separation <= 1.0:
            raise UsageError(
                f"a separation of {self.separation} box widths does not fit",
                remedy="Give a separation above 0 and at most 1.",
            )
        if not (math.isfinite(self.reach) and self.reach >= 0.0):
            raise UsageError(
                f"the reach {self.reach} is not a finite number of at least 0",
                remedy="Give a reach such as 0.02.",
            )
        if not 0.0 <= self.sharpness <= _SHARPEST:
            raise UsageError(
                f"the sharpness {self.sharpness} is not in [0, {_SHARPEST}]",
                remedy="Give 0 for the mean of the pairs, 10 for nearly the largest.",
            )


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """What the forward pass left for the climb.

    Attributes:
        ends: ``(2 N, *shape)`` leaves.
        steepness: ``(N,)`` quotients.
        shares: ``(N,)`` of the pairs in the penalty; the sum is 1, none is 0.
    """

    ends: Tensor
    steepness: Tensor
    shares: Tensor

    @property
    def penalty(self) -> Tensor:
        """``()``, differentiable by what the quotients are."""
        return (self.shares * self.steepness).sum()


class ClipPlus:
    """Mean of the pairs' quotients, weighted towards the steepest.

    The ends of the pairs are leaves of the step's one backward pass: it leaves the
    parameters' gradient and, divided by the weight and by a pair's share, the
    direction in which the pair climbs ("free" as in Shafahi et al. 2019). Pairs keep
    their distance, stay in the box, and live on from step to step; see
    :func:`robustcert.train.climbers.climbed`. They take part in one step out of
    ``every``, with as many times the weight (lazy regularisation as in Karras et al.
    2020); in the others the value is the last one, a constant.

    The model's outputs must depend on one input each, as without batch normalisation.

    Reference:
        After Bungert, Raab, Roith, Schwinn, Tenbrinck. CLIP: Cheap Lipschitz Training
            of Neural Networks. SSVM 2021, arXiv 2103.12531, equation (5).
        Shafahi et al. Adversarial Training for Free! NeurIPS 2019.
        Karras et al. Analyzing and Improving the Image Quality of StyleGAN. CVPR 2020,
            Appendix B.
    """

    def __init__(
        self, reserve: Tensor, box: Box, options: ClipPlusOptions, seed: int
    ) -> None:
        """Draw the pairs.

        Args:
            reserve: ``(N, *shape)``, inputs that are not fitted, on the model's device.
            box: of the inputs.
            options: of the pairs.
            seed: of the draws.

        Raises:
            SamplesError: nothing is reserved.
            UsageError: the box has no width.
        """
        if box.width == 0.0:
            raise UsageError(
                "no two inputs of the box differ", remedy="Give a box with low < high."
            )
        self._reserve = reserve
        self._options = options
        self._ground = Ground(box, options.separation * box.width, options.reach)
        self._seed = seed
        self._steps = 0
        self._last = 0.0
        self._climbers = self._drawn(options.pairs)
        self._measured: _Measured | None = None

    @property
    def pairs(self) -> Pairs:
        """All pairs where they are at this moment."""
        return Pairs(*self._shaped(ends(self._climbers, self._ground)).chunk(2))

    @property
    def separation(self) -> float:
        """Distance of the ends of each pair, L2, input units."""
        return self._ground.separation

    @property
    def steepest(self) -> float:
        """The best quotient of all pairs, each when it was last measured; -1 before."""
        return float(self._climbers.steepness.max())

    def value(
        self,
        model: nn.Module,
        moment: Moment,  # noqa: ARG002 - the protocol's
    ) -> Tensor:
        """``()``; its gradient by parameters and pairs is that of ``every`` steps.

        Raises:
            UnsoundModelError: an output is NaN or infinite.
        """
        if self._steps % self._options.every:
            return self._reserve.new_tensor(self._last)
        self._measured = self._measure(model)
        penalty = self._measured.penalty
        return penalty.detach() + self._options.every * (penalty - penalty.detach())

    def after_backward(self, model: nn.Module, weight: float) -> None:
        """The pairs climb where it is their turn.

        With a weight of 0 they climb by a gradient of their own, which no parameter
        takes part in and which is cheaper than a step.

        Raises:
            UnsoundModelError: an output is NaN or infinite.
            UsageError: the value was not differentiated.
        """
        climbs, waits = divmod(self._steps, self._options.every)
        self._steps += 1
        if waits:
            return
        measured = self._measured or self._measure(model)
        if weight == 0.0 or self._measured is None:
            total = measured.steepness.sum()
            (uphill,) = torch.autograd.grad(total, measured.ends)
        else:
            uphill = _left(measured, weight * self._options.every)
        self._measured = None
        self._climbers = climbed(
            self._climbers, measured.steepness.detach(), uphill.flatten(1), self._ground
        )
        if (climbs + 1) % self._options.renewal == 0:
            fresh = self._drawn(len(self._climbers) // 2)
            self._climbers = renewed(self._climbers, fresh)

    def state(self) -> State:
        """The pairs, how many steps they saw, and the last value."""
        tensors = self._climbers.tensors()
        copies = {name: tensor.clone() for name, tensor in tensors.items()}
        return {"steps": self._steps, "last": self._last, "climbers": copies}

    def restore(self, state: State) -> None:
        """Go on from a ``state``."""
        self._steps = int(state["steps"])
        self._last = float(state["last"])
        self._climbers = moved_to(Climbers(**state["climbers"]), self._reserve)
        self._measured = None

    def _drawn(self, count: int) -> Climbers:
        generator = drawn_from(self._seed, _PURPOSE, self._steps)
        inputs = sampled(self._reserve, count, generator)
        return climbers_at(inputs, self._ground, generator)

    def _shaped(self, flat: Tensor) -> Tensor:
        return flat.reshape(-1, *self._reserve.shape[1:])

    def _measure(self, model: nn.Module) -> _Measured:
        leaves = self._shaped(ends(self._climbers, self._ground)).requires_grad_()
        steepness = movements(model, leaves) / self._ground.separation
        shares = _shares(steepness.detach(), self._options.sharpness)
        measured = _Measured(leaves, steepness, shares)
        self._last = float(measured.penalty.detach())
        return measured


def _left(measured: _Measured, weight: float) -> Tensor:
    """Gradients of the quotients by the ends, from the step's backward pass.

    Without the division, a small weight's gradients would have squares of 0.
    """
    left = measured.ends.grad
    if left is None:
        raise UsageError(
            "the penalty's value was not differentiated",
            remedy="Differentiate fit + weight * value before after_backward.",
        )
    return left / rows_like((weight * measured.shares).repeat(2), left)


def _shares(steepness: Tensor, sharpness: float) -> Tensor:
    """Softmax of the quotients relative to the largest: blind to their scale."""
    tiny = torch.finfo(steepness.dtype).tiny
    relative = steepness / steepness.max().clamp(min=tiny)
    return torch.softmax(sharpness * relative, dim=0)
