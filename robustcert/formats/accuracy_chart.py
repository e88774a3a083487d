"""Accuracy against epsilon, as a band."""

from __future__ import annotations

import math
from collections.abc import Sequence

from robustcert.formats.chart_data import Values, band, shares
from robustcert.formats.chart_frame import (
    WIDE,
    Specification,
    framed,
    quantitative,
    side_colours,
)
from robustcert.formats.palette import LIGHT, Palette
from robustcert.results.norm import Norm
from robustcert.results.report import SampleRow

_CERTIFIED = "certified accuracy (truth is at least)"
_ROBUST = "robust accuracy (truth is at most)"


def accuracy_chart(
    rows: Sequence[SampleRow],
    epsilons: Sequence[float],
    norm: Norm,
    *,
    palette: Palette = LIGHT,
    width: int = WIDE,
) -> Specification | None:
    """Accuracy against epsilon: the true robust accuracy lies in the shaded band.

    Args:
        rows: at least one.
        epsilons: ascending; they are marked by points.
        norm: names the axis.
        palette: colours.
        width: of the whole picture, in pixels.

    Returns:
        The specification, ``None`` where no epsilon is above 0.
    """
    if epsilons[-1] == 0.0:
        return None
    corners = band(rows, epsilons)
    of = shares(rows)
    asked = [
        {"epsilon": e, "certified": of.certified(e), "robust": of.robust(e)}
        for e in epsilons
    ]
    lowest = min(corner["certified"] for corner in corners)
    domain = [math.floor(lowest * 10.0 - 0.5) / 10.0 if lowest > 0.35 else 0.0, 1.0]
    x = quantitative("epsilon", f"epsilon ({norm.word})", [0.0, epsilons[-1]])
    y = quantitative("certified", "share of the samples", domain)
    y["axis"] = {"format": ".0%", "tickCount": 5}
    area = {
        "data": {"values": corners},
        "mark": {"type": "area", "color": palette.band, "opacity": 1.0},
        "encoding": {"x": x, "y": y, "y2": {"field": "robust"}},
    }
    lines = _sides(corners, {"type": "line", "strokeWidth": 2}, x, y, palette)
    point = {"type": "point", "filled": True, "size": 46, "opacity": 1.0}
    points = _sides(asked, point, x, y, palette)
    return framed([area, lines, points], palette, width, 280)


def _sides(
    values: Values,
    mark: Specification,
    x: Specification,
    y: Specification,
    palette: Palette,
) -> Specification:
    long = [
        {"epsilon": value["epsilon"], "share": value[field], "side": name, "order": i}
        for i, value in enumerate(values)
        for field, name in (("robust", _ROBUST), ("certified", _CERTIFIED))
    ]
    encoding = {
        "x": x,
        "y": y | {"field": "share"},
        "color": side_colours([_ROBUST, _CERTIFIED], [palette.upper, palette.lower]),
    }
    if mark["type"] == "line":
        encoding["order"] = {"field": "order", "type": "quantitative"}
    return {"data": {"values": long}, "mark": mark, "encoding": encoding}
