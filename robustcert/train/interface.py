"""What training is made of: a fit, a penalty, and the penalty's weight.

A step minimises ``fit + weight * penalty``. The sum is differentiated once; that one
backward pass gives the gradient of the parameters and, for penalties that keep pairs
of inputs, the direction in which these pairs climb.

Reference:
    Bungert, Raab, Roith, Schwinn, Tenbrinck. CLIP: Cheap Lipschitz Training of Neural
        Networks. SSVM 2021, arXiv 2103.12531, equation (2) and Algorithm 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from robustcert.errors import SamplesError
from robustcert.results.threat_model import Box

State = Mapping[str, Any]
"""Tensors and numbers that ``torch.load(weights_only=True)`` reads back."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B training examples.

    Attributes:
        inputs: ``(B, *shape)`` float32, in the box.
        targets: ``(B,)`` int64 labels, or ``(B, K)`` float32 values.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.inputs)

    def rows(self, chosen: Tensor | slice) -> Batch:
        """Some of the examples."""
        return Batch(self.inputs[chosen], self.targets[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Examples in three parts that share none, and where inputs live.

    Attributes:
        training: what the fit sees.
        reserve: held back for pairs, X_Lip of the paper; never fitted.
        validation: what a checkpoint is selected by; neither fitted nor paired.
        box: of the inputs.
        name: for the record.
    """

    training: Batch
    reserve: Batch
    validation: Batch
    box: Box
    name: str

    def __post_init__(self) -> None:
        """Refuse an empty training part."""
        if len(self.training) == 0:
            raise SamplesError("there are no training examples")


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """How well a model fits one batch.

    Attributes:
        loss: ``()``, to be differentiated.
        outputs: ``(B, K)`` of the model at the batch's own inputs.
    """

    loss: Tensor
    outputs: Tensor


@dataclass(frozen=True, slots=True)
class Moment:
    """Where in the training a step stands.

    Attributes:
        epoch: counted from 0.
        step: since the start of training.
        steps: in all.
    """

    epoch: int
    step: int
    steps: int

    @property
    def done(self) -> float:
        """Share of the training that lies behind, in [0, 1)."""
        return self.step / self.steps


class Fit(Protocol):
    """The first term: how badly the model does on a batch."""

    def __call__(self, model: nn.Module, batch: Batch, moment: Moment) -> Fitted:
        """The loss, to be differentiated by the parameters."""
        ...


class Penalty(Protocol):
    """The second term, with a state of its own: pairs, iterates of norms.

    The loop calls ``value`` once a step, differentiates ``fit + weight * value`` and
    calls ``after_backward`` before the optimiser moves the parameters.
    """

    def value(self, model: nn.Module, moment: Moment) -> Tensor:
        """``()``, to be differentiated by the parameters."""
        ...

    def after_backward(self, model: nn.Module, weight: float) -> None:
        """Use what the backward pass left: gradients times ``weight``."""
        ...

    def state(self) -> State:
        """What ``restore`` needs to go on with the same numbers."""
        ...

    def restore(self, state: State) -> None:
        """Go on from a ``state``."""
        ...


@dataclass(frozen=True, slots=True)
class Observed:
    """What a weight is adapted to, of the steps since it was last asked.

    Attributes:
        accuracy: on the training examples seen; NaN for a regression.
        loss: mean fit loss of them.
        penalty: the last value of the penalty.
    """

    accuracy: float
    loss: float
    penalty: float


class Weight(Protocol):
    """lambda: how much the penalty counts. Never below 0."""

    @property
    def value(self) -> float:
        """At this moment; 0 leaves the penalty out of the step."""
        ...

    def after_step(self, observed: Observed) -> None:
        """Told after each step."""
        ...

    def after_epoch(self, observed: Observed) -> None:
        """Told after each epoch."""
        ...

    def state(self) -> State:
        """What ``restore`` needs."""
        ...

    def restore(self, state: State) -> None:
        """Go on from a ``state``."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast.

    Attributes:
        epochs: passes over the training part.
        batch: examples a step.
        rate: of the optimiser.
        optimiser: a row of :data:`robustcert.train.optimisers.OPTIMISERS`.
        schedule: a row of :data:`robustcert.train.optimisers.SCHEDULES`.
        seed: of everything that is drawn: initial parameters, order, pairs.
    """

    epochs: int = 10
    batch: int = 128
    rate: float = 1e-3
    optimiser: str = "adam"
    schedule: str = "constant"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Epoch:
    """One line of a training's record.

    Attributes:
        number: counted from 0.
        loss: mean fit loss.
        accuracy: on the training examples as they were seen; NaN for a regression.
        penalty: the last value; NaN without a penalty or where its weight is 0.
        weight: lambda during the last step.
        validation: accuracy, or minus the loss for a regression, on the validation
            part; NaN where that is empty.
        seconds: of the process.
    """

    number: int
    loss: float
    accuracy: float
    penalty: float
    weight: float
    validation: float
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Trainer:
    """A fit, a penalty and its weight: one way to train.

    Attributes:
        fit: of every step.
        penalty: ``None`` leaves only the fit.
        weight: of the penalty.
    """

    fit: Fit
    penalty: Penalty | None
    weight: Weight


def drawn_from(seed: int, *purpose: int) -> torch.Generator:
    """A generator on the CPU for one purpose, independent of those for others."""
    mixed = seed
    for number in purpose:
        mixed = (mixed * 1_000_003 + number + 1) % 2**63
    return torch.Generator().manual_seed(mixed)
