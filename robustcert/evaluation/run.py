"""The use case: a model and samples go in, a report comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from robustcert.evaluation.allowance import Deadline
from robustcert.evaluation.bracket import lipschitz_bracket, samples_problem
from robustcert.evaluation.cards import model_card, sample_card
from robustcert.evaluation.certifiers import ReadyCertifiers, ready_certifiers
from robustcert.evaluation.checkpoint import Checkpoints, mark_of
from robustcert.evaluation.merging import findings, merged_certifiers, merged_runs
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.provenance import Clock, provenance
from robustcert.evaluation.shards import (
    Job,
    Shard,
    ShardResult,
    attack_shard,
    certify_shard,
    funded,
    run_shard,
    shards,
)
from robustcert.evaluation.smoothed import with_smoothing
from robustcert.evaluation.subject import Subject, prepare, read_model
from robustcert.models.interface import LoadedModel
from robustcert.models.samples import Samples
from robustcert.results.bound import Bracket
from robustcert.results.consistency import check
from robustcert.results.progress import Listener, unheard
from robustcert.results.report import RobustnessReport

ShardWork = Callable[[Job, Shard], ShardResult]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an evaluation runs in.

    Attributes:
        listener: hears of every step.
        sandbox: layers around this process.
        checkpoints: folder that keeps finished shards, ``None`` to keep none. A later
            evaluation of the same goes on behind them.
        clock: when the work began.
        seconds: wall-clock limit of this process, ``None`` where there is none.
    """

    listener: Listener = unheard
    sandbox: tuple[str, ...] = ()
    checkpoints: Path | None = None
    clock: Clock = field(default_factory=Clock)
    seconds: float | None = None


def evaluate(
    model: LoadedModel,
    samples: Samples,
    plan: EvaluationPlan,
    surroundings: Surroundings | None = None,
) -> RobustnessReport:
    """Bracket the Lipschitz constant and every sample's robust radius.

    Args:
        model: as loaded.
        samples: in the plan's box, labels within the model's classes.
        plan: what to run.
        surroundings: who hears of every step, and where finished parts are kept.

    Raises:
        UnreadableInputError: samples and model do not fit.
        UnsoundModelError: an output is NaN or infinite.
        ConsistencyError: the findings contradict each other.
    """
    around = surroundings or Surroundings()
    subject = _subject(model, samples, plan)
    problem = samples_problem(subject, plan)
    bracket = lipschitz_bracket(problem, plan.effort, around.listener)
    report = _report(_job(subject, plan, around), bracket, run_shard, around)
    return with_smoothing(report, subject, plan, around.listener, around.clock)


def attack(
    model: LoadedModel,
    samples: Samples,
    plan: EvaluationPlan,
    surroundings: Surroundings | None = None,
) -> RobustnessReport:
    """The attacks' side alone; arguments and errors as for :func:`evaluate`."""
    around = surroundings or Surroundings()
    subject = _subject(model, samples, plan)
    none = ReadyCertifiers(plan.threats.norm)
    job = Job(subject, plan, none, around.listener)
    return _report(job, Bracket(plan.threats.norm), attack_shard, around)


def certify(
    model: LoadedModel,
    samples: Samples,
    plan: EvaluationPlan,
    surroundings: Surroundings | None = None,
) -> RobustnessReport:
    """The certificates' side alone; arguments and errors as for :func:`evaluate`."""
    around = surroundings or Surroundings()
    subject = _subject(model, samples, plan)
    job = _job(subject, plan, around)
    return _report(job, Bracket(plan.threats.norm), certify_shard, around)


def _subject(model: LoadedModel, samples: Samples, plan: EvaluationPlan) -> Subject:
    return prepare(read_model(model), samples.first(plan.count), plan.threats.box)


def _job(subject: Subject, plan: EvaluationPlan, around: Surroundings) -> Job:
    certifiers = ready_certifiers(subject, plan.threats.norm, plan.certifiers)
    deadline = Deadline(around.seconds, around.clock)
    return Job(subject, plan, certifiers, around.listener, deadline)


def _report(
    job: Job, bracket: Bracket, work: ShardWork, around: Surroundings
) -> RobustnessReport:
    subject, plan = job.subject, job.plan
    model = subject.read.model
    kept = Checkpoints(around.checkpoints, mark_of(subject, plan, work.__name__))
    results = _results(job, work, kept)
    source = provenance(model, plan.seed, around.clock, around.sandbox)
    report = RobustnessReport(
        model=model_card(subject.read, plan.threats.norm),
        samples=sample_card(subject.samples, plan.seed),
        threats=plan.threats,
        lipschitz=bracket,
        rows=tuple(row for result in results for row in result.rows),
        attacks=merged_runs(results),
        findings=(*subject.read.findings, *findings(results), *kept.findings),
        provenance=replace(source, cache=kept.use),
        certifiers=merged_certifiers(results),
    )
    check(report)
    return report


def _results(job: Job, work: ShardWork, kept: Checkpoints) -> list[ShardResult]:
    """Every shard's result, in order: those kept from before, the others computed."""
    count, results = len(job.subject.samples), list[ShardResult]()
    for shard in shards(count):
        result = kept.find(shard, job.subject)
        if result is None:
            result = work(job, funded(shard, results, count, job.plan.budget))
            kept.keep(shard, result)
        results.append(result)
    return results
