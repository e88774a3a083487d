"""Evaluations: submitted, watched, cancelled."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from robustcert.client.wire import (
    EvaluationPage,
    EvaluationRequest,
    EvaluationStatus,
    Status,
)

from ..dependencies import PROBLEMS, Cursor, IdInPath, Limit, TheService, json_only
from ..service import Service

router = APIRouter(prefix="/v1/evaluations", tags=["evaluations"], responses=PROBLEMS)

_POLL_SECONDS = 2
_LOOK_SECONDS = 2.0

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern="^[!-~]+$",
        description="the same key and body give the same evaluation",
    ),
]
Wait = Annotated[
    float,
    Query(
        ge=0.0,
        le=60.0,
        allow_inf_nan=False,
        description=("seconds to wait for the end; with If-None-Match, for any change"),
    ),
]


@router.post(
    "",
    summary="Submit an evaluation",
    status_code=202,
    dependencies=[Depends(json_only)],
)
def post_evaluation(
    body: EvaluationRequest,
    response: Response,
    service: TheService,
    idempotency_key: IdempotencyKey = None,
) -> EvaluationStatus:
    """Queue the evaluation; it survives a restart from here on."""
    view = service.evaluations.submit(body, idempotency_key)
    service.dispatcher.wake()
    response.headers["Location"] = f"/v1/evaluations/{view.id}"
    response.headers["Retry-After"] = str(_POLL_SECONDS)
    return view


@router.get("", summary="List evaluations, newest first")
def get_evaluations(
    service: TheService, cursor: Cursor = None, limit: Limit = 50
) -> EvaluationPage:
    """One page of evaluations."""
    return service.evaluations.page(cursor, limit)


@router.get(
    "/{evaluation_id}",
    summary="One evaluation",
    response_model=EvaluationStatus,
    responses={304: {"description": "It has not changed since If-None-Match"}},
)
async def get_evaluation(
    evaluation_id: IdInPath,
    request: Request,
    service: TheService,
    wait: Wait = 0.0,
    if_none_match: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Where it stands; ``wait`` holds the answer back until there is news."""

    def is_news(view: EvaluationStatus) -> bool:
        if if_none_match is not None:
            return _etag(view) != if_none_match
        return view.status.final

    view = await _await_news(evaluation_id, request, service, wait, is_news)
    headers = {"ETag": _etag(view), "Cache-Control": "no-cache"}
    if not view.status.final:
        headers["Retry-After"] = str(_POLL_SECONDS)
    if headers["ETag"] == if_none_match:
        return Response(status_code=304, headers=headers)
    return Response(
        view.model_dump_json(), media_type="application/json", headers=headers
    )


@router.post(
    "/{evaluation_id}/cancel",
    summary="Cancel an evaluation",
    responses={202: {"model": EvaluationStatus, "description": "It is being ended"}},
)
def post_cancel(
    evaluation_id: IdInPath, response: Response, service: TheService
) -> EvaluationStatus:
    """End it: at once if it waits, within a second if it runs."""
    view = service.evaluations.cancel(evaluation_id)
    service.dispatcher.cancel(evaluation_id)
    service.bell.ring(evaluation_id)
    response.status_code = 200 if view.status is Status.CANCELLED else 202
    return view


async def _await_news(
    evaluation_id: str,
    request: Request,
    service: Service,
    wait: float,
    is_news: Callable[[EvaluationStatus], bool],
) -> EvaluationStatus:
    deadline = time.monotonic() + wait
    with service.bell.listening(evaluation_id) as rung:
        while True:
            rung.clear()
            view = await run_in_threadpool(service.evaluations.get, evaluation_id)
            left = deadline - time.monotonic()
            if is_news(view) or left <= 0.0 or service.bell.closed:
                return view
            if await request.is_disconnected():
                return view
            try:
                # The place in the queue changes without a ring: look now and then.
                await asyncio.wait_for(rung.wait(), min(left, _LOOK_SECONDS))
            except TimeoutError:
                continue


def _etag(view: EvaluationStatus) -> str:
    return f'"{hashlib.sha256(view.model_dump_json().encode()).hexdigest()[:32]}"'
