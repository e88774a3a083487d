"""A training under way: its steps, its epochs, and what a checkpoint keeps of it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn, optim

from robustcert.errors import UnsoundModelError, UsageError
from robustcert.results.progress import Listener, Progress
from robustcert.train.checkpoint import Snapshot, Stateful
from robustcert.train.data import check_alike
from robustcert.train.feed import Extra, Feed
from robustcert.train.interface import (
    Batch,
    Epoch,
    Moment,
    Observed,
    Plan,
    Trainer,
    TrainingData,
)
from robustcert.train.optimisers import Schedule, optimiser_named, schedule_named
from robustcert.train.selection import Best, validation_score
from robustcert.train.tally import Account, account

STAGE = "training"
REPORTS = 20
"""Times an epoch that a listener is told."""


@dataclass(slots=True, eq=False)
class Course:
    """Everything that a training moves.

    Attributes:
        model: trained in place.
        feed: of batches, on the model's device.
        validation: on the model's device.
        trainer: fit, penalty and weight.
        plan: how long and how fast.
        optimiser: of the model's parameters.
        schedule: of its rate.
    """

    model: nn.Module
    feed: Feed
    validation: Batch
    trainer: Trainer
    plan: Plan
    optimiser: optim.Optimizer
    schedule: Schedule

    def epoch(self, number: int, listener: Listener) -> Epoch:
        """One pass over the training part."""
        started, total = time.process_time(), self.plan.epochs * self.feed.steps
        stride = max(1, self.feed.steps // REPORTS)
        sums, penalty, weight = None, None, self.trainer.weight.value
        self.model.train()
        for index, batch in enumerate(self.feed.epoch(number)):
            moment = Moment(number, number * self.feed.steps + index, total)
            weight = self.trainer.weight.value
            seen, value = self.step(batch, moment)
            sums = seen if sums is None else sums.plus(seen)
            penalty = penalty if value is None else value
            if index % stride == 0:
                listener(Progress(STAGE, moment.step, total))
        if sums is None:  # an empty training part is refused where data are made
            raise UsageError("there are no training examples")
        observed = sums.observed(penalty)
        _check_finite(self.model, observed, number)
        self.trainer.weight.after_epoch(observed)
        epoch = self._line(number, observed, weight, started)
        listener(Progress(STAGE, (number + 1) * self.feed.steps, total, _note(epoch)))
        return epoch

    def step(self, batch: Batch, moment: Moment) -> tuple[Account, Tensor | None]:
        """Move the parameters once; the batch's account and the penalty's value."""
        trainer, model = self.trainer, self.model
        weight = trainer.weight.value
        fitted = trainer.fit(model, batch, moment)
        loss, value = fitted.loss, None
        if trainer.penalty is not None and weight > 0.0:
            value = trainer.penalty.value(model, moment)
            loss = loss + weight * value
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if trainer.penalty is not None:
            trainer.penalty.after_backward(model, weight)
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.rate * self.schedule(moment.done)
        self.optimiser.step()
        value = None if value is None else value.detach()
        seen = account(fitted, batch.targets)
        if trainer.penalty is not None:
            trainer.weight.after_step(seen.observed(value))
        return seen, value

    def snapshot(self, epochs: tuple[Epoch, ...], best: Best) -> Snapshot:
        """What a checkpoint keeps."""
        return Snapshot(
            epochs,
            best,
            self.model.state_dict(),
            self.optimiser.state_dict(),
            {name: part.state() for name, part in _stateful(self.trainer).items()},
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go on behind a snapshot."""
        self.model.load_state_dict(snapshot.model)
        self.optimiser.load_state_dict(snapshot.optimiser)
        for name, part in _stateful(self.trainer).items():
            part.restore(snapshot.parts[name])

    def _line(
        self, number: int, observed: Observed, weight: float, started: float
    ) -> Epoch:
        self.model.eval()
        score = validation_score(self.model, self.validation)
        return Epoch(
            number,
            loss=observed.loss,
            accuracy=observed.accuracy,
            penalty=observed.penalty,
            weight=weight,
            validation=score,
            seconds=time.process_time() - started,
        )


def course_of(
    model: nn.Module,
    data: TrainingData,
    trainer: Trainer,
    plan: Plan,
    extra: Extra | None,
) -> Course:
    """A training at its start, with examples where the model is.

    Raises:
        UsageError: nothing can be trained.
        UnknownNameError: no optimiser or schedule has the plan's name.
        SamplesError: extra examples are of another kind.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise UsageError(
            "the model has no parameters to train",
            remedy="Give a model whose parameters require gradients.",
        )
    like = parameters[0]
    if extra is not None:
        check_alike(extra.examples, data)
        extra = Extra(_beside(extra.examples, like), extra.share)
    return Course(
        model,
        Feed(_beside(data.training, like), plan.batch, plan.seed, extra),
        _beside(data.validation, like),
        trainer,
        plan,
        optimiser_named(plan.optimiser, parameters, plan.rate),
        schedule_named(plan.schedule),
    )


def _stateful(trainer: Trainer) -> dict[str, Stateful]:
    """The trainer's parts that have a state."""
    parts = {"fit": trainer.fit, "penalty": trainer.penalty, "weight": trainer.weight}
    return {name: part for name, part in parts.items() if isinstance(part, Stateful)}


def _beside(batch: Batch, like: Tensor) -> Batch:
    """The examples on the device of the parameters, floating ones in their dtype."""
    values = batch.targets.is_floating_point()
    targets = batch.targets.to(like) if values else batch.targets.to(like.device)
    return Batch(batch.inputs.to(like), targets)


def _check_finite(model: nn.Module, observed: Observed, number: int) -> None:
    whole = torch.stack([p.detach().isfinite().all() for p in model.parameters()])
    if not (math.isfinite(observed.loss) and bool(whole.all())):
        raise UnsoundModelError(
            f"the training diverged: in epoch {number} the loss is {observed.loss:g} "
            f"and the parameters are {'finite' if bool(whole.all()) else 'not finite'}",
            remedy="Lower the rate or the weight of the penalty.",
        )


def _note(epoch: Epoch) -> str:
    """The line of an epoch, for a progress display."""
    return (
        f"epoch {epoch.number + 1}: loss {epoch.loss:.4f}, "
        f"accuracy {epoch.accuracy:.4f}, validation {epoch.validation:.4f}"
    )
