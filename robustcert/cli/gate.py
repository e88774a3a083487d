"""``robustcert gate``: pass, fail or inconclusive, for CI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustcert.attacks.budget import Budget
from robustcert.cli import options
from robustcert.cli.local import run_locally
from robustcert.cli.output import people, write_json, write_text
from robustcert.cli.summary import print_summary
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.request import to_request
from robustcert.formats.registry import FORMATS
from robustcert.gate.junit import junit_xml
from robustcert.gate.policy import Policy, read_policy
from robustcert.gate.summary import summary
from robustcert.gate.verdict import decide
from robustcert.results.document import from_document

PolicyFile = Annotated[
    Path,
    typer.Option(
        "--policy", metavar="FILE", help="robustcert.toml, or pyproject.toml."
    ),
]
JunitFile = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML.")
]
SummaryFile = Annotated[
    Path | None,
    typer.Option("--summary", metavar="FILE", help="Write the verdict in Markdown."),
]


def gate(
    model: options.Model,
    *,
    policy: PolicyFile = Path("robustcert.toml"),
    junit: JunitFile = None,
    summary_file: SummaryFile = None,
    json: options.JsonFile = None,
    html: options.HtmlFile = None,
    input_shape: options.InputShape = None,
    trust_model: options.TrustModel = False,
    seconds: options.Seconds = options.LONGEST,
    memory_mb: options.MemoryMb = options.LARGEST_MB,
) -> None:
    """Evaluate a model as a policy says, and judge it by the policy's rules."""
    rules = read_policy(policy)
    budget = options.Budget(seconds, memory_mb, trust_model)
    request = options.request(
        model,
        rules.subject.samples,
        _plan(rules),
        input_shape,
        seconds=budget.limit,
    )
    document = run_locally("evaluate", to_request(request), budget)
    report = from_document(document)
    verdict = decide(report, rules)
    write_json(document, json)
    if html is not None:
        write_text(html, FORMATS["html"].write(report))
    if junit is not None:
        write_text(junit, junit_xml(verdict))
    if summary_file is not None:
        write_text(summary_file, summary(verdict))
    console = people(json)
    print_summary(document, console)
    for rule in verdict.rules:
        console.print(f"{rule.outcome.value}: {rule.title}: {rule.reason}")
        if rule.remedy:
            console.print(f"  remedy: {rule.remedy}")
    console.print(f"gate: {verdict.outcome.value}")
    raise typer.Exit(verdict.exit_code)


def _plan(policy: Policy) -> EvaluationPlan:
    subject = policy.subject
    return EvaluationPlan(
        subject.threats,
        count=subject.count,
        tier=subject.tier,
        effort=subject.effort,
        seed=subject.seed,
        certifiers=subject.certifiers,
        certify_seconds=subject.certify_seconds,
        budget=Budget(subject.attack_seconds, subject.attack_queries),
    )
