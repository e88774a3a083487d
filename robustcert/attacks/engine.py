"""The entry point: attack samples and say what was found, and how well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.attacks import diagnostics
from robustcert.attacks.budget import NOTHING_LEFT, UNLIMITED, Budget, Leftover
from robustcert.attacks.campaign import Campaign
from robustcert.attacks.catalogue import attack_named
from robustcert.attacks.escalation import escalations
from robustcert.attacks.headway import Headway
from robustcert.attacks.interface import Attack
from robustcert.attacks.ledger import Ledger
from robustcert.attacks.quarantine import isolated_generators
from robustcert.attacks.random_output import random_accuracy, rescored, steady
from robustcert.attacks.rung import Rung, rungs_of
from robustcert.attacks.surrogate import twin_of
from robustcert.errors import ModelLoadError, SamplesError, UsageError
from robustcert.graph.layers import LayerGraph
from robustcert.models.interface import LoadedModel
from robustcert.results.attack import AdversarialExample, AttackResult, AttackRun
from robustcert.results.progress import Listener, unheard
from robustcert.results.report import Finding
from robustcert.results.rescoring import Rescoring
from robustcert.results.threat_model import Box, ThreatModel, ThreatSweep
from robustcert.tensors import clip_to_box


@dataclass(frozen=True, slots=True, eq=False)
class AttackOutcome:
    """What the attacks found.

    Attributes:
        threats: norm, epsilons and box.
        examples: the smallest verified perturbation of each broken sample.
        runs: cost and yield of each attack, in the order in which they ran.
        adversarial: ``(*shape)`` smallest verified adversarial input by index, in the
            model's dtype; none for samples that are wrong unperturbed.
        margins: ``(N,)`` float64 clean margins by which those were told.
        about_model: what the model does that attacks rely on.
        refusals: attacks that could not run.
        non_finite: perturbed inputs on which the model's output was not a number.
        headways: by attack, how far it got.
        rescoring: of a model that answers differently each time, ``None`` of others.
        leftover: samples that a spent budget left.
    """

    threats: ThreatSweep
    examples: tuple[AdversarialExample, ...]
    runs: tuple[AttackRun, ...]
    adversarial: dict[int, Tensor]
    margins: Tensor
    about_model: tuple[Finding, ...]
    refusals: tuple[Finding, ...]
    non_finite: int
    headways: dict[str, Headway]
    rescoring: Rescoring | None
    leftover: Leftover = NOTHING_LEFT

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that a reader must know about these attacks on these samples."""
        return (
            *self.about_model,
            *self.refusals,
            *diagnostics.run_findings(self.runs, len(self.margins), self.headways),
            *diagnostics.non_finite(self.non_finite),
            *(() if self.rescoring is None else (random_accuracy(self.rescoring),)),
            *self.leftover.findings(len(self.margins)),
        )

    @property
    def result(self) -> AttackResult:
        """The torch-free part, at the largest epsilon."""
        return AttackResult(self.threats.largest, self.examples, self.runs)


def run_attacks(
    model: LoadedModel,
    inputs: Tensor,
    labels: Tensor,
    threats: ThreatSweep,
    rungs: Sequence[Rung | str],
    *,
    seed: int = 0,
    certified: Tensor | None = None,
    margins: Tensor | None = None,
    graph: LayerGraph | None = None,
    budget: Budget = UNLIMITED,
    listener: Listener = unheard,
) -> AttackOutcome:
    """Attack every open sample with each attack, at each epsilon, largest first.

    Args:
        model: the model.
        inputs: ``(N, *input_shape)`` inside the box, N >= 1.
        labels: ``(N,)`` int64 in [0, classes).
        threats: norm, epsilons and box.
        rungs: attacks of the catalogue, in the order in which they are to run; a plain
            name stands for an attack of endless patience.
        seed: of every random step, at least 0; the same seed gives the same outcome.
        certified: ``(N,)`` certified radii in input units; samples certified at
            epsilon are not attacked there.
        margins: ``(N,)`` clean margins that the caller goes by; a random model would
            give others when asked again.
        graph: of ``model``, for attacks that climb its smooth twin.
        budget: of all attacks together; the outcome says what it left.
        listener: told after each chunk.

    Raises:
        UnknownNameError: a name is not in the catalogue.
        UsageError: no attack is named, none can run, or torchattacks is missing.
        SamplesError: inputs, labels or radii do not fit the model or the box.
        ModelLoadError: the model fails on a batch of one.
        UnsoundModelError: an output on a sample is NaN or infinite.
    """
    asked = {rung.attack: rung.patience for rung in rungs_of(rungs)}
    attacks = [attack_named(name) for name in asked]
    inputs, labels = inputs.to(model.device), labels.to(model.device)
    _check_samples(model, inputs, labels, threats.box)
    radii = _radii(certified, len(inputs), model.device)
    with isolated_generators(seed):
        _check_alone(model, inputs)
        clean = diagnostics.clean_margins(model, inputs, labels)
        clean = clean if margins is None else margins.to(clean)
        model = diagnostics.differentiable(model, inputs, labels)
        about_model = tuple(
            diagnostics.model_findings(model, inputs, labels, threats.largest, seed)
        )
        able, refusals = _able(attacks, model, threats.largest)
        twin = twin_of(graph, model, inputs)
        campaign = Campaign(
            model, inputs, labels, seed, Ledger(clean, radii), listener, twin, budget
        )
        campaign.run([(attack, asked[attack.name]) for attack in able], threats)
        refusals += _escalate(campaign, about_model, threats)
        random = any(finding.rule == "random-output" for finding in about_model)
        rescoring = _rescored(campaign) if random else None
    ledger = campaign.ledger
    return AttackOutcome(
        threats,
        ledger.examples(),
        tuple(tally.as_run() for tally in campaign.tallies),
        ledger.adversarial,
        clean,
        about_model,
        tuple(refusals),
        sum(tally.non_finite for tally in campaign.tallies),
        campaign.headways,
        rescoring,
        campaign.leftover(threats),
    )


