"""What all charts share: the frame, the axes, the colours, the type.

A chart is a Vega-Lite specification, a plain dict. One specification serves the live
page, the HTML report, notebooks and static pictures. No string from a model is ever
part of an expression: such strings occur as data only.
"""

from __future__ import annotations

from typing import Any

from robustcert.formats.palette import Palette

Specification = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"
WIDE = 680
NARROW = 340


def quantitative(field: str, title: str, domain: list[float]) -> Specification:
    """An axis of numbers from one end of ``domain`` to the other."""
    axis = {"tickCount": 5}
    scale = {"domain": domain, "nice": False}
    encoding = {"field": field, "type": "quantitative", "title": title}
    return encoding | {"axis": axis, "scale": scale}


def side_colours(names: list[str], colours: list[str]) -> Specification:
    """The two sides in their colours."""
    scale = {"domain": names, "range": colours}
    return {"field": "side", "type": "nominal", "title": None, "scale": scale}


def framed(
    layers: list[Specification], palette: Palette, width: int, height: int
) -> Specification:
    """``layers`` in one frame; ``width`` is that of the whole picture."""
    return {
        "$schema": SCHEMA,
        "width": width,
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "layer": layers,
        "config": config(palette),
    }


def config(palette: Palette) -> Specification:
    """Type, axes and legend in the colours of ``palette``."""
    axis = {
        "aria": False,
        "labelColor": palette.muted,
        "titleColor": palette.muted,
        "titleFontWeight": "normal",
        "titleFontSize": 12,
        "labelFontSize": 12,
        "labelFlush": False,
        "labelOverlap": "greedy",
        "titlePadding": 10,
        "labelPadding": 6,
        "gridColor": palette.grid,
        "domain": False,
        "ticks": False,
    }
    legend = {
        "aria": False,
        "orient": "top",
        "direction": "vertical",
        "labelColor": palette.ink,
        "labelFontSize": 12,
        "labelLimit": 400,
        "symbolType": "square",
        "symbolOpacity": 1.0,
        "symbolStrokeWidth": 0,
        "offset": 12,
    }
    return {
        "background": None,
        "font": FONT,
        "padding": 4,
        "mark": {"aria": False},
        "text": {"fontSize": 12},
        "view": {"stroke": None},
        "axis": axis,
        "legend": legend,
    }
