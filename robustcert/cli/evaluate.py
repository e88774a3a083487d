"""``robustcert evaluate``: the whole bracket of a model on samples."""

from __future__ import annotations

from robustcert.attacks.budget import Budget
from robustcert.cli import options
from robustcert.cli.local import run_locally
from robustcert.cli.output import people, write_json, write_text
from robustcert.cli.summary import print_summary
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.request import to_request
from robustcert.formats.registry import FORMATS
from robustcert.results.document import from_document
from robustcert.results.effort import Effort, Tier
from robustcert.results.smoothing import DRAWS, smoothing_asked


def evaluate(
    model: options.Model,
    *,
    samples: options.SamplesName,
    norm: options.NormWord,
    epsilon: options.Epsilons,
    count: options.Count = None,
    tier: options.TierOption = Tier.STANDARD,
    effort: options.EffortOption = Effort.FAST,
    attack: options.Attacks = None,
    certifiers: options.Certifiers = None,
    certify_seconds: options.CertifySeconds = None,
    seed: options.Seed = 0,
    box: options.BoxEnds = options.UNIT_ENDS,
    input_shape: options.InputShape = None,
    json: options.JsonFile = None,
    html: options.HtmlFile = None,
    markdown: options.MarkdownFile = None,
    attack_seconds: options.AttackSeconds = None,
    attack_queries: options.AttackQueries = None,
    smooth_sigma: options.SmoothSigma = None,
    smooth_draws: options.SmoothDraws = DRAWS,
    checkpoints: options.Checkpoints = None,
    trust_model: options.TrustModel = False,
    seconds: options.Seconds = options.LONGEST,
    memory_mb: options.MemoryMb = options.LARGEST_MB,
) -> None:
    """Bracket a model's Lipschitz constant and its samples' robust radii."""
    plan = EvaluationPlan(
        options.threats(norm, epsilon, box),
        count=count,
        tier=tier,
        effort=effort,
        seed=seed,
        attacks=tuple(attack or ()),
        certifiers=options.certifiers(certifiers),
        certify_seconds=certify_seconds,
        budget=Budget(attack_seconds, attack_queries),
        smoothing=smoothing_asked(smooth_sigma, smooth_draws, seed),
    )
    budget = options.Budget(seconds, memory_mb, trust_model)
    request = options.request(
        model,
        samples,
        plan,
        input_shape,
        checkpoints,
        budget.limit,
    )
    document = run_locally("evaluate", to_request(request), budget)
    write_json(document, json)
    report = from_document(document)
    for name, path in (("html", html), ("markdown", markdown)):
        if path is not None:
            write_text(path, FORMATS[name].write(report))
    print_summary(document, people(json))
