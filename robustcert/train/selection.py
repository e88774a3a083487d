"""Which epoch's parameters a training returns.

Clean validation accuracy suits trainers that do the same from the first step to the
last. Where a penalty or an epsilon grows, it would return an early epoch that was not
yet made robust: there the latest epoch stands, or one's own measure of robustness.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustcert.errors import UnknownNameError
from robustcert.train.interface import Batch, Epoch, Fit, Moment

ROWS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A model at the end of an epoch, in eval mode.

    Attributes:
        model: as it stands now.
        validation: the part that is neither fitted nor paired; may be empty.
        fit: of the trainer.
        epoch: the line of the record.
    """

    model: nn.Module
    validation: Batch
    fit: Fit
    epoch: Epoch


Selection = Callable[[Candidate], float]
"""How good a candidate is; higher is better, NaN says nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Best:
    """The best candidate so far.

    Attributes:
        number: of its epoch.
        score: what the selection said.
        parameters: the model's state then.
    """

    number: int
    score: float
    parameters: dict[str, Tensor]


def latest(candidate: Candidate) -> float:
    """Later is better."""
    return float(candidate.epoch.number)


def validation(candidate: Candidate) -> float:
    """Accuracy on the validation part, or minus the mean squared error."""
    return candidate.epoch.validation


def objective(candidate: Candidate) -> float:
    """Minus the trainer's own fit on the validation part, as at the last step.

    For adversarial, margin and interval trainers this measures robustness, with their
    full epsilon.
    """
    # A moment of one step: ramps have ended, and draws are the same every time.
    end = Moment(candidate.epoch.number, 1, 1)
    total, examples = 0.0, candidate.validation
    for start in range(0, len(examples), ROWS_AT_ONCE):
        batch = examples.rows(slice(start, start + ROWS_AT_ONCE))
        loss = candidate.fit(candidate.model, batch, end).loss
        total += float(loss.detach()) * len(batch)
    return -total / len(examples) if len(examples) > 0 else math.nan


SELECTIONS: dict[str, Selection] = {
    "latest": latest,
    "validation": validation,
    "objective": objective,
}


def selection_named(name: str) -> Selection:
    """The selection called ``name``.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in SELECTIONS:
        raise UnknownNameError(
            f"no selection is called {name!r}; there are {', '.join(SELECTIONS)}"
        )
    return SELECTIONS[name]


def better(best: Best | None, candidate: Candidate, selection: Selection) -> Best:
    """The better of the two; of equal ones the later."""
    score = selection(candidate)
    if best is not None and not (score >= best.score or math.isnan(best.score)):
        return best
    parameters = copy.deepcopy(candidate.model.state_dict())
    return Best(candidate.epoch.number, score, parameters)


def validation_score(model: nn.Module, examples: Batch) -> float:
    """Accuracy, or minus the mean squared error of values; NaN of no examples.

    Args:
        model: in eval mode.
        examples: on its device.
    """
    if len(examples) == 0:
        return math.nan
    with torch.no_grad():
        parts = torch.split(examples.inputs, ROWS_AT_ONCE)
        outputs = torch.cat([model(inputs) for inputs in parts])
    if examples.targets.is_floating_point():
        return -float((outputs - examples.targets).square().mean())
    return float((outputs.argmax(1) == examples.targets).double().mean())
