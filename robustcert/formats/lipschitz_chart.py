"""Lipschitz bounds from both sides, on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

from robustcert.formats.chart_data import bound_marks
from robustcert.formats.chart_frame import (
    WIDE,
    Specification,
    framed,
    quantitative,
    side_colours,
)
from robustcert.formats.palette import LIGHT, Palette
from robustcert.results.bound import Bracket


def lipschitz_chart(
    bracket: Bracket, *, palette: Palette = LIGHT, width: int = WIDE
) -> Specification | None:
    """Lipschitz bounds on a logarithmic axis, a row a method.

    A bar covers what its method excludes, up to the lower bound or down to the upper
    bound; the shaded strip between the best of each side is what is left.

    Returns:
        The specification, ``None`` where no bound is finite and above 0.
    """
    marks = bound_marks(bracket)
    if not marks:
        return None
    domain = _padded([mark["value"] for mark in marks])
    for mark in marks:
        mark["edge"] = domain[0] if mark["side"] == "lower" else domain[1]
    x = quantitative("value", f"{bracket.norm.word} Lipschitz constant", domain)
    x["scale"] |= {"type": "log", "nice": False}
    x["axis"] = {"tickCount": 4, "format": "~g"}
    y = {"field": "row", "type": "nominal", "sort": None, "axis": None}
    sides = side_colours(["lower", "upper"], [palette.lower, palette.upper])
    base = {"x": x, "y": y, "color": sides | {"legend": None}}
    layers = [
        *_strip(bracket, x, palette),
        _layer("rule", base | {"x2": {"field": "edge"}}, strokeWidth=2, opacity=0.35),
        _layer("tick", base, thickness=3, size=11),
        _bound_text("lower", base, "left"),
        _bound_text("upper", base, "right"),
    ]
    height = 46 * len(marks)
    return framed(layers, palette, width, height) | {"data": {"values": marks}}


def _bound_text(side: str, base: Specification, align: str) -> Specification:
    """Method and value above the bar, from the picture's edge inwards."""
    mark = {"type": "text", "dy": -7, "baseline": "bottom", "align": align}
    text = {"field": "caption", "type": "nominal"}
    edge = base["x"] | {"field": "edge"}
    return {
        "transform": [{"filter": {"field": "side", "equal": side}}],
        "mark": mark,
        "encoding": base | {"x": edge, "text": text},
    }


def _strip(bracket: Bracket, x: Specification, palette: Palette) -> list[Specification]:
    lower, upper = bracket.lower, bracket.upper
    if lower is None or upper is None or not 0.0 < lower.value <= upper.value:
        return []
    if math.isinf(upper.value):
        return []
    values = [{"value": lower.value, "high": upper.value}]
    mark = {"type": "rect", "color": palette.band, "opacity": 1.0}
    encoding = {"x": x, "x2": {"field": "high"}}
    return [{"data": {"values": values}, "mark": mark, "encoding": encoding}]


def _padded(values: Sequence[float]) -> list[float]:
    """A logarithmic range around ``values``, with room for a bar beyond the last."""
    low, high = math.log10(min(values)), math.log10(max(values))
    room = max(0.2, 0.25 * (high - low))
    return [10.0 ** max(low - room, -300.0), 10.0 ** min(high + room, 300.0)]


def _layer(kind: str, encoding: Specification, **mark: float) -> Specification:
    return {"mark": {"type": kind, **mark}, "encoding": encoding}
