"""A bracket never pairs bounds that speak about different sets of inputs."""

from __future__ import annotations

from robustcert.results.bound import Bracket, LowerBound, Scope, UpperBound, Witness
from robustcert.results.norm import Norm

PAIR = Witness((0.0,), (1.0,), 2.0)


def lower(value, scope):
    return LowerBound(value, Norm.L2, f"lower-{scope.value}", PAIR, scope)


def upper(value, scope):
    return UpperBound(value, Norm.L2, f"upper-{scope.value}", scope)


def test_a_global_bracket_takes_no_upper_bound_of_the_box():
    uppers = (upper(2.0, Scope.BOX), upper(9.0, Scope.GLOBAL))
    bracket = Bracket(Norm.L2, (lower(5.0, Scope.GLOBAL),), uppers)
    assert bracket.scope is Scope.GLOBAL
    assert bracket.lower.value == 5.0
    assert bracket.upper.value == 9.0


def test_a_bracket_of_the_box_takes_no_witness_from_outside_it():
    lowers = (lower(5.0, Scope.GLOBAL), lower(1.5, Scope.BOX))
    bracket = Bracket(Norm.L2, lowers, (upper(2.0, Scope.BOX),))
    assert bracket.scope is Scope.BOX
    assert bracket.lower.value == 1.5
    assert bracket.upper.value == 2.0


def test_a_witness_anywhere_bounds_the_global_constant_from_below():
    lowers = (lower(5.0, Scope.BOX), lower(6.0, Scope.BALL))
    bracket = Bracket(Norm.L2, lowers, (upper(9.0, Scope.GLOBAL),))
    assert bracket.lower.value == 6.0


def test_without_an_upper_bound_the_bracket_is_global():
    bracket = Bracket(Norm.L2, (lower(5.0, Scope.BOX),))
    assert bracket.scope is Scope.GLOBAL
    assert bracket.upper is None
