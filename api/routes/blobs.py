"""Uploads: raw bytes under their hash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from robustcert.client.wire import BlobReceipt

from ..dependencies import PROBLEMS, HashInPath, TheService
from ..errors import SlowUploadError, TooLargeError
from ..storage.blobs import IncomingBlob

router = APIRouter(prefix="/v1/blobs", tags=["uploads"], responses=PROBLEMS)

_BATCH = 2**20
_RAW_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary"}
            }
        },
    }
}


@router.head("/{sha256}", summary="Ask whether bytes are here already")
def head_blob(sha256: HashInPath, service: TheService) -> Response:
    """200 where the bytes are stored, 404 where they have to be uploaded."""
    receipt = service.blobs.find(sha256)
    return Response(headers={"ETag": f'"{sha256}"', "X-Size": str(receipt.size)})


@router.put(
    "/{sha256}",
    summary="Upload bytes",
    status_code=201,
    responses={200: {"model": BlobReceipt, "description": "They were here already"}},
    openapi_extra=_RAW_BODY,
)
async def put_blob(
    sha256: HashInPath, request: Request, response: Response, service: TheService
) -> BlobReceipt:
    """Store the raw body; the answer comes once it is safe on the disk."""
    limit = service.settings.upload_bytes
    announced = request.headers.get("content-length", "0")
    if int(announced) > limit:  # the server refuses a header that is no number
        raise TooLargeError(f"The body has {announced} bytes; {limit} are allowed.")
    with service.blobs.incoming(limit) as blob:
        await _receive(request, blob, service.settings.idle_seconds)
        receipt, new = await run_in_threadpool(service.blobs.keep, blob, sha256)
    response.status_code = 201 if new else 200
    return receipt


async def _receive(request: Request, blob: IncomingBlob, idle_seconds: float) -> None:
    """Write the body to ``blob``; the disk is never waited for on the event loop."""
    batch = bytearray()
    async for chunk in _chunks(request.stream(), idle_seconds):
        batch += chunk
        if len(batch) >= _BATCH:
            await run_in_threadpool(blob.write, bytes(batch))
            batch.clear()
    await run_in_threadpool(blob.write, bytes(batch))


async def _chunks(
    stream: AsyncIterator[bytes], idle_seconds: float
) -> AsyncIterator[bytes]:
    iterator = aiter(stream)
    while True:
        try:
            yield await asyncio.wait_for(anext(iterator), idle_seconds)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise SlowUploadError(
                f"Nothing arrived for {idle_seconds:g} seconds."
            ) from None
