"""What the client says to the service, written once for both of its twins.

A flow is a generator: it yields the next step (a request to send, seconds to wait),
gets the answer, and returns a document. The twins only carry the steps out, one
blocking, one awaiting; so nothing about the protocol is written twice.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeVar

import httpx
from pydantic import BaseModel

from robustcert.client.replies import away, failure, parsed, retry_after
from robustcert.client.wire import (
    EvaluationRequest,
    EvaluationStatus,
    ModelResource,
    ModelSubmission,
    SamplesResource,
    SamplesSubmission,
)

RETRIED = frozenset({429, 503})
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0
POLL_SECONDS = 25.0


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request; the answer is the response."""

    method: str
    path: str
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait; the answer is ``None``."""

    seconds: float


Step = Send | Pause
Result = TypeVar("Result")
Document = TypeVar("Document", bound=BaseModel)
Flow = Generator[Step, httpx.Response | None, Result]
StatusListener = Callable[[EvaluationStatus], None]


@dataclass(frozen=True, slots=True)
class Flows:
    """The conversations with one service.

    Every request may be repeated: uploads are named by their hash, submissions carry
    an idempotency key. So a lost connection is retried like a busy service.

    Attributes:
        patience: seconds for which a service that is busy or away is tried again.
    """

    patience: float

    def upload_model(self, data: bytes, name: str) -> Flow[ModelResource]:
        """Upload a model's bytes unless they are there, and make a model of them."""
        sha256 = yield from self._upload(data)
        submission = ModelSubmission(sha256=sha256, name=name)
        return (yield from self._post("/v1/models", submission, ModelResource))

    def upload_samples(self, data: bytes, name: str) -> Flow[SamplesResource]:
        """Upload a sample file unless it is there, and make a sample set of it."""
        sha256 = yield from self._upload(data)
        submission = SamplesSubmission(sha256=sha256, name=name)
        return (yield from self._post("/v1/samples", submission, SamplesResource))

    def samples(self, samples_id: str) -> Flow[SamplesResource]:
        """A sample set that is there, such as a built-in one."""
        return (yield from self._get(f"/v1/samples/{samples_id}", SamplesResource))

    def submit(self, request: EvaluationRequest) -> Flow[EvaluationStatus]:
        """Submit an evaluation, once, however often the connection is lost."""
        key = {"Idempotency-Key": uuid.uuid4().hex}
        path = "/v1/evaluations"
        return (yield from self._post(path, request, EvaluationStatus, key))

    def status(self, evaluation_id: str) -> Flow[EvaluationStatus]:
        """Where an evaluation stands."""
        path = f"/v1/evaluations/{evaluation_id}"
        return (yield from self._get(path, EvaluationStatus))

    def wait(
        self, evaluation_id: str, listener: StatusListener
    ) -> Flow[EvaluationStatus]:
        """Follow an evaluation to its end; ``listener`` hears every change."""
        path = f"/v1/evaluations/{evaluation_id}"
        headers: dict[str, str] = {}
        while True:
            wait = f"?wait={POLL_SECONDS:g}" if headers else ""
            response = yield from self._answer(Send("GET", path + wait, None, headers))
            if response.status_code == 304:
                continue
            view = parsed(response, EvaluationStatus)
            listener(view)
            if view.status.final:
                return view
            headers = {"If-None-Match": response.headers["ETag"]}

    def cancel(self, evaluation_id: str) -> Flow[EvaluationStatus]:
        """End an evaluation."""
        step = Send("POST", f"/v1/evaluations/{evaluation_id}/cancel")
        return parsed((yield from self._answer(step)), EvaluationStatus)

    def report(self, evaluation_id: str, media_type: str) -> Flow[httpx.Response]:
        """The report of an evaluation that is done."""
        path = f"/v1/evaluations/{evaluation_id}/report"
        step = Send("GET", path, None, {"Accept": media_type})
        return (yield from self._answer(step))

    def _upload(self, data: bytes) -> Flow[str]:
        sha256 = hashlib.sha256(data).hexdigest()
        path = f"/v1/blobs/{sha256}"
        known = yield from self._tried(Send("HEAD", path))
        if known.status_code == 404:
            binary = {"Content-Type": "application/octet-stream"}
            yield from self._answer(Send("PUT", path, data, binary))
        elif known.is_error:
            raise failure(known)
        return sha256

    def _get(self, path: str, kind: type[Document]) -> Flow[Document]:
        return parsed((yield from self._answer(Send("GET", path))), kind)

    def _post(
        self,
        path: str,
        body: BaseModel,
        kind: type[Document],
        headers: dict[str, str] | None = None,
    ) -> Flow[Document]:
        together = {"Content-Type": "application/json", **(headers or {})}
        step = Send("POST", path, body.model_dump_json().encode(), together)
        return parsed((yield from self._answer(step)), kind)

    def _answer(self, step: Send) -> Flow[httpx.Response]:
        """The answer to ``step``.

        Raises:
            ServiceError: the service refused, failed, or stayed away.
        """
        response = yield from self._tried(step)
        if response.is_error:
            raise failure(response)
        return response

    def _tried(self, step: Send) -> Flow[httpx.Response]:
        """The answer to ``step``, after as many tries as patience allows."""
        waited, pause = 0.0, FIRST_PAUSE
        while True:
            response: httpx.Response | None
            try:
                response = yield step
            except httpx.TransportError as error:
                if waited >= self.patience:
                    raise away(error) from error
                response = None
            if response is not None:
                if response.status_code not in RETRIED or waited >= self.patience:
                    return response
                pause = max(pause, retry_after(response))
            pause = min(pause, LONGEST_PAUSE)
            yield Pause(pause)
            waited += pause
            pause *= 2.0
