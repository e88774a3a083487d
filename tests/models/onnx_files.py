"""ONNX files: written operator by operator, or exported from a net by PyTorch."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

node = helper.make_node


def model_file(
    nodes: Sequence[onnx.NodeProto],
    shape: tuple[int | str | None, ...],
    constants: Mapping[str, object] | None = None,
    *,
    opset: int = 17,
    dtype: int = TensorProto.FLOAT,
) -> bytes:
    """A file that maps ``x`` of ``shape`` (with the batch) to ``y``.

    Constants are float32 where they are floating-point numbers of Python or torch.
    """
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", dtype, None)],
        [
            numpy_helper.from_array(as_array(value), name)
            for name, value in (constants or {}).items()
        ],
    )
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return model.SerializeToString()


def as_array(value: object) -> np.ndarray:
    """Numbers as float32 or int64; arrays as they are."""
    if isinstance(value, np.ndarray):
        return value
    array = np.asarray(value)
    whole = np.issubdtype(array.dtype, np.integer)
    return array.astype(np.int64 if whole else np.float32)


def edited(data: bytes, change) -> bytes:
    """The file after ``change(model)`` has worked on its parsed form."""
    model = onnx.ModelProto.FromString(data)
    change(model)
    return model.SerializeToString()


def exported(
    net: nn.Module, shape: tuple[int, ...], *, opset: int = 17, batch: int | None = None
) -> bytes:
    """The net as PyTorch exports it; ``None`` leaves the batch open."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (torch.zeros(batch or 2, *shape),),
            buffer,
            dynamo=False,
            opset_version=opset,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes=None if batch else {"x": {0: "batch"}},
        )
    return buffer.getvalue()
