"""The OpenAPI document: no endpoint without its error shape."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from robustcert.client.wire import FieldProblem, Problem

from .dependencies import PROBLEM_SCHEMA

_DESCRIPTION = (
    "Robustness evaluation and certification of trained PyTorch classifiers. "
    "Errors are problem details (RFC 9457) with a `remedy`."
)


def describe(app: FastAPI) -> None:
    """Let ``app`` describe itself."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = openapi_document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign] # FastAPI's documented way


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of ``app``."""
    document = get_openapi(
        title=app.title,
        version=_version(),
        description=_DESCRIPTION,
        routes=app.routes,
    )
    schemas = document["components"]["schemas"]
    # FastAPI's own error shapes, which this service never answers with.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schema = dict(PROBLEM_SCHEMA)
    schemas |= schema.pop("$defs", {})
    schemas[Problem.__name__] = schema
    schemas.setdefault(FieldProblem.__name__, FieldProblem.model_json_schema())
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    return document


def _version() -> str:
    try:
        return version("robustcert")
    except PackageNotFoundError:
        return "0"
