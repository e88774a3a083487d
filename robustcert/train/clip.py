"""CLIP as published: the steepest of a finite set of pairs is penalised."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from robustcert.errors import UsageError
from robustcert.results.threat_model import Box
from robustcert.tensors import clip_to_box
from robustcert.train.interface import Moment, State, drawn_from
from robustcert.train.pairs import Pairs, noisy_pairs, quotients, sampled

_PURPOSE = 20  # of the random numbers that draw pairs


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """The pairs of CLIP.

    Attributes:
        pairs: in X_Lip.
        noise: standard deviation between the two ends at first, input units.
        tau: step size of the ascent.

    Raises:
        UsageError: a number is out of its range.
    """

    pairs: int = 64
    noise: float = 0.1
    tau: float = 0.01

    def __post_init__(self) -> None:
        """Refuse pairs that cannot be drawn or moved."""
        if self.pairs < 1:
            raise UsageError(
                f"{self.pairs} pairs are asked for", remedy="Ask for at least one."
            )
        if not (math.isfinite(self.noise) and self.noise > 0.0):
            raise UsageError(
                f"the noise {self.noise} leaves no distance between the ends",
                remedy="Give a finite standard deviation above 0.",
            )
        if not (math.isfinite(self.tau) and self.tau >= 0.0):
            raise UsageError(
                f"the step size {self.tau} is not a finite number of at least 0",
                remedy="Give a tau such as 0.01.",
            )


class Clip:
    """``Lip(f, X_Lip)``: the largest quotient of the pairs, as in the paper.

    At the start of each epoch the pairs are drawn anew: reserved inputs and noisy
    copies of them. In each step every pair climbs by ``x + tau L grad L`` and the
    steepest one is penalised. This is the published method, kept for comparison: its
    step depends on the scale of the model, and pairs forget what they found.
    :class:`robustcert.train.clip_plus.ClipPlus` is the better penalty.

    Two things that the paper leaves open are settled here: the pairs are clipped to
    the box, outside of which no input lies, and they climb after the step that
    penalises them, which costs no forward pass of its own. Parameters take no part in
    the climb; only the steepest pair is differentiated by them. While the weight
    is 0, pairs rest: those of the next epoch know nothing of them.

    The model's outputs must depend on one input each, as without batch normalisation.

    Reference:
        Bungert, Raab, Roith, Schwinn, Tenbrinck. CLIP: Cheap Lipschitz Training of
            Neural Networks. SSVM 2021, arXiv 2103.12531, equation (5) and
            Algorithms 1 and 2.
    """

    def __init__(
        self, reserve: Tensor, box: Box, options: ClipOptions, seed: int
    ) -> None:
        """Draw the pairs of the first epoch.

        Args:
            reserve: ``(N, *shape)``, inputs that are not fitted, on the model's device.
            box: of the inputs.
            options: of the pairs.
            seed: of the draws.

        Raises:
            SamplesError: nothing is reserved.
        """
        self._reserve = reserve
        self._box = box
        self._options = options
        self._seed = seed
        self._epoch = 0
        self._pairs = self._drawn(0)
        self._measured: tuple[Tensor, Tensor] | None = None

    @property
    def pairs(self) -> Pairs:
        """X_Lip at this moment."""
        return self._pairs

    def value(self, model: nn.Module, moment: Moment) -> Tensor:
        """``()``: the largest quotient, differentiable by the parameters.

        Raises:
            UnsoundModelError: an output is NaN or infinite.
        """
        if moment.epoch != self._epoch:
            self._epoch = moment.epoch
            self._pairs = self._drawn(moment.epoch)
        self._measured = self._measure(model)
        steepest = self._pairs.row(self._measured[1].detach().argmax())
        return quotients(model, steepest.joined(), self._box)[0]

    def after_backward(
        self,
        model: nn.Module,  # noqa: ARG002 - the protocol's
        weight: float,  # noqa: ARG002 - the protocol's
    ) -> None:
        """Every pair climbs (Algorithm 1) where there was a value, however weighted."""
        if self._measured is None:
            return
        ends, steepness = self._measured
        self._measured = None
        # L grad L is the gradient of L^2 / 2.
        (uphill,) = torch.autograd.grad(steepness.square().sum() / 2.0, ends)
        moved = clip_to_box(ends.detach() + self._options.tau * uphill, self._box)
        self._pairs = Pairs(*moved.chunk(2))

    def state(self) -> State:
        """The pairs and the epoch they were drawn in."""
        return {
            "epoch": self._epoch,
            "first": self._pairs.first.clone(),
            "second": self._pairs.second.clone(),
        }

    def restore(self, state: State) -> None:
        """Go on from a ``state``."""
        self._epoch = int(state["epoch"])
        self._pairs = Pairs(
            state["first"].to(self._reserve), state["second"].to(self._reserve)
        )
        self._measured = None

    def _drawn(self, epoch: int) -> Pairs:
        generator = drawn_from(self._seed, _PURPOSE, epoch)
        inputs = sampled(self._reserve, self._options.pairs, generator)
        return noisy_pairs(inputs, self._box, self._options.noise, generator)

    def _measure(self, model: nn.Module) -> tuple[Tensor, Tensor]:
        """The ends as leaves, and all quotients, differentiable by the ends only."""
        frozen = {name: kept.detach() for name, kept in model.named_parameters()}
        ends = self._pairs.joined().requires_grad_()

        def outputs(inputs: Tensor) -> Tensor:
            answered: Tensor = functional_call(model, frozen, (inputs,))
            return answered

        return ends, quotients(outputs, ends, self._box)
