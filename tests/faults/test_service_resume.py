"""A service that dies goes on behind the parts of an evaluation that were finished."""

from __future__ import annotations

import pytest

from robustcert.client import Client
from robustcert.client.requests import evaluation_request
from robustcert.client.wire import Status
from robustcert.models.builtin import MODELS
from robustcert.results.document import without_times
from tests.service.harness import ServiceProcess, eventually

MODEL = MODELS["fashion-mnist-demo"].read()
FIRST = "shard-0-256.json"


@pytest.fixture
def service(tmp_path):
    entry = "robustcert.evaluation.child:evaluate"
    running = ServiceProcess(tmp_path / "data", worker_entry=entry)
    yield running.start()
    running.stop()


def test_a_service_killed_after_the_first_part_of_an_evaluation_goes_on_behind_it(
    service,
):
    work = service.folder / "work"
    with Client(service.url, patience=20.0) as client:
        model_id = client.upload_model(MODEL, name="a model").id
        request = evaluation_request(
            model_id,
            "fashion-mnist-500",
            "linf",
            [0.1],
            count=400,
            attacks=["apgd-ce"],
            certifiers=["interval"],  # no clock decides what it proves
        )
        view = client.submit(request)
        eventually((work / view.id / FIRST).exists, seconds=120.0)
        service.kill()
        (work / "e-of-nobody").mkdir()
        service.start()
        ended = client.wait(view.id)
        assert (ended.status, ended.attempt) == (Status.DONE, 2)
        resumed = client.report(view.id)
        assert resumed["provenance"]["cache"] == {"hits": 1, "misses": 1}
        assert list(work.iterdir()) == []
        whole = client.report(client.wait(client.submit(request).id).id)
    assert whole["provenance"]["cache"] == {"hits": 0, "misses": 2}
    assert without_times(resumed) == without_times(whole)
