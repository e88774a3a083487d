"""Restartable pieces of an evaluation: a slice of the samples, all methods.

A shard's result depends on the model, the slice and the plan alone: its seed comes from
the plan's seed and the slice's start, so shards may run in any order or on any machine.
Where attacks have a budget it depends on the shard's share of it as well, and shards
run in order: what one leaves goes to those after it. A certifier that runs out of time
depends on the machine; where each comes to its end, nothing does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from robustcert.attacks.budget import NOTHING_LEFT, UNLIMITED, Budget, Leftover
from robustcert.attacks.engine import run_attacks
from robustcert.attacks.ensemble import tier_rungs
from robustcert.attacks.headway import Headway
from robustcert.evaluation.allowance import Deadline
from robustcert.evaluation.certification import certify_cheaply, settle, widen
from robustcert.evaluation.certifiers import ReadyCertifiers
from robustcert.evaluation.judging import Bench, bench
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.rows import sample_rows
from robustcert.evaluation.standing import Standing
from robustcert.evaluation.subject import Subject
from robustcert.evaluation.unsettled import unsettled
from robustcert.results.attack import AttackRun
from robustcert.results.certificate import CertifierRun
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
    deadline: Deadline = field(default_factory=Deadline)


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
        certifiers: cost and yield of each certifier; empty where none ran.
        unsettled: samples that the certifiers' time left open.
    """

    rows: tuple[SampleRow, ...]
    attacks: tuple[AttackRun, ...] = ()
    about_model: tuple[Finding, ...] = ()
    refusals: tuple[Finding, ...] = ()
    non_finite: int = 0
    leftover: Leftover = NOTHING_LEFT
    headways: dict[str, Headway] = field(default_factory=dict)
    rescoring: Rescoring | None = None
    certifiers: tuple[CertifierRun, ...] = ()
    unsettled: int = 0


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
    """Certify cheaply, attack what is open, then certify what still is."""
    standing = _standing(job, shard)
    able = _bench(job, shard, standing)
    _certify_cheaply(job, shard, able)
    result = _attacked(job, shard, standing)
    return _certified(job, shard, standing, able, result)


def certify_shard(job: Job, shard: Shard) -> ShardResult:
    """Certify, and attack nothing."""
    standing = _standing(job, shard)
    able = _bench(job, shard, standing)
    _certify_cheaply(job, shard, able)
    return _certified(job, shard, standing, able, ShardResult(()))


def attack_shard(job: Job, shard: Shard) -> ShardResult:
    """Attack everything, and certify nothing.

    Raises:
        UnknownNameError: the plan names an attack that does not exist.
    """
    standing = _standing(job, shard)
    result = _attacked(job, shard, standing)
    return replace(result, rows=sample_rows(job.subject, standing, shard.start))


def _standing(job: Job, shard: Shard) -> Standing:
    return Standing(job.subject.right[shard.start : shard.stop])


def _bench(job: Job, shard: Shard, standing: Standing) -> Bench | None:
    heard = _shifted(job.listener, shard, len(job.subject.samples))
    return bench(job.subject, job.certifiers, standing, shard.start, heard)


def _certify_cheaply(job: Job, shard: Shard, able: Bench | None) -> None:
    total = len(job.subject.samples)
    job.listener(Progress("certify", shard.start, total))
    if able is not None:
        certify_cheaply(able, job.plan.threats)
    job.listener(Progress("certify", shard.stop, total))


def _certified(
    job: Job, shard: Shard, standing: Standing, able: Bench | None, before: ShardResult
) -> ShardResult:
    """What the dear certifiers add to what was found before them."""
    if able is None:
        rows = sample_rows(job.subject, standing, shard.start)
        return replace(before, rows=rows)
    waiting = len(job.subject.samples) - shard.start
    allowance = job.deadline.allowance(job.plan, able.names, waiting)
    settle(able, job.plan.threats, allowance)
    left = unsettled(able, job.plan.threats)
    widen(able, job.plan.threats, allowance)
    return replace(
        before,
        rows=sample_rows(job.subject, standing, shard.start),
        refusals=(*able.findings, *before.refusals),
        certifiers=able.runs,
        unsettled=left,
    )


def _attacked(job: Job, shard: Shard, standing: Standing) -> ShardResult:
    """Attack what is not certified; the rows are still to be written."""
    subject, plan = job.subject, job.plan
    model, norm = subject.read.model, plan.threats.norm
    outcome = run_attacks(
        model,
        subject.samples.inputs[shard.start : shard.stop],
        subject.samples.labels[shard.start : shard.stop],
        plan.threats,
        plan.attacks or tier_rungs(plan.tier, norm, model.classes),
        seed=plan.seed + shard.start,
        certified=standing.radius,
        margins=subject.margins[shard.start : shard.stop],
        graph=subject.read.graph,
        budget=shard.budget,
        listener=_shifted(job.listener, shard, len(subject.samples)),
    )
    standing.break_by(outcome.examples)
    return ShardResult(
        (),
        outcome.runs,
        outcome.about_model,
        outcome.refusals,
        outcome.non_finite,
        outcome.leftover,
        outcome.headways,
        outcome.rescoring,
    )


def _shifted(listener: Listener, shard: Shard, total: int) -> Listener:
    """Report a shard's progress as progress on the whole sample set."""
    size = shard.stop - shard.start

    def heard(progress: Progress) -> None:
        share = progress.done / progress.total if progress.total else 1.0
        done = shard.start + int(share * size)
        listener(replace(progress, done=done, total=total))

    return heard
