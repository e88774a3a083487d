"""Problems as HTTP answers."""

from __future__ import annotations

from fastapi.responses import JSONResponse

from robustcert.client.wire import Problem
from robustcert.errors import RobustCertError

from .errors import RequestError
from .problems import PROBLEM_TYPE


def problem_response(
    problem: Problem, headers: dict[str, str] | None = None
) -> JSONResponse:
    """``problem`` as an answer."""
    return JSONResponse(
        problem.model_dump(mode="json", exclude_defaults=False),
        status_code=problem.status,
        headers=headers,
        media_type=PROBLEM_TYPE,
    )


def error_headers(error: RobustCertError) -> dict[str, str]:
    """The headers that go with ``error``."""
    if isinstance(error, RequestError) and error.retry_after is not None:
        return {"Retry-After": str(error.retry_after)}
    return {}
