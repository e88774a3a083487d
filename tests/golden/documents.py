"""The golden files: hand-made reports in every format and form.

Regenerate them after a change that is meant, and read the difference::

    python -m tests.golden.documents
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from robustcert.formats.registry import FORMATS
from robustcert.gate.junit import junit_xml
from robustcert.gate.policy import policy_from
from robustcert.gate.summary import summary
from robustcert.gate.verdict import GateVerdict, decide, verdict_document
from robustcert.results.document import (
    attack_document,
    canonical_json,
    certify_document,
    lipschitz_document,
)
from tests.golden.handmade import (
    hostile_report,
    model_card,
    provenance,
    small_report,
    unreliable_report,
)

FOLDER = Path(__file__).resolve().parent

POLICY = {
    "evaluate": {"samples": "digits", "norm": "linf", "count": 8},
    "rule": [
        {"metric": "clean_accuracy", "min": 0.875},
        {"metric": "certified_accuracy", "epsilon": 0.1, "min": 0.5},
        {"metric": "robust_accuracy", "epsilon": 0.1, "min": 0.5},
        {"metric": "lipschitz", "max": 20.0},
    ],
}


def _verdict() -> GateVerdict:
    return decide(small_report(), policy_from(POLICY))


def _lipschitz() -> str:
    bracket = unreliable_report().lipschitz
    return canonical_json(lipschitz_document(model_card(), bracket, provenance()))


GOLDEN: dict[str, Callable[[], str]] = {
    "report.json": lambda: FORMATS["json"].write(small_report()),
    "report.md": lambda: FORMATS["markdown"].write(small_report()),
    "unreliable.md": lambda: FORMATS["markdown"].write(unreliable_report()),
    "hostile.md": lambda: FORMATS["markdown"].write(hostile_report()),
    "lipschitz.json": lambda: _lipschitz() + "\n",
    "attack.json": lambda: canonical_json(attack_document(small_report())) + "\n",
    "certify.json": lambda: canonical_json(certify_document(small_report())) + "\n",
    "verdict.json": lambda: canonical_json(verdict_document(_verdict())) + "\n",
    "verdict.md": lambda: summary(_verdict()),
    "verdict.xml": lambda: junit_xml(_verdict()),
}
"""File name -> what it must hold, byte for byte."""


def regenerate() -> None:
    """Write every golden file anew."""
    for name, text in GOLDEN.items():
        (FOLDER / name).write_text(text(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    regenerate()
