"""Models and sample sets: accepted, listed, deleted."""

from __future__ import annotations

import io
import itertools
import zipfile

import numpy as np
import pytest

from tests.service.fixtures import digest, put, sample_file, submit
from tests.service.harness import eventually

_labels = itertools.count(1)


def distinct_samples() -> bytes:
    return sample_file(labels=np.full(6, next(_labels)))


def test_a_model_is_made_of_uploaded_bytes_once(http, other_model):
    name = put(http, other_model)
    first = http.post("/v1/models", json={"sha256": name, "name": "net.pt"})
    assert first.status_code == 201
    model = first.json()
    assert first.headers["Location"] == f"/v1/models/{model['id']}"
    assert (model["sha256"], model["name"]) == (name, "net.pt")
    again = http.post("/v1/models", json={"sha256": name, "name": "another name"})
    assert (again.status_code, again.json()) == (200, model)
    assert http.get(f"/v1/models/{model['id']}").json() == model


def test_a_model_needs_its_bytes(http):
    answer = http.post("/v1/models", json={"sha256": digest(b"never sent")})
    assert (answer.status_code, answer.json()["kind"]) == (404, "unknown-blob-error")


@pytest.mark.parametrize("data", [b"", b"garbage", b"PK\x03\x04" + bytes(100)])
def test_bytes_that_are_no_model_are_refused_before_anything_loads_them(http, data):
    answer = http.post("/v1/models", json={"sha256": put(http, data)})
    problem = answer.json()
    assert (answer.status_code, problem["kind"]) == (422, "archive-error")
    assert problem["remedy"]


def test_a_deleted_model_is_gone_with_its_bytes(http, other_model):
    name = put(http, other_model)
    path = f"/v1/models/{http.post('/v1/models', json={'sha256': name}).json()['id']}"
    assert http.delete(path).status_code == 204
    assert http.get(path).status_code == 404
    assert http.delete(path).status_code == 404
    assert http.head(f"/v1/blobs/{name}").status_code == 404


def test_a_model_that_is_being_evaluated_cannot_be_deleted(client, http, other_model):
    view = submit(client, other_model, "forever")
    answer = http.delete(f"/v1/models/{view.model.id}")
    assert (answer.status_code, answer.json()["kind"]) == (409, "in-use-error")
    client.cancel(view.id)
    client.wait(view.id)
    assert http.delete(f"/v1/models/{view.model.id}").status_code == 204
    assert client.status(view.id).model.sha256 == digest(other_model)


def test_sample_files_are_read_to_the_last_number(http):
    answer = http.post(
        "/v1/samples", json={"sha256": put(http, distinct_samples()), "name": "six"}
    )
    assert answer.status_code == 201
    samples = answer.json()
    assert (samples["count"], samples["input_shape"]) == (6, [3])
    assert samples["builtin"] is False
    path = f"/v1/samples/{samples['id']}"
    assert http.get(path).json() == samples
    assert http.delete(path).status_code == 204
    assert http.get(path).status_code == 404


def test_built_in_sets_are_listed_and_cannot_be_deleted(http):
    first = http.get("/v1/samples").json()["items"][0]
    assert first["builtin"] is True
    assert first["count"] == 500
    assert first["input_shape"] == [1, 28, 28]
    answer = http.delete(f"/v1/samples/{first['id']}")
    assert (answer.status_code, answer.json()["kind"]) == (409, "conflict-error")


def bomb() -> bytes:
    """A small file whose inputs inflate to 64 MiB."""
    header = io.BytesIO()
    description = {"descr": "|u1", "fortran_order": False, "shape": (2**16, 1024)}
    np.lib.format.write_array_header_1_0(header, description)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        with file.open("inputs.npy", "w", force_zip64=True) as member:
            member.write(header.getvalue())
            for _ in range(2**6):
                member.write(bytes(2**20))
        file.writestr("labels.npy", b"")
    return buffer.getvalue()


def lying_header() -> bytes:
    """An array that claims a terabyte and brings ten bytes."""
    header = io.BytesIO()
    description = {"descr": "<f8", "fortran_order": False, "shape": (2**37,)}
    np.lib.format.write_array_header_1_0(header, description)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("inputs.npy", header.getvalue() + bytes(10))
        file.writestr("labels.npy", header.getvalue() + bytes(10))
    return buffer.getvalue()


