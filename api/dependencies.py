"""What the endpoints ask for."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Path, Query, Request

from robustcert.client.wire import SHA256, Problem

from .errors import MediaTypeError
from .problems import PROBLEM_TYPE
from .service import Service

_ResponseTable = dict[int | str, dict[str, object]]

PROBLEMS: _ResponseTable = {
    "default": {
        "description": "Anything that goes wrong, in one shape (RFC 9457)",
        "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}
"""The error answers of every endpoint, for the OpenAPI document."""

PROBLEM_SCHEMA = Problem.model_json_schema(ref_template="#/components/schemas/{model}")


def the_service(request: Request) -> Service:
    """The service that answers this request."""
    service: Service = request.app.state.service
    return service


def json_only(content_type: Annotated[str, Header()] = "") -> None:
    """Refuse bodies that are not JSON.

    This also keeps out the forms of other sites: a browser sends JSON across sites
    only after asking, and the answer is no.

    Raises:
        MediaTypeError: the body has another type.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise MediaTypeError(f"The body has the type {media_type[:80]!r}.")


TheService = Annotated[Service, Depends(the_service)]
HashInPath = Annotated[str, Path(pattern=SHA256, description="SHA-256 of the bytes")]
IdInPath = Annotated[str, Path(max_length=80)]
Cursor = Annotated[
    str | None, Query(max_length=20, description="`next` of the page before")
]
Limit = Annotated[int, Query(ge=1, le=200, description="items on a page")]
