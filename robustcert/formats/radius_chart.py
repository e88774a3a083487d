"""Histograms of certified radii and adversarial distances."""

from __future__ import annotations

from collections.abc import Sequence

from robustcert.formats.chart_data import histogram
from robustcert.formats.chart_frame import (
    SCHEMA,
    WIDE,
    Specification,
    config,
    quantitative,
    side_colours,
)
from robustcert.formats.palette import LIGHT, Palette
from robustcert.results.norm import Norm
from robustcert.results.report import SampleRow

_RADIUS = "certified radius (proved)"
_DISTANCE = "adversarial distance (found)"


def radius_chart(
    rows: Sequence[SampleRow],
    norm: Norm,
    *,
    palette: Palette = LIGHT,
    width: int = WIDE,
) -> Specification | None:
    """Histograms of certified radii and adversarial distances on one axis.

    Samples that the model gets wrong, without a proof, or never broken are left out:
    they have no number.

    Returns:
        The specification, ``None`` where there is nothing to count.
    """
    right = [row for row in rows if row.right]
    radii = [row.certified_radius for row in right if row.certified_radius > 0.0]
    distances = [
        row.adversarial_distance
        for row in right
        if row.adversarial_distance is not None
    ]
    if not radii and not distances:
        return None
    top = max([*radii, *distances])
    values = [
        bin_ | {"side": side}
        for side, found in ((_RADIUS, radii), (_DISTANCE, distances))
        for bin_ in histogram(found, top)
    ]
    most = max(value["count"] for value in values)
    x = quantitative("start", f"{norm.word} norm of the perturbation", [0.0, top])
    colours = side_colours([_RADIUS, _DISTANCE], [palette.lower, palette.upper])
    count = {"field": "count", "type": "quantitative", "title": "samples"}
    bars = {
        "width": width - 60,
        "height": 90,
        "mark": {"type": "bar", "binSpacing": 1},
        "encoding": {
            "x": x | {"bin": {"binned": True}},
            "x2": {"field": "end"},
            "y": count | {"axis": {"tickCount": min(3, most), "format": "d"}},
            "color": colours | {"legend": None},
        },
    }
    header = {
        "title": None,
        "labelAngle": 0,
        "labelOrient": "top",
        "labelPadding": 2,
    } | {
        "labelAnchor": "start",
        "labelColor": palette.ink,
        "labelFontSize": 12,
    }
    row = {"field": "side", "type": "nominal", "header": header}
    row["sort"] = [_RADIUS, _DISTANCE]
    return {
        "$schema": SCHEMA,
        "data": {"values": values},
        "facet": {"row": row},
        "spec": bars,
        "spacing": 14,
        "config": config(palette),
    }
