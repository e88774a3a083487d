"""The two pages: submit and look back; watch one evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI
from fastapi import Path as PathParameter
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRouter
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from robustcert.client.wire import EvaluationStatus, Problem, Status
from robustcert.results.effort import Tier
from robustcert.results.norm import THREAT_NORMS
from robustcert.results.numbers import exact, percent
from robustcert.results.plain_text import plain_text

from ..dependencies import TheService
from ..service import Service
from .summary import Summary, summary_of

_HERE = Path(__file__).resolve().parent
_RECENT = 12
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

router = APIRouter(include_in_schema=False)
templates = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.filters |= {"plain": plain_text, "percent": percent, "exact": exact}


def add_pages(app: FastAPI) -> None:
    """Give ``app`` its pages and the files they need."""
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")


@router.get("/")
def home(service: TheService) -> Response:
    """A form for a new evaluation, and the recent ones."""
    return _page(
        "home.html",
        norms=THREAT_NORMS,
        tiers=Tier,
        sets=service.samples.page(None, 50).items,
        recent=service.evaluations.page(None, _RECENT).items,
        upload_bytes=service.settings.upload_bytes,
    )


@router.get("/evaluations/{evaluation_id}")
def evaluation(
    evaluation_id: Annotated[str, PathParameter(max_length=80)], service: TheService
) -> Response:
    """How far it has come, then what was found."""
    view = service.evaluations.get(evaluation_id)
    return _page("evaluation.html", view=view, summary=_summary(service, view))


def is_page(path: str) -> bool:
    """Whether people rather than programs ask for ``path``."""
    return not path.startswith(("/v1", "/static", "/openapi.json"))


def problem_page(problem: Problem) -> Response:
    """``problem`` for people."""
    return _page("problem.html", problem.status, problem=problem)


def _summary(service: Service, view: EvaluationStatus) -> Summary | None:
    if view.status is not Status.DONE:
        return None
    return summary_of(service.blobs.read(service.evaluations.document_hash(view.id)))


def _page(
    template: str,
    status: int = 200,
    **values: Any,  # noqa: ANN401 - template values
) -> Response:
    text = templates.get_template(template).render(values)
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return HTMLResponse(text, status, headers)
