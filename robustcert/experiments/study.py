"""Several ways to train one net, each with several seeds, all measured alike.

Every trained net is on the disk with its outcome before the next one begins; a study
that was ended goes on where it stood, and so may two that share a folder and have
different seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from robustcert.experiments.arms import Arm
from robustcert.experiments.judging import Measures, measured
from robustcert.experiments.outcome import EpochLine, Outcome, Place
from robustcert.experiments.sources import Source
from robustcert.results.progress import Listener, Progress, unheard
from robustcert.train.checkpoint import Checkpoint
from robustcert.train.data import output_count
from robustcert.train.export import save_model
from robustcert.train.interface import Batch, Epoch, Plan, TrainingData, drawn_from
from robustcert.train.loop import Trained, train
from robustcert.train.nets import net_named
from robustcert.train.selection import Selection

CPU = torch.device("cpu")
NET = 3
"""Purpose of the generator that draws the first parameters, as everywhere."""

Parts = Callable[[Source, int], TrainingData]
"""Deals a source's training examples out, by seed."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which epoch's parameters are kept.

    Attributes:
        name: for the record.
        selection: the higher, the better.
    """

    name: str
    selection: Selection


@dataclass(frozen=True, slots=True)
class Study:
    """One table's worth of trainings.

    Attributes:
        name: of its files.
        title: one line for people.
        notes: what a reader must know.
        net: a name of :func:`robustcert.train.nets.net_named`.
        plan: of every training; the seed is replaced, and where an arm says so the
            epochs.
        arms: lines of the table.
        parts: what is fitted, paired and selected by.
        choice: which epoch is kept.
        measures: what is measured.
    """

    name: str
    title: str
    notes: tuple[str, ...]
    net: str
    plan: Plan
    arms: tuple[Arm, ...]
    parts: Parts
    choice: Choice
    measures: Measures

    def plan_of(self, arm: Arm, seed: int) -> Plan:
        """Of one training."""
        epochs = self.plan.epochs if arm.epochs is None else arm.epochs
        return replace(self.plan, epochs=epochs, seed=seed)


def run_study(
    study: Study,
    source: Source,
    seeds: Sequence[int],
    folder: Path,
    listener: Listener = unheard,
    device: torch.device = CPU,
) -> tuple[Outcome, ...]:
    """Every arm with every seed; those that are on the disk are read from there.

    Args:
        study: what to do.
        source: the examples.
        seeds: of the trainings.
        folder: keeps nets and outcomes.
        listener: told of every step.
        device: that nets are trained on; what is measured is measured on the CPU.

    Raises:
        RobustCertError: a training or a measurement fails.
    """
    found: list[Outcome] = []
    jobs = [(seed, arm) for seed in seeds for arm in study.arms]
    for number, (seed, arm) in enumerate(jobs):
        heard = f"{arm.name}, seed {seed}"
        listener(Progress(study.name, number, len(jobs), heard))
        work = _Work(study, arm, source, seed, folder, device)
        found.append(_outcome(work, listener))
    listener(Progress(study.name, len(jobs), len(jobs)))
    return tuple(found)


def kept_outcomes(
    study: Study, source: Source, seeds: Sequence[int], folder: Path
) -> tuple[Outcome, ...]:
    """Those outcomes of a study that are on the disk."""
    places = (_place(study, a, source, s, folder) for s in seeds for a in study.arms)
    kept = (place.find() for place in places)
    return tuple(outcome for outcome in kept if outcome is not None)


def limited(study: Study, count: int | None) -> Study:
    """The study, measured on at most ``count`` test examples."""
    if count is None:
        return study
    return replace(study, measures=study.measures.limited(count))


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """One training of a study, and where it is done."""

    study: Study
    arm: Arm
    source: Source
    seed: int
    folder: Path
    device: torch.device

    @property
    def place(self) -> Place:
        return _place(self.study, self.arm, self.source, self.seed, self.folder)


def _outcome(work: _Work, listener: Listener) -> Outcome:
    kept = work.place.find()
    if kept is not None:
        return kept
    outcome = _computed(work, listener)
    work.place.keep(outcome)
    return outcome


def _computed(work: _Work, listener: Listener) -> Outcome:
    """Train, write the net, measure the file."""
    study, place = work.study, work.place
    data = study.parts(work.source, work.seed)
    trained = _trained(work, data, listener)
    shape = tuple(data.training.inputs.shape[1:])
    saved = save_model(trained.model, shape, place.model)
    figures = measured(
        saved.path, data.training, work.source, study.measures, place.shards
    )
    return Outcome(
        arm=work.arm.name,
        seed=work.seed,
        model=str(place.model.relative_to(work.folder)),
        sha256=saved.sha256,
        epoch=trained.best,
        weight=trained.epochs[trained.best].weight,
        step_seconds=_step_seconds(trained.epochs, data.training, study.plan),
        epochs=tuple(_line(epoch) for epoch in trained.epochs),
        **figures,
    )


def _trained(work: _Work, data: TrainingData, listener: Listener) -> Trained:
    study = work.study
    plan = study.plan_of(work.arm, work.seed)
    model = _net(study, data, work.seed).to(work.device)
    about = {"arm": work.arm.name, "selection": study.choice.name}
    return train(
        model,
        data,
        work.arm.prepare(model, data, plan),
        plan,
        listener=listener,
        checkpoint=Checkpoint(work.place.checkpoint, about),
        selection=study.choice.selection,
    )


def _net(study: Study, data: TrainingData, seed: int) -> nn.Module:
    shape = tuple(data.training.inputs.shape[1:])
    generator = drawn_from(seed, NET)
    return net_named(study.net, shape, output_count(data), generator)


def _place(study: Study, arm: Arm, source: Source, seed: int, folder: Path) -> Place:
    recipe = {
        "study": study.name,
        "net": study.net,
        "plan": asdict(study.plan_of(arm, seed)),
        "arm": arm.name,
        "recipe": arm.words,
        "parts": study.parts.__name__,
        "choice": study.choice.name,
        "measures": study.measures.words,
        "data": source.sha256,
    }
    return Place(folder, f"{study.name}-{arm.name}-{seed}", recipe)


def _step_seconds(epochs: Sequence[Epoch], training: Batch, plan: Plan) -> float:
    steps = math.ceil(len(training) / plan.batch)
    return sum(epoch.seconds for epoch in epochs) / (len(epochs) * steps)


def _line(epoch: Epoch) -> EpochLine:
    return EpochLine(
        epoch.number,
        _number(epoch.loss),
        _number(epoch.accuracy),
        _number(epoch.penalty),
        epoch.weight,
        _number(epoch.validation),
        epoch.seconds,
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
