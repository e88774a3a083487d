"""One net in every format: identical certificates, or a refusal by operator."""

from __future__ import annotations

import io
import warnings
from functools import cache

import pytest
import torch

from robustcert.certify.interface import CertificationTask
from robustcert.certify.registry import CERTIFIERS
from robustcert.errors import ArchiveError, UnsupportedLayerError
from robustcert.evaluation.load import load_model
from robustcert.graph.execute import run
from robustcert.graph.extract import extract
from robustcert.graph.layers import Input, Linear
from robustcert.models.interface import as_logits
from robustcert.models.samples import load_samples
from robustcert.results.norm import THREAT_NORMS
from robustcert.results.report import OutputKind
from robustcert.results.threat_model import UNIT_BOX
from tests.models import nets, onnx_files, programs
from tests.models.spline_nets import written_net

FORMATS = {
    "scripted": lambda net, _: nets.scripted(net),
    "traced": nets.traced,
    "frozen": lambda net, _: nets.frozen(net),
    "torch.export": programs.exported,
    "torch.export of core operators": programs.decomposed,
    "ONNX": onnx_files.exported,
}
FIRST = "scripted"
SHAPES = (
    dict.fromkeys(nets.IMAGE_NETS, nets.IMAGE)
    | dict.fromkeys(nets.TABLE_NETS, nets.TABLE)
    | {"spline": nets.TABLE}
)
METHODS = ("interval",)

REFUSED = {
    ("celu", "torch.export of core operators"): "aten.expm1.default",
    ("softplus", "torch.export of core operators"): "aten.exp.default",
    ("hardswish", "torch.export of core operators"): "'mul': multiplies two tensors",
    ("prelu", "torch.export of core operators"): "aten.gt.Scalar",
    ("circular padded", "torch.export of core operators"): "aten.copy.default",
    ("gelu tanh", "ONNX"): "Mul': multiplies two tensors",
}
"""By net and format: what the refusal names. All other pairs must be read."""


@cache
def net_of(name):
    if name == "spline":
        return written_net()
    return nets.settled((nets.IMAGE_NETS | nets.TABLE_NETS)[name]())


def graph_of(data, shape):
    """The graph, and how its logits are to be read."""
    model = load_model(data, sample_shape=shape)
    return extract(model), model.output


def certificates(graph, inputs):
    """Radii of every method and norm, and the logits they rest on."""
    logits = run(graph, inputs)
    kind = OutputKind.SINGLE_LOGIT if graph.outputs == 1 else OutputKind.LOGITS
    labels = as_logits(logits, kind).argmax(dim=1)
    found = {"logits": logits}
    for norm in THREAT_NORMS:
        slack = torch.zeros(len(inputs), dtype=torch.float64)
        task = CertificationTask(graph, inputs, labels, norm, UNIT_BOX, slack)
        for name in METHODS:
            most = torch.full_like(slack, 0.5)
            found[f"{name}, {norm.word}"] = CERTIFIERS[name](graph, norm).radii(
                task, most
            )
    return found


def assert_identical(found, expected):
    assert found.keys() == expected.keys()
    for name, values in found.items():
        torch.testing.assert_close(
            values, expected[name], rtol=1e-6, atol=1e-9, msg=lambda m, n=name: n + m
        )


@cache
def expected_of(name):
    shape = SHAPES[name]
    graph, output = graph_of(FORMATS[FIRST](net_of(name), shape), shape)
    generator = torch.Generator().manual_seed(1)
    inputs = torch.rand(2, *shape, generator=generator).double()
    return inputs, output, certificates(graph, inputs)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("form", [form for form in FORMATS if form != FIRST])
def test_certificates_of_a_net_are_the_same_from_every_format(name, form):
    inputs, output, expected = expected_of(name)
    data = FORMATS[form](net_of(name), SHAPES[name])
    operator = REFUSED.get((name, form))
    if operator is not None:
        with pytest.raises((UnsupportedLayerError, ArchiveError), match=operator):
            graph_of(data, SHAPES[name])
        return
    graph, kind = graph_of(data, SHAPES[name])
    assert kind is output
    assert_identical(certificates(graph, inputs), expected)


def again(module, how):
    """A loaded TorchScript module, written once more."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(how(module), buffer)
    return buffer.getvalue()


@pytest.mark.data
@pytest.mark.parametrize(
    ("model", "samples"),
    [
        ("mnist_conv_kw", "mnist_test"),
        ("mnist_mlp_6x100", "mnist_test"),
        ("cifar_resnet2b", "cifar10_test_200"),
    ],
)
def test_certificates_of_a_trained_net_are_the_same_from_every_format(
    trained, model, samples
):
    path = trained / "samples" / f"{samples}.npz"
    inputs = load_samples(str(path)).first(2).inputs.double()
    shape = tuple(inputs.shape[1:])
    data = (trained / "models" / f"{model}.ts.pt").read_bytes()
    module = torch.jit.load(io.BytesIO(data)).eval()
    example = inputs.float()
    expected = certificates(graph_of(data, shape)[0], inputs)
    for written in (
        again(module, lambda net: torch.jit.trace(net, example, check_trace=False)),
        again(module, torch.jit.freeze),
        onnx_files.exported(module, shape),
    ):
        assert_identical(certificates(graph_of(written, shape)[0], inputs), expected)


@pytest.mark.data
@pytest.mark.parametrize("model", ["mnist_mlp_256x2", "mnist_mlp_256x4"])
def test_a_net_shipped_as_onnx_has_the_same_certificates_from_every_format(
    trained, model
):
    data = (trained / "models" / f"{model}.onnx").read_bytes()
    loaded = load_model(data)
    shape, graph = loaded.input_shape, extract(loaded)
    rebuilt = nets.mlp(*(layer.size for layer in graph.layers if is_wide(layer)))
    linear = [layer for layer in graph.layers if isinstance(layer, Linear)]
    modules = [part for part in rebuilt if isinstance(part, torch.nn.Linear)]
    for layer, part in zip(linear, modules, strict=True):
        part.weight.data, part.bias.data = layer.weight.float(), layer.bias.float()
    digits = load_samples(str(trained / "samples" / "mnist_test.npz")).first(2)
    inputs = digits.inputs.reshape(-1, *shape).double()
    expected = certificates(graph, inputs)
    for form in FORMATS.values():
        found = graph_of(form(rebuilt.eval(), shape), shape)[0]
        assert_identical(certificates(found, inputs), expected)


def is_wide(layer):
    return isinstance(layer, Input | Linear)
