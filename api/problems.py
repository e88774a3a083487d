"""Every error as one shape: problem details (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus

from robustcert.client.wire import FieldProblem, Problem
from robustcert.errors import RobustCertError
from robustcert.results.plain_text import plain_text

PROBLEM_TYPE = "application/problem+json"
_LONGEST_DETAIL = 2000
_REMEDIES = {
    404: "Check the address; /openapi.json lists what there is.",
    405: "Use one of the methods in the header Allow.",
    500: "Try again; report the fault with the time of the request if it stays.",
}


def problem_of(error: RobustCertError) -> Problem:
    """The problem that ``error`` is; its text is cut, for it may quote an upload."""
    return Problem(
        type=f"urn:robustcert:problem:{error.kind}",
        title=error.title,
        status=error.status,
        detail=plain_text(error.message, _LONGEST_DETAIL),
        remedy=plain_text(error.remedy, _LONGEST_DETAIL),
        kind=error.kind,
    )


def status_problem(status: int, detail: str = "") -> Problem:
    """The problem of an HTTP status that no error of ours stands for."""
    reason = HTTPStatus(status)
    kind = reason.phrase.lower().replace(" ", "-")
    return Problem(
        type=f"urn:robustcert:problem:{kind}",
        title=reason.phrase,
        status=status,
        detail=plain_text(detail or f"{reason.description or reason.phrase}."),
        remedy=_REMEDIES.get(status, "See /openapi.json for what the service answers."),
        kind=kind,
    )


def invalid_fields(errors: list[FieldProblem]) -> Problem:
    """The problem of a request whose fields are not valid."""
    listed = "; ".join(f"{error.field}: {error.message}" for error in errors[:5])
    return Problem(
        type="urn:robustcert:problem:invalid-request",
        title="The request is not valid",
        status=422,
        detail=plain_text(listed, _LONGEST_DETAIL),
        remedy="Correct the fields named; /openapi.json describes each.",
        kind="invalid-request",
        errors=errors,
    )
