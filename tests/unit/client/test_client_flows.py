"""What the client says, step by step, without anybody listening."""

from __future__ import annotations

import subprocess
import sys

import httpx
import pytest

from robustcert.client.flows import Flows, Pause, Send
from robustcert.client.replies import ProblemError, finished
from robustcert.client.requests import evaluation_request, file_bytes, is_file
from robustcert.client.wire import EvaluationStatus, ModelResource
from robustcert.errors import SamplesError, ServiceError, UsageError
from robustcert.results.effort import Effort, Tier

URL = "http://127.0.0.1:1/"
MODEL = {
    "id": "m-1",
    "sha256": "0" * 64,
    "name": "m",
    "size": 1,
    "created": "2026-01-01T00:00:00Z",
}
REQUEST = evaluation_request("m-1", "s-1", "l2", [0.1])


def evaluation(status: str, **more) -> dict:
    return {
        "id": "e-1",
        "status": status,
        "model": {"id": "m-1", "sha256": "0" * 64, "name": "m"},
        "samples": {"id": "s-1", "sha256": None, "name": "s"},
        "request": REQUEST.model_dump(mode="json"),
        "created": "2026-01-01T00:00:00Z",
        **more,
    }


def answer(status: int, body=None, **headers: str) -> httpx.Response:
    return httpx.Response(
        status, json=body, headers=headers, request=httpx.Request("GET", URL)
    )


def played(flow, answers, steps=None):
    """Give ``answers`` to the steps of ``flow``; the steps and the result."""
    steps = [] if steps is None else steps
    waiting = list(answers)
    try:
        step = next(flow)
        while True:
            steps.append(step)
            if isinstance(step, Pause):
                step = flow.send(None)
                continue
            reply = waiting.pop(0)
            step = (
                flow.throw(reply) if isinstance(reply, Exception) else flow.send(reply)
            )
    except StopIteration as end:
        assert waiting == []
        return steps, end.value


def sent(steps) -> list[str]:
    return [step.method for step in steps if isinstance(step, Send)]


def pauses(steps) -> list[float]:
    return [step.seconds for step in steps if isinstance(step, Pause)]


def test_bytes_that_are_there_are_not_sent_again():
    flow = Flows(10.0).upload_model(b"x", "m")
    steps, model = played(flow, [answer(200), answer(200, MODEL)])
    assert sent(steps) == ["HEAD", "POST"]
    assert model == ModelResource.model_validate(MODEL)


