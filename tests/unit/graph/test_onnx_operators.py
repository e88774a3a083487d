"""Each ONNX operator, alone in a file, is read as what PyTorch computes for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.extract import extract
from robustcert.graph.onnx.constants import CONSTANT_RULES
from robustcert.graph.onnx.load import load_onnx
from tests.models.onnx_files import model_file, node

IMAGE = (2, 6, 6)
ROW = (6,)


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@dataclass(frozen=True)
class Case:
    """``op`` applied to x and ``constants`` is what ``wanted`` computes."""

    op: str
    wanted: Callable[[Tensor], Tensor]
    shape: tuple[int, ...] = IMAGE
    constants: dict[str, object] = field(default_factory=dict)
    attributes: dict[str, object] = field(default_factory=dict)
    opset: int = 17
    order: tuple[str, ...] | None = None

    def file(self, batch: int | str) -> bytes:
        inputs = self.order or ("x", *self.constants)
        nodes = [
            node(self.op, inputs, ["z"], **self.attributes),
            node("Flatten", ["z"], ["y"]),
        ]
        return model_file(nodes, (batch, *self.shape), self.constants, opset=self.opset)


W, B = drawn(5, 6), drawn(5)
K, KB = drawn(4, 2, 3, 3), drawn(4)
NORM = [drawn(2), drawn(2) + 2.0, drawn(2) - 1.0, drawn(2).abs() + 0.5]
NAMED_NORM = dict(zip("sbmv", NORM, strict=True))


def normalised(x: Tensor) -> Tensor:
    scale, shift, mean, variance = NORM
    return F.batch_norm(x, mean, variance, scale, shift, eps=0.01)


CASES = {
    "Gemm": Case("Gemm", lambda x: F.linear(x, W, B), ROW, {"w": W, "b": B},
                 {"transB": 1}),
    "Gemm scaled": Case("Gemm", lambda x: 0.5 * x @ W.T + 3 * B, ROW,
                        {"w": W.T, "b": B[None]}, {"alpha": 0.5, "beta": 3.0}),
    "Gemm without a bias": Case("Gemm", lambda x: x @ W.T, ROW, {"w": W.T}),
    "MatMul": Case("MatMul", lambda x: x @ drawn(6, 3), IMAGE, {"w": drawn(6, 3)}),
    "MatMul of columns": Case("MatMul", lambda x: drawn(3, 6) @ x, (6, 2),
                              {"w": drawn(3, 6)}, order=("w", "x")),
    "MatMul of a column": Case("MatMul", lambda x: drawn(3, 6) @ x, (6, 1),
                               {"w": drawn(3, 6)}, order=("w", "x")),
    "Conv": Case("Conv", lambda x: F.conv2d(x, K, KB), IMAGE, {"k": K, "b": KB}),
    "Conv padded": Case("Conv", lambda x: F.conv2d(F.pad(x, (1, 0, 2, 1)), K, KB, 2),
                        IMAGE, {"k": K, "b": KB},
                        {"pads": [2, 1, 1, 0], "strides": [2, 2]}),
    "Conv dilated": Case("Conv", lambda x: F.conv2d(x, K, dilation=2), IMAGE, {"k": K},
                         {"dilations": [2, 2]}),
    "Conv grouped": Case("Conv", lambda x: F.conv2d(x, K[:, :1], groups=2), IMAGE,
                         {"k": K[:, :1]}, {"group": 2, "kernel_shape": [3, 3]}),
    "Conv same upper": Case("Conv", lambda x: F.conv2d(F.pad(x, (0, 1, 0, 1)), K, None,
                                                       2),
                            IMAGE, {"k": K},
                            {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "Conv same lower": Case("Conv", lambda x: F.conv2d(F.pad(x, (1, 0, 1, 0)), K, None,
                                                       2),
                            IMAGE, {"k": K},
                            {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "Conv valid": Case("Conv", lambda x: F.conv2d(x, K), IMAGE, {"k": K},
                       {"auto_pad": "VALID"}),
    "Conv of sequences": Case("Conv", lambda x: F.conv1d(x, K[..., 0], padding=1),
                              (2, 7), {"k": K[..., 0]}, {"pads": [1, 1]}),
    "BatchNormalization": Case("BatchNormalization", normalised, IMAGE, NAMED_NORM,
                               {"epsilon": 0.01}),
    "BatchNormalization of old": Case("BatchNormalization", normalised, IMAGE,
                                      NAMED_NORM, {"epsilon": 0.01, "momentum": 0.7},
                                      opset=9),
    "Relu": Case("Relu", F.relu),
    "LeakyRelu": Case("LeakyRelu", lambda x: F.leaky_relu(x, 0.2), attributes={
        "alpha": 0.2}),
    "LeakyRelu by default": Case("LeakyRelu", lambda x: F.leaky_relu(x, 0.01)),
    "PRelu": Case("PRelu", lambda x: F.leaky_relu(x, 0.3), constants={"s": [0.3]}),
    "Elu": Case("Elu", lambda x: F.elu(x, 0.7), attributes={"alpha": 0.7}),
    "Selu": Case("Selu", F.selu),
    "Celu": Case("Celu", lambda x: F.celu(x, 1.5), attributes={"alpha": 1.5}),
    "Sigmoid": Case("Sigmoid", torch.sigmoid),
    "Tanh": Case("Tanh", torch.tanh),
    "Softplus": Case("Softplus", F.softplus),
    "Gelu": Case("Gelu", F.gelu, opset=20),
    "Gelu by tanh": Case("Gelu", lambda x: F.gelu(x, approximate="tanh"),
                         attributes={"approximate": "tanh"}, opset=20),
    "Swish": Case("Swish", F.silu, opset=24),
    "HardSwish": Case("HardSwish", F.hardswish),
    "HardSigmoid of PyTorch": Case("HardSigmoid", F.hardsigmoid,
                                   attributes={"alpha": 1 / 6}),
    "HardSigmoid by default": Case("HardSigmoid",
                                   lambda x: (0.2 * x + 0.5).clamp(0, 1)),
    "Clip": Case("Clip", lambda x: x.clamp(-0.5, 0.7), constants={
        "low": -0.5, "high": 0.7}),
    "Clip below": Case("Clip", lambda x: x.clamp(max=0.7), constants={"high": 0.7},
                       order=("x", "", "high")),
    "Clip of old": Case("Clip", lambda x: x.clamp(-0.5, 0.7), opset=9,
                        attributes={"min": -0.5, "max": 0.7}),
    "Add": Case("Add", lambda x: x + drawn(2, 1, 1), constants={"c": drawn(2, 1, 1)}),
    "Add with a batch of one": Case("Add", lambda x: x + drawn(1, 2, 1, 6),
                                    constants={"c": drawn(1, 2, 1, 6)}),
    "Add first": Case("Add", lambda x: x + 2.0, constants={"c": 2.0},
                      order=("c", "x")),
    "Sub": Case("Sub", lambda x: x - drawn(6, 6), constants={"c": drawn(6, 6)}),
    "Sub from": Case("Sub", lambda x: drawn(6, 6) - x, constants={"c": drawn(6, 6)},
                     order=("c", "x")),
    "Mul": Case("Mul", lambda x: x * drawn(2, 1, 1), constants={"c": drawn(2, 1, 1)}),
    "Mul first": Case("Mul", lambda x: x * 3.0, constants={"c": 3.0},
                      order=("c", "x")),
    "Div": Case("Div", lambda x: x / 0.3, constants={"c": 0.3}),
    "Neg": Case("Neg", torch.neg),
    "Sub of tensors": Case("Sub", lambda x: x - x, order=("x", "x")),
    "Add of tensors": Case("Add", lambda x: x + x, order=("x", "x")),
    "MaxPool": Case("MaxPool", lambda x: F.max_pool2d(x, 3, 2, 1), attributes={
        "kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "MaxPool rounded up": Case("MaxPool",
                               lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True),
                               attributes={"kernel_shape": [3, 3], "strides": [2, 2],
                                           "ceil_mode": 1}),
    "MaxPool of sequences": Case("MaxPool", lambda x: F.max_pool1d(x, 2, 1), (2, 7),
                                 attributes={"kernel_shape": [2]}),
    "AveragePool": Case("AveragePool", lambda x: F.avg_pool2d(
        x, 3, 2, 1, count_include_pad=False), attributes={
        "kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "AveragePool counting": Case("AveragePool", lambda x: F.avg_pool2d(x, 3, 2, 1),
                                 attributes={"kernel_shape": [3, 3], "strides": [2, 2],
                                             "pads": [1, 1, 1, 1],
                                             "count_include_pad": 1}),
    "GlobalAveragePool": Case("GlobalAveragePool", lambda x: x.mean((2, 3))),
    "GlobalMaxPool": Case("GlobalMaxPool", lambda x: x.amax((2, 3))),
    "ReduceMean": Case("ReduceMean", lambda x: x.mean((1, 3)), attributes={
        "axes": [1, -1], "keepdims": 0}),
    "ReduceMean by an input": Case("ReduceMean", lambda x: x.mean(2, keepdim=True),
                                   constants={"a": [2]}, opset=18),
    "Flatten later": Case("Flatten", lambda x: x, (1, 6), attributes={"axis": 2}),
    "Reshape": Case("Reshape", lambda x: x, constants={"s": [0, 3, -1]}),
    "Transpose": Case("Transpose", lambda x: x.permute(0, 2, 3, 1), attributes={
        "perm": [0, 2, 3, 1]}),
    "Squeeze": Case("Squeeze", lambda x: x, (2, 1, 3, 1), constants={"a": [2, -1]}),
    "Squeeze of old": Case("Squeeze", lambda x: x, (2, 1, 3), attributes={
        "axes": [2]}, opset=11),
    "Unsqueeze": Case("Unsqueeze", lambda x: x, constants={"a": [1, -1]}),
    "Concat": Case("Concat", lambda x: torch.cat([x, x], 2), attributes={"axis": 2},
                   order=("x", "x")),
    "Identity": Case("Identity", lambda x: x),
    "Dropout": Case("Dropout", lambda x: x, constants={
        "r": 0.5, "training": np.array(False)}),
    "Dropout of old": Case("Dropout", lambda x: x, attributes={"ratio": 0.5}, opset=9),
    "Cast": Case("Cast", lambda x: x, attributes={"to": 1}),
}  # fmt: skip


@pytest.mark.parametrize("batch", ["N", 1, 4])
@pytest.mark.parametrize("name", CASES)
def test_an_operator_computes_what_pytorch_computes(name, batch):
    case = CASES[name]
    model = load_onnx(case.file(batch))
    inputs = 2.0 * drawn(5, *case.shape)
    torch.testing.assert_close(
        model.function(inputs), case.wanted(inputs).flatten(1), rtol=1e-5, atol=1e-5
    )
    assert model.input_shape == case.shape
    assert extract(model).input_shape == case.shape


@pytest.mark.parametrize(
    "name", ["Conv", "Gemm", "Gelu", "MaxPool", "BatchNormalization"]
)
def test_the_model_can_be_differentiated(name):
    case = CASES[name]
    model = load_onnx(case.file("N"))
    ours, theirs = (drawn(3, *case.shape).requires_grad_() for _ in range(2))
    model.function(ours).square().sum().backward()
    case.wanted(theirs).square().sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


def gelu_by_error_function(*, halved_first: bool) -> list[onnx.NodeProto]:
    product = (
        [node("Mul", ["x", "half"], ["h"]), node("Mul", ["h", "t"], ["z"])]
        if halved_first
        else [node("Mul", ["x", "t"], ["h"]), node("Mul", ["h", "half"], ["z"])]
    )
    return [
        node("Div", ["x", "root"], ["d"]),
        node("Erf", ["d"], ["e"]),
        node("Add", ["one", "e"], ["t"]),
        *product,
        node("Flatten", ["z"], ["y"]),
    ]


SPELT_OUT = {
    "GELU": (gelu_by_error_function(halved_first=False), F.gelu),
    "GELU, halved first": (gelu_by_error_function(halved_first=True), F.gelu),
    "SiLU": (
        [
            node("Sigmoid", ["x"], ["s"]),
            node("Mul", ["x", "s"], ["z"]),
            node("Flatten", ["z"], ["y"]),
        ],
        F.silu,
    ),
    "hard swish": (
        [
            node("HardSigmoid", ["x"], ["s"], alpha=1 / 6),
            node("Mul", ["s", "x"], ["z"]),
            node("Flatten", ["z"], ["y"]),
        ],
        F.hardswish,
    ),
    "softplus above a threshold": (
        [
            node("Mul", ["x", "two"], ["s"]),
            node("Softplus", ["s"], ["p"]),
            node("Div", ["p", "two"], ["q"]),
            node("Greater", ["s", "twenty"], ["c"]),
            node("Where", ["c", "x", "q"], ["z"]),
            node("Flatten", ["z"], ["y"]),
        ],
        lambda x: F.softplus(x, 2.0),
    ),
}
NUMBERS = {"root": 2**0.5, "one": 1.0, "half": 0.5, "two": 2.0, "twenty": 20.0}


@pytest.mark.parametrize("name", SPELT_OUT)
def test_activations_that_old_files_spell_out_are_recognised(name):
    nodes, wanted = SPELT_OUT[name]
    model = load_onnx(model_file(nodes, ("N", 2, 5), NUMBERS))
    inputs = 12.0 * drawn(4, 2, 5)
    torch.testing.assert_close(model.function(inputs), wanted(inputs).flatten(1))
    kinds = {layer.kind for layer in extract(model).layers}
    assert kinds <= {"input", "elementwise", "reshape", "affine"}


def refused(nodes, constants=None, shape=("N", 6), **options) -> UnsupportedLayerError:
    with pytest.raises(UnsupportedLayerError) as caught:
        load_onnx(model_file(nodes, shape, constants, **options))
    assert caught.value.remedy
    return caught.value


REFUSED = {
    "no rule": ([node("Sin", ["x"], ["y"])], "Sin has no rule"),
    "a product of two": ([node("Mul", ["x", "x"], ["y"])], "multiplies two tensors"),
    "an error function": (
        [node("Erf", ["x"], ["e"]), node("Identity", ["e"], ["y"])],
        "error function",
    ),
    "softmax inside": (
        [node("Softmax", ["x"], ["s"]), node("Relu", ["s"], ["y"])],
        "only be the last layer",
    ),
    "softmax over the batch": ([node("Softmax", ["x"], ["y"], axis=0)], "classes"),
    "mean over the batch": (
        [node("ReduceMean", ["x"], ["y"], axes=[0])],
        "over the batch",
    ),
    "transposed batch": ([node("Transpose", ["x"], ["y"])], "moves the batch"),
    "concatenated batch": (
        [node("Concat", ["x", "x"], ["y"], axis=0)],
        "along the batch",
    ),
    "reshaped batch": (
        [node("Reshape", ["x", "shape"], ["y"])],
        "mixes or drops the batch",
    ),
    "lost batch": ([node("Flatten", ["x"], ["y"], axis=0)], "mixes or drops the batch"),
    "a slope for each channel": ([node("PRelu", ["x", "row"], ["y"])], "slope"),
    "weights that depend on x": ([node("Gemm", ["x", "x"], ["y"])], "depend on the"),
    "a choice by the data": (
        [node("Greater", ["x", "ten"], ["c"]), node("Where", ["c", "x", "x"], ["y"])],
        "chooses by the data",
    ),
    "a train-mode norm": (
        [
            node("BatchNormalization", ["x", *(["row"] * 4)], ["y", "m", "v"],
                 training_mode=1)
        ],
        "train mode",
    ),
    "a narrower type": ([node("Cast", ["x"], ["y"], to=10)], "converts its input"),
    "an empty clip": ([node("Clip", ["x", "ten", "one"], ["y"])], "empty"),
    "a falling ELU": ([node("Elu", ["x"], ["y"], alpha=-1.0)], "not monotone"),
    "a lonely name": ([node("Relu", ["nowhere"], ["y"])], "no earlier operator"),
    "a circle": (
        [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]),
         node("Relu", ["b"], ["y"])],
        "no earlier operator",
    ),
    "a name given twice": (
        [node("Relu", ["x"], ["y"]), node("Tanh", ["x"], ["y"])],
        "there already",
    ),
    "an overwritten weight": ([node("Relu", ["x"], ["row"])], "there already"),
    "a constant output": ([node("Identity", ["row"], ["y"])], "depend on the input"),
    "what nothing reads": (
        [node("Sin", ["x"], ["z"]), node("Relu", ["x"], ["y"])],
        "Sin has no rule",
    ),
    "misfitting weights": ([node("MatMul", ["x", "matrix"], ["y"])], "cannot be read"),
    "constants for a batch": (
        [node("Add", ["x", "matrix"], ["y"])],
        "differs from sample to sample",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rule_is_refused_by_name(name):
    nodes, reason = REFUSED[name]
    constants = {
        "row": [0.5] * 6, "ten": 10.0, "one": 1.0, "shape": [3, -1],
        "matrix": [[1.0] * 5] * 5,
    }  # fmt: skip
    assert reason in refused(nodes, constants).reason


def known(op: str, *constants: object, **attributes: object) -> tuple:
    """``op`` on constants, with its attributes."""
    return op, constants, attributes


FOLDED = [
    (known("Constant", value_floats=[1.0, 2.0, 3.0]), [1.0, 2.0, 3.0]),
    (known("Constant", value_float=2.5), 2.5),
    (known("Constant", value=onnx.numpy_helper.from_array(np.float32([3.0]))), [3.0]),
    (known("Identity", [1.0, 2.0, 3.0]), [1.0, 2.0, 3.0]),
    (known("Add", [1.0, 2.0, 3.0], 1.0), [2.0, 3.0, 4.0]),
    (known("Sub", [1.0, 2.0, 3.0], 1.0), [0.0, 1.0, 2.0]),
    (known("Mul", [1.0, 2.0, 3.0], 2.0), [2.0, 4.0, 6.0]),
    (known("Div", [1.0, 2.0, 3.0], 2.0), [0.5, 1.0, 1.5]),
    (known("Neg", [1.0, 2.0, 3.0]), [-1.0, -2.0, -3.0]),
    (known("Sqrt", [1.0, 4.0, 9.0]), [1.0, 2.0, 3.0]),
    (known("Reciprocal", [1.0, 2.0, 4.0]), [1.0, 0.5, 0.25]),
    (known("Pow", [1.0, 2.0, 3.0], 2.0), [1.0, 4.0, 9.0]),
    (known("Exp", [0.0]), [1.0]),
    (known("Cast", [1, 2, 3], to=1), [1.0, 2.0, 3.0]),
    (known("Gather", [5.0, 6.0, 7.0], [2, 0, 1]), [7.0, 5.0, 6.0]),
    (known("Unsqueeze", 4.0, [0]), [4.0]),
    (known("Squeeze", [[1.0, 2.0, 3.0]], [0]), [1.0, 2.0, 3.0]),
    (known("Concat", [1.0], [2.0, 3.0], axis=0), [1.0, 2.0, 3.0]),
    (known("Reshape", [[1.0], [2.0], [3.0]], [-1]), [1.0, 2.0, 3.0]),
    (known("Transpose", [[1.0], [2.0], [3.0]]), [[1.0, 2.0, 3.0]]),
    (known("Slice", [0.0, 1.0, 2.0, 3.0, 4.0], [1], [4], [0]), [1.0, 2.0, 3.0]),
    (known("Slice", [3.0, 2.0, 1.0], [-1], [-9], [0], [-1]), [1.0, 2.0, 3.0]),
    (known("ConstantOfShape", [3]), [0.0, 0.0, 0.0]),
    (known("Expand", 7.0, [3]), [7.0, 7.0, 7.0]),
]


@pytest.mark.parametrize(
    ("call", "wanted"),
    FOLDED,
    ids=[f"{call[0]}-{i}" for i, (call, _) in enumerate(FOLDED)],
)
def test_operators_on_constants_are_computed(call, wanted):
    op, values, attributes = call
    constants = {f"c{place}": value for place, value in enumerate(values)}
    nodes = [
        node(op, [*constants], ["c"], **attributes),
        node("Add", ["x", "c"], ["y"]),
    ]
    model = load_onnx(model_file(nodes, ("N", 3), constants))
    inputs = drawn(4, 3)
    torch.testing.assert_close(
        model.function(inputs), inputs + torch.tensor(wanted).reshape(-1)
    )


def test_whole_numbers_are_divided_towards_zero():
    """As in shapes that a file computes: -7 / 2 is -3."""
    nodes = [
        node("Div", ["a", "b"], ["d"]),
        node("Cast", ["d"], ["c"], to=1),
        node("Add", ["x", "c"], ["y"]),
    ]
    model = load_onnx(model_file(nodes, ("N", 3), {"a": [-7, 7, 6], "b": 2}))
    zero = torch.zeros(1, 3)
    assert model.function(zero).tolist() == [[-3.0, 3.0, 3.0]]


def test_every_operator_on_constants_is_tested():
    tested = {call[0] for call, _ in FOLDED}
    assert tested | {"Shape"} == set(CONSTANT_RULES)


def test_a_shape_that_the_file_computes_keeps_the_batch_open():
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "zero", "one"], ["n"]),
        node("Concat", ["n", "rest"], ["t"], axis=0),
        node("Reshape", ["x", "t"], ["y"]),
    ]
    constants = {"zero": [0], "one": [1], "rest": [-1]}
    model = load_onnx(model_file(nodes, ("N", 2, 3), constants))
    inputs = drawn(7, 2, 3)
    torch.testing.assert_close(model.function(inputs), inputs.flatten(1))


FIRST = [node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["n"])]
SIZES = {"zero": 0, "one": 1, "two": 2, "rest": [-1], "axis": [0], "scale": [1.0] * 9}


@pytest.mark.parametrize(
    "nodes",
    [
        [
            *FIRST,
            node("Sub", ["n", "two"], ["d"]),
            node("Cast", ["d"], ["f"], to=TensorProto.FLOAT),
            node("Add", ["x", "f"], ["y"]),
        ],
        [
            *FIRST,
            node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
            node("Mul", ["x", "f"], ["y"]),
        ],
        [
            *FIRST,
            node("Unsqueeze", ["n", "axis"], ["u"]),
            node("Concat", ["u", "u"], ["t"], axis=0),
            node("Reshape", ["x", "t"], ["y"]),
        ],
        [
            *FIRST,
            node("Gather", ["scale", "n"], ["f"]),
            node("Mul", ["x", "f"], ["y"]),
        ],
    ],
    ids=["arithmetic", "a factor", "another size", "a place"],
)
def test_a_file_that_computes_with_its_batch_size_is_refused(nodes):
    data = model_file(nodes, ("N", 2), SIZES)
    with pytest.raises(UnsupportedLayerError, match="number of samples"):
        load_onnx(data)


def test_a_size_that_is_not_the_batchs_may_be_computed_with():
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "one"], ["k"]),
        node("Cast", ["k"], ["f"], to=TensorProto.FLOAT),
        node("Mul", ["x", "f"], ["y"]),
    ]
    model = load_onnx(model_file(nodes, ("N", 2), SIZES))
    inputs = drawn(3, 2)
    torch.testing.assert_close(model.function(inputs), 2.0 * inputs)
