"""The report of an evaluation, in the format asked for."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from robustcert.formats.registry import FORMATS, format_named

from ..dependencies import PROBLEMS, IdInPath, TheService
from ..negotiation import best_format

router = APIRouter(prefix="/v1/evaluations", tags=["reports"], responses=PROBLEMS)

# A report is a file of its own that quotes a stranger's model: no script may run in it,
# and it gets an origin of its own, in case a quote ever slips through.
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
)
_CONTENT = {
    one.media_type: {"schema": {"type": "object" if name == "json" else "string"}}
    for name, one in FORMATS.items()
}


@router.get(
    "/{evaluation_id}/report",
    summary="The report, by Accept: JSON, HTML or Markdown",
    response_class=Response,
    responses={200: {"description": "The report", "content": _CONTENT}},
)
def get_report(
    evaluation_id: IdInPath,
    service: TheService,
    accept: Annotated[str, Header(max_length=1000)] = "*/*",
    format_name: Annotated[
        str | None,
        Query(alias="format", description="a format's name; it outranks Accept"),
    ] = None,
) -> Response:
    """The report as it was issued; 409 while there is none."""
    chosen = format_named(format_name) if format_name else best_format(accept)
    sha256 = service.evaluations.document_hash(evaluation_id)
    data = service.reports.text(sha256, chosen.name)
    headers = {
        "ETag": f'"{sha256[:32]}-{chosen.name}"',
        "Vary": "Accept",
        "Content-Disposition": f'inline; filename="{evaluation_id}{chosen.suffix}"',
        "Content-Security-Policy": _REPORT_POLICY,
    }
    return Response(data, media_type=chosen.media_type, headers=headers)
