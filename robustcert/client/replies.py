"""What the service's answers mean."""

from __future__ import annotations

from typing import Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from robustcert.client.wire import EvaluationStatus, Problem, Status
from robustcert.errors import ServiceError

Document = TypeVar("Document", bound=BaseModel)


class ProblemError(ServiceError):
    """The service refused a request, or an evaluation failed; it says why.

    Attributes:
        problem: as the service sent it.
    """

    problem: Problem

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """The error that ``problem`` stands for."""
        error = cls(f"{problem.title}: {problem.detail}", remedy=problem.remedy)
        error.problem = problem
        return error


def retry_after(response: httpx.Response) -> float:
    """The seconds that a response asks to wait; 0 where it does not say."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def parsed(response: httpx.Response, kind: type[Document]) -> Document:
    """The document in ``response``.

    Raises:
        ServiceError: it is none; something else answers at this address.
    """
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        raise ServiceError(
            f"the answer of {response.url.host} is no {kind.__name__}",
            remedy="Check the service's address and version.",
        ) from error


def failure(response: httpx.Response) -> ServiceError:
    """The error that an answer stands for, with the service's own remedy."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return ServiceError(f"the service answered {response.status_code}")
    return ProblemError.of(problem)


def away(error: httpx.TransportError) -> ServiceError:
    """The error of a service that does not answer."""
    return ServiceError(
        f"the service does not answer ({type(error).__name__})",
        remedy="Start it with `robustcert serve`, or check its address.",
    )


def finished(view: EvaluationStatus) -> EvaluationStatus:
    """``view``, if the evaluation is done.

    Raises:
        ServiceError: it failed, with the reason and remedy, or was cancelled.
    """
    if view.problem is not None:
        raise ProblemError.of(view.problem)
    if view.status is not Status.DONE:
        raise ServiceError(
            f"evaluation {view.id} is {view.status}", remedy="Submit it again."
        )
    return view
