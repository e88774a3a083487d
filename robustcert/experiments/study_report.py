"""A study, shown: tables with spread over seeds, a figure, and all of it as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from robustcert.evaluation.provenance import versions
from robustcert.experiments.arms import Arm, Published
from robustcert.experiments.outcome import Outcome
from robustcert.experiments.page import Figure, Page
from robustcert.experiments.sources import Source
from robustcert.experiments.study import Study
from robustcert.experiments.table import (
    NONE,
    Table,
    averages,
    bracket,
    percentages,
)
from robustcert.formats.chart_frame import WIDE, Specification, framed, quantitative
from robustcert.formats.drawing import Caption
from robustcert.formats.palette import Palette
from robustcert.results.numbers import exact

SCHEMA = "robustcert/study/v1"
HEIGHT = 320
ROBUST, CERTIFIED = 1.0, 0.25
"""Radii of the figure, where they were measured."""

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
    for arm, own in _by_arm(study, outcomes):
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
        for arm, own in _by_arm(study, outcomes)
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
    for arm, own in _by_arm(study, outcomes):
        seconds = _mean_seconds(own)
        ratio = f"{seconds / plain:.2f}" if plain and seconds else NONE
        found = sorted({finding for one in own for finding in one.findings})
        rows.append(
            (
                arm.name,
                averages([1000 * one.step_seconds for one in own]),
                ratio,
                ", ".join(str(one.epoch + 1) for one in own),
                ", ".join(str(one.seed) for one in own),
                ", ".join(found) or "none",
            )
        )
    return Table(
        "Processor time of a training step; ratios mean something only between nets "
        "that were trained on the same machine.",
        ("", "ms a step", "to the first", "epoch kept", "seeds", "warnings"),
        tuple(rows),
    )


def trade_off(study: Study, outcomes: Sequence[Outcome]) -> Figure:
    """Robust and certified accuracy against clean accuracy, a point an arm."""
    points = [_point(arm, own) for arm, own in _by_arm(study, outcomes)]
    said = "; ".join(
        f"{p['arm']}: clean {100 * p['clean']:.1f} %, robust at most "
        f"{100 * p['robust']:.1f} %, certified at least {100 * p['certified']:.1f} %"
        for p in points
    )
    caption = Caption(
        f"{study.name}-trade-off",
        f"Robust accuracy at {exact(ROBUST)} and certified accuracy at "
        f"{exact(CERTIFIED)} (L2) against clean accuracy",
        f"Means over seeds. {said}.",
    )
    return Figure(caption, lambda palette: _chart(points, palette))


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
        "published": {
            arm.name: asdict(arm.published)
            for arm in study.arms
            if arm.published is not None
        },
        "versions": versions(),
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }


def _by_arm(
    study: Study, outcomes: Sequence[Outcome]
) -> list[tuple[Arm, list[Outcome]]]:
    """The arms that have outcomes, in the study's order."""
    own = [(arm, [o for o in outcomes if o.arm == arm.name]) for arm in study.arms]
    return [(arm, found) for arm, found in own if found]


def _extent(study: Study, source: Source, outcomes: Sequence[Outcome]) -> str:
    """What the figures rest on."""
    seeds = sorted({one.seed for one in outcomes})
    wanted = len(seeds) * len(study.arms)
    missing = wanted - len(outcomes)
    lacking = f" {missing} of {wanted} trainings are still to be done."
    spread = " ± is the standard deviation over seeds."
    return (
        f"Data: {source.name}, {len(source.training)} training and "
        f"{len(source.test)} test images. Epochs: {study.plan.epochs}. Seeds: "
        f"{', '.join(map(str, seeds))}."
        f"{spread if len(seeds) > 1 else ''}{lacking if missing else ''}"
    )


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


def _point(arm: Arm, own: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "arm": arm.name,
        "clean": statistics.fmean(one.clean for one in own),
        "robust": statistics.fmean(one.robust_at(ROBUST) for one in own),
        "certified": statistics.fmean(one.certified_at(CERTIFIED) for one in own),
    }


def _chart(points: list[dict[str, Any]], palette: Palette) -> Specification:
    cleans = [point["clean"] for point in points]
    x = quantitative(
        "clean", "clean accuracy", [min(cleans) - 0.01, max(cleans) + 0.02]
    )
    x["axis"] |= {"format": ".0%"}
    y = quantitative("share", "share of the test images", [0.0, 1.0])
    y["axis"] |= {"format": ".0%"}
    names = ["robust (truth is at most)", "certified (truth is at least)"]
    values = [
        {"arm": p["arm"], "clean": p["clean"], "share": p[field], "side": name}
        for p in points
        for field, name in zip(("robust", "certified"), names, strict=True)
    ]
    scale = {"domain": names, "range": [palette.upper, palette.lower]}
    colour = {"field": "side", "type": "nominal", "title": None, "scale": scale}
    base = {"x": x, "y": y, "color": colour}
    dots = {"mark": {"type": "point", "filled": True, "size": 60}, "encoding": base}
    text = {"type": "text", "align": "left", "dx": 7, "baseline": "middle"}
    names_ = {"mark": text, "encoding": base | {"text": {"field": "arm"}}}
    layers: list[Specification] = [dots, names_]
    return framed(layers, palette, WIDE, HEIGHT) | {"data": {"values": values}}
