"""Whatever goes wrong is answered in one shape."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from api.main import create_app
from api.settings import Settings
from robustcert.client.wire import Problem

METHODS = ("get", "put", "post", "patch", "delete")


def is_problem(answer: httpx.Response) -> Problem:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = Problem.model_validate_json(answer.content)
    assert problem.status == answer.status_code
    assert problem.type == f"urn:robustcert:problem:{problem.kind}"
    assert problem.title
    assert problem.detail
    assert problem.remedy
    return problem


def operations(http) -> list[tuple[str, str, dict]]:
    document = http.get("/openapi.json").json()
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def filled(path: str) -> str:
    return path.replace("{sha256}", "0" * 64).replace("{", "").replace("}", "")


def test_every_endpoint_documents_the_one_error_shape(http):
    listed = operations(http)
    assert len(listed) >= 17
    for method, path, operation in listed:
        content = operation["responses"]["default"]["content"]
        assert content == {
            "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"}
            }
        }, (method, path)
        assert operation["summary"]
    assert "HTTPValidationError" not in http.get("/openapi.json").text


def test_every_endpoint_with_an_unknown_id_answers_404(http):
    for method, path, _operation in operations(http):
        if "{" in path and method in ("get", "delete") and "sha256" not in path:
            assert is_problem(http.request(method, filled(path))).status == 404
    cancel = http.post("/v1/evaluations/nothing/cancel")
    assert is_problem(cancel).status == 404


def test_every_path_names_all_its_methods_when_one_is_wrong(http):
    paths = http.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        for method in set(METHODS) - set(methods):
            answer = http.request(method, filled(path))
            assert is_problem(answer).status == 405, (method, path)
            allowed = {name.strip() for name in answer.headers["Allow"].split(",")}
            assert allowed == {name.upper() for name in methods}


def test_pages_and_their_files_name_their_methods_too(http):
    for path, methods in (("/", "GET"), ("/static/app.css", "GET, HEAD")):
        answer = http.post(path, json={})
        assert is_problem(answer).status == 405
        assert answer.headers["Allow"] == methods


def test_a_fault_of_ours_says_nothing_about_the_inside():
    async def answer() -> httpx.Response:
        app = create_app(Settings())
        app.state.service = "a secret that has no models"
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport) as http:
            return await http.get("http://127.0.0.1/v1/models")

    problem = is_problem(asyncio.run(answer()))
    assert problem.status == 500
    assert "secret" not in problem.model_dump_json()
    assert "models" not in problem.model_dump_json()


def test_every_endpoint_with_a_json_body_refuses_other_types_and_bad_json(http):
    seen = 0
    for method, path, operation in operations(http):
        if "application/json" not in operation.get("requestBody", {}).get(
            "content", {}
        ):
            continue
        seen += 1
        form = http.request(method, path, data={"a": "b"})
        assert is_problem(form).status == 415
        headers = {"Content-Type": "application/json"}
        for body in (b"{", b"[" * 100_000, b"null", b'{"surprise": 1}', b"\xff\xfe"):
            answer = http.request(method, path, content=body, headers=headers)
            assert is_problem(answer).status in (400, 422), body[:20]
        large = http.request(
            method, path, content=b'"' + b" " * 2_000_000 + b'"', headers=headers
        )
        assert is_problem(large).status == 413
    assert seen == 3


def test_an_unknown_path_is_a_problem(http):
    assert is_problem(http.get("/v1/nothing")).status == 404
    assert is_problem(http.get("/static/nothing.js")).status == 404


def test_invalid_fields_are_named_without_repeating_their_values(http):
    body = {
        "model": "m",
        "samples": {"id": "s", "count": 0},
        "threat_model": {"norm": "l7-secret", "epsilons": [-1.0]},
    }
    problem = is_problem(http.post("/v1/evaluations", json=body))
    assert problem.kind == "invalid-request"
    named = {error.field for error in problem.errors}
    assert named == {
        "body.samples.count",
        "body.threat_model.norm",
        "body.threat_model.epsilons.0",
    }
    assert "l7-secret" not in problem.model_dump_json()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_refused(http, number):
    body = {
        "model": "m",
        "samples": {"id": "s"},
        "threat_model": {"norm": "l2", "epsilons": [0.5]},
    }
    text = json.dumps(body).replace("0.5", number)
    headers = {"Content-Type": "application/json"}
    answer = http.post("/v1/evaluations", content=text, headers=headers)
    assert is_problem(answer).status == 422


def test_a_name_that_is_no_text_is_refused(http):
    text = '{"sha256": "' + "0" * 64 + '", "name": "\\ud800"}'
    headers = {"Content-Type": "application/json"}
    answer = http.post("/v1/models", content=text, headers=headers)
    assert is_problem(answer).status == 422
    text = '{"sha256": "' + "0" * 64 + '", "\\ud800": 1}'
    answer = http.post("/v1/models", content=text, headers=headers)
    assert is_problem(answer).status == 422


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "٣", "9" * 19])
def test_a_cursor_that_was_not_given_out_is_refused(http, cursor):
    for path in ("models", "samples", "evaluations"):
        answer = http.get(f"/v1/{path}", params={"cursor": cursor})
        assert is_problem(answer).status in (400, 422)


def test_pages_of_other_sites_cannot_change_anything(http):
    for site in ("cross-site", "same-site"):
        answer = http.post("/v1/evaluations/e/cancel", headers={"Sec-Fetch-Site": site})
        assert is_problem(answer).status == 403
    own = http.post(
        "/v1/evaluations/e/cancel", headers={"Sec-Fetch-Site": "same-origin"}
    )
    assert is_problem(own).status == 404


def test_a_name_that_was_rebound_to_this_machine_is_refused(http):
    for host in ("evil.example", "127.0.0.1.evil.example", ""):
        answer = http.get("/v1/models", headers={"Host": host})
        assert is_problem(answer).status == 421
    for host in ("localhost:8770", "127.0.0.1", "[::1]:80"):
        assert http.get("/v1/models", headers={"Host": host}).status_code == 200


def test_other_origins_get_no_permission_to_read(http):
    answer = http.get("/v1/models", headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    asked = http.options(
        "/v1/models",
        headers={
            "Origin": "https://evil.example",
            "Access-Control-Request-Method": "POST",
        },
    )
    assert asked.status_code == 405


def test_every_answer_carries_the_security_headers(http):
    for path in ("/", "/v1/models", "/v1/nothing", "/static/app.css", "/openapi.json"):
        headers = http.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "'unsafe-" not in headers["Content-Security-Policy"]
        assert "server" not in headers
