"""Monotonicity follows from the displacement, and both sides must agree."""

from __future__ import annotations

import math

import pytest

from robustcert.errors import ConsistencyError
from robustcert.results.bound import Bracket, UpperBound, Witness
from robustcert.results.monotonicity import MonotonicityBound, MonotonicityReport
from robustcert.results.monotonicity_document import monotonicity_document
from robustcert.results.norm import Norm
from tests.golden.handmade import model_card, provenance


def report(upper: float | None, at_most: float) -> MonotonicityReport:
    uppers = () if upper is None else (UpperBound(upper, Norm.L2, "lipsdp"),)
    worst = MonotonicityBound(at_most, Witness((0.0,), (1.0,), at_most))
    displacement = Bracket(Norm.L2, uppers=uppers)
    return MonotonicityReport(model_card(), displacement, worst, provenance())


def test_a_map_that_moves_points_little_is_monotone():
    document = monotonicity_document(report(0.25, 0.875))
    found = document["monotonicity"]
    assert found["at_least"] == math.nextafter(0.75, 0.0)
    assert found["at_most"]["value"] == 0.875


@pytest.mark.parametrize("upper", [None, math.inf])
def test_without_a_bound_of_the_displacement_nothing_is_proved(upper):
    document = monotonicity_document(report(upper, -1.0))
    assert document["monotonicity"]["at_least"] is None


def test_a_pair_that_contradicts_the_proof_is_not_issued():
    assert monotonicity_document(report(0.25, 0.75))
    with pytest.raises(ConsistencyError, match="a pair attains"):
        monotonicity_document(report(0.25, 0.7))
