"""What the sandbox child runs in these tests: small, and as obedient as asked.

The attacks named in a request choose what happens; the documents are real ones.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from robustcert.errors import UnsoundModelError
from robustcert.evaluation.request import from_request
from robustcert.results.attack import AttackRun
from robustcert.results.bound import Bracket, LowerBound, UpperBound, Witness
from robustcert.results.document import Document, to_document
from robustcert.results.progress import Listener, Progress
from robustcert.results.report import (
    Finding,
    Level,
    ModelCard,
    OutputKind,
    Provenance,
    RobustnessReport,
    SampleRow,
    SampleSetCard,
)
from robustcert.results.threat_model import ThreatSweep

STEPS = 10


def evaluate(
    request: Mapping[str, Any], report: Listener, layers: tuple[str, ...]
) -> dict[str, Any]:
    """Play the part that the request's first attack names."""
    part = (*request["attacks"], "prompt")[0]
    if part == "unsound":
        raise UnsoundModelError("the weights hold NaN")
    steps, pause = {"forever": (10**6, 0.05), "slow": (20, 0.1)}.get(part, (STEPS, 0))
    for done in range(steps):
        report(Progress("attacks", done, steps, f"{done} broken so far"))
        time.sleep(pause)
    found = _report(request, layers)
    if part == "liar":
        found = replace(found, model=replace(found.model, sha256="0" * 64))
    document: Document = to_document(found)
    if part == "contradicts":
        document["accuracy"]["clean"] = 0.123
    if part == "hostile":
        document["extra"] = "<script>alert(1)</script>"
    return {"document": document}


def _report(request: Mapping[str, Any], layers: tuple[str, ...]) -> RobustnessReport:
    asked = from_request(request)
    threats: ThreatSweep = asked.plan.threats
    count = asked.plan.count or 4
    data = Path(asked.model).read_bytes()
    return RobustnessReport(
        model=ModelCard(
            hashlib.sha256(data).hexdigest(),
            "torchscript",
            (1, 28, 28),
            10,
            7,
            OutputKind.LOGITS,
        ),
        samples=SampleSetCard(
            asked.sample_name or asked.samples, "0" * 64, count, asked.plan.seed
        ),
        threats=threats,
        lipschitz=Bracket(
            threats.norm,
            (LowerBound(1.5, threats.norm, "pair", Witness((0.0,), (1.0,), 1.5)),),
            (UpperBound(3.0, threats.norm, "product"),),
        ),
        rows=tuple(_row(index, threats.largest.epsilon) for index in range(count)),
        attacks=(AttackRun("apgd", 1, 100, 100, 0.1),),
        findings=(
            Finding("note", Level.NOTE, "<b>bold</b> & plain", "Nothing to do."),
        ),
        provenance=Provenance(
            {"robustcert": "0"},
            asked.plan.seed,
            "cpu",
            "float32",
            1,
            "2026-01-01T00:00:00Z",
            0.1,
            layers,
        ),
    )


def _row(index: int, epsilon: float) -> SampleRow:
    """Certified, broken, open or wrong, in turn."""
    radius, distance, margin = [
        (epsilon, None, 1.0),
        (0.0, epsilon / 2, 1.0),
        (epsilon / 2, None, 1.0),
        (0.0, 0.0, -1.0),
    ][index % 4]
    broken_by = {None: None, 0.0: "clean"}.get(distance, "apgd")
    certified_by = "margin" if radius else None
    predicted = 3 if margin > 0.0 else 4
    return SampleRow(
        index, 3, predicted, margin, radius, certified_by, distance, broken_by
    )
