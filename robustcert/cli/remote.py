"""``robustcert submit`` and ``robustcert wait``: work that a service does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustcert.cli import options
from robustcert.cli.output import people, write_json, write_text
from robustcert.cli.progress import progress_display
from robustcert.cli.summary import print_summary
from robustcert.client.client import DEFAULT_URL, Client
from robustcert.client.replies import finished
from robustcert.client.requests import evaluation_request
from robustcert.client.wire import EvaluationStatus
from robustcert.models.builtin import MODELS
from robustcert.results.effort import Effort, Tier
from robustcert.results.progress import Listener, Progress
from robustcert.results.smoothing import DRAWS

Url = Annotated[
    str, typer.Option("--url", envvar="ROBUSTCERT_URL", help="Address of the service.")
]
EvaluationId = Annotated[
    str, typer.Argument(metavar="EVALUATION", help="What `robustcert submit` printed.")
]


def submit(
    model: options.Model,
    *,
    samples: options.SamplesName,
    norm: options.NormWord,
    epsilon: options.Epsilons,
    count: options.Count = None,
    tier: options.TierOption = Tier.STANDARD,
    effort: options.EffortOption = Effort.FAST,
    certifiers: options.Certifiers = None,
    certify_seconds: options.CertifySeconds = None,
    seed: options.Seed = 0,
    box: options.BoxEnds = options.UNIT_ENDS,
    input_shape: options.InputShape = None,
    attack_seconds: options.AttackSeconds = None,
    attack_queries: options.AttackQueries = None,
    smooth_sigma: options.SmoothSigma = None,
    smooth_draws: options.SmoothDraws = DRAWS,
    url: Url = DEFAULT_URL,
) -> None:
    """Upload a model and samples, submit an evaluation, and print its id."""
    threats = options.threats(norm, epsilon, box)
    with Client(url) as client:
        source = MODELS[model].read() if model in MODELS else model
        request = evaluation_request(
            client.upload_model(source, name=Path(model).name).id,
            client.upload_samples(samples).id,
            norm,
            threats.epsilons,
            count=count,
            tier=tier,
            effort=effort,
            certifiers=options.certifiers(certifiers),
            certify_seconds=certify_seconds,
            seed=seed,
            box=box,
            input_shape=options.shape_from_words(input_shape),
            attack_seconds=attack_seconds,
            attack_queries=attack_queries,
            smooth_sigma=smooth_sigma,
            smooth_draws=smooth_draws,
        )
        typer.echo(client.submit(request).id)


def wait(
    evaluation: EvaluationId,
    *,
    json: options.JsonFile = None,
    html: options.HtmlFile = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Follow an evaluation to its end and print what it found."""
    with Client(url) as client:
        with progress_display() as listener:
            status = client.wait(evaluation, lambda view: _tell(view, listener))
        document = client.report(finished(status).id)
        write_json(document, json)
        if html is not None:
            write_text(html, client.report_html(evaluation))
    print_summary(document, people(json))


def _tell(view: EvaluationStatus, listener: Listener) -> None:
    at = view.progress
    if at is not None:
        listener(Progress(at.stage, at.done, at.total, at.note))
