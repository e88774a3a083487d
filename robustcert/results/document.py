"""Reports as versioned JSON documents, and back.

:func:`issue` is the only way a document of a whole report leaves the house: it checks
the laws first. Documents are plain dicts of JSON values; no number in them is NaN or
infinite, and an unbounded value is null with a finding that says why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from robustcert.errors import DocumentError, InvalidThreatModelError, UsageError
from robustcert.results.bound import Bracket
from robustcert.results.consistency import (
    bracket_violations,
    check,
    model_violations,
    refuse,
    violations,
)
from robustcert.results.document_difference import difference
from robustcert.results.document_read import report_of
from robustcert.results.document_wire import ReportWire
from robustcert.results.document_write import (
    accuracy_part,
    attack_part,
    certifier_part,
    explained,
    finding_part,
    lipschitz_part,
    model_part,
    provenance_part,
    row_part,
    samples_part,
    threat_part,
)
from robustcert.results.report import Finding, ModelCard, Provenance, RobustnessReport
from robustcert.results.smoothing_part import report_part

Document = dict[str, Any]

REPORT_SCHEMA = "robustcert/report/v1"
LIPSCHITZ_SCHEMA = "robustcert/lipschitz/v1"
ATTACK_SCHEMA = "robustcert/attack/v1"
CERTIFY_SCHEMA = "robustcert/certify/v1"

TIMES = frozenset({"seconds", "started", "cache"})
"""Keys that differ between two runs of the same evaluation."""


def issue(report: RobustnessReport) -> Document:
    """The document of ``report``, which obeys every law.

    Raises:
        ConsistencyError: the report breaks a law; no document is issued.
    """
    check(report)
    return to_document(report)


def to_document(report: RobustnessReport) -> Document:
    """``report`` as a document ``robustcert/report/v1``, unchecked; see :func:`issue`.

    Of the witnesses only the best lower bound's is written, up to 4096 coordinates.
    """
    document = _sample_document(REPORT_SCHEMA, report)
    document["lipschitz"] = lipschitz_part(report.lipschitz)
    document["attacks"] = [attack_part(run) for run in report.attacks]
    document["certifiers"] = [certifier_part(run) for run in report.certifiers]
    table = report.smoothing
    smoothed = None if table is None else report_part(table, report.threats)
    document["smoothing"] = smoothed
    findings = explained(report.findings, report.lipschitz)
    document["findings"] = [finding_part(finding) for finding in findings]
    return _ordered(document)


def lipschitz_document(
    model: ModelCard,
    bracket: Bracket,
    provenance: Provenance,
    findings: tuple[Finding, ...] = (),
) -> Document:
    """The document ``robustcert/lipschitz/v1`` of one bracket.

    Raises:
        ConsistencyError: a lower bound lies above an upper bound.
    """
    refuse([*bracket_violations(bracket), *model_violations(model)])
    return {
        "schema": LIPSCHITZ_SCHEMA,
        "model": model_part(model),
        "lipschitz": lipschitz_part(bracket),
        "findings": [finding_part(f) for f in explained(findings, bracket)],
        "provenance": provenance_part(provenance),
    }


def attack_document(report: RobustnessReport) -> Document:
    """The document ``robustcert/attack/v1``: a report without its Lipschitz part.

    Raises:
        ConsistencyError: the report breaks a law.
    """
    check(report)
    document = _sample_document(ATTACK_SCHEMA, report)
    document["attacks"] = [attack_part(run) for run in report.attacks]
    return _ordered(document)


def certify_document(report: RobustnessReport) -> Document:
    """The document ``robustcert/certify/v1``: no Lipschitz part and no attacks.

    Raises:
        ConsistencyError: the report breaks a law.
    """
    check(report)
    document = _sample_document(CERTIFY_SCHEMA, report)
    document["certifiers"] = [certifier_part(run) for run in report.certifiers]
    return _ordered(document)


def from_document(document: Mapping[str, Any]) -> RobustnessReport:
    """The report that ``document`` stands for.

    Witnesses that the document does not carry come back empty.

    Raises:
        DocumentError: another schema, a missing or wrong field (named in the message),
            a field that does not follow from the rest, or a broken law.
    """
    schema = document.get("schema")
    if schema != REPORT_SCHEMA:
        raise DocumentError(f"the document's schema is {schema!r:.80}")
    report = _read(document)
    broken = next(violations(report), None)
    if broken is not None:
        raise _wrong("per_sample, lipschitz", f"the document breaks a law: {broken}")
    path = difference(document, to_document(report), "")
    if path is not None:
        raise _wrong(path, "the value does not follow from the rest of the document")
    return report


def from_json(text: str | bytes) -> RobustnessReport:
    """The report in JSON ``text``.

    Raises:
        DocumentError: the text is no JSON object, or :func:`from_document` refuses it.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"the document is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise DocumentError("the document is not a JSON object")
    return from_document(document)


def canonical_json(document: Mapping[str, Any], *, indent: int | None = 2) -> str:
    """``document`` as JSON in ASCII with sorted keys: equal documents, equal text.

    Args:
        document: as :func:`issue` and its siblings return it.
        indent: spaces a level; ``None`` writes one line without blanks.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(
        document,
        sort_keys=True,
        allow_nan=False,
        indent=indent,
        separators=separators,
    )


def without_times(document: Mapping[str, Any]) -> Document:
    """``document`` without what differs between two runs with the same seed.

    That is every ``seconds``, and the provenance's ``started`` and ``cache``.
    """
    kept = {key: value for key, value in document.items() if key not in TIMES}
    return {key: _without_times(value) for key, value in kept.items()}


def _without_times(value: object) -> object:
    if isinstance(value, Mapping):
        return without_times(value)
    if isinstance(value, list):
        return [_without_times(item) for item in value]
    return value


_ORDER = (
    "schema",
    "model",
    "samples",
    "threat_model",
    "lipschitz",
    "accuracy",
    "per_sample",
    "attacks",
    "certifiers",
    "smoothing",
    "findings",
    "provenance",
)


def _ordered(document: Document) -> Document:
    return {key: document[key] for key in _ORDER if key in document}


def _sample_document(schema: str, report: RobustnessReport) -> Document:
    epsilons = report.threats.epsilons
    return {
        "schema": schema,
        "model": model_part(report.model),
        "samples": samples_part(report.samples),
        "threat_model": threat_part(report.threats),
        "accuracy": accuracy_part(report.rows, epsilons),
        "per_sample": [row_part(row, epsilons) for row in report.rows],
        "findings": [finding_part(finding) for finding in report.findings],
        "provenance": provenance_part(report.provenance),
    }


def _read(document: Mapping[str, Any]) -> RobustnessReport:
    try:
        return report_of(ReportWire.model_validate(document))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _wrong(_path(first["loc"]), first["msg"]) from error
    except InvalidThreatModelError as error:
        raise _wrong("threat_model", error.message) from error
    except UsageError as error:
        raise _wrong("smoothing", error.message) from error
    except ValueError as error:
        raise _wrong("lipschitz.bounds", str(error)) from error


def _wrong(path: str, what: str) -> DocumentError:
    return DocumentError(
        f"{path}: {what}",
        remedy=f"Correct {path}, or issue the document again from its evaluation.",
    )


def _path(location: tuple[int | str, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).lstrip(".")