def _able(
    attacks: Sequence[Attack], model: LoadedModel, threat: ThreatModel
) -> tuple[list[Attack], list[Finding]]:
    """The attacks that can run, and a finding for each that cannot."""
    if not attacks:
        raise UsageError("no attack is named", remedy="Name one, or choose a tier.")
    reasons = {attack.name: attack.refusal(model, threat) for attack in attacks}
    refused = {name: reason for name, reason in reasons.items() if reason}
    if len(refused) == len(attacks):
        listed = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise UsageError(f"no attack can run ({listed})", remedy="Choose a tier.")
    able = [attack for attack in attacks if attack.name not in refused]
    return able, [diagnostics.refused(*item) for item in refused.items()]


def _escalate(
    campaign: Campaign, about_model: Sequence[Finding], threats: ThreatSweep
) -> list[Finding]:
    """Run what the findings so far call for; a finding for each that cannot run."""
    runs = [tally.as_run() for tally in campaign.tallies]
    about_runs = diagnostics.run_findings(runs, len(campaign.labels), campaign.headways)
    wanted = escalations((*about_model, *about_runs), [run.name for run in runs])
    attacks = [attack_named(name) for name in wanted]
    reasons = {a.name: a.refusal(campaign.model, threats.largest) for a in attacks}
    campaign.run([(a, None) for a in attacks if not reasons[a.name]], threats)
    return [diagnostics.refused(name, why) for name, why in reasons.items() if why]


def _rescored(campaign: Campaign) -> Rescoring:
    """Keep the examples that fool most draws of a random model; score every draw."""
    ledger = campaign.ledger
    rows = list(ledger.adversarial)
    if rows:
        found = torch.stack([ledger.adversarial[row] for row in rows])
        kept = steady(campaign.model, found, campaign.labels[rows]).tolist()
        ledger.forget([row for row, keep in zip(rows, kept, strict=True) if not keep])
    return rescored(
        campaign.model, campaign.inputs, campaign.labels, ledger.adversarial
    )


def _check_samples(
    model: LoadedModel, inputs: Tensor, labels: Tensor, box: Box
) -> None:
    if not len(inputs) or inputs.shape[1:] != model.input_shape:
        raise SamplesError(
            f"the inputs have shape {tuple(inputs.shape)}, the model takes "
            f"(N, {', '.join(map(str, model.input_shape))}) with N of at least 1"
        )
    if not torch.equal(inputs, clip_to_box(inputs, box)):
        raise SamplesError(
            f"the inputs lie in [{float(inputs.min()):g}, {float(inputs.max()):g}], "
            f"outside the box [{box.low:g}, {box.high:g}]",
            remedy="Declare the box the inputs live in: --box LO HI.",
        )
    if labels.shape != inputs.shape[:1] or not _are_classes(labels, model.classes):
        raise SamplesError(
            f"the labels are not {len(inputs)} classes between 0 and "
            f"{model.classes - 1}"
        )


def _check_alone(model: LoadedModel, inputs: Tensor) -> None:
    """An example counts as judged alone, so the model must take one sample."""
    try:
        with torch.no_grad():
            model.logits(inputs[:1])
    except (RuntimeError, ValueError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelLoadError(
            f"the model fails on a batch of one: {lines[-1][:300]}",
            remedy="Export a model that takes batches of any size.",
        ) from error


def _are_classes(labels: Tensor, classes: int) -> bool:
    return bool(((labels >= 0) & (labels < classes)).all())


def _radii(certified: Tensor | None, count: int, device: torch.device) -> Tensor:
    if certified is None:
        return torch.zeros(count, dtype=torch.float64, device=device)
    if certified.shape != (count,):
        raise SamplesError(
            f"{count} inputs come with certified radii of shape "
            f"{tuple(certified.shape)}"
        )
    return certified.to(device=device, dtype=torch.float64)
