"""``robustcert verify``: what it prints and exits with."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from robustcert.evaluation.load import load_model
from robustcert.graph.extract import extract
from robustcert.lipschitz.lipsdp.compile import compiled
from robustcert.lipschitz.upper.propagation import sound_folded
from robustcert.models.builtin import MODELS
from robustcert.results.document import canonical_json
from robustcert.results.lipschitz_certificate_document import certificate_document
from tests.models import nets
from tests.unit.lipschitz.certificates import certificate_of


def scripted(factor: float = 1.0) -> bytes:
    net = nets.settled(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)))
    with torch.no_grad():
        net[0].weight.mul_(factor)
    return nets.scripted(net)


def certificate_for(data: bytes, **shape):
    graph = sound_folded(extract(load_model(data, **shape)))
    certificate = certificate_of(graph, compiled(graph))
    return replace(certificate, model_sha256=hashlib.sha256(data).hexdigest())


@pytest.fixture
def files(tmp_path):
    """A model and its certificate."""
    data = scripted()
    (tmp_path / "model.pt").write_bytes(data)
    return tmp_path, certificate_for(data, input_shape=(6,))


def written(folder, certificate):
    path = folder / "certificate.json"
    path.write_text(canonical_json(certificate_document(certificate)))
    return path


@pytest.mark.parametrize("trust", [(), ("--trust-model",)])
def test_a_right_certificate_is_verified(run, files, trust):
    folder, certificate = files
    path = written(folder, certificate)
    code, out, err = run("verify", path, "--model", folder / "model.pt", *trust)
    assert code == 0, err
    assert out.startswith("verified: L <= ")
    assert out.endswith("(l2, everywhere)\n")
    assert float(out.split()[3]) >= certificate.value


def test_the_document_says_what_was_claimed_and_proved(run, files):
    folder, certificate = files
    path = written(folder, replace(certificate, value=2.0 * certificate.value))
    code, out, _ = run(
        *("verify", path, "--model", folder / "model.pt"),
        *("--json", "-", "--trust-model"),
    )
    document = json.loads(out)
    assert code == 0
    assert document["schema"] == "robustcert/lipschitz-verification/v1"
    assert document["value"] == 2.0 * certificate.value
    assert document["proved"] == certificate.value
    assert document["verified"] is True


@pytest.mark.parametrize("trust", [(), ("--trust-model",)])
def test_a_claim_that_is_too_low_exits_with_1(run, files, trust):
    folder, certificate = files
    path = written(folder, replace(certificate, value=0.999 * certificate.value))
    code, out, err = run("verify", path, "--model", folder / "model.pt", *trust)
    assert code == 1
    assert out == ""
    assert "prove only" in err
    assert "remedy: " in err


def test_a_smaller_model_than_the_certificates_exits_with_1_too(run, files):
    folder, certificate = files
    (folder / "model.pt").write_bytes(scripted(factor=0.5))
    path = written(folder, certificate)
    code, _, err = run("verify", path, "--model", folder / "model.pt", "--trust-model")
    assert code == 1
    assert certificate.model_sha256[:12] in err


def test_a_built_in_model_is_meant_by_its_name(run, tmp_path):
    name, builtin = next(iter(MODELS.items()))
    path = written(tmp_path, certificate_for(builtin.read()))
    code, out, err = run("verify", path, "--model", name, "--trust-model")
    assert code == 0, err
    assert out.startswith("verified: ")


def test_what_is_no_certificate_exits_with_2(run, files):
    folder, _ = files
    (folder / "broken.json").write_text("{}")
    for name in ("broken.json", "absent.json", "model.pt"):
        code, _, err = run("verify", folder / name, "--model", folder / "model.pt")
        assert code == 2
        assert "certificate" in err
