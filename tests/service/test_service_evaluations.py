"""Evaluations from request to report."""

from __future__ import annotations

import asyncio
import socket
import uuid

import httpx
import psutil
import pytest

from robustcert.client import Client
from robustcert.client.aio import AsyncClient
from robustcert.client.replies import ProblemError
from robustcert.client.requests import evaluation_request
from robustcert.client.wire import Status
from robustcert.errors import ServiceError
from robustcert.results.document import from_document
from tests.service.fixtures import digest, sample_file, submit
from tests.service.harness import ServiceProcess, eventually


def body(model_id: str, **changes) -> dict:
    return {
        "model": model_id,
        "samples": {"id": "fashion-mnist-500", "count": 4},
        "threat_model": {"norm": "linf", "epsilons": [0.1]},
        **changes,
    }


def test_an_evaluation_goes_from_upload_to_report(client, tmp_path, model_bytes):
    path = tmp_path / "net.pt"
    path.write_bytes(model_bytes)
    samples = tmp_path / "six.npz"
    samples.write_bytes(sample_file())
    heard = []
    document = client.evaluate(
        path, samples, "l2", [0.5, 0.1], heard.append, count=4, seed=3, tier="quick"
    )
    report = from_document(document)
    assert report.model.sha256 == digest(model_bytes)
    assert report.samples.name == "six.npz"
    assert report.provenance.seed == 3
    assert report.threats.epsilons == (0.1, 0.5)
    assert heard[-1].status is Status.DONE
    assert {view.status for view in heard} <= {*Status}


def test_the_awaiting_client_says_the_same(service, model_bytes):
    async def talk():
        async with AsyncClient(service.url, patience=5.0) as client:
            document = await client.evaluate(
                model_bytes, "fashion-mnist-500", "linf", [0.1], count=4
            )
            page = (await client.upload_samples("fashion-mnist-500")).count
            return document, page

    document, count = asyncio.run(talk())
    assert from_document(document).samples.count == 4
    assert count == 500


def test_a_submission_says_where_to_look(client, http, model_bytes):
    model = client.upload_model(model_bytes)
    answer = http.post("/v1/evaluations", json=body(model.id))
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/evaluations/{answer.json()['id']}"
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json()["status"] == "queued"


@pytest.mark.parametrize(
    "changes",
    [
        {"samples": {"id": "../../etc/passwd"}},
        {"samples": {"id": "no-such-set"}},
        {"model": "m-0"},
    ],
)
def test_a_request_about_nothing_is_refused(client, http, model_bytes, changes):
    model = client.upload_model(model_bytes)
    answer = http.post("/v1/evaluations", json=body(model.id, **changes))
    assert (answer.status_code, answer.json()["kind"]) == (404, "not-found-error")


def test_an_empty_box_is_refused_with_the_library_s_remedy(client, http, model_bytes):
    model = client.upload_model(model_bytes)
    threat = {"norm": "l2", "epsilons": [0.1], "box": [1.0, 0.0]}
    answer = http.post("/v1/evaluations", json=body(model.id, threat_model=threat))
    assert answer.status_code == 422
    assert answer.json()["kind"] == "invalid-threat-model-error"
    assert "low <= high" in answer.json()["remedy"]


def test_the_same_key_and_request_make_one_evaluation(client, http, model_bytes):
    asked = body(client.upload_model(model_bytes).id)
    key = {"Idempotency-Key": uuid.uuid4().hex}
    first = http.post("/v1/evaluations", json=asked, headers=key)
    second = http.post("/v1/evaluations", json=asked, headers=key)
    reordered = dict(reversed(asked.items())) | {"attacks": []}
    third = http.post("/v1/evaluations", json=reordered, headers=key)
    assert first.json()["id"] == second.json()["id"] == third.json()["id"]
    other = asked | {"tier": "quick"}
    conflict = http.post("/v1/evaluations", json=other, headers=key)
    assert conflict.status_code == 409
    assert conflict.json()["kind"] == "idempotency-conflict-error"
    without = http.post("/v1/evaluations", json=asked)
    assert without.json()["id"] != first.json()["id"]


def test_a_failed_model_is_a_result_with_a_reason_and_a_remedy(client, model_bytes):
    view = client.wait(submit(client, model_bytes, "unsound").id)
    assert view.status is Status.FAILED
    assert view.problem.kind == "unsound-model-error"
    assert view.problem.detail == "the weights hold NaN"
    assert "finite weights" in view.problem.remedy
    assert view.attempt == 1
    with pytest.raises(ProblemError) as refused:
        client.report(view.id)
    assert refused.value.problem.kind == "no-report-error"


def test_an_evaluation_that_fails_raises_its_own_remedy(client, model_bytes):
    with pytest.raises(ServiceError, match="weights hold NaN") as failed:
        client.evaluate(
            model_bytes, "fashion-mnist-500", "linf", [0.1], attacks=["unsound"]
        )
    assert "finite weights" in failed.value.remedy


@pytest.mark.parametrize("part", ["liar", "contradicts"])
def test_a_child_that_answers_falsely_is_not_believed(client, model_bytes, part):
    view = client.wait(submit(client, model_bytes, part).id)
    assert view.status is Status.FAILED
    assert view.problem.kind in ("child-crashed-error", "document-error")


def test_what_a_child_adds_to_a_document_is_dropped(client, model_bytes):
    view = client.wait(submit(client, model_bytes, "hostile").id)
    assert "extra" not in client.report(view.id)


def test_progress_is_seen_while_an_evaluation_runs(client, model_bytes):
    heard = []
    view = submit(client, model_bytes, "slow")
    client.wait(view.id, heard.append)
    done = [one.progress.done for one in heard if one.progress.stage == "attacks"]
    assert len(done) >= 3
    assert done == sorted(done)
    assert any("broken so far" in one.progress.note for one in heard)


