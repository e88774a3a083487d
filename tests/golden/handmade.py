"""Reports written by hand, with fixed times: what the golden files are made from."""

from __future__ import annotations

import math
from dataclasses import replace

from robustcert.results.attack import AttackRun
from robustcert.results.bound import (
    Bracket,
    LowerBound,
    RefusedBound,
    UpperBound,
    Witness,
)
from robustcert.results.certificate import CertifierRun
from robustcert.results.norm import Norm
from robustcert.results.report import (
    CacheUse,
    Finding,
    LayerCard,
    Level,
    ModelCard,
    OutputKind,
    Provenance,
    RobustnessReport,
    SampleRow,
    SampleSetCard,
    UnsupportedLayer,
)
from robustcert.results.threat_model import ThreatSweep

HOSTILE = (
    "</style></svg>--><script>alert('x')</script>"
    "<img src=//evil.example/x onerror=alert(1)>&\"'|`[a](//evil.example)"
    "\x00\x1b[31m\u202egpj.exe\ud800\n{{7*7}}{% raw %}"
)
"""What a hostile model may call a layer."""


def small_report() -> RobustnessReport:
    """Eight samples at linf; at .1 three are certified, five are not broken."""
    rows = (
        SampleRow(0, 3, 3, 4.25, 0.125, "crown", None, None),
        SampleRow(1, 1, 1, 3.5, 0.1, "crown", 0.1875, "apgd_margin"),
        SampleRow(2, 0, 0, 2.75, 0.03125, "lipschitz_margin", 0.0625, "apgd_margin"),
        SampleRow(3, 9, 4, -0.5, 0.0, None, 0.0, "clean"),
        SampleRow(4, 7, 7, 5.0, 0.11, "crown", 0.25, "square"),
        SampleRow(5, 2, 2, 1.5, 0.05, "crown", None, None),
        SampleRow(6, 5, 5, 0.75, 0.0, None, 0.015625, "apgd_margin"),
        SampleRow(7, 8, 8, 2.0, 0.0625, "crown", None, None),
    )
    return RobustnessReport(
        model=model_card(),
        samples=SampleSetCard("digits", "5a" * 32, len(rows), 0),
        threats=ThreatSweep(Norm.LINF, (0.0, 0.05, 0.1)),
        lipschitz=bracket(),
        rows=rows,
        attacks=(
            AttackRun("apgd_margin", 2, 160, 140, 0.5, attacked=7),
            AttackRun("square", 0, 5000, 0, 1.25, unverified=1, attacked=4),
        ),
        findings=(
            Finding(
                "few-samples",
                Level.NOTE,
                "8 samples say little about the distribution they were drawn from.",
                "Evaluate at least 500 samples for an interval of 5 points.",
            ),
        ),
        provenance=provenance(),
        certifiers=(
            CertifierRun("lipschitz-margin", 7, 7, 7, 0, 0, 0.03125),
            CertifierRun("crown", 7, 35, 21, 0, 0, 2.5),
            CertifierRun("branch-and-bound", 3, 3, 0, 0, 1, 3.0),
        ),
    )


def unreliable_report() -> RobustnessReport:
    """The small report without an upper bound, and with findings of each level."""
    refused = RefusedBound("spectral_product", "attn", "softmax has no rule")
    findings = (
        *small_report().findings,
        Finding(
            "gradient-masking",
            Level.ERROR,
            "Square breaks samples that gradient attacks cannot.",
            "Evaluate at tier thorough.",
        ),
    )
    lipschitz = replace(bracket(), uppers=(), refused=(refused,))
    return replace(small_report(), lipschitz=lipschitz, findings=findings)


