"""Fixtures shared by the tests that need a running service."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import torch

from robustcert.client import Client
from robustcert.client.requests import evaluation_request
from robustcert.client.wire import EvaluationStatus
from robustcert.models.builtin import MODELS
from tests.service.harness import ServiceProcess

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def service(tmp_path_factory) -> Iterator[ServiceProcess]:
    """One service for all tests that leave it alive."""
    folder = tmp_path_factory.mktemp("service") / "data"
    running = ServiceProcess(
        folder, upload_bytes=3_000_000, samples_bytes=30_000_000, slots=2
    ).start()
    yield running
    running.stop()
    assert "Traceback" not in running.log, running.log


@pytest.fixture
def client(service) -> Iterator[Client]:
    with Client(service.url, patience=5.0) as one:
        yield one


@pytest.fixture
def http(service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=30.0) as one:
        yield one


@pytest.fixture(scope="session")
def model_bytes() -> bytes:
    """A TorchScript model that the static scan accepts."""
    return MODELS["fashion-mnist-demo"].read()


@pytest.fixture
def other_model() -> bytes:
    """Another one, different in every test."""
    layer = torch.nn.Linear(3, 2)
    with torch.no_grad():
        layer.bias.fill_(float(next(_numbers)))
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(layer.eval()), buffer)
    return buffer.getvalue()


def sample_file(**arrays: np.ndarray) -> bytes:
    """An .npz file of ``arrays``, those of a good set unless others are given."""
    good = {"inputs": np.full((6, 3), 0.5, np.float32), "labels": np.arange(6)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{**good, **arrays})
    return buffer.getvalue()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(http: httpx.Client, data: bytes) -> str:
    """Upload ``data``; its hash."""
    http.put(f"/v1/blobs/{digest(data)}", content=data).raise_for_status()
    return digest(data)


def submit(client: Client, model: bytes, part: str = "prompt") -> EvaluationStatus:
    """Submit an evaluation whose child plays ``part``; see ``entries.py``."""
    model_id = client.upload_model(model, name="a model").id
    request = evaluation_request(
        model_id, "fashion-mnist-500", "linf", [0.0, 0.1], count=8, attacks=[part]
    )
    return client.submit(request)
