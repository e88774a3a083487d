"""Crafted and damaged ONNX files end in a typed error, whatever they hold."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from robustcert.errors import (
    InputShapeError,
    ModelLoadError,
    RobustCertError,
    UnsoundModelError,
    UnsupportedLayerError,
)
from robustcert.evaluation.load import load_model
from robustcert.graph.onnx.load import load_onnx
from robustcert.models.onnx import parse_onnx
from tests.models.onnx_files import edited, model_file, node


def small(bias: tuple[float, ...] = (0.0, 1.0), **options) -> bytes:
    return model_file(
        [node("Gemm", ["x", "w", "b"], ["z"]), node("Relu", ["z"], ["y"])],
        options.pop("shape", ("N", 3)),
        {"w": np.eye(3, 2, dtype=np.float32), "b": np.float32(bias)},
        **options,
    )


@pytest.mark.parametrize("seed", range(8))
def test_damaged_bytes_end_in_a_typed_error(seed):
    """A changed byte may leave a network; then it is one that can be run."""
    data = small()
    generator = np.random.default_rng(seed)
    for _ in range(60):
        damaged = bytearray(data)
        for place in generator.integers(3, len(data), size=generator.integers(1, 4)):
            damaged[place] = generator.integers(256)
        try:
            model = load_model(bytes(damaged))
        except RobustCertError as error:
            assert error.remedy  # noqa: PT017 - either end is right
        else:
            outputs = model.logits(torch.zeros(2, *model.input_shape))
            assert len(outputs) == 2


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(number):
    with pytest.raises(UnsoundModelError):
        load_onnx(small((0.0, number)))


def test_outputs_that_overflow_are_refused():
    nodes = [node("Gemm", ["x", "w"], ["z"]), node("Gemm", ["z", "v"], ["y"])]
    weights = {
        "w": np.full((3, 3), 3e38, np.float32),
        "v": np.full((3, 2), 3e38, np.float32),
    }
    with pytest.raises(RobustCertError) as caught:
        load_onnx(model_file(nodes, ("N", 3), weights))
    assert isinstance(caught.value, UnsoundModelError | UnsupportedLayerError)


def test_the_parser_itself_never_follows_a_file_name(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(np.ones(6, np.float32).tobytes())

    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", str(secret)

    with pytest.raises(ModelLoadError, match="another file"):
        parse_onnx(edited(small(), change))


BOMBS = {
    "ConstantOfShape": (
        [node("ConstantOfShape", ["huge"], ["c"]), node("Add", ["x", "c"], ["y"])],
        {"huge": [2**20, 2**20]},
    ),
    "Expand": (
        [node("Expand", ["one", "huge"], ["c"]), node("Add", ["x", "c"], ["y"])],
        {"one": [1.0], "huge": [2**20, 2**20]},
    ),
    "broadcasting": (
        [node("Add", ["column", "row"], ["c"]), node("Add", ["x", "c"], ["y"])],
        {"column": np.ones((2**14, 1)), "row": np.ones((1, 2**14))},
    ),
    "Gather": (
        [node("Gather", ["many", "zeros"], ["c"]), node("Add", ["x", "c"], ["y"])],
        {"many": np.ones((1, 2**14)), "zeros": np.zeros(2**14, np.int64)},
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_constants_that_would_fill_the_memory_are_refused(name):
    nodes, constants = BOMBS[name]
    with pytest.raises(UnsupportedLayerError, match="a constant of more than"):
        load_onnx(model_file(nodes, ("N", 3), constants))


def test_padding_that_would_fill_the_memory_is_refused():
    conv = node("Conv", ["x", "k"], ["y"], pads=[2**40, 2**40, 0, 0])
    data = model_file([conv], (1, 1, 4, 4), {"k": np.ones((1, 1, 1, 1))})
    with pytest.raises(UnsupportedLayerError):
        load_onnx(data)


@pytest.mark.parametrize("shape", [(3,), (), (1, 2**30), (1, 2**14, 2**14), (2**30, 3)])
def test_inputs_without_a_batch_or_of_any_size_are_refused(shape):
    with pytest.raises(ModelLoadError):
        load_onnx(model_file([node("Relu", ["x"], ["y"])], shape))


def test_inputs_of_whole_numbers_are_refused():
    data = model_file([node("Relu", ["x"], ["y"])], ("N", 3), dtype=TensorProto.INT64)
    with pytest.raises(ModelLoadError, match="neither float32 nor float64"):
        load_onnx(data)


def test_a_second_input_or_output_is_refused():
    def change(model: onnx.ModelProto) -> None:
        extra = helper.make_tensor_value_info("x2", TensorProto.FLOAT, ("N", 3))
        model.graph.input.append(extra)

    with pytest.raises(ModelLoadError, match="2 inputs and 1 outputs"):
        load_onnx(edited(small(), change))


def test_an_open_shape_is_asked_for_and_then_taken():
    nodes = [node("GlobalAveragePool", ["x"], ["z"]), node("Flatten", ["z"], ["y"])]
    data = model_file(nodes, ("N", 3, "H", "W"))
    with pytest.raises(InputShapeError, match=r"3x\?x\?"):
        load_onnx(data)
    assert load_onnx(data, input_shape=(3, 5, 4)).input_shape == (3, 5, 4)
    assert load_model(data, sample_shape=(3, 5, 4)).input_shape == (3, 5, 4)
    with pytest.raises(InputShapeError, match="does not fit"):
        load_onnx(data, input_shape=(2, 5, 4))


def test_a_batch_size_that_is_written_into_a_reshape_is_refused():
    """With an open batch the shape works for one size alone: two, the example's."""
    nodes = [node("Reshape", ["x", "s"], ["y"])]
    data = model_file(nodes, ("N", 2, 3), {"s": [2, 6]})
    with pytest.raises(UnsupportedLayerError, match="reference evaluator"):
        load_onnx(data)
