from __future__ import annotations

import pytest

from robustcert.attacks.catalogue import ATTACKS
from robustcert.attacks.ensemble import STRONG, tier_attacks, tier_rungs
from robustcert.results.effort import Tier
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.report import OutputKind
from robustcert.results.threat_model import ThreatModel

CLASSES = pytest.mark.parametrize("classes", [2, 3, 4, 5, 10, 1000])
BOTH_NORMS = pytest.mark.parametrize("norm", THREAT_NORMS)


@pytest.mark.parametrize("tier", list(Tier))
@BOTH_NORMS
@CLASSES
def test_every_attack_of_a_tier_runs_on_every_kind_of_model(wrap, tier, norm, classes):
    kinds = [OutputKind.LOGITS] + [OutputKind.SINGLE_LOGIT] * (classes == 2)
    for output in kinds:
        for shape in [(7,), (3, 8, 8)]:
            model = wrap(lambda x: x, shape, classes, output)
            for name in tier_attacks(tier, norm, classes):
                assert ATTACKS[name].refusal(model, ThreatModel(norm, 0.1)) is None


@BOTH_NORMS
@CLASSES
def test_only_the_quick_tier_is_weak(norm, classes):
    assert not STRONG & set(tier_attacks(Tier.QUICK, norm, classes))
    assert STRONG & set(tier_attacks(Tier.STANDARD, norm, classes))
    assert STRONG & set(tier_attacks(Tier.THOROUGH, norm, classes))


@BOTH_NORMS
@CLASSES
def test_thorough_never_gives_up_and_does_all_that_standard_does(norm, classes):
    standard = tier_attacks(Tier.STANDARD, norm, classes)
    thorough = tier_rungs(Tier.THOROUGH, norm, classes)
    # Square's 5000 queries begin like its 1000.
    assert set(standard) - {rung.attack for rung in thorough} == {"square-short"}
    assert "square" in {rung.attack for rung in thorough}
    assert {rung.patience for rung in thorough} == {None}


@BOTH_NORMS
@pytest.mark.parametrize("tier", list(Tier))
def test_each_tier_begins_with_an_attack_on_every_sample(tier, norm):
    first = tier_rungs(tier, norm, 10)[0]
    assert first.patience is None


def test_the_attack_that_sees_through_dead_units_is_shown_every_sample():
    rungs = {r.attack: r for r in tier_rungs(Tier.STANDARD, Norm.L2, 10)}
    assert rungs["smooth-ascent"].patience is None


def test_no_attack_aims_at_classes_where_there_are_but_two():
    for tier in Tier:
        for name in tier_attacks(tier, Norm.L2, 2):
            assert "targeted" not in name
            assert name != "apgd-t"


def test_strong_attacks_are_rows_of_the_catalogue():
    assert set(ATTACKS) >= STRONG
