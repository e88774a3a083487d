"""Whatever is raised while a request is answered becomes a problem document."""

from __future__ import annotations

import logging
from typing import cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import Scope

from robustcert.client.wire import FieldProblem, Problem
from robustcert.errors import RobustCertError
from robustcert.results.plain_text import plain_text

from .errors import BusyError
from .negotiation import quality
from .pages.views import is_page, problem_page
from .problems import invalid_fields, problem_of, status_problem
from .responses import error_headers, problem_response

_log = logging.getLogger(__name__)

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_MOST_FIELDS = 20
_LONGEST_PART = 200


def add_handlers(app: FastAPI) -> None:
    """Give ``app`` one shape of error."""
    app.add_exception_handler(RobustCertError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_status)
    app.add_exception_handler(OperationalError, _answer_database)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    app.add_exception_handler(Exception, _answer_fault)


def _answer_error(request: Request, error: Exception) -> Response:
    known = cast("RobustCertError", error)
    if known.status >= 500:
        _log.error("%s: %s", known.kind, plain_text(known.message))
    return _answer(request, problem_of(known), error_headers(known))


def _answer_invalid(request: Request, error: Exception) -> Response:
    raised = cast("RequestValidationError", error).errors()
    # The values themselves are not repeated: they may be large, or secrets.
    fields = [
        FieldProblem(
            field=plain_text(".".join(map(str, one["loc"])), _LONGEST_PART),
            message=plain_text(str(one["msg"]), _LONGEST_PART),
        )
        for one in raised[:_MOST_FIELDS]
    ]
    return _answer(request, invalid_fields(fields))


def _answer_status(request: Request, error: Exception) -> Response:
    known = cast("HTTPException", error)
    headers = dict(known.headers or {})
    if known.status_code == 405:
        headers["Allow"] = ", ".join(_allowed(request))
    detail = "" if known.status_code == 404 else str(known.detail)
    return _answer(request, status_problem(known.status_code, detail), headers)


def _answer_database(_: Request, error: Exception) -> Response:
    # A locked database or a full disk: nothing was accepted, so try again.
    _log.error("the database did not answer: %s", cast("OperationalError", error).orig)
    busy = BusyError("The database cannot be written to at the moment.")
    return problem_response(problem_of(busy), error_headers(busy))


def _answer(
    request: Request, problem: Problem, headers: dict[str, str] | None = None
) -> Response:
    """``problem`` as a page where a person asked for a page, else as JSON."""
    if is_page(request.url.path) and quality(
        request.headers.get("accept", ""), "text/html"
    ) > quality(request.headers.get("accept", ""), "application/json"):
        return problem_page(problem)
    return problem_response(problem, headers)


def _answer_nobody(_: Request, __: Exception) -> Response:
    return Response(status_code=400)  # the client has gone; nobody reads this


def _answer_fault(_: Request, __: Exception) -> Response:
    # The server logs the traceback; the answer says nothing about the inside.
    return problem_response(status_problem(500, "The service failed."))


def _allowed(request: Request) -> list[str]:
    """Every method of the path; one route knows only its own."""
    routes = request.app.router.routes
    # A mounted folder of files has moved the root; the routes start at the first one.
    root = request.scope.get("app_root_path", request.scope.get("root_path", ""))
    scope = {**request.scope, "root_path": root}
    return [
        method
        for method in _METHODS
        if any(_takes(route, {**scope, "method": method}) for route in routes)
    ]


def _takes(route: BaseRoute, scope: Scope) -> bool:
    if isinstance(route, Mount) and scope["method"] not in ("GET", "HEAD"):
        return False  # a folder of files, which takes every method to refuse it itself
    return route.matches(scope)[0] is Match.FULL
