"""A report as an entry of RobustBench's ``model_info`` folder.

Percentages are strings with two decimals; epsilon is a fraction of 255 where it is
one. ``external`` holds our robust accuracy, as RobustBench has it for evaluations that
are not AutoAttack's alone, and a footnote says whose it is. ``autoattack_acc`` stands
beside it only where the attacks of AutoAttack's standard version were all run: the
robust accuracy then counts what they broke.

Reference:
    Croce, Andriushchenko, Sehwag, Debenedetti, Flammarion, Chiang, Mittal, Hein.
    RobustBench: a standardized adversarial robustness benchmark. NeurIPS Datasets and
    Benchmarks 2021.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from typing import Any

from robustcert.errors import UsageError
from robustcert.formats.sentences import unreliable
from robustcert.results.consistency import check
from robustcert.results.norm import Norm
from robustcert.results.numbers import exact
from robustcert.results.report import CurvePoint, RobustnessReport

STANDARD = frozenset({"apgd-ce", "apgd-t", "fab-t", "square"})
"""AutoAttack's standard version, by the names of our catalogue."""

AUTOATTACK = frozenset({"autoattack", "torchattacks-autoattack"})
"""Rows that run all of it."""

_LEVELS = 255
_HUNDREDTH = Decimal("0.01")
_WHOLE = 1e-6
"""How far from a whole number of levels an epsilon may lie; float32 is nearer."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What only the model's makers know; every field may be filled in later.

    Attributes:
        name: the paper's title.
        authors: separated by commas.
        link: to the paper.
        venue: with the year.
        dataset: such as ``cifar10``.
        architecture: such as ``WideResNet-28-10``.
        additional_data: whether the model was trained on more than the data set.
        forward_passes: of one prediction.
        reported: the robust accuracy that the makers report, in percent, or ``None``.
        unreliable: whether the entry says that its evaluation cannot be trusted.
    """

    name: str = ""
    authors: str = ""
    link: str = ""
    venue: str = ""
    dataset: str = ""
    architecture: str = ""
    additional_data: bool = False
    forward_passes: int = 1
    reported: float | None = None
    unreliable: bool = False

    def __post_init__(self) -> None:
        if self.forward_passes < 1:
            raise UsageError(
                f"a prediction takes {self.forward_passes} forward passes",
                remedy="Give a number of at least 1.",
            )
        if self.reported is not None and not 0.0 <= self.reported <= 100.0:
            raise UsageError(
                f"{self.reported} is no percentage", remedy="Give 0 to 100."
            )


def model_info(
    report: RobustnessReport, entry: Entry, epsilon: float | None = None
) -> dict[str, Any]:
    """The entry of ``report`` at one epsilon, in the order RobustBench writes it.

    Args:
        report: of an evaluation with attacks.
        entry: what the report does not know.
        epsilon: one of the report's; may be left out where only one is above 0.

    Raises:
        ConsistencyError: the report breaks a law.
        UsageError: the report has no such epsilon, attacked nothing, or is unreliable
            while the entry does not say so.
    """
    check(report)
    point = _point(report, epsilon)
    _check_claim(report, point, entry)
    robust = _percent(point.robust, ROUND_CEILING)
    standard = {"autoattack_acc": robust} if _standard(report) else {}
    reported = None if entry.reported is None else entry.reported / 100.0
    return {
        "link": entry.link,
        "name": entry.name,
        "authors": entry.authors,
        "additional_data": entry.additional_data,
        "number_forward_passes": entry.forward_passes,
        "dataset": entry.dataset,
        "venue": entry.venue,
        "architecture": entry.architecture,
        "eps": epsilon_word(point.epsilon, report.threats.norm),
        "clean_acc": _percent(report.clean_accuracy, ROUND_HALF_EVEN),
        "reported": "" if reported is None else _percent(reported, ROUND_HALF_EVEN),
        **standard,
        "external": robust,
        "footnote": _footnote(report),
        "unreliable": entry.unreliable,
    }


def text(info: Mapping[str, Any]) -> str:
    """The entry as a file: JSON, two spaces a level, keys in their order."""
    return json.dumps(info, indent=2) + "\n"


def epsilon_word(epsilon: float, norm: Norm) -> str:
    """``8/255`` for L-infinity where it is a whole number of levels, else ``0.5``."""
    levels = epsilon * _LEVELS
    if norm is Norm.LINF and abs(levels - round(levels)) <= _WHOLE * levels:
        return f"{round(levels)}/{_LEVELS}"
    return exact(epsilon)


def _point(report: RobustnessReport, epsilon: float | None) -> CurvePoint:
    points = [point for point in report.curve if point.epsilon > 0.0]
    there = ", ".join(exact(point.epsilon) for point in points)
    if not points:
        raise UsageError(
            "the report has no epsilon above 0, so it says nothing of robustness",
            remedy="Evaluate the model at the leaderboard's epsilon.",
        )
    chosen = [p for p in points if epsilon is None or p.epsilon == epsilon]
    if len(chosen) != 1:
        asked = "none is named" if epsilon is None else f"not {exact(epsilon)}"
        raise UsageError(
            f"the report has the epsilons {there}, and {asked}",
            remedy="Name one of them: --epsilon E.",
        )
    return chosen[0]


def _check_claim(report: RobustnessReport, point: CurvePoint, entry: Entry) -> None:
    if not report.attacks and point.robust > point.certified:
        raise UsageError(
            "the report ran no attack, so its robust accuracy is no claim",
            remedy="Evaluate the model with `robustcert evaluate`.",
        )
    if unreliable(report) and not entry.unreliable:
        raise UsageError(
            "the report's findings make its robust accuracy unreliable, and the entry "
            "does not say so",
            remedy="Resolve the findings, or mark the entry: --unreliable.",
        )


def _standard(report: RobustnessReport) -> bool:
    names = {run.name for run in report.attacks}
    return names >= STANDARD or bool(names & AUTOATTACK)


def _footnote(report: RobustnessReport) -> str:
    names = ", ".join(run.name for run in report.attacks) or "none were needed"
    version = report.provenance.versions.get("robustcert", "of unknown version")
    return (
        f"Robust accuracy is an upper bound found by robustcert {version} on "
        f"{len(report.rows)} samples with the attacks: {names}."
    )


def _percent(share: float, rounding: str) -> str:
    hundreds = Decimal(repr(share)) * 100
    return str(hundreds.quantize(_HUNDREDTH, rounding=rounding))
