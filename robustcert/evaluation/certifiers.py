"""The certifiers of an evaluation, ready for its model."""

from __future__ import annotations

from dataclasses import dataclass, field

from robustcert.certify.interface import Certifier
from robustcert.certify.registry import CERTIFIERS, ORACLES
from robustcert.errors import UnknownNameError, UnsupportedLayerError
from robustcert.evaluation.subject import Subject
from robustcert.results.norm import Norm
from robustcert.results.report import Finding, Level


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


def certifier_names(asked: tuple[str, ...]) -> tuple[str, ...]:
    """The certifiers to run, cheapest first; none asked for means all but oracles.

    Raises:
        UnknownNameError: a name is not in the registry.
    """
    for name in asked:
        if name not in CERTIFIERS:
            raise UnknownNameError(
                f"no certifier is called {name!r}",
                remedy=f"Choose among: auto, {', '.join(CERTIFIERS)}.",
            )
    if not asked:
        return tuple(name for name in CERTIFIERS if name not in ORACLES)
    return tuple(name for name in CERTIFIERS if name in asked)


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
    findings: list[Finding] = []
    for name in names:
        try:
            ready[name] = CERTIFIERS[name](subject.read.graph, norm)
        except UnsupportedLayerError as error:
            findings.append(refusal(name, error))
    return ReadyCertifiers(norm, ready, tuple(findings))


def refusal(name: str, error: UnsupportedLayerError) -> Finding:
    """What a reader is told of a certifier that has no rule for a layer."""
    return Finding(
        "certifier-refused", Level.NOTE, f"{name}: {error.message}.", error.remedy
    )
