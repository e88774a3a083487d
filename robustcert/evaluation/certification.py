"""The best certified radius of each sample, over all certifiers asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustcert.certify.interface import CertificationTask, Certifier
from robustcert.certify.registry import CERTIFIERS
from robustcert.errors import UnknownNameError, UnsupportedLayerError
from robustcert.evaluation.subject import Subject
from robustcert.results.norm import Norm
from robustcert.results.report import Finding, Level


@dataclass(frozen=True, slots=True, eq=False)
class Radii:
    """The outcome of all certifiers.

    Attributes:
        radius: ``(N,)`` float64; 0 where nothing is proved.
        method: the certifier behind each radius, ``None`` where it is 0.
        findings: certifiers that refused.
    """

    radius: Tensor
    method: tuple[str | None, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ReadyCertifiers:
    """Certifiers that have done what depends on the model alone.

    Attributes:
        norm: of their radii.
        ready: by name, cheapest first.
        refused: a finding for each that has no rule for a layer.
    """

    norm: Norm
    ready: dict[str, Certifier] = field(default_factory=dict)
    refused: tuple[Finding, ...] = ()


def unproved(count: int) -> Radii:
    """Radii of ``count`` samples about which nothing was proved."""
    return Radii(torch.zeros(count, dtype=torch.float64), (None,) * count, ())


def certifier_names(asked: tuple[str, ...]) -> tuple[str, ...]:
    """The certifiers to run; none asked for means all.

    Raises:
        UnknownNameError: a name is not in the registry.
    """
    for name in asked:
        if name not in CERTIFIERS:
            raise UnknownNameError(
                f"no certifier is called {name!r}",
                remedy=f"Choose among: {', '.join(CERTIFIERS)}.",
            )
    return asked or tuple(CERTIFIERS)


def ready_certifiers(
    subject: Subject, norm: Norm, asked: tuple[str, ...]
) -> ReadyCertifiers:
    """The certifiers asked for, prepared for the subject's model.

    Raises:
        UnknownNameError: a name is not in the registry.
    """
    names = certifier_names(asked)
    if subject.read.graph is None:
        return ReadyCertifiers(norm)
    ready: dict[str, Certifier] = {}
    refused: list[Finding] = []
    for name in names:
        try:
            ready[name] = CERTIFIERS[name](subject.read.graph, norm)
        except UnsupportedLayerError as error:
            refused.append(_refused(name, error))
    return ReadyCertifiers(norm, ready, tuple(refused))


def certify(
    subject: Subject, certifiers: ReadyCertifiers, start: int, stop: int
) -> Radii:
    """Certify samples ``start`` to ``stop``; misclassified ones get radius 0."""
    labels = subject.samples.labels[start:stop]
    nothing = unproved(len(labels))
    if subject.read.graph is None:
        return nothing
    task = CertificationTask(
        subject.read.graph,
        subject.samples.inputs[start:stop].double(),
        labels,
        certifiers.norm,
        subject.box,
        subject.slack[start:stop],
    )
    best, method = nothing.radius, nothing.method
    findings = list(certifiers.refused)
    for name, certifier in certifiers.ready.items():
        try:
            with torch.no_grad():
                radii = certifier(task)
        except UnsupportedLayerError as error:
            findings.append(_refused(name, error))
            continue
        better = (radii > best) & subject.right[start:stop]
        best = torch.where(better, radii, best)
        flags = zip(better.tolist(), method, strict=True)
        method = tuple(name if wins else known for wins, known in flags)
    return Radii(best, method, tuple(findings))


def _refused(name: str, error: UnsupportedLayerError) -> Finding:
    return Finding(
        "certifier-refused", Level.NOTE, f"{name}: {error.message}.", error.remedy
    )
