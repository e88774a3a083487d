"""The records a validated document stands for."""

from __future__ import annotations

import math
from dataclasses import replace

from robustcert.results.attack import AttackRun
from robustcert.results.bound import (
    Bracket,
    LowerBound,
    RefusedBound,
    Scope,
    UpperBound,
    Witness,
)
from robustcert.results.certificate import CertifierRun
from robustcert.results.document_wire import (
    BoundWire,
    LipschitzWire,
    ModelWire,
    ProvenanceWire,
    ReportWire,
    SampleWire,
    SmoothingWire,
    ThreatWire,
    WitnessWire,
)
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
from robustcert.results.smoothing import (
    SmoothedSample,
    SmoothingPlan,
    SmoothingTable,
)
from robustcert.results.threat_model import Box, ThreatSweep


def report_of(wire: ReportWire) -> RobustnessReport:
    """The report a document stands for.

    Raises:
        ValueError: a lower bound without a value, or a value out of its range.
        UsageError: no model can be smoothed like that.
        InvalidThreatModelError: the epsilons or the box are unusable.
    """
    samples = wire.samples
    return RobustnessReport(
        model=_model(wire.model),
        samples=SampleSetCard(
            samples.name, samples.sha256, samples.count, samples.seed
        ),
        threats=_threats(wire.threat_model),
        lipschitz=_bracket(wire.lipschitz),
        rows=tuple(_row(row) for row in wire.per_sample),
        attacks=tuple(AttackRun(**run.model_dump()) for run in wire.attacks),
        findings=tuple(
            Finding(finding.rule, Level(finding.level), finding.message, finding.remedy)
            for finding in wire.findings
        ),
        provenance=_provenance(wire.provenance),
        certifiers=tuple(CertifierRun(**run.model_dump()) for run in wire.certifiers),
        smoothing=None if wire.smoothing is None else _smoothing(wire.smoothing),
    )


def _model(wire: ModelWire) -> ModelCard:
    return ModelCard(
        sha256=wire.sha256,
        format=wire.format,
        input_shape=tuple(wire.input_shape),
        classes=wire.classes,
        parameters=wire.parameters,
        output=OutputKind(wire.output),
        layers=tuple(
            LayerCard(layer.name, layer.kind, tuple(layer.shape), layer.operator_norm)
            for layer in wire.layers
        ),
        unsupported=tuple(
            UnsupportedLayer(gap.layer, gap.reason) for gap in wire.unsupported
        ),
    )


def _threats(wire: ThreatWire) -> ThreatSweep:
    low, high = wire.box
    return ThreatSweep(_norm(wire.norm), tuple(wire.epsilons), Box(low, high))


def _norm(word: str) -> Norm:
    return Norm[word.upper()]


def _bracket(wire: LipschitzWire) -> Bracket:
    norm = _norm(wire.norm)
    bracket = Bracket(
        norm,
        tuple(_lower(bound, norm) for bound in wire.bounds if bound.side == "lower"),
        tuple(_upper(bound, norm) for bound in wire.bounds if bound.side == "upper"),
        tuple(RefusedBound(gap.method, gap.layer, gap.reason) for gap in wire.refused),
    )
    return _witnessed(bracket, wire.lower.witness)


def _lower(wire: BoundWire, norm: Norm) -> LowerBound:
    if wire.value is None:
        raise ValueError(f"the lower bound of {wire.method} has no value")
    absent = Witness((), (), wire.value)
    scope = Scope(wire.scope)
    return LowerBound(wire.value, norm, wire.method, absent, scope, wire.seconds)


def _upper(wire: BoundWire, norm: Norm) -> UpperBound:
    value = math.inf if wire.value is None else wire.value
    return UpperBound(
        value, norm, wire.method, Scope(wire.scope), wire.seconds, wire.gap
    )


def _witnessed(bracket: Bracket, wire: WitnessWire | None) -> Bracket:
    """``bracket`` with the witness of its best lower bound put back."""
    best = bracket.lower
    if wire is None or best is None:
        return bracket
    witness = Witness(tuple(wire.first), tuple(wire.second), wire.ratio)
    lowers = tuple(
        replace(bound, witness=witness) if bound is best else bound
        for bound in bracket.lowers
    )
    return replace(bracket, lowers=lowers)


def _row(wire: SampleWire) -> SampleRow:
    return SampleRow(
        index=wire.index,
        label=wire.label,
        predicted=wire.predicted,
        margin=wire.margin,
        certified_radius=wire.certified_radius,
        certified_by=wire.certified_by,
        adversarial_distance=wire.adversarial_distance,
        broken_by=wire.broken_by,
    )


def _smoothing(wire: SmoothingWire) -> SmoothingTable:
    plan = SmoothingPlan(wire.sigma, wire.n0, wire.n, wire.alpha, wire.seed)
    rows = (
        SmoothedSample(row.index, row.label, row.candidate, row.hits, row.radius)
        for row in wire.rows
    )
    return SmoothingTable(plan, tuple(rows))


def _provenance(wire: ProvenanceWire) -> Provenance:
    return Provenance(
        versions=dict(wire.versions),
        seed=wire.seed,
        device=wire.device,
        dtype=wire.dtype,
        threads=wire.threads,
        started=wire.started,
        seconds=wire.seconds,
        sandbox=tuple(wire.sandbox),
        cache=CacheUse(wire.cache.hits, wire.cache.misses),
    )
