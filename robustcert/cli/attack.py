"""``robustcert attack``: the attacks' side alone."""

from __future__ import annotations

from robustcert.attacks.budget import Budget
from robustcert.cli import options
from robustcert.cli.local import run_locally
from robustcert.cli.output import people, write_json
from robustcert.cli.summary import print_summary
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.request import to_request
from robustcert.results.effort import Tier


def attack(
    model: options.Model,
    *,
    samples: options.SamplesName,
    norm: options.NormWord,
    epsilon: options.Epsilons,
    count: options.Count = None,
    tier: options.TierOption = Tier.STANDARD,
    attack: options.Attacks = None,
    seed: options.Seed = 0,
    box: options.BoxEnds = options.UNIT_ENDS,
    input_shape: options.InputShape = None,
    json: options.JsonFile = None,
    attack_seconds: options.AttackSeconds = None,
    attack_queries: options.AttackQueries = None,
    checkpoints: options.Checkpoints = None,
    trust_model: options.TrustModel = False,
    seconds: options.Seconds = options.LONGEST,
    memory_mb: options.MemoryMb = options.LARGEST_MB,
) -> None:
    """Attack a model; robust accuracy is an upper bound of the truth."""
    plan = EvaluationPlan(
        options.threats(norm, epsilon, box),
        count=count,
        tier=tier,
        seed=seed,
        attacks=tuple(attack or ()),
        budget=Budget(attack_seconds, attack_queries),
    )
    request = options.request(model, samples, plan, input_shape, checkpoints)
    budget = options.Budget(seconds, memory_mb, trust_model)
    document = run_locally("attack", to_request(request), budget)
    write_json(document, json)
    print_summary(document, people(json))
