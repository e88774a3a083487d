"""The regression of the paper, shown: fits by weight, and what the theory says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from robustcert.experiments.page import Figure
from robustcert.experiments.regression import Ladder, Rung, largest_rise
from robustcert.experiments.regression_task import NOISE, SAMPLES, grid, truth
from robustcert.experiments.table import Table, bracket
from robustcert.formats.chart_frame import (
    WIDE,
    Specification,
    framed,
    quantitative,
)
from robustcert.formats.drawing import Caption
from robustcert.formats.palette import Palette
from robustcert.results.numbers import number

HEIGHT = 300
STEEP, FLAT = (47, 126, 192), (192, 86, 42)
"""Colours of the smallest and of the largest weight: readable on light and dark."""

SLACK = 0.05
"""What a fit may lack of a minimum, relatively, before Proposition 2 counts as hurt."""

NOTHING = 1e-3
"""Risks and slopes below it are those of a constant."""


NOTES = (
    "A net 1-500-200-100-1 of sigmoid units learns max(|x| - 3, 0) / 2 from noisy "
    "samples. The penalty is lambda times the steepest slope between pairs of inputs; "
    "each fit starts from the one with the next larger lambda.",
    "Lipschitz constants are proved: the derivative is attained at a point on one "
    "side, and enclosed on the whole interval on the other.",
)


def figure(ladder: Ladder) -> Figure:
    """Samples, true function and fits of one net."""
    caption = Caption(
        f"regression-{ladder.output}",
        f"Fits by lambda, {ladder.output} output",
        f"{SAMPLES} noisy samples on three spans, the true function (dashed), and a "
        f"fit for each lambda. With {ladder.best.weight:g} the fit is nearest to the "
        f"true function in the gaps: its error there is {ladder.best.gap_error:.3f}.",
    )
    return Figure(caption, lambda palette: _chart(ladder, palette))


def table(ladder: Ladder) -> Table:
    """One line a weight."""
    return Table(
        f"{ladder.output} output, seed {ladder.seed}: mean squared error on the "
        "samples, Lipschitz constant on [-4, 4] as estimated from pairs and as proved "
        "from both sides, product of the layers' norms, range and mean of the fit "
        f"(the mean of the samples is {ladder.barycentre:.4f}), root mean square error "
        "in the gaps.",
        (
            "lambda",
            "empirical risk",
            "Lip of pairs",
            "Lip, proved",
            "layer product",
            "range",
            "mean",
            "gap error",
        ),
        tuple(_row(rung) for rung in ladder.rungs),
    )


def summary(ladders: Sequence[Ladder]) -> Table:
    """What was to be seen, ladder by ladder."""
    return Table(
        "Proposition 2: down the ladder the risk must not rise and the Lipschitz "
        f"constant must not fall; the largest breach, in percent ({100 * SLACK:.0f} "
        "are granted, since fits are no minimisers). Proposition 4: with the largest "
        "lambda the fit is constant, at the mean of the samples where the output is "
        "linear.",
        (
            "output",
            "seed",
            "rise of risk, %",
            "fall of Lip, %",
            "Proposition 2",
            "range at the largest lambda",
            "distance of its mean",
            "best gap error (lambda)",
        ),
        tuple(_verdict(ladder) for ladder in ladders),
    )


def document(ladders: Sequence[Ladder]) -> dict[str, Any]:
    """All figures as JSON."""
    return {
        "schema": "robustcert/regression/v1",
        "noise": NOISE,
        "ladders": [asdict(ladder) for ladder in ladders],
        "propositions": [breaches(ladder) for ladder in ladders],
    }


def breaches(ladder: Ladder) -> dict[str, float]:
    """How far the ladder is from Propositions 2 and 4."""
    risks = [rung.risk for rung in ladder.rungs]
    slopes = [rung.lower for rung in reversed(ladder.rungs)]
    first = ladder.rungs[0]
    return {
        "rise_of_risk": largest_rise(risks, NOTHING),
        "fall_of_lipschitz": largest_rise(slopes, NOTHING),
        "largest_lambda_range": first.range_,
        "largest_lambda_distance": abs(first.mean - ladder.barycentre),
        "best_gap_error": ladder.best.gap_error,
    }


def _row(rung: Rung) -> tuple[str, ...]:
    return (
        f"{rung.weight:g}",
        number(rung.risk, 3),
        number(rung.estimate, 3),
        bracket(rung.lower, rung.upper),
        number(rung.product, 3),
        number(rung.range_, 3),
        number(rung.mean, 3),
        number(rung.gap_error, 3),
    )


def _verdict(ladder: Ladder) -> tuple[str, ...]:
    found = breaches(ladder)
    worst = max(found["rise_of_risk"], found["fall_of_lipschitz"])
    return (
        ladder.output,
        str(ladder.seed),
        f"{100 * found['rise_of_risk']:.1f}",
        f"{100 * found['fall_of_lipschitz']:.1f}",
        "holds" if worst <= SLACK else "is hurt",
        number(found["largest_lambda_range"], 2),
        number(found["largest_lambda_distance"], 2),
        f"{ladder.best.gap_error:.3f} ({ladder.best.weight:g})",
    )


def _chart(ladder: Ladder, palette: Palette) -> Specification:
    x = quantitative("x", "x", [-4.0, 4.0])
    y = quantitative("y", "f(x)", _domain(ladder))
    names = [f"{rung.weight:g}" for rung in ladder.rungs]
    scale = {"domain": names, "range": _colours(len(names))}
    colour = {"field": "fit", "type": "nominal", "title": "lambda", "scale": scale}
    legend = {"orient": "right", "symbolType": "stroke", "symbolStrokeWidth": 3}
    legend |= {"titleColor": palette.muted, "titleFontWeight": "normal"}
    dots = {"type": "point", "filled": True, "size": 14, "color": palette.muted}
    dashed = {"type": "line", "strokeDash": [5, 4], "color": palette.ink}
    layers: list[Specification] = [
        {"data": {"values": _fits(ladder, names)}, "mark": {"type": "line"}}
        | {"encoding": {"x": x, "y": y, "color": colour | {"legend": legend}}},
        {"data": {"values": _truth()}, "mark": dashed, "encoding": {"x": x, "y": y}},
        {"data": {"values": _samples(ladder)}, "mark": dots}
        | {"encoding": {"x": x, "y": y}},
    ]
    return framed(layers, palette, WIDE, HEIGHT)


def _fits(ladder: Ladder, names: Sequence[str]) -> list[dict[str, Any]]:
    places = grid().flatten().tolist()
    return [
        {"x": x, "y": y, "fit": name}
        for name, rung in zip(names, ladder.rungs, strict=True)
        for x, y in zip(places, rung.curve, strict=True)
    ]


def _truth() -> list[dict[str, float]]:
    corners = torch.tensor([-4.0, -3.0, 3.0, 4.0])
    values = truth(corners).tolist()
    return [{"x": x, "y": y} for x, y in zip(corners.tolist(), values, strict=True)]


def _samples(ladder: Ladder) -> list[dict[str, float]]:
    return [{"x": x, "y": y} for x, y in ladder.samples]


def _domain(ladder: Ladder) -> list[float]:
    values = [value for rung in ladder.rungs for value in rung.curve]
    values += [value for _, value in ladder.samples]
    return [min(values) - 0.05, max(values) + 0.05]


def _colours(count: int) -> list[str]:
    """From the colour of the largest weight to that of the smallest."""
    shares = [place / max(1, count - 1) for place in range(count)]
    mixed = [
        [round(a + (b - a) * share) for a, b in zip(FLAT, STEEP, strict=True)]
        for share in shares
    ]
    return ["#{:02x}{:02x}{:02x}".format(*channels) for channels in mixed]
