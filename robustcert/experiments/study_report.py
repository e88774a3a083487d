"""A study, shown: tables with spread over seeds, a figure, and all of it as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from robustcert.evaluation.provenance import versions
from robustcert.experiments.arms import Published
from robustcert.experiments.outcome import Outcome
from robustcert.experiments.page import Page
from robustcert.experiments.sources import Source
from robustcert.experiments.study import Study
from robustcert.experiments.study_figure import by_arm, trade_off
from robustcert.experiments.table import (
    NONE,
    Table,
    averages,
    bracket,
    percentages,
)
from robustcert.results.numbers import exact

SCHEMA = "robustcert/study/v1"
Measured = Callable[[Outcome], float]
Figures = Callable[[Published], float]


def study_page(study: Study, source: Source, outcomes: Sequence[Outcome]) -> Page:
    """Everything that a study shows of the outcomes that there are.

    Args:
        study: what was done.
        source: with which examples.
        outcomes: at least one; an arm without any is left out.
    """
    tables = [robustness(study, outcomes), cost(study, outcomes)]
    if any(arm.published is not None for arm in study.arms):
        tables.insert(0, beside_paper(study, outcomes))
    return Page(
        study.name,
        study.title,
        (*source.notes, *study.notes, _extent(study, source, outcomes)),
        (trade_off(study, outcomes),),
        tuple(tables),
        document(study, source, outcomes),
    )


def beside_paper(study: Study, outcomes: Sequence[Outcome]) -> Table:
    """The paper's columns, with its own figures in brackets."""
    columns: tuple[tuple[str, Measured, Figures], ...] = (
        ("train", lambda one: one.train, lambda paper: paper.train),
        ("test", lambda one: one.test, lambda paper: paper.test),
        ("noise", lambda one: one.noise, lambda paper: paper.noise),
        ("paper's attack", lambda one: one.attack, lambda paper: paper.attack),
    )
    rows = []
    for arm, own in by_arm(study, outcomes):
        cells = [
            _with_paper(percentages([of(one) for one in own]), arm.published, said)
            for _, of, said in columns
        ]
        weights = averages([one.weight for one in own], 2)
        weight = None if arm.published is None else arm.published.weight
        rows.append(
            (arm.name, *cells, weights if weight is None else f"{weights} ({weight:g})")
        )
    return Table(
        "Accuracies in percent; in brackets those of the paper. Noise: Gaussian, "
        "standard deviation 1. Paper's attack: L2, epsilon 2, for comparison only. "
        "Last column: final weight of the penalty.",
        ("", *(heading for heading, _, _ in columns), "mu or lambda"),
        tuple(rows),
    )


def robustness(study: Study, outcomes: Sequence[Outcome]) -> Table:
    """Both sides of robust accuracy and of the Lipschitz constant."""
    epsilons = outcomes[0].epsilons
    rows = [
        (
            arm.name,
            percentages([one.test for one in own]),
            percentages([one.noise for one in own]),
            percentages([one.clean for one in own]),
            *(percentages([one.robust_at(e) for one in own]) for e in epsilons),
            *(percentages([one.certified_at(e) for one in own]) for e in epsilons),
            *_lipschitz_cells(own),
        )
        for arm, own in by_arm(study, outcomes)
    ]
    return Table(
        "Accuracies in percent. Test and noise (Gaussian, standard deviation 1): of "
        "all test images. Clean, robust (under the standard tier's attacks, the truth "
        "is at most this) and certified (the truth is at least this): of the first "
        f"{outcomes[0].samples} test images, in L2. Lipschitz: proved from "
        "both sides, the widest of all seeds. Margin / Lip: median margin over the "
        "upper bound, in input units.",
        (
            "",
            "test",
            "noise",
            "clean",
            *(f"robust {exact(epsilon)}" for epsilon in epsilons),
            *(f"certified {exact(epsilon)}" for epsilon in epsilons),
            "Lipschitz",
            "product",
            "margin / Lip",
        ),
        tuple(rows),
    )


def cost(study: Study, outcomes: Sequence[Outcome]) -> Table:
    """Time, epochs, and what the evaluations say about themselves."""
    plain = _mean_seconds([one for one in outcomes if one.arm == study.arms[0].name])
    rows = []
    for arm, own in by_arm(study, outcomes):
        seconds = _mean_seconds(own)
        ratio = f"{seconds / plain:.2f}" if plain and seconds else NONE
        found = sorted({finding for one in own for finding in one.findings})
        rows.append(
            (
                arm.name,
                averages([1000 * one.step_seconds for one in own]),
                ratio,
                str(study.plan_of(arm, 0).epochs),
                averages([one.training_seconds for one in own]),
                ", ".join(str(one.epoch + 1) for one in own),
                ", ".join(str(one.seed) for one in own),
                ", ".join(found) or "none",
            )
        )
    return Table(
        "Processor time of a step, and of a whole training; ratios mean something only "
        "between nets that were trained on the same machine.",
        (
            "",
            "ms a step",
            "to the first",
            "epochs",
            "training, s",
            "epoch kept",
            "seeds",
            "warnings",
        ),
        tuple(rows),
    )


def document(
    study: Study, source: Source, outcomes: Sequence[Outcome]
) -> dict[str, Any]:
    """All outcomes as JSON, with what they depend on."""
    return {
        "schema": SCHEMA,
        "study": study.name,
        "title": study.title,
        "data": {"name": source.name, "sha256": source.sha256},
        "net": study.net,
        "plan": asdict(study.plan),
        "selection": study.choice.name,
        "measures": study.measures.words,
        "arms": {arm.name: arm.words for arm in study.arms},
        "epochs": {arm.name: study.plan_of(arm, 0).epochs for arm in study.arms},
        "published": {
            arm.name: asdict(arm.published)
            for arm in study.arms
            if arm.published is not None
        },
        "versions": versions(),
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }


def _extent(study: Study, source: Source, outcomes: Sequence[Outcome]) -> str:
    """What the figures rest on."""
    seeds = sorted({one.seed for one in outcomes})
    wanted = len(seeds) * len(study.arms)
    missing = wanted - len(outcomes)
    lacking = f" {missing} of {wanted} trainings are still to be done."
    spread = " ± is the standard deviation over seeds."
    return (
        f"Data: {source.name}, {len(source.training)} training and "
        f"{len(source.test)} test images. Epochs: {_epochs(study)}. Seeds: "
        f"{', '.join(map(str, seeds))}."
        f"{spread if len(seeds) > 1 else ''}{lacking if missing else ''}"
    )


def _epochs(study: Study) -> str:
    """Of all arms."""
    found = [study.plan_of(arm, 0).epochs for arm in study.arms]
    least, most = min(found), max(found)
    return str(least) if least == most else f"{least} to {most}, by line"


def _with_paper(own: str, published: Published | None, said: Figures) -> str:
    return own if published is None else f"{own} ({said(published):.1f})"


def _lipschitz_cells(own: Sequence[Outcome]) -> tuple[str, str, str]:
    uppers = [one.upper for one in own if one.upper is not None]
    upper = max(uppers) if len(uppers) == len(own) else None
    reaches = [one.reach for one in own if one.reach is not None]
    return (
        bracket(min(one.lower for one in own), upper),
        averages([one.product for one in own if one.product is not None]),
        averages(reaches),
    )


def _mean_seconds(own: Sequence[Outcome]) -> float | None:
    return statistics.fmean(one.step_seconds for one in own) if own else None
