"""The charts of a report as pictures of a page, each in a wide and a narrow drawing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from robustcert.formats.accuracy_chart import accuracy_chart
from robustcert.formats.chart_frame import NARROW, WIDE
from robustcert.formats.drawing import Caption, picture
from robustcert.formats.lipschitz_chart import lipschitz_chart
from robustcert.formats.palette import PAGE
from robustcert.formats.radius_chart import radius_chart
from robustcert.formats.sentences import bracket_sentence, shown_band
from robustcert.results.numbers import exact
from robustcert.results.report import RobustnessReport

Draw = Callable[[int], dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Picture:
    """One chart, drawn for a wide and for a narrow page."""

    name: str
    wide: Markup
    narrow: Markup


def pictures(report: RobustnessReport) -> tuple[Picture, ...]:
    """The charts of ``report`` that have something to show."""
    norm, epsilons = report.threats.norm, report.threats.epsilons
    charts: tuple[tuple[Caption, Draw], ...] = (
        (
            Caption("accuracy", "Accuracy against epsilon", _accuracy(report)),
            lambda width: accuracy_chart(
                report.rows, epsilons, norm, palette=PAGE, width=width
            ),
        ),
        (
            Caption(
                "lipschitz", "Lipschitz bounds", bracket_sentence(report.lipschitz)
            ),
            lambda width: lipschitz_chart(report.lipschitz, palette=PAGE, width=width),
        ),
        (
            Caption(
                "radii", "Certified radii and adversarial distances", _radii(report)
            ),
            lambda width: radius_chart(report.rows, norm, palette=PAGE, width=width),
        ),
    )
    drawn = (_drawn(caption, draw) for caption, draw in charts)
    return tuple(picture for picture in drawn if picture is not None)


def _drawn(caption: Caption, draw: Draw) -> Picture | None:
    wide, narrow = draw(WIDE), draw(NARROW)
    if wide is None or narrow is None:
        return None
    thin = Caption(f"{caption.identity}-narrow", caption.title, caption.description)
    return Picture(caption.identity, picture(wide, caption), picture(narrow, thin))


def _accuracy(report: RobustnessReport) -> str:
    parts = []
    for point in report.curve:
        low, high = shown_band(point)
        parts.append(f"between {low} and {high} at epsilon {exact(point.epsilon)}")
    return f"The true robust accuracy lies {', '.join(parts)}."


def _radii(report: RobustnessReport) -> str:
    proved = sum(row.certified_radius > 0.0 for row in report.rows)
    broken = sum(row.right and row.broken_by is not None for row in report.rows)
    return (
        f"{proved} samples have a certified radius above 0, and adversarial "
        f"perturbations were found for {broken} samples that the model gets right."
    )
