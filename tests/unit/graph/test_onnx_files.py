"""Whole ONNX files: exported by PyTorch, or trained by others."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from torch import nn

from robustcert.errors import InputShapeError, UnsupportedLayerError
from robustcert.evaluation.load import load_model
from robustcert.graph.extract import extract
from robustcert.graph.onnx import walk
from robustcert.graph.onnx.load import load_onnx
from robustcert.models.samples import Samples, check_fit, load_samples
from robustcert.models.torchscript import load_torchscript
from robustcert.results.report import OutputKind
from robustcert.results.threat_model import UNIT_BOX
from tests.models import nets
from tests.models.onnx_files import exported, model_file, node

ALL_NETS = [(name, nets.IMAGE, build) for name, build in nets.IMAGE_NETS.items()] + [
    (name, nets.TABLE, build) for name, build in nets.TABLE_NETS.items()
]


@pytest.mark.parametrize(("opset", "batch"), [(13, 1), (17, None), (20, 3)])
@pytest.mark.parametrize(
    ("name", "shape", "build"), ALL_NETS, ids=[name for name, *_ in ALL_NETS]
)
def test_the_file_is_the_net_that_was_exported(name, shape, build, opset, batch):
    net = nets.settled(build())
    data = exported(net, shape, opset=opset, batch=batch)
    if name == "gelu tanh" and opset < 20:
        with pytest.raises(UnsupportedLayerError, match="multiplies two") as caught:
            load_model(data)
        assert "opset 20" in caught.value.remedy
        return
    model = load_model(data)
    script = load_torchscript(nets.scripted(net), input_shape=shape)
    inputs = torch.randn(5, *shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(
            model.function(inputs), net(inputs), rtol=1e-4, atol=1e-5
        )
    assert (model.output, model.classes) == (script.output, script.classes)
    assert extract(model).outputs == extract(script).outputs


def test_layers_carry_the_names_of_the_users_modules():
    net = nets.settled(nets.conv_net(padding=1))
    graph = extract(load_onnx(exported(net, nets.IMAGE)))
    assert {"0", "3"} <= {layer.name for layer in graph.layers}


def test_a_file_in_double_precision_is_run_in_it():
    weights = np.linspace(-1.0, 1.0, 12).reshape(3, 4)
    nodes = [node("MatMul", ["x", "w"], ["z"]), node("Softplus", ["z"], ["y"])]
    data = model_file(nodes, ("N", 3), {"w": weights}, dtype=TensorProto.DOUBLE)
    model = load_onnx(data)
    assert model.dtype is torch.float64
    inputs = torch.rand(4, 3, dtype=torch.float64)
    wanted = torch.nn.functional.softplus(inputs @ torch.from_numpy(weights))
    torch.testing.assert_close(model.function(inputs), wanted, rtol=1e-12, atol=1e-12)


def test_a_softmax_at_the_end_is_noted_and_left_out_of_the_graph():
    net = nets.settled(nn.Sequential(nets.mlp(6, 5, 3), nn.Softmax(dim=1)))
    model = load_onnx(exported(net, nets.TABLE))
    assert model.output is OutputKind.PROBABILITIES
    assert extract(model).layers[-1].kind == "linear"


def test_a_reading_that_differs_from_the_specification_is_refused(monkeypatch):
    data = model_file([node("Tanh", ["x"], ["y"])], ("N", 3))
    wrong = {**walk.RULES, "Tanh": walk.RULES["Sigmoid"]}
    monkeypatch.setattr(walk, "RULES", wrong)
    with pytest.raises(UnsupportedLayerError, match="differs from ONNX's reference"):
        load_onnx(data)


def test_a_shape_of_as_many_numbers_is_given_row_by_row():
    net = nets.settled(nn.Sequential(nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3)))
    data = exported(net, (12,), batch=1)
    model = load_onnx(data, input_shape=(3, 2, 2))
    images = torch.rand(4, 3, 2, 2)
    torch.testing.assert_close(model.function(images), net(images.flatten(1)))
    assert model.input_shape == (3, 2, 2)
    assert extract(model).layers[1].name == "input_shape"
    with pytest.raises(InputShapeError, match="takes inputs of shape 12, not 3x2x3"):
        load_onnx(data, input_shape=(3, 2, 3))


def test_samples_of_another_shape_are_refused_with_the_shape_to_name():
    net = nets.settled(nn.Sequential(nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3)))
    model = load_model(exported(net, (12,)), sample_shape=(3, 2, 2))
    samples = Samples(torch.rand(2, 3, 2, 2), torch.tensor([0, 1]), "s", "0" * 64)
    with pytest.raises(InputShapeError) as caught:
        check_fit(samples, model, UNIT_BOX)
    assert "--input-shape 3,2,2" in caught.value.remedy


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "accuracy", "layers"),
    [
        ("mnist_mlp_256x2", 0.98, 3),
        ("mnist_mlp_256x4", 0.97, 5),
        ("convnet_maxpool", 0.0, 2),
    ],
)
def test_a_file_that_others_trained_is_what_the_specification_says(
    trained, name, accuracy, layers
):
    data = (trained / "models" / f"{name}.onnx").read_bytes()
    samples = load_samples(str(trained / "samples" / "mnist_test.npz")).first(500)
    model = load_model(data, input_shape=(1, 28, 28))
    with torch.no_grad():
        logits = model.logits(samples.inputs)
    right = (logits.argmax(dim=1) == samples.labels).double().mean().item()
    assert right >= accuracy
    proto = onnx.ModelProto.FromString(data)
    sizes = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    evaluator = ReferenceEvaluator(proto)
    for row in range(5):
        image = samples.inputs[row].reshape(sizes).numpy()
        (wanted,) = evaluator.run(None, {proto.graph.input[0].name: image})
        torch.testing.assert_close(
            logits[row : row + 1], torch.from_numpy(wanted), rtol=1e-4, atol=1e-4
        )
    weighted = [layer for layer in extract(model).layers if hasattr(layer, "weight")]
    assert len(weighted) == layers
