"""What makes a robust accuracy unreliable, and what resolves it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from robustcert.results.attack import AttackRun
from robustcert.results.report import Finding, Level
from robustcert.results.rescoring import Rescoring
from robustcert.results.soundness import RESOLVED_BY, UNRELIABLE, doubts
from tests.golden.handmade import small_report


def report(finding, ran):
    runs = tuple(AttackRun(name, 0, 1, 1, 0.5, attacked=5) for name in ran)
    return replace(small_report(), findings=(finding,), attacks=runs)


def warning(rule):
    return Finding(rule, Level.WARNING, "Something is wrong.", "Mend it.")


@pytest.mark.parametrize("rule", sorted(RESOLVED_BY))
def test_a_finding_is_a_doubt_until_all_that_resolves_it_ran(rule):
    resolving = RESOLVED_BY[rule]
    assert doubts(report(warning(rule), ["apgd-ce", *resolving])) == ()
    for absent in resolving:
        ran = [name for name in resolving if name != absent]
        assert doubts(report(warning(rule), ["apgd-ce", *ran])) == (warning(rule),)


def test_an_attack_that_came_to_no_sample_resolves_nothing():
    """The budget was spent, or the attack gave up, before it came to one."""
    asked = report(warning("zero-gradients"), RESOLVED_BY["zero-gradients"])
    idle = tuple(replace(run, attacked=0) for run in asked.attacks)
    assert doubts(replace(asked, attacks=idle)) == (warning("zero-gradients"),)


@pytest.mark.parametrize("rule", sorted(RESOLVED_BY))
def test_where_every_sample_is_certified_or_broken_no_attack_is_missing(rule):
    """At 0 and at .02, the radii and distances of these four rows settle all."""
    asked = report(replace(warning(rule), level=Level.ERROR), ["pgd"])
    rows = tuple(replace(asked.rows[i], index=k) for k, i in enumerate((0, 1, 3, 6)))
    threats = replace(asked.threats, epsilons=(0.0, 0.02))
    assert doubts(asked) != ()
    assert doubts(replace(asked, rows=rows, threats=threats)) == ()


def test_nothing_resolves_a_random_output_or_an_error():
    ran = {name for names in RESOLVED_BY.values() for name in names}
    assert "random-output" in UNRELIABLE
    for one in (
        warning("random-output"),
        replace(warning("gradient-masking"), level=Level.ERROR),
        replace(warning("anything-else"), level=Level.ERROR),
    ):
        assert doubts(report(one, [*ran, "apgd-ce-eot"])) == (one,)


@pytest.mark.parametrize("rule", ["few-samples", "weak-attacks", "unverified-claims"])
def test_what_says_little_but_true_things_is_no_doubt(rule):
    assert doubts(report(warning(rule), ["pgd"])) == ()


def test_re_scorings_of_shards_add_up_draw_by_draw():
    both = Rescoring((1, 3), 4) + Rescoring((5, 2), 6)
    assert both == Rescoring((6, 5), 10)
    assert both.robust == (0.5, 0.6)
    low, high = both.interval
    assert low < 0.5 < 0.6 < high


@pytest.mark.parametrize(("standing", "samples"), [((), 3), ((4,), 3), ((0,), 0)])
def test_a_re_scoring_counts_samples_in_draws(standing, samples):
    with pytest.raises(ValueError, match=r"re-scoring|no counts"):
        Rescoring(standing, samples)
