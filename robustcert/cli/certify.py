"""``robustcert certify``: the certificates' side alone."""

from __future__ import annotations

from robustcert.cli import options
from robustcert.cli.local import run_locally
from robustcert.cli.output import people, write_json
from robustcert.cli.summary import print_summary
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.request import to_request
from robustcert.results.effort import Effort


def certify(
    model: options.Model,
    *,
    samples: options.SamplesName,
    norm: options.NormWord,
    epsilon: options.Epsilons,
    count: options.Count = None,
    effort: options.EffortOption = Effort.FAST,
    certifiers: options.Certifiers = None,
    certify_seconds: options.CertifySeconds = None,
    seed: options.Seed = 0,
    box: options.BoxEnds = options.UNIT_ENDS,
    input_shape: options.InputShape = None,
    json: options.JsonFile = None,
    checkpoints: options.Checkpoints = None,
    trust_model: options.TrustModel = False,
    seconds: options.Seconds = options.LONGEST,
    memory_mb: options.MemoryMb = options.LARGEST_MB,
) -> None:
    """Certify samples; certified accuracy is a lower bound of the truth."""
    plan = EvaluationPlan(
        options.threats(norm, epsilon, box),
        count=count,
        effort=effort,
        seed=seed,
        certifiers=options.certifiers(certifiers),
        certify_seconds=certify_seconds,
    )
    budget = options.Budget(seconds, memory_mb, trust_model)
    request = options.request(
        model, samples, plan, input_shape, checkpoints, budget.limit
    )
    document = run_locally("certify", to_request(request), budget)
    write_json(document, json)
    print_summary(document, people(json))
