"""Restartable pieces of an evaluation: a slice of the samples, all methods.

A shard's result depends on the model, the slice and the plan alone: its seed comes from
the plan's seed and the slice's start, so shards may run in any order or on any machine.
Where attacks have a budget it depends on the shard's share of it as well, and shards
run in order: what one leaves goes to those after it.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

from robustcert.attacks.budget import NOTHING_LEFT, UNLIMITED, Budget, Leftover
from robustcert.attacks.diagnostics import non_finite, run_findings
from robustcert.attacks.engine import run_attacks
from robustcert.attacks.ensemble import tier_rungs
from robustcert.attacks.headway import Headway
from robustcert.attacks.random_output import random_accuracy
from robustcert.evaluation.certification import (
    Radii,
    ReadyCertifiers,
    certify,
    unproved,
)
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.rows import sample_rows
from robustcert.evaluation.subject import Subject
from robustcert.results.attack import AttackRun
from robustcert.results.progress import Listener, Progress
from robustcert.results.report import Finding, SampleRow
from robustcert.results.rescoring import Rescoring

SIZE = 256
"""Samples a shard: few enough to lose little with one, enough of them open after the
cheap attacks that those which give up early save something."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Samples ``start`` to ``stop`` of the set, and the budget to attack them with."""

    start: int
    stop: int
    budget: Budget = UNLIMITED


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What all shards of an evaluation share."""

    subject: Subject
    plan: EvaluationPlan
    certifiers: ReadyCertifiers
    listener: Listener


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What one shard found.

    Attributes:
        rows: its samples.
        attacks: cost and yield of each attack; empty where none ran.
        about_model: what the model does that attacks rely on, seen on these samples.
        refusals: methods that have no rule for the model or the threat.
        non_finite: perturbed inputs on which the model's output was not a number.
        leftover: samples that a spent budget left.
        headways: by attack, how far it got.
        rescoring: of a model that answers differently each time, ``None`` of others.
    """

    rows: tuple[SampleRow, ...]
    attacks: tuple[AttackRun, ...] = ()
    about_model: tuple[Finding, ...] = ()
    refusals: tuple[Finding, ...] = ()
    non_finite: int = 0
    leftover: Leftover = NOTHING_LEFT
    headways: dict[str, Headway] = field(default_factory=dict)
    rescoring: Rescoring | None = None


def shards(count: int) -> Iterator[Shard]:
    """The slices that cover ``count`` samples."""
    for start in range(0, count, SIZE):
        yield Shard(start, min(start + SIZE, count))


def funded(
    shard: Shard, before: Sequence[ShardResult], count: int, budget: Budget
) -> Shard:
    """The shard with its share of what the shards before it left of ``budget``.

    Args:
        shard: the next one.
        before: results of all shards before it.
        count: samples of the whole evaluation.
        budget: of all attacks on all of them.
    """
    runs = [run for result in before for run in result.attacks]
    left = budget.less(
        sum(run.seconds for run in runs),
        sum(run.forward_queries + run.backward_queries for run in runs),
    )
    share = left.share(shard.stop - shard.start, count - shard.start)
    return replace(shard, budget=share)


def run_shard(job: Job, shard: Shard) -> ShardResult:
    """Certify, then attack what is not certified."""
    return _attacked(job, shard, _radii(job, shard))


def certify_shard(job: Job, shard: Shard) -> ShardResult:
    """Certify, and attack nothing."""
    radii = _radii(job, shard)
    rows = sample_rows(job.subject, radii, {}, shard.start)
    return ShardResult(rows, refusals=radii.findings)


def attack_shard(job: Job, shard: Shard) -> ShardResult:
    """Attack everything, and certify nothing.

    Raises:
        UnknownNameError: the plan names an attack that does not exist.
    """
    return _attacked(job, shard, unproved(shard.stop - shard.start))


def _radii(job: Job, shard: Shard) -> Radii:
    total = len(job.subject.samples)
    job.listener(Progress("certify", shard.start, total))
    radii = certify(job.subject, job.certifiers, shard.start, shard.stop)
    job.listener(Progress("certify", shard.stop, total))
    return radii


def _attacked(job: Job, shard: Shard, radii: Radii) -> ShardResult:
    subject, plan = job.subject, job.plan
    model, norm = subject.read.model, plan.threats.norm
    outcome = run_attacks(
        model,
        subject.samples.inputs[shard.start : shard.stop],
        subject.samples.labels[shard.start : shard.stop],
        plan.threats,
        plan.attacks or tier_rungs(plan.tier, norm, model.classes),
        seed=plan.seed + shard.start,
        certified=radii.radius,
        graph=subject.read.graph,
        budget=shard.budget,
        listener=_shifted(job.listener, shard, len(subject.samples)),
    )
    examples = {
        example.index + shard.start: replace(example, index=example.index + shard.start)
        for example in outcome.examples
    }
    return ShardResult(
        sample_rows(subject, radii, examples, shard.start),
        outcome.runs,
        outcome.about_model,
        (*radii.findings, *outcome.refusals),
        outcome.non_finite,
        outcome.leftover,
        outcome.headways,
        outcome.rescoring,
    )


def merged_runs(results: Sequence[ShardResult]) -> tuple[AttackRun, ...]:
    """One row an attack, summed over the shards, in the order they ran."""
    totals: dict[str, AttackRun] = {}
    for run in (run for result in results for run in result.attacks):
        known = totals.get(run.name)
        totals[run.name] = run if known is None else _sum(known, run)
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


def _shifted(listener: Listener, shard: Shard, total: int) -> Listener:
    """Report a shard's progress as progress on the whole sample set."""
    size = shard.stop - shard.start

    def heard(progress: Progress) -> None:
        share = progress.done / progress.total if progress.total else 1.0
        done = shard.start + int(share * size)
        listener(replace(progress, done=done, total=total))

    return heard
