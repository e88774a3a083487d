"""The loop of every trainer: a fit and a weighted penalty, one backward pass a step.

Reference:
    Bungert, Raab, Roith, Schwinn, Tenbrinck. CLIP: Cheap Lipschitz Training of Neural
        Networks. SSVM 2021, arXiv 2103.12531, Algorithm 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from robustcert.attacks.quarantine import isolated_generators
from robustcert.errors import UsageError
from robustcert.results.progress import Listener, unheard
from robustcert.train.checkpoint import Checkpoint, Snapshot, mark_of
from robustcert.train.course import Course, course_of
from robustcert.train.feed import Extra
from robustcert.train.interface import (
    Epoch,
    Plan,
    Trainer,
    TrainingData,
    drawn_from,
)
from robustcert.train.selection import Best, Candidate, Selection, better, latest

_NOISE = 6


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What a training made.

    Attributes:
        model: the one that was given, with the best epoch's parameters, in eval mode.
        epochs: one line each.
        best: the epoch whose parameters these are.
    """

    model: nn.Module
    epochs: tuple[Epoch, ...]
    best: int


def train(
    model: nn.Module,
    data: TrainingData,
    trainer: Trainer,
    plan: Plan,
    *,
    listener: Listener = unheard,
    checkpoint: Checkpoint | None = None,
    selection: Selection = latest,
    extra: Extra | None = None,
) -> Trained:
    """Train ``model`` in place, from the parameters it has, on the device it is on.

    The same arguments give the same parameters; on a GPU as far as its kernels sum in
    a fixed order. Global generators are left as they were; a model that draws from
    them, as dropout does, is given ones of its own.

    Args:
        model: maps ``(B, *shape)`` to ``(B, K)``.
        data: moved to the model's device and dtype.
        trainer: prepared for this model and data.
        plan: how long and how fast.
        listener: told of steps.
        checkpoint: written after each epoch; where its file is there already, the
            training goes on behind it.
        selection: which epoch's parameters come back.
        extra: examples that fill a share of each batch.

    Raises:
        UsageError: the plan cannot be followed, nothing can be trained, or the
            checkpoint belongs to another training.
        SamplesError: extra examples are of another kind.
        UnsoundModelError: the loss or a parameter is no longer finite.
    """
    _check(plan)
    course = course_of(model, data, trainer, plan, extra)
    mark = {} if checkpoint is None else mark_of(model, data, plan, extra)
    found = None if checkpoint is None else checkpoint.read(mark)
    epochs, best = _resumed(course, found)
    for number in range(len(epochs), plan.epochs):
        seed = drawn_from(plan.seed, _NOISE, number).initial_seed()
        with isolated_generators(seed):
            epoch = course.epoch(number, listener)
            candidate = Candidate(model.eval(), course.validation, trainer.fit, epoch)
            best = better(best, candidate, selection)
        epochs = (*epochs, epoch)
        if checkpoint is not None:
            checkpoint.write(course.snapshot(epochs, best), mark)
    if best is not None:
        model.load_state_dict(best.parameters)
    return Trained(model.eval(), epochs, -1 if best is None else best.number)


def _resumed(
    course: Course, found: Snapshot | None
) -> tuple[tuple[Epoch, ...], Best | None]:
    if found is None:
        return (), None
    course.restore(found)
    return found.epochs, found.best


def _check(plan: Plan) -> None:
    if plan.epochs < 1 or plan.batch < 1 or plan.seed < 0:
        raise UsageError(
            f"a plan of {plan.epochs} epochs in batches of {plan.batch} with seed "
            f"{plan.seed} cannot be followed",
            remedy="Give at least one epoch, one example a batch and a seed >= 0.",
        )
    if not 0.0 < plan.rate < math.inf:
        raise UsageError(
            f"{plan.rate} is no rate", remedy="Give a finite rate above 0."
        )
