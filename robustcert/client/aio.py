"""The awaiting client: the same conversations, one `await` each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from robustcert.client.client import DEFAULT_URL, PATIENCE, TIMEOUT
from robustcert.client.flows import Flow, Flows, Pause, StatusListener, Step
from robustcert.client.replies import finished
from robustcert.client.requests import (
    evaluation_request,
    file_bytes,
    is_file,
    unwatched,
)
from robustcert.client.wire import (
    EvaluationRequest,
    EvaluationStatus,
    ModelResource,
    SamplesResource,
)
from robustcert.results.options import Options

Result = TypeVar("Result")


class AsyncClient:
    """Talks to one service; an async context manager, for it holds connections.

    Every method raises :class:`~robustcert.errors.ServiceError`, with the service's own
    remedy, where the service refuses, fails or stays away.

    Args:
        base_url: of the service.
        patience: seconds for which a service that is busy or away is tried again.
    """

    def __init__(
        self, base_url: str = DEFAULT_URL, *, patience: float = PATIENCE
    ) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, timeout=TIMEOUT)
        self._flows = Flows(patience)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def upload_model(
        self, source: str | Path | bytes, *, name: str = ""
    ) -> ModelResource:
        """Upload a model, unless its bytes are there already."""
        return await self._run(self._flows.upload_model(*file_bytes(source, name)))

    async def upload_samples(
        self, source: str | Path | bytes, *, name: str = ""
    ) -> SamplesResource:
        """Upload a sample file, or find the set with this id or built-in name."""
        if not is_file(source):
            return await self._run(self._flows.samples(str(source)))
        return await self._run(self._flows.upload_samples(*file_bytes(source, name)))

    async def submit(self, request: EvaluationRequest) -> EvaluationStatus:
        """Submit an evaluation; a lost connection does not submit it twice."""
        return await self._run(self._flows.submit(request))

    async def status(self, evaluation_id: str) -> EvaluationStatus:
        """Where the evaluation stands."""
        return await self._run(self._flows.status(evaluation_id))

    async def wait(
        self, evaluation_id: str, on_progress: StatusListener = unwatched
    ) -> EvaluationStatus:
        """Follow the evaluation to its end; ``on_progress`` hears every change."""
        return await self._run(self._flows.wait(evaluation_id, on_progress))

    async def cancel(self, evaluation_id: str) -> EvaluationStatus:
        """End the evaluation."""
        return await self._run(self._flows.cancel(evaluation_id))

    async def report(self, evaluation_id: str) -> dict[str, Any]:
        """The report document of an evaluation that is done."""
        text = await self._run(self._flows.report(evaluation_id, "application/json"))
        document: dict[str, Any] = text.json()
        return document

    async def report_html(self, evaluation_id: str) -> str:
        """The report as one self-contained HTML page."""
        return (await self._run(self._flows.report(evaluation_id, "text/html"))).text

    async def evaluate(
        self,
        model: str | Path | bytes,
        samples: str | Path | bytes,
        norm: str,
        epsilons: Sequence[float],
        on_progress: StatusListener = unwatched,
        **options: Unpack[Options],
    ) -> dict[str, Any]:
        """Upload, submit, wait, and fetch the report document.

        Args:
            model: a TorchScript, .pt2 or ONNX file or its bytes.
            samples: an .npz file, its bytes, or a set's id or built-in name.
            norm: ``l2`` or ``linf``.
            epsilons: radii, in input units.
            on_progress: hears every change of the evaluation.
            options: see :class:`~robustcert.results.options.Options`.

        Raises:
            ServiceError: with the reason and the remedy of a failed evaluation.
            UsageError: a value is not allowed.
        """
        model_id = (await self.upload_model(model)).id
        samples_id = (await self.upload_samples(samples)).id
        request = evaluation_request(model_id, samples_id, norm, epsilons, **options)
        submitted = await self.submit(request)
        view = await self.wait(submitted.id, on_progress)
        return await self.report(finished(view).id)

    async def _run(self, flow: Flow[Result]) -> Result:
        """Carry out the steps of ``flow``."""
        try:
            step = next(flow)
            while True:
                try:
                    answer = await self._do(step)
                except httpx.TransportError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            result: Result = end.value
            return result

    async def _do(self, step: Step) -> httpx.Response | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        return await self._http.request(
            step.method, step.path, content=step.content, headers=step.headers
        )
