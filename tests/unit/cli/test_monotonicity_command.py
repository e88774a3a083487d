"""``robustcert monotonicity``, on maps whose constants are known."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from tests.models import nets


def linear_map(matrix: torch.Tensor) -> bytes:
    layer = nn.Linear(*matrix.T.shape)
    with torch.no_grad():
        layer.weight.copy_(matrix)
    return nets.scripted(nn.Sequential(layer).eval())


@pytest.fixture
def rotation(tmp_path):
    """A turn to the left that shrinks: <F(x) - F(y), x - y> = .5 |x - y|^2."""
    path = tmp_path / "rotation.pt"
    path.write_bytes(linear_map(torch.tensor([[0.5, -0.75], [0.75, 0.5]])))
    return path


def test_both_constants_of_a_rotation_are_bracketed(run, rotation):
    code, out, err = run(
        *("monotonicity", rotation, "--input-shape", "2", "--effort", "tight"),
        *("--json", "-"),
    )
    assert code == 0
    document = json.loads(out)
    assert document["schema"] == "robustcert/monotonicity/v1"
    length = (0.5**2 + 0.75**2) ** 0.5  # of the moves x - F(x)
    moved = document["displacement"]
    assert moved["lower"]["value"] <= length <= moved["upper"]["value"]
    assert moved["upper"]["value"] == pytest.approx(length, rel=1e-6)
    found = document["monotonicity"]
    assert found["at_least"] == pytest.approx(1.0 - length, abs=1e-6)
    assert found["at_least"] <= 0.5 <= found["at_most"]["value"]
    assert found["at_most"]["value"] == pytest.approx(0.5, abs=1e-9)
    assert len(found["at_most"]["witness"]["first"]) == 2
    assert "0.09861 <= c <= 0.5001" in err


def test_people_read_what_was_found(run, rotation):
    words = ("monotonicity", rotation, "--input-shape", "2", "--trust-model")
    code, out, _ = run(*words)
    assert code == 0
    assert "Lipschitz constant of x - F(x) (l2, global)" in out
    assert "monotonicity constant: 0.098" in out


def test_a_softmax_is_not_taken_for_the_map_in_front_of_it(run, tmp_path):
    net = nn.Sequential(nn.Linear(2, 2), nn.Softmax(dim=1)).eval()
    (tmp_path / "model.pt").write_bytes(nets.scripted(net))
    words = (tmp_path / "model.pt", "--input-shape", "2", "--trust-model")
    code, out, err = run("monotonicity", *words)
    assert (code, out) == (2, "")
    assert "remedy: Export the map without a softmax" in err


def test_a_map_into_another_space_is_refused_with_a_remedy(run, tmp_path):
    (tmp_path / "model.pt").write_bytes(linear_map(torch.ones(3, 2)))
    words = (tmp_path / "model.pt", "--input-shape", "2", "--trust-model")
    code, out, err = run("monotonicity", *words)
    assert (code, out) == (2, "")
    assert "remedy: Ask for" in err
