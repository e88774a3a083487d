"""Raw bytes under their hash."""

from __future__ import annotations

import socket

import pytest

from tests.service.fixtures import digest, put

LIMIT = 3_000_000


def test_an_upload_is_there_after_it_was_acknowledged(http, service):
    data = b"an upload"
    path = f"/v1/blobs/{digest(data)}"
    assert http.head(path).status_code == 404
    first = http.put(path, content=data)
    assert (first.status_code, first.json()) == (
        201,
        {"sha256": digest(data), "size": len(data)},
    )
    assert http.head(path).status_code == 200
    assert http.put(path, content=data).status_code == 200
    name = digest(data)
    stored = service.folder / "sha256" / name[:2] / name[2:4] / name
    assert stored.read_bytes() == data


def test_bytes_with_another_hash_are_refused_and_leave_nothing(http, service):
    wrong = digest(b"announced")
    answer = http.put(f"/v1/blobs/{wrong}", content=b"sent")
    assert (answer.status_code, answer.json()["kind"]) == (400, "hash-mismatch-error")
    assert http.head(f"/v1/blobs/{wrong}").status_code == 404
    assert list((service.folder / "incoming").iterdir()) == []


def test_an_upload_above_the_limit_is_refused_by_its_announced_length(http):
    data = bytes(LIMIT + 1)
    answer = http.put(f"/v1/blobs/{digest(data)}", content=data)
    assert (answer.status_code, answer.json()["kind"]) == (413, "too-large-error")
    assert http.head(f"/v1/blobs/{digest(data)}").status_code == 404


def test_an_upload_without_a_length_is_counted_while_it_arrives(http, service):
    pieces = (bytes(100_000) for _ in range(40))
    answer = http.put(f"/v1/blobs/{digest(bytes(4_000_000))}", content=pieces)
    assert answer.status_code == 413
    assert list((service.folder / "incoming").iterdir()) == []


def test_an_upload_in_chunks_is_accepted(http):
    data = b"0123456789" * 20_000
    pieces = (data[start : start + 999] for start in range(0, len(data), 999))
    answer = http.put(f"/v1/blobs/{digest(data)}", content=pieces)
    assert (answer.status_code, answer.json()["size"]) == (201, len(data))


@pytest.mark.parametrize(
    "name",
    [
        "..%2f..%2f..%2fetc%2fpasswd",
        "A" * 64,
        "0" * 63,
        "0" * 65,
        "0" * 64 + "%00",
        "%0a" + "0" * 63,
        "0" * 64 + "%0a",
    ],
)
def test_only_a_hash_names_an_upload(http, name):
    answer = http.put(f"/v1/blobs/{name}", content=b"x")
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_upload_that_breaks_off_leaves_nothing(service, http):
    with socket.create_connection(("127.0.0.1", service.port)) as line:
        head = (
            f"PUT /v1/blobs/{digest(b'x')} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            "Content-Length: 1000\r\n\r\n"
        )
        line.sendall(head.encode() + b"x")
    put(http, b"the service goes on")
    assert http.head(f"/v1/blobs/{digest(b'x')}").status_code == 404


def test_a_damaged_file_is_noticed_and_healed_by_the_next_upload(
    http, service, other_model
):
    name = put(http, other_model)
    stored = service.folder / "sha256" / name[:2] / name[2:4] / name
    stored.chmod(0o600)
    stored.write_bytes(bytes(len(other_model)))
    damaged = http.post("/v1/models", json={"sha256": name})
    assert (damaged.status_code, damaged.json()["kind"]) == (500, "damaged-blob-error")
    put(http, other_model)
    assert http.post("/v1/models", json={"sha256": name}).status_code == 201