def hostile_report() -> RobustnessReport:
    """The small report with a hostile string wherever a string can be."""
    report = small_report()
    bounds = report.lipschitz
    return replace(
        report,
        model=replace(
            report.model,
            sha256=HOSTILE,
            format=HOSTILE,
            layers=(LayerCard(HOSTILE, HOSTILE, (2,), 1.0),),
            unsupported=(UnsupportedLayer(HOSTILE, HOSTILE * 100),),
        ),
        samples=replace(report.samples, name=HOSTILE, sha256=HOSTILE),
        lipschitz=replace(
            bounds,
            lowers=tuple(replace(b, method=HOSTILE) for b in bounds.lowers),
            uppers=tuple(replace(b, method=HOSTILE) for b in bounds.uppers),
            refused=(RefusedBound(HOSTILE, HOSTILE, HOSTILE),),
        ),
        rows=tuple(
            replace(
                row,
                certified_by=HOSTILE if row.certified_by else None,
                broken_by=HOSTILE if row.broken_by and row.right else row.broken_by,
            )
            for row in report.rows
        ),
        attacks=(AttackRun(HOSTILE, 1, 1, 1, 0.5, attacked=1),),
        certifiers=(CertifierRun(HOSTILE, 1, 1, 1, 0, 0, 0.5),),
        findings=(Finding(HOSTILE, Level.WARNING, HOSTILE, HOSTILE),),
        provenance=replace(
            report.provenance,
            versions={HOSTILE: HOSTILE},
            device=HOSTILE,
            dtype=HOSTILE,
            started=HOSTILE,
            sandbox=(HOSTILE,),
        ),
    )


def large_report(count: int = 400) -> RobustnessReport:
    """Many samples whose radii and distances follow smooth curves."""
    rows = tuple(_smooth_row(index, count) for index in range(count))
    report = small_report()
    return replace(
        report,
        samples=replace(report.samples, count=count),
        threats=ThreatSweep(Norm.LINF, (0.025, 0.05, 0.1)),
        rows=rows,
        attacks=(
            AttackRun("apgd_margin", 131, 48_000, 47_600, 3.5, attacked=380),
            AttackRun("apgd_targeted", 12, 160_000, 158_000, 11.75, attacked=249),
            AttackRun("square", 3, 1_250_000, 0, 21.0, unverified=1, attacked=64),
        ),
    )


def _smooth_row(index: int, count: int) -> SampleRow:
    share = (index + 0.5) / count
    label = index % 10
    if share < 0.03:
        wrong = (label + 1) % 10
        return SampleRow(index, label, wrong, -share, 0.0, None, 0.0, "clean")
    distance = 0.05 * (-math.log(1.0 - share)) ** 0.8
    radius = distance * (0.45 + 0.4 * math.sin(7.0 * index) ** 2)
    found = share < 0.8
    return SampleRow(
        index,
        label,
        label,
        20.0 * distance,
        radius,
        "crown",
        distance if found else None,
        "apgd_margin" if found else None,
    )


def model_card() -> ModelCard:
    """A small convolutional net."""
    return ModelCard(
        sha256="c0ffee" * 10 + "1234",
        format="torchscript",
        input_shape=(1, 28, 28),
        classes=10,
        parameters=21_840,
        output=OutputKind.LOGITS,
        layers=(
            LayerCard("input", "input", (1, 28, 28), None),
            LayerCard("features.0", "conv", (8, 14, 14), 2.5),
            LayerCard("features.1", "elementwise", (8, 14, 14), 1.0),
            LayerCard("head", "linear", (10,), 1.875),
        ),
    )


def bracket() -> Bracket:
    """Two bounds from each side, with a witness."""
    witness = Witness((0.0, 0.5, 1.0), (0.25, 0.5, 1.0), 11.75)
    weaker = Witness((0.0, 0.0, 1.0), (0.25, 0.5, 1.0), 9.5)
    return Bracket(
        Norm.LINF,
        lowers=(
            LowerBound(9.5, Norm.LINF, "pair_ascent", weaker, seconds=0.25),
            LowerBound(11.75, Norm.LINF, "jacobian_ascent", witness, seconds=0.5),
        ),
        uppers=(
            UpperBound(96.125, Norm.LINF, "spectral_product", seconds=0.0625),
            UpperBound(18.5, Norm.LINF, "liplt", seconds=0.75),
        ),
        refused=(RefusedBound("lipsdp", "features.0", "too many neurons: 1568"),),
    )


def provenance() -> Provenance:
    """A fixed machine at a fixed time."""
    return Provenance(
        versions={"robustcert": "0.1.0", "torch": "2.13.0", "python": "3.11.2"},
        seed=0,
        device="cpu",
        dtype="float32",
        threads=2,
        started="2025-01-01T00:00:00+00:00",
        seconds=12.5,
        sandbox=("landlock", "seccomp", "rlimits"),
        cache=CacheUse(hits=3, misses=5),
    )
