"""The service and its children are killed; nothing accepted is lost."""

from __future__ import annotations

import signal
import threading

import httpx
import psutil
import pytest

from robustcert.client import Client
from robustcert.client.wire import Status
from robustcert.models.builtin import MODELS
from tests.service.fixtures import digest, submit
from tests.service.harness import ServiceProcess, eventually

MODEL = MODELS["fashion-mnist-demo"].read()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    running = ServiceProcess(tmp_path_factory.mktemp("faults") / "data")
    yield running.start()
    running.stop()


@pytest.fixture
def client(service):
    with Client(service.url, patience=20.0) as one:
        yield one


def running_child(service, client, evaluation_id) -> psutil.Process:
    eventually(lambda: client.status(evaluation_id).progress.done > 0)
    [child] = service.children()
    return child  # the only one: the service has one slot


def test_an_evaluation_survives_the_sudden_death_of_the_service(service, client):
    view = submit(client, MODEL, "slow")
    waiting = submit(client, MODEL)
    child = running_child(service, client, view.id)
    service.kill()
    psutil.wait_procs([child], timeout=5.0)
    assert not child.is_running()
    service.start()
    ended = client.wait(view.id)
    assert (ended.status, ended.attempt) == (Status.DONE, 2)
    assert client.report(view.id)["model"]["sha256"] == digest(MODEL)
    after = client.wait(waiting.id)
    assert (after.status, after.attempt) == (Status.DONE, 1)


def test_the_death_of_a_child_is_a_result_and_the_service_goes_on(service, client):
    view = submit(client, MODEL, "forever")
    running_child(service, client, view.id).kill()
    ended = client.wait(view.id)
    assert (ended.status, ended.attempt) == (Status.FAILED, 1)
    assert ended.problem.kind == "child-crashed-error"
    assert "SIGKILL" in ended.problem.detail
    assert client.wait(submit(client, MODEL).id).status is Status.DONE
    assert service.process.poll() is None


def test_a_service_that_is_told_to_stop_ends_its_children_and_keeps_their_work(
    service, client
):
    view = submit(client, MODEL, "slow")
    child = running_child(service, client, view.id)
    answers = []
    waiter = threading.Thread(
        target=lambda: answers.append(
            httpx.get(f"{service.url}/v1/evaluations/{view.id}?wait=50", timeout=60.0)
        )
    )
    waiter.start()
    eventually(lambda: client.status(view.id).progress.done > 3)
    assert service.stop() in (0, -signal.SIGTERM)
    waiter.join(10.0)
    assert answers[0].json()["status"] == "running"
    assert not child.is_running()
    assert "Traceback" not in service.log
    service.start()
    ended = client.wait(view.id)
    assert (ended.status, ended.attempt) == (Status.DONE, 1)


def test_an_acknowledged_upload_survives_the_sudden_death_of_the_service(service):
    uploads = [bytes([number]) * 100_000 for number in range(5)]
    with httpx.Client(base_url=service.url) as http:
        for data in uploads:
            http.put(f"/v1/blobs/{digest(data)}", content=data).raise_for_status()
    service.kill()
    service.start()
    with httpx.Client(base_url=service.url) as http:
        for data in uploads:
            assert http.head(f"/v1/blobs/{digest(data)}").status_code == 200


def test_the_client_follows_an_evaluation_through_a_restart(service, client):
    view = submit(client, MODEL, "slow")
    running_child(service, client, view.id)
    ended = []
    follower = threading.Thread(target=lambda: ended.append(client.wait(view.id)))
    follower.start()
    service.kill()
    service.start()
    follower.join(60.0)
    assert ended[0].status is Status.DONE
