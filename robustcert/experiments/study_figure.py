"""The figure of a study: robust and certified accuracy against clean accuracy."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from robustcert.experiments.arms import Arm
from robustcert.experiments.outcome import Outcome
from robustcert.experiments.page import Figure
from robustcert.experiments.study import Study
from robustcert.formats.chart_frame import WIDE, Specification, framed, quantitative
from robustcert.formats.drawing import Caption
from robustcert.formats.palette import Palette
from robustcert.results.numbers import exact

HEIGHT = 320
ROBUST, CERTIFIED = 1.0, 0.25
"""Radii of the figure, where they were measured."""


def trade_off(study: Study, outcomes: Sequence[Outcome]) -> Figure:
    """Robust and certified accuracy against clean accuracy, a point an arm."""
    points = [_point(arm, own) for arm, own in by_arm(study, outcomes)]
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


def by_arm(
    study: Study, outcomes: Sequence[Outcome]
) -> list[tuple[Arm, list[Outcome]]]:
    """The arms that have outcomes, in the study's order."""
    own = [(arm, [o for o in outcomes if o.arm == arm.name]) for arm in study.arms]
    return [(arm, found) for arm, found in own if found]


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
