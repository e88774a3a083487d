"""What runs inside the sandbox: entries that take JSON and give a document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from robustcert.errors import UsageError
from robustcert.evaluation import run
from robustcert.evaluation.bracket import lipschitz_bracket, model_problem
from robustcert.evaluation.cards import model_card
from robustcert.evaluation.corruption import corruption_report
from robustcert.evaluation.load import load_model, read_model_file
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.provenance import provenance
from robustcert.evaluation.request import EvaluationRequest, from_request
from robustcert.evaluation.smoothing import smoothing_report
from robustcert.evaluation.subject import ReadModel, read_model
from robustcert.evaluation.verification import verification
from robustcert.lipschitz.interface import Problem
from robustcert.lipschitz.monotonicity import displacement, monotonicity_bound
from robustcert.models.builtin import SAMPLE_SETS
from robustcert.models.interface import LoadedModel
from robustcert.models.samples import Samples, load_samples, samples_from_bytes
from robustcert.results.corruption_document import corruption_document
from robustcert.results.document import (
    attack_document,
    certify_document,
    issue,
    lipschitz_document,
)
from robustcert.results.effort import Effort
from robustcert.results.lipschitz_certificate_document import (
    certificate_document,
    certificate_from_document,
)
from robustcert.results.monotonicity import MonotonicityReport
from robustcert.results.monotonicity_document import monotonicity_document
from robustcert.results.norm import Norm, norm_from_word
from robustcert.results.progress import Listener
from robustcert.results.report import OutputKind, RobustnessReport
from robustcert.results.smoothing import SmoothingPlan
from robustcert.results.smoothing_document import smoothing_document
from robustcert.results.threat_model import Box

Work = Callable[
    [LoadedModel, Samples, EvaluationPlan, run.Surroundings], RobustnessReport
]
Document = dict[str, Any]


def evaluate(
    request: Mapping[str, Any], report: Listener, layers: tuple[str, ...]
) -> Document:
    """The whole report; ``request`` is :mod:`robustcert.evaluation.request`'s JSON."""
    return {"document": issue(_report(run.evaluate, request, report, layers))}


def attack(
    request: Mapping[str, Any], report: Listener, layers: tuple[str, ...]
) -> Document:
    """The attacks' part of a report."""
    return {"document": attack_document(_report(run.attack, request, report, layers))}


def certify(
    request: Mapping[str, Any], report: Listener, layers: tuple[str, ...]
) -> Document:
    """The certificates' part of a report."""
    found = _report(run.certify, request, report, layers)
    return {"document": certify_document(found)}


def lipschitz(
    request: Mapping[str, Any], report: Listener, layers: tuple[str, ...]
) -> Document:
    """The Lipschitz bracket of a model alone, and a certificate of its upper end.

    ``request`` holds model, input_shape (or null), norm, box, effort and seed;
    ``certificate`` is null where no method emitted one.
    """
    around = run.Surroundings(report, layers)
    norm = norm_from_word(request["norm"])
    read, problem = _without_samples(request, norm)
    bracket = lipschitz_bracket(problem, Effort(request["effort"]), report)
    card = model_card(read, norm)
    source = provenance(read.model, problem.seed, around.clock, layers)
    proof = bracket.certificate
    return {
        "document": lipschitz_document(card, bracket, source),
        "certificate": None if proof is None else certificate_document(proof),
    }


def monotonicity(
    request: Mapping[str, Any], report: Listener, layers: tuple[str, ...]
) -> Document:
    """Displacement and monotonicity of a map from a space to itself, in L2.

    ``request`` holds model, input_shape (or null), box, effort and seed.

    Raises:
        UsageError: bounds would be about logits in front of the model's softmax.
    """
    around = run.Surroundings(report, layers)
    read, problem = _without_samples(request, Norm.L2)
    if read.model.output is not OutputKind.LOGITS:
        raise UsageError(
            f"the model returns {read.model.output.value}, not the map that is bounded",
            remedy="Export the map without a softmax behind it.",
        )
    effort = Effort(request["effort"])
    bracket = lipschitz_bracket(displacement(problem), effort, report)
    at_most = monotonicity_bound(problem, effort)
    card = model_card(read, Norm.L2)
    source = provenance(read.model, problem.seed, around.clock, layers)
    found = MonotonicityReport(card, bracket, at_most, source)
    return {"document": monotonicity_document(found)}


