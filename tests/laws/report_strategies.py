"""Random reports: lawful ones, and rows that may break any law."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

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
from robustcert.results.norm import THREAT_NORMS
from robustcert.results.report import (
    Finding,
    LayerCard,
    Level,
    RobustnessReport,
    SampleRow,
)
from robustcert.results.threat_model import Box, ThreatSweep
from tests.golden.handmade import small_report

CLASSES = 10

words = st.text(max_size=12)
names = st.sampled_from(["crown", "lipschitz_margin", "branch_and_bound"])
attacks = st.sampled_from(["apgd_margin", "square", "fab"])
classes = st.integers(0, CLASSES - 1)
amounts = st.floats(0.0, 12.0) | st.floats(0.0, 1e6)
positive = st.floats(1e-9, 1e6)


@st.composite
def lawful_rows(draw, index: int) -> SampleRow:
    """A row that obeys the laws."""
    label, other = draw(classes), draw(classes)
    if draw(st.integers(0, 4)) == 0:
        margin = 0.0 if label == other else -draw(amounts)
        return SampleRow(index, label, other, margin, 0.0, None, 0.0, "clean")
    method = draw(st.none() | names)
    radius = 0.0 if method is None else draw(amounts)
    top = st.sampled_from([radius + 6.0, 2e6])
    distance = draw(st.none() | st.floats(radius, draw(top), exclude_min=True))
    attack = None if distance is None else draw(attacks)
    margin = draw(positive)
    return SampleRow(index, label, label, margin, radius, method, distance, attack)


@st.composite
def any_rows(draw, index: int) -> SampleRow:
    """A row of arbitrary fields, lawful or not."""
    return SampleRow(
        index,
        draw(classes),
        draw(classes),
        draw(st.floats(-2.0, 2.0)),
        draw(st.sampled_from([0.0, 0.5, 1.0, 2.0, float("nan"), float("inf")])),
        draw(st.none() | names),
        draw(st.none() | st.sampled_from([0.0, 0.5, 1.0, 2.0, float("inf")])),
        draw(st.none() | attacks | st.just("clean")),
    )


@st.composite
def brackets(draw) -> Bracket:
    """A lawful bracket, one upper bound of which may be unbounded."""
    norm = draw(st.sampled_from(THREAT_NORMS))
    truth = draw(st.floats(1e-3, 1e3))
    below = draw(st.lists(st.floats(0.0, truth), max_size=3))
    above = draw(st.lists(st.floats(truth, 1e9) | st.just(float("inf")), max_size=3))
    scope = draw(st.sampled_from([Scope.GLOBAL, Scope.BOX]))
    witness = Witness((0.0, draw(st.floats(0, 1))), (1.0, 0.0), truth)
    return Bracket(
        norm,
        tuple(LowerBound(v, norm, f"lower{i}", witness) for i, v in enumerate(below)),
        tuple(UpperBound(v, norm, f"upper{i}", scope) for i, v in enumerate(above)),
        draw(st.just(()) | st.builds(RefusedBound, words, words, words).map(_one)),
    )


def _one(item: RefusedBound) -> tuple[RefusedBound, ...]:
    return (item,)


@st.composite
def sweeps(draw) -> ThreatSweep:
    """A norm, up to four radii and a box."""
    epsilons = draw(st.lists(st.floats(0.0, 10.0), min_size=1, max_size=4))
    low, width = draw(st.floats(-5, 5)), draw(st.floats(0.1, 5))
    norm = draw(st.sampled_from(THREAT_NORMS))
    return ThreatSweep(norm, tuple(epsilons), Box(low, low + width))


@st.composite
def reports(draw, rows=lawful_rows) -> RobustnessReport:
    """A report whose rows come from ``rows``; everything else is lawful."""
    base = small_report()
    count = draw(st.integers(1, 8))
    layer = st.builds(LayerCard, words, words, st.just((2, 3)), st.none() | amounts)
    finding = st.builds(Finding, words, st.sampled_from(Level), words, words)
    run = st.builds(
        AttackRun, attacks, *[st.integers(0, 10**9)] * 3, amounts, st.integers(0, 9)
    )
    certifier = st.builds(CertifierRun, names, *[st.integers(0, 10**9)] * 5, amounts)
    return replace(
        base,
        model=replace(base.model, layers=tuple(draw(st.lists(layer, max_size=3)))),
        samples=replace(base.samples, name=draw(words), count=count),
        threats=draw(sweeps()),
        lipschitz=draw(brackets()),
        rows=tuple(draw(rows(index)) for index in range(count)),
        attacks=tuple(draw(st.lists(run, max_size=3))),
        certifiers=tuple(draw(st.lists(certifier, max_size=3))),
        findings=tuple(draw(st.lists(finding, max_size=3))),
    )
