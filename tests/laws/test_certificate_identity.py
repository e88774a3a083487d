"""One net from every front door: the same certificates, not only the same function."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from robustcert.certify.interface import CertificationTask
from robustcert.certify.registry import CERTIFIERS
from robustcert.evaluation.load import load_model
from robustcert.graph.execute import run
from robustcert.graph.extract import extract
from robustcert.lipschitz.registry import UPPER_METHODS
from robustcert.results.effort import Effort
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import UNIT_BOX
from tests.models import nets, onnx_files, programs
from tests.models.spline_nets import written_net
from tests.unit.lipschitz.graphs import problem

FORMATS = {
    "trace": nets.traced,
    "torch.export": programs.exported,
    "ONNX": onnx_files.exported,
}
TABLE_NETS = {"table mlp": nets.TABLE, "shape branch": nets.TABLE, "spline": nets.TABLE}
NETS = TABLE_NETS | dict.fromkeys(
    (
        *("mlp", "conv same", "batch norm", "batch norm first", "residual", "concat"),
        *("average pool", "max pool", "sigmoid", "tanh", "gelu", "normalised"),
        *("zero padded", "constant padded", "padded shortcut", "sliced"),
    ),
    nets.IMAGE,
)
RADII = [
    (method, norm)
    for method in ("lipschitz-margin", "interval", "crown")
    for norm in THREAT_NORMS
]
DEAR_RADII = {"table mlp": [("branch-and-bound", norm) for norm in THREAT_NORMS]}
BOUNDS = [
    ("spectral_product", Norm.L2),
    ("spectral_product", Norm.LINF),
    ("liplt", Norm.L2),
    ("liplt", Norm.LINF),
    ("eclipse_fast", Norm.L2),
]
DEAR_BOUNDS = {"table mlp": [("lipsdp", Norm.L2)]}
SAMPLES = 3


def graph_of(data, shape):
    return extract(load_model(data, sample_shape=shape))


@cache
def net_of(name):
    if name == "spline":
        return written_net()
    return nets.settled((nets.IMAGE_NETS | nets.TABLE_NETS)[name](), seed=4)


@cache
def scripted(name):
    return graph_of(nets.scripted(net_of(name)), NETS[name])


def radii(graph, method, norm):
    """Certified radii ``(SAMPLES,)``, not cut short at a likely radius."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.rand(SAMPLES, *graph.input_shape, generator=generator).double()
    labels = run(graph, inputs).argmax(dim=1)
    slack = torch.zeros(SAMPLES, dtype=torch.float64)
    task = CertificationTask(graph, inputs, labels, norm, UNIT_BOX, slack)
    return CERTIFIERS[method](graph, norm).radii(task, torch.full_like(slack, 4.0))


def bound(graph, method, norm):
    return UPPER_METHODS[method](problem(graph, norm), Effort.FAST).value


@cache
def expected_radii(name, method, norm):
    return radii(scripted(name), method, norm)


@cache
def expected_bound(name, method, norm):
    return bound(scripted(name), method, norm)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", NETS)
def test_a_net_has_the_radii_of_its_script_from_every_format(name, form):
    graph = graph_of(FORMATS[form](net_of(name), NETS[name]), NETS[name])
    proved = 0.0
    for method, norm in RADII + DEAR_RADII.get(name, []):
        wanted = expected_radii(name, method, norm)
        torch.testing.assert_close(
            radii(graph, method, norm), wanted, rtol=1e-6, atol=1e-9
        )
        proved += wanted.sum().item()
    assert proved > 0.0


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", NETS)
def test_a_net_has_the_lipschitz_bounds_of_its_script_from_every_format(name, form):
    graph = graph_of(FORMATS[form](net_of(name), NETS[name]), NETS[name])
    for method, norm in BOUNDS + DEAR_BOUNDS.get(name, []):
        wanted = expected_bound(name, method, norm)
        assert bound(graph, method, norm) == pytest.approx(wanted, rel=1e-6)
        assert wanted > 0.0
