from __future__ import annotations

import pytest

from robustcert.attacks.catalogue import ATTACKS
from robustcert.attacks.ensemble import STRONG, tier_attacks
from robustcert.results.effort import Tier
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.report import OutputKind
from robustcert.results.threat_model import ThreatModel


@pytest.mark.parametrize("tier", list(Tier))
@pytest.mark.parametrize("norm", THREAT_NORMS)
@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_every_attack_of_a_tier_runs_on_every_kind_of_model(wrap, tier, norm, classes):
    kinds = [OutputKind.LOGITS] + [OutputKind.SINGLE_LOGIT] * (classes == 2)
    for output in kinds:
        for shape in [(7,), (3, 8, 8)]:
            model = wrap(lambda x: x, shape, classes, output)
            for name in tier_attacks(tier, norm, classes):
                assert ATTACKS[name].refusal(model, ThreatModel(norm, 0.1)) is None


def test_only_the_quick_tier_is_weak():
    for norm in THREAT_NORMS:
        assert not STRONG & set(tier_attacks(Tier.QUICK, norm, 10))
        assert STRONG & set(tier_attacks(Tier.STANDARD, norm, 2))
        assert STRONG & set(tier_attacks(Tier.THOROUGH, norm, 10))


def test_thorough_is_standard_and_then_autoattack():
    standard = tier_attacks(Tier.STANDARD, Norm.LINF, 10)
    thorough = tier_attacks(Tier.THOROUGH, Norm.LINF, 10)
    assert thorough == (*standard, "autoattack")


def test_strong_attacks_are_rows_of_the_catalogue():
    assert set(ATTACKS) >= STRONG