def corruptions(
    request: Mapping[str, Any], report: Listener, layers: tuple[str, ...]
) -> Document:
    """Accuracy on corrupted samples.

    ``request`` holds model, samples, count and input_shape (or null), corruptions, seed
    and box.
    """
    samples = load_samples(request["samples"]).first(request["count"])
    shape = request["input_shape"]
    model = load_model(
        read_model_file(request["model"]),
        input_shape=None if shape is None else tuple(shape),
        sample_shape=tuple(samples.inputs.shape[1:]),
    )
    box, seed = Box(*request["box"]), int(request["seed"])
    around = run.Surroundings(report, layers)
    found = corruption_report(model, samples, box, request["corruptions"], seed, around)
    return {"document": corruption_document(found)}


def smooth(
    request: Mapping[str, Any], report: Listener, layers: tuple[str, ...]
) -> Document:
    """Certified radii of the smoothed model.

    ``request`` holds model, samples, count and input_shape (or null), sigma, n0, n,
    alpha, seed, epsilons and box.
    """
    plan = SmoothingPlan(
        sigma=float(request["sigma"]),
        selection=int(request["n0"]),
        draws=int(request["n"]),
        alpha=float(request["alpha"]),
        seed=int(request["seed"]),
    )
    samples = load_samples(request["samples"]).first(request["count"])
    shape = request["input_shape"]
    model = load_model(
        read_model_file(request["model"]),
        input_shape=None if shape is None else tuple(shape),
        sample_shape=tuple(samples.inputs.shape[1:]),
    )
    box, around = Box(*request["box"]), run.Surroundings(report, layers)
    epsilons = tuple(request["epsilons"])
    found = smoothing_report(model, samples, box, plan, epsilons, around)
    return {"document": smoothing_document(found)}


def verify(
    request: Mapping[str, Any], _listener: Listener, _layers: tuple[str, ...]
) -> Document:
    """Whether a Lipschitz certificate holds; ``request``: model and certificate."""
    certificate = certificate_from_document(request["certificate"])
    return {"document": verification(read_model_file(request["model"]), certificate)}


def _without_samples(
    request: Mapping[str, Any], norm: Norm
) -> tuple[ReadModel, Problem]:
    """The model of the request, and the problem whose witnesses start anywhere."""
    shape = request["input_shape"]
    data = read_model_file(request["model"])
    model = load_model(data, input_shape=None if shape is None else tuple(shape))
    read = read_model(model)
    box, seed = Box(*request["box"]), int(request["seed"])
    return read, model_problem(read, norm, box, seed)


def _report(
    work: Work,
    request: Mapping[str, Any],
    report: Listener,
    layers: tuple[str, ...],
) -> RobustnessReport:
    asked = from_request(request)
    kept = Path(asked.checkpoints) if asked.checkpoints else None
    around = run.Surroundings(report, layers, kept, seconds=asked.seconds)
    samples = _samples(asked)
    model = load_model(
        read_model_file(asked.model),
        input_shape=asked.input_shape,
        sample_shape=tuple(samples.inputs.shape[1:]),
    )
    return work(model, samples, asked.plan, around)


def _samples(asked: EvaluationRequest) -> Samples:
    if asked.samples in SAMPLE_SETS or not asked.sample_name:
        return load_samples(asked.samples)
    return samples_from_bytes(Path(asked.samples).read_bytes(), asked.sample_name)