def pickled() -> bytes:
    objects = np.array([[print], [print]], dtype=object)
    buffer = io.BytesIO()
    np.savez(buffer, inputs=objects, labels=np.array([0, 1]))
    return buffer.getvalue()


def twice() -> bytes:
    good = io.BytesIO(sample_file())
    with zipfile.ZipFile(good, "a") as file, pytest.warns(UserWarning, match="Dupl"):
        file.writestr("labels.npy", b"")
    return good.getvalue()


ONES = np.ones((2, 3), np.float32)
REFUSED = {
    "nothing": (b"", "cannot be read"),
    "garbage": (b"garbage", "cannot be read"),
    "truncated": (sample_file()[:-40], "cannot be read"),
    "no labels": (
        sample_file(inputs=ONES)[:0] or b"PK\x05\x06" + bytes(18),
        "no array",
    ),
    "objects": (pickled(), "objects"),
    "NaN": (sample_file(inputs=ONES * np.nan, labels=np.zeros(2, int)), "NaN"),
    "infinity": (sample_file(inputs=ONES * np.inf, labels=np.zeros(2, int)), "NaN"),
    "empty": (sample_file(inputs=ONES[:0], labels=np.zeros(0, int)), "empty"),
    "flat": (sample_file(inputs=ONES[:, 0], labels=np.zeros(2, int)), "no samples"),
    "complex": (sample_file(inputs=ONES * 1j, labels=np.zeros(2, int)), "complex"),
    "integers": (sample_file(inputs=np.ones((6, 3), int)), "int64"),
    "too few labels": (sample_file(labels=np.zeros(5, int)), "5 labels"),
    "negative label": (sample_file(labels=np.full(6, -1)), "negative"),
    "real labels": (sample_file(labels=np.zeros(6)), "whole number"),
    "label matrix": (sample_file(labels=np.zeros((6, 2), int)), "whole number"),
    "member twice": (twice(), "twice"),
    "a terabyte": (lying_header(), "claim the shape"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_sample_file_that_cannot_be_used_is_refused_with_the_reason(http, case):
    data, reason = REFUSED[case]
    answer = http.post("/v1/samples", json={"sha256": put(http, data)})
    assert (answer.status_code, answer.json()["kind"]) == (422, "samples-error")
    assert reason in answer.json()["detail"]


def test_a_small_file_with_huge_arrays_is_refused(http):
    data = bomb()
    assert len(data) < 1_000_000
    answer = http.post("/v1/samples", json={"sha256": put(http, data)})
    assert answer.status_code == 422
    assert "more than" in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["models", "samples", "evaluations"])
def test_pages_of_a_list_follow_each_other_without_gap_or_repeat(
    client, http, kind, model_bytes
):
    make = {
        "models": lambda: None,
        "samples": lambda: http.post(
            "/v1/samples", json={"sha256": put(http, distinct_samples())}
        ),
        "evaluations": lambda: submit(client, model_bytes),
    }[kind]
    for _ in range(5):
        make()
    whole = http.get(f"/v1/{kind}", params={"limit": 200}).json()
    assert whole["next"] is None
    found, cursor = [], None
    while True:
        page = http.get(
            f"/v1/{kind}", params={"limit": 2} | ({"cursor": cursor} if cursor else {})
        ).json()
        found += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == [item["id"] for item in whole["items"]]
    assert len(set(found)) == len(found)


HOSTILE_NAMES = [
    "../../../../etc/passwd",
    "<script>alert(1)</script>",
    "a\x00b\r\nSet-Cookie: x=1",
    "\N{RIGHT-TO-LEFT OVERRIDE}tp.exe",
    "{{7*7}}${7*7}",
    "' OR 1=1; --",
]


def lasting_names(folder):
    """SQLite's journal comes and goes with each transaction."""
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith("-journal"))


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_shown_and_does_nothing(
    client, http, service, other_model, name
):
    model = client.upload_model(other_model, name=name)
    assert model.name.isprintable()
    before = lasting_names(service.folder)
    view = submit(client, other_model)
    client.wait(view.id)
    for path in ("/", f"/evaluations/{view.id}"):
        page = http.get(path).text
        assert "<script>alert" not in page
        assert ">49<" not in page
    eventually(lambda: client.status(view.id).status.final)
    # the first evaluation of a service makes the folder that children work in
    assert {*lasting_names(service.folder)} == {*before, "work"}
    assert not list(service.folder.parent.rglob("passwd"))
