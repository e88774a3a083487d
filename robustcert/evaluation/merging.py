"""What the shards of an evaluation found, together."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from functools import reduce

from robustcert.attacks.budget import NOTHING_LEFT
from robustcert.attacks.diagnostics import non_finite, run_findings
from robustcert.attacks.headway import Headway
from robustcert.attacks.random_output import random_accuracy
from robustcert.evaluation.shards import ShardResult
from robustcert.evaluation.unsettled import time_spent
from robustcert.results.attack import AttackRun
from robustcert.results.certificate import CertifierRun
from robustcert.results.report import Finding


def merged_runs(results: Sequence[ShardResult]) -> tuple[AttackRun, ...]:
    """One row an attack, summed over the shards, in the order they ran."""
    totals: dict[str, AttackRun] = {}
    for run in (run for result in results for run in result.attacks):
        known = totals.get(run.name)
        totals[run.name] = run if known is None else _sum(known, run)
    return tuple(totals.values())


def merged_certifiers(results: Sequence[ShardResult]) -> tuple[CertifierRun, ...]:
    """One line a certifier, summed over the shards, in the order of their first use."""
    totals: dict[str, CertifierRun] = {}
    for run in (run for result in results for run in result.certifiers):
        known = totals.get(run.name)
        totals[run.name] = run if known is None else known + run
    return tuple(totals.values())


def findings(results: Sequence[ShardResult]) -> tuple[Finding, ...]:
    """What a reader must know about the whole evaluation, each thing once.

    What the attacks' figures say is said of their sums, not of each shard.
    """
    runs, count = merged_runs(results), sum(len(result.rows) for result in results)
    about_model = {
        finding.rule: finding
        for result in reversed(results)
        for finding in result.about_model
    }
    refusals = [finding for result in results for finding in result.refusals]
    return (
        *about_model.values(),
        *dict.fromkeys(refusals),
        *(run_findings(runs, count, _headways(results)) if runs else ()),
        *non_finite(sum(result.non_finite for result in results)),
        *_random_findings(results),
        *sum((result.leftover for result in results), NOTHING_LEFT).findings(count),
        *time_spent(sum(result.unsettled for result in results), count),
    )


def _headways(results: Sequence[ShardResult]) -> dict[str, Headway]:
    totals: dict[str, Headway] = {}
    for name, one in (pair for result in results for pair in result.headways.items()):
        totals[name] = totals.get(name, Headway()) + one
    return totals


def _random_findings(results: Sequence[ShardResult]) -> Iterator[Finding]:
    """The interval of a random model, over all samples whose draws were scored."""
    scored = [result.rescoring for result in results if result.rescoring is not None]
    if scored:
        yield random_accuracy(reduce(operator.add, scored))


def _sum(one: AttackRun, other: AttackRun) -> AttackRun:
    return AttackRun(
        one.name,
        one.broken + other.broken,
        one.forward_queries + other.forward_queries,
        one.backward_queries + other.backward_queries,
        one.seconds + other.seconds,
        one.unverified + other.unverified,
        one.attacked + other.attacked,
    )
