"""Real models in a real service, evaluated by the real child in the real sandbox."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import onnx
import pytest

from robustcert.client import Client
from robustcert.client.replies import ProblemError
from robustcert.client.wire import Status
from robustcert.models.builtin import MODELS
from robustcert.results.document import from_document
from tests.models import nets
from tests.models.bad_inputs import BAD_INPUTS, good_model, good_samples
from tests.models.onnx_files import exported, model_file, node
from tests.service.harness import ServiceProcess


@pytest.fixture(scope="module")
def real_service(tmp_path_factory):
    """A service as users start it: nothing of the tests runs in its children."""
    folder = tmp_path_factory.mktemp("real") / "data"
    running = ServiceProcess(
        folder, worker_entry="robustcert.evaluation.child:evaluate", worker_code="[]"
    ).start()
    yield running
    running.stop()
    assert "Traceback" not in running.log, running.log


@pytest.fixture
def real_client(real_service):
    with Client(real_service.url, patience=5.0) as client:
        yield client


def test_the_demo_model_gets_its_bracket(real_client):
    document = real_client.evaluate(
        MODELS["fashion-mnist-demo"].read(),
        "fashion-mnist-500",
        "linf",
        [0.02, 0.1],
        count=20,
    )
    report = from_document(document)
    assert report.curve[0].certified > 0.5
    assert report.lipschitz.lower.value < report.lipschitz.upper.value
    assert report.attacks
    assert "process" in report.provenance.sandbox


def test_an_onnx_file_gets_its_bracket(real_client):
    net = nets.settled(nets.mlp(784, 16, 10))
    document = real_client.evaluate(
        exported(net, (1, 28, 28), batch=1),
        "fashion-mnist-500",
        "linf",
        [0.001],
        count=10,
        tier="quick",
    )
    report = from_document(document)
    assert report.model.format == "onnx"
    assert report.lipschitz.lower.value < report.lipschitz.upper.value


def test_the_smoothed_model_gets_a_part_of_its_own(real_client):
    document = real_client.evaluate(
        MODELS["fashion-mnist-demo"].read(),
        "fashion-mnist-500",
        "l2",
        [0.1],
        count=4,
        tier="quick",
        seed=5,
        smooth_sigma=0.25,
        smooth_draws=500,
    )
    table = from_document(document).smoothing
    assert (table.plan.sigma, table.plan.draws, table.plan.seed) == (0.25, 500, 5)
    assert [row.index for row in table.rows] == [0, 1, 2, 3]
    assert table.certified_accuracy(0.1) > 0.0


def test_samples_of_another_shape_go_in_where_the_request_says_so(real_client):
    model = exported(nets.settled(nets.mlp(784, 16, 10)), (1, 784), batch=1)
    asked = ("fashion-mnist-500", "linf", [0.001])
    with pytest.raises(ProblemError, match="shape") as caught:
        real_client.evaluate(model, *asked, count=5, tier="quick")
    assert (
        "input_shape" in caught.value.remedy or "--input-shape" in caught.value.remedy
    )
    document = real_client.evaluate(
        model, *asked, count=5, tier="quick", input_shape=(1, 28, 28)
    )
    assert from_document(document).model.input_shape == (1, 28, 28)


def test_an_onnx_file_with_control_flow_is_refused_at_upload(real_client):
    branch = onnx.helper.make_graph([], "branch", [], [])
    flow = node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    with pytest.raises(ProblemError, match="control flow"):
        real_client.upload_model(model_file([flow], ("N", 3)))


def outcome(client, bad) -> ProblemError:
    """The problem that the bad input meets, at upload or as the evaluation's end."""
    with pytest.raises(ProblemError) as caught:
        client.evaluate(bad.model(), bad.samples(), "linf", [0.1], tier="quick")
    return caught.value


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_input_gets_one_clear_problem_and_the_server_goes_on(
    real_client, real_service, case
):
    problem = outcome(real_client, BAD_INPUTS[case]).problem
    assert problem.kind == BAD_INPUTS[case].kind
    assert 400 <= problem.status < 500
    assert problem.remedy
    assert httpx.get(f"{real_service.url}/healthz").is_success


def test_a_failed_evaluation_s_report_says_why_there_is_none(real_client, real_service):
    bad = BAD_INPUTS["labels out of range"]
    with pytest.raises(ProblemError):
        real_client.evaluate(bad.model(), bad.samples(), "linf", [0.1])
    newest = httpx.get(f"{real_service.url}/v1/evaluations").json()["items"][0]
    answer = httpx.get(f"{real_service.url}/v1/evaluations/{newest['id']}/report")
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert "3 classes" in answer.json()["detail"]
    assert newest["status"] == Status.FAILED


def test_epsilon_below_zero_is_refused_at_the_door(real_client):
    model = real_client.upload_model(good_model()).id
    samples = real_client.upload_samples(good_samples()).id
    answer = httpx.post(
        f"{real_client._http.base_url}/v1/evaluations",
        json={
            "model": model,
            "samples": {"id": samples},
            "threat_model": {"norm": "linf", "epsilons": [-0.1]},
        },
    )
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["remedy"]


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "robustcert.cli.main", *words],
        capture_output=True,
        text=True,
        check=False,
    )


def test_submit_and_wait_do_the_work_on_the_service(real_service, tmp_path):
    (tmp_path / "mine.pt").write_bytes(good_model())
    (tmp_path / "mine.npz").write_bytes(good_samples())
    at = ("--url", real_service.url)
    submitted = command(
        *("submit", str(tmp_path / "mine.pt"), "--samples", str(tmp_path / "mine.npz")),
        *("--norm", "l2", "--epsilon", "0.1", "--tier", "quick", *at),
    )
    assert submitted.returncode == 0, submitted.stderr
    page = tmp_path / "report.html"
    waited = command(
        *("wait", submitted.stdout.strip(), "--html", str(page), "--json", "-", *at)
    )
    assert waited.returncode == 0, waited.stderr
    assert json.loads(waited.stdout)["samples"]["count"] == 4
    assert "<svg" in page.read_text()
    assert "clean accuracy" in waited.stderr


def test_a_service_that_is_not_there_is_an_error_with_a_remedy():
    answer = command("wait", "e-1", "--url", "http://127.0.0.1:9")
    assert answer.returncode == 4
    assert "remedy: " in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.slow
def test_the_demo_prints_its_bracket_and_writes_a_report_that_opens(tmp_path):
    demo = Path(__file__).resolve().parents[2] / "examples" / "demo.py"
    done = subprocess.run(
        [sys.executable, str(demo)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Lipschitz constant (linf, global)" in done.stdout
    for epsilon in ("0.02", "0.05", "0.1"):
        assert f"\n{epsilon} " in done.stdout
    report = tmp_path / "demo-output" / "report.html"
    assert str(report) in done.stdout
    assert "The true robust accuracy" in report.read_text()