def test_an_unchanged_evaluation_answers_304(client, http, model_bytes):
    view = submit(client, model_bytes)
    client.wait(view.id)
    first = http.get(f"/v1/evaluations/{view.id}")
    again = http.get(
        f"/v1/evaluations/{view.id}",
        headers={"If-None-Match": first.headers["ETag"]},
    )
    assert (again.status_code, again.content) == (304, b"")


def test_a_running_evaluation_has_no_report_yet(client, http, model_bytes):
    view = submit(client, model_bytes, "forever")
    answer = http.get(f"/v1/evaluations/{view.id}/report")
    assert (answer.status_code, answer.json()["kind"]) == (409, "no-report-yet-error")
    assert "Retry-After" in answer.headers
    client.cancel(view.id)


def test_cancelling_kills_the_child(client, service, model_bytes):
    before = set(service.children())
    view = submit(client, model_bytes, "forever")
    eventually(lambda: client.status(view.id).progress.done > 0)
    started = set(service.children()) - before
    assert started
    client.cancel(view.id)
    assert client.wait(view.id).status is Status.CANCELLED
    workers = [process for process in started if process not in before]
    gone, alive = psutil.wait_procs(workers, timeout=5.0)
    assert gone
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE][1:]
    assert client.cancel(view.id).status is Status.CANCELLED


def test_what_waits_is_cancelled_at_once_and_never_runs(client, http, model_bytes):
    running = [submit(client, model_bytes, "forever") for _ in range(2)]
    eventually(lambda: all(client.status(one.id).started for one in running))
    waiting = [submit(client, model_bytes) for _ in range(2)]
    assert [client.status(one.id).position for one in waiting] == [1, 2]
    answer = http.post(f"/v1/evaluations/{waiting[0].id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert client.status(waiting[1].id).position == 1
    for one in running:
        client.cancel(one.id)
    assert client.wait(waiting[1].id).status is Status.DONE
    assert client.status(waiting[0].id).started is None


def test_what_is_over_cannot_be_cancelled(client, http, model_bytes):
    view = submit(client, model_bytes)
    client.wait(view.id)
    answer = http.post(f"/v1/evaluations/{view.id}/cancel")
    assert (answer.status_code, answer.json()["kind"]) == (409, "conflict-error")


def test_a_time_limit_of_the_request_is_kept(client, model_bytes):
    model = client.upload_model(model_bytes)
    request = evaluation_request(
        model.id, "fashion-mnist-500", "l2", [0.1], attacks=["forever"], seconds=3.0
    )
    view = client.wait(client.submit(request).id)
    assert view.status is Status.FAILED
    assert view.problem.kind == "time-limit-error"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("text/markdown", "text/markdown"),
        ("text/*;q=0.5, application/json;q=0.1", "text/html"),
    ],
)
def test_the_report_comes_in_the_format_asked_for(
    client, http, model_bytes, accept, media_type
):
    view = submit(client, model_bytes)
    client.wait(view.id)
    path = f"/v1/evaluations/{view.id}/report"
    answer = http.get(path, headers={"Accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == media_type
    assert answer.headers["Vary"] == "Accept"
    assert "<b>bold</b>" not in answer.text or media_type == "application/json"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


def test_a_format_that_is_not_offered_is_refused(client, http, model_bytes):
    view = submit(client, model_bytes)
    client.wait(view.id)
    path = f"/v1/evaluations/{view.id}/report"
    refused = http.get(path, headers={"Accept": "image/png"})
    assert (refused.status_code, refused.json()["kind"]) == (
        406,
        "not-acceptable-error",
    )
    unknown = http.get(path, params={"format": "pdf"})
    assert (unknown.status_code, unknown.json()["kind"]) == (422, "unknown-name-error")


def test_the_html_report_is_one_page(client, model_bytes):
    view = submit(client, model_bytes)
    client.wait(view.id)
    page = client.report_html(view.id)
    assert page.lstrip().startswith("<!doctype html>")
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_health_is_answered_while_every_slot_is_busy(client, http, model_bytes):
    views = [submit(client, model_bytes, "forever") for _ in range(4)]
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"status": "ok"}
    for view in views:
        client.cancel(view.id)
    for view in views:
        client.wait(view.id)


@pytest.fixture(scope="module")
def tight_service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tight") / "data"
    running = ServiceProcess(folder, queue_limit=1, idle_seconds=0.5).start()
    yield running
    running.stop()


def test_a_full_queue_says_when_to_come_back(tight_service, model_bytes):
    with Client(tight_service.url) as client:
        model = client.upload_model(model_bytes)
    with httpx.Client(base_url=tight_service.url) as http:
        asked = body(model.id, attacks=["forever"])
        answers = [http.post("/v1/evaluations", json=asked) for _ in range(4)]
    last = answers[-1]
    assert (last.status_code, last.json()["kind"]) == (503, "busy-error")
    assert int(last.headers["Retry-After"]) > 0


def test_an_upload_that_stops_sending_is_given_up(tight_service):
    with socket.create_connection(("127.0.0.1", tight_service.port), 20.0) as line:
        head = (
            f"PUT /v1/blobs/{digest(b'x')} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            "Content-Length: 1000\r\n\r\nx"
        )
        line.sendall(head.encode())
        answer = b""
        while not answer.endswith(b"}"):
            piece = line.recv(4096)
            assert piece, answer
            answer += piece
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"slow-upload-error" in answer
    assert list((tight_service.folder / "incoming").iterdir()) == []