def test_bytes_that_are_not_there_are_sent_under_their_hash():
    flow = Flows(10.0).upload_model(b"x", "m")
    steps, _ = played(flow, [answer(404), answer(201, {}), answer(201, MODEL)])
    assert sent(steps) == ["HEAD", "PUT", "POST"]
    assert steps[1].content == b"x"
    assert steps[1].path.endswith(
        "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    )


def test_a_busy_service_is_asked_again_when_it_says():
    busy = answer(503, {}, **{"Retry-After": "3"})
    flow = Flows(60.0).submit(REQUEST)
    steps, _ = played(flow, [busy, answer(429), answer(202, evaluation("queued"))])
    assert pauses(steps)[0] == 3.0
    assert len(pauses(steps)) == 2


def test_a_submission_that_is_repeated_has_the_same_key():
    lost = httpx.ReadError("reset")
    flow = Flows(60.0).submit(REQUEST)
    steps, _ = played(flow, [lost, lost, answer(202, evaluation("queued"))])
    keys = {step.headers["Idempotency-Key"] for step in steps if isinstance(step, Send)}
    assert len(keys) == 1
    other, _ = played(Flows(60.0).submit(REQUEST), [answer(202, evaluation("queued"))])
    assert other[0].headers["Idempotency-Key"] not in keys


def test_patience_ends():
    refused = [httpx.ConnectError("refused")] * 50
    steps = []
    with pytest.raises(ServiceError, match="does not answer") as error:
        played(Flows(5.0).status("e-1"), refused, steps)
    assert "robustcert serve" in error.value.remedy
    assert 5.0 <= sum(pauses(steps)) < 15.0
    assert pauses(steps) == sorted(pauses(steps))


def test_a_refusal_is_not_repeated_and_carries_the_remedy():
    problem = {
        "title": "The model file is refused",
        "status": 422,
        "detail": "it is a state dict",
        "remedy": "Save it with torch.jit.save.",
        "kind": "archive-error",
    }
    flow = Flows(60.0).upload_model(b"x", "m")
    with pytest.raises(ProblemError, match="it is a state dict") as error:
        played(flow, [answer(200), answer(422, problem)])
    assert error.value.remedy == "Save it with torch.jit.save."
    assert error.value.problem.kind == "archive-error"


def test_something_that_is_no_service_is_an_error_of_its_own():
    page = httpx.Response(
        200, text="<html>", request=httpx.Request("GET", "http://host/")
    )
    with pytest.raises(ServiceError, match="is no EvaluationStatus"):
        played(Flows(1.0).status("e-1"), [page])
    teapot = httpx.Response(418, request=httpx.Request("GET", URL))
    with pytest.raises(ServiceError, match="418"):
        played(Flows(1.0).status("e-1"), [teapot])


def test_waiting_tells_each_change_once_and_ends_with_the_end():
    heard = []
    steps, last = played(
        Flows(10.0).wait("e-1", heard.append),
        [
            answer(200, evaluation("queued"), ETag='"1"'),
            answer(304),
            answer(200, evaluation("running"), ETag='"2"'),
            httpx.ReadTimeout("late"),
            answer(200, evaluation("done"), ETag='"3"'),
        ],
    )
    assert [view.status for view in heard] == ["queued", "running", "done"]
    assert last is heard[-1]
    known = [step.headers.get("If-None-Match") for step in steps if sent([step])]
    assert known == [None, '"1"', '"1"', '"2"', '"2"']


def test_only_an_evaluation_that_is_done_has_a_report():
    done = EvaluationStatus.model_validate(evaluation("done"))
    assert finished(done) is done
    cancelled = EvaluationStatus.model_validate(evaluation("cancelled"))
    with pytest.raises(ServiceError, match="is cancelled"):
        finished(cancelled)


def test_options_become_a_request():
    request = evaluation_request(
        "m-1",
        "s-1",
        "linf",
        (0.1, 0.2),
        count=5,
        seed=7,
        box=(-1.0, 1.0),
        tier="quick",
        effort=Effort.TIGHT,
        attacks=["apgd"],
        seconds=9.0,
        attack_seconds=4.0,
        attack_queries=10_000,
        certifiers=["interval", "crown"],
        certify_seconds=2.5,
    )
    assert (request.samples.count, request.samples.seed) == (5, 7)
    assert (request.tier, request.effort) == (Tier.QUICK, Effort.TIGHT)
    assert request.threat_model.sweep().epsilons == (0.1, 0.2)
    assert (request.budget.seconds, request.budget.memory_mb) == (9.0, None)
    assert request.budget.attack_seconds == 4.0
    assert request.budget.attack_queries == 10_000
    assert request.certifiers == ["interval", "crown"]
    assert request.budget.certify_seconds == 2.5


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"count": 0}, "samples.count"),
        ({"tier": "heroic"}, "tier"),
        ({"seconds": -1.0}, "budget.seconds"),
        ({"attack_queries": -1}, "budget.attack_queries"),
        ({"attack_seconds": float("nan")}, "budget.attack_seconds"),
        ({"certify_seconds": -1.0}, "budget.certify_seconds"),
        ({"attacks": ["../x"]}, "attacks.0"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(options, field):
    with pytest.raises(UsageError, match=field):
        evaluation_request("m", "s", "l2", [0.1], **options)
    with pytest.raises(UsageError, match=r"threat_model\.epsilons"):
        evaluation_request("m", "s", "l2", [float("nan")])


def test_a_source_is_bytes_a_file_or_an_id(tmp_path):
    path = tmp_path / "net.pt"
    path.write_bytes(b"x")
    assert file_bytes(b"x", "") == (b"x", "")
    assert file_bytes(path, "") == (b"x", "net.pt")
    assert file_bytes(str(path), "shown") == (b"x", "shown")
    assert is_file(path)
    assert is_file(b"x")
    assert not is_file("fashion-mnist-500")
    with pytest.raises(SamplesError, match="no file"):
        is_file("missing.npz")


def test_the_client_imports_neither_torch_nor_the_service():
    code = (
        "import sys, robustcert.client; "
        "print([name for name in ('torch', 'numpy', 'api', 'fastapi', 'sqlalchemy') "
        "if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
