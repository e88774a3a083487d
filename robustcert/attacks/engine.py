"""The entry point: attack samples and say what was found, and how well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.attacks import diagnostics
from robustcert.attacks.campaign import Campaign
from robustcert.attacks.catalogue import attack_named
from robustcert.attacks.interface import Attack
from robustcert.attacks.ledger import Ledger
from robustcert.attacks.quarantine import isolated_generators
from robustcert.errors import SamplesError, UsageError
from robustcert.models.interface import LoadedModel
from robustcert.results.attack import AdversarialExample, AttackResult, AttackRun
from robustcert.results.progress import Listener, unheard
from robustcert.results.report import Finding
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
    """

    threats: ThreatSweep
    examples: tuple[AdversarialExample, ...]
    runs: tuple[AttackRun, ...]
    adversarial: dict[int, Tensor]
    margins: Tensor
    about_model: tuple[Finding, ...]
    refusals: tuple[Finding, ...]
    non_finite: int

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that a reader must know about these attacks on these samples."""
        return (
            *self.about_model,
            *self.refusals,
            *diagnostics.run_findings(self.runs, len(self.margins)),
            *diagnostics.non_finite(self.non_finite),
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
    names: Sequence[str],
    *,
    seed: int = 0,
    certified: Tensor | None = None,
    listener: Listener = unheard,
) -> AttackOutcome:
    """Attack every open sample with each attack, at each epsilon.

    Args:
        model: the model.
        inputs: ``(N, *input_shape)`` inside the box, N >= 1.
        labels: ``(N,)`` int64 in [0, classes).
        threats: norm, epsilons and box.
        names: from the catalogue, in the order in which they are to run.
        seed: of every random step, at least 0; the same seed gives the same outcome.
        certified: ``(N,)`` certified radii in input units; samples certified at
            epsilon are not attacked there.
        listener: told after each chunk.

    Raises:
        UnknownNameError: a name is not in the catalogue.
        UsageError: no attack is named, none can run, or torchattacks is missing.
        SamplesError: inputs, labels or radii do not fit the model or the box.
        UnsoundModelError: an output on a sample is NaN or infinite.
    """
    attacks = [attack_named(name) for name in dict.fromkeys(names)]
    inputs, labels = inputs.to(model.device), labels.to(model.device)
    _check_samples(model, inputs, labels, threats.box)
    radii = _radii(certified, len(inputs), model.device)
    with isolated_generators(seed):
        margins = diagnostics.clean_margins(model, inputs, labels)
        about_model = tuple(diagnostics.model_findings(model, inputs, labels))
        able, refusals = _able(attacks, model, threats.largest)
        campaign = Campaign(
            model, inputs, labels, seed, Ledger(margins, radii), listener
        )
        campaign.run(able, threats)
    runs = tuple(tally.as_run(name) for name, tally in campaign.tallies.items())
    ledger = campaign.ledger
    return AttackOutcome(
        threats,
        ledger.examples(),
        runs,
        ledger.adversarial,
        margins,
        about_model,
        tuple(refusals),
        sum(tally.non_finite for tally in campaign.tallies.values()),
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
