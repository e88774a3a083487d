"""ONNX files: bytes in, an :class:`OnnxModel` out, which nothing has run yet.

An ONNX file is data, not a program: it lists operators of a standard. What they mean
is read by ``graph/onnx/``. The bytes are untrusted: scan them with
``robustcert.archive`` before, and call this inside the sandbox's child. Nothing is
read from other files, whatever the bytes say.

Source: the ONNX specification, onnx.ai/onnx/repo-docs/IR.html.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper

from robustcert.archive.wording import STANDARD_ONNX
from robustcert.errors import ModelLoadError
from robustcert.results.plain_text import plain_text

Array = NDArray[np.generic]
Attribute = float | int | str | Array | list[float] | list[int]
Dims = tuple[int | None, ...]

DTYPES = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
}
"""Types of an input that the file may ask for."""
LARGEST_INPUT = 2**24
LARGEST_BATCH = 1024
NAME_LENGTH = 80
STANDARD_DOMAINS = ("", "ai.onnx")
CHECK = "Check the file with onnx.checker.check_model(FILE), and send it again."


@dataclass(frozen=True, slots=True, eq=False)
class OnnxNode:
    """One operator call.

    Attributes:
        operator: such as ``Conv``.
        name: what the file calls it, or empty.
        inputs: names of what it reads; empty where an optional input is left out.
        outputs: names of what it gives.
        attributes: by name; absent ones have the operator's default.
    """

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, slots=True, eq=False)
class OnnxModel:
    """A file's content: one input, constants, operators, one output.

    Attributes:
        nodes: in the file's order.
        constants: the trained tensors and other initial values, by name.
        input_name: of the only input.
        batch: of the input where the file fixes it, ``None`` where it is open.
        shape: of the input without the batch; ``None`` for open dimensions.
        dtype: of the input.
        output_name: of the only output.
        opset: version of the operators.
        proto: the parsed file.
    """

    nodes: tuple[OnnxNode, ...]
    constants: Mapping[str, Array]
    input_name: str
    batch: int | None
    shape: Dims
    dtype: torch.dtype
    output_name: str
    opset: int
    proto: onnx.ModelProto

    @property
    def parameters(self) -> int:
        """Number of floating-point numbers among the constants."""
        return sum(
            value.size
            for value in self.constants.values()
            if np.issubdtype(value.dtype, np.floating)
        )


def parse_onnx(data: bytes) -> OnnxModel:
    """Parse an ONNX file.

    Raises:
        ModelLoadError: it is malformed, or no network with one input and one output.
    """
    try:
        return _model(onnx.ModelProto.FromString(data))
    except DecodeError as error:
        raise ModelLoadError("the ONNX file cannot be parsed", remedy=CHECK) from error


def shown(name: str) -> str:
    """A name from the file, fit to be shown."""
    return plain_text(name, NAME_LENGTH)


def _model(proto: onnx.ModelProto) -> OnnxModel:
    graph = proto.graph
    if proto.functions or graph.sparse_initializer:
        raise _refused("functions or sparse weights")
    constants = {_text(item.name): _array(item) for item in graph.initializer}
    if len(constants) != len(graph.initializer):
        raise ModelLoadError("the ONNX file gives a tensor twice", remedy=CHECK)
    inputs = [item for item in graph.input if item.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ModelLoadError(
            f"the ONNX file has {len(inputs)} inputs and {len(graph.output)} outputs, "
            "not one of each",
            remedy="Export a model that maps one input to its logits.",
        )
    batch, shape = _input_shape(inputs[0])
    return OnnxModel(
        nodes=tuple(_node(node) for node in graph.node),
        constants=constants,
        input_name=_text(inputs[0].name),
        batch=batch,
        shape=shape,
        dtype=DTYPES[inputs[0].type.tensor_type.elem_type],
        output_name=_text(graph.output[0].name),
        opset=_opset(proto.opset_import),
        proto=proto,
    )


def _opset(imports: Iterable[onnx.OperatorSetIdProto]) -> int:
    versions = {item.version for item in imports if item.domain in STANDARD_DOMAINS}
    if len(versions) != 1:
        raise ModelLoadError(
            "the ONNX file names no one version of its operators", remedy=CHECK
        )
    return versions.pop()


def _input_shape(item: onnx.ValueInfoProto) -> tuple[int | None, Dims]:
    kind = item.type.tensor_type
    if kind.elem_type not in DTYPES:
        raise ModelLoadError(
            "the ONNX file's input is neither float32 nor float64",
            remedy="Export the model with inputs of float32.",
        )
    dims = tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
        for dim in kind.shape.dim
    )
    if len(dims) < 2:
        raise ModelLoadError(
            f"the ONNX file's input has {len(dims)} dimensions, none of which is left "
            "for a batch",
            remedy="Export the model with an input (N, *shape).",
        )
    if math.prod(dim or 1 for dim in dims[1:]) > LARGEST_INPUT:
        raise ModelLoadError(
            f"the ONNX file takes inputs of more than {LARGEST_INPUT} numbers",
            remedy=CHECK,
        )
    if (dims[0] or 1) > LARGEST_BATCH:
        raise ModelLoadError(
            f"the ONNX file is fixed to batches of {dims[0]}",
            remedy="Export it with an open batch: dynamic_shapes, or dynamic_axes.",
        )
    return dims[0], dims[1:]


def _node(node: onnx.NodeProto) -> OnnxNode:
    if _text(node.domain) not in STANDARD_DOMAINS:
        raise _refused(f"operators of the domain {shown(node.domain)!r}")
    return OnnxNode(
        operator=shown(_text(node.op_type)),
        name=shown(_text(node.name)),
        inputs=tuple(map(_text, node.input)),
        outputs=tuple(map(_text, node.output)),
        attributes={_text(item.name): _attribute(item) for item in node.attribute},
    )


def _attribute(item: onnx.AttributeProto) -> Attribute:
    kinds = onnx.AttributeProto
    if item.type == kinds.FLOAT:
        return item.f
    if item.type == kinds.INT:
        return item.i
    if item.type == kinds.STRING:
        return item.s.decode("utf-8", errors="replace")
    if item.type == kinds.FLOATS:
        return list(item.floats)
    if item.type == kinds.INTS:
        return list(item.ints)
    if item.type == kinds.TENSOR:
        return _array(item.t)
    raise _refused("attributes other than numbers, texts and tensors")


def _text(value: object) -> str:
    """A name; the parser gives bytes where it is no UTF-8."""
    if not isinstance(value, str):
        raise ModelLoadError("the ONNX file has a name that is no text", remedy=CHECK)
    return value


def _array(tensor: onnx.TensorProto) -> Array:
    """The tensor's numbers, which must lie in the file itself."""
    if tensor.external_data or tensor.data_location != onnx.TensorProto.DEFAULT:
        raise _refused("weights in another file")
    if any(dim < 0 for dim in tensor.dims):
        raise ModelLoadError(
            "the ONNX file has a tensor of negative size", remedy=CHECK
        )
    try:
        array: Array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelLoadError(
            f"the ONNX file's tensor {shown(_text(tensor.name))!r} cannot be read",
            remedy=CHECK,
        ) from error
    return array


def _refused(what: str) -> ModelLoadError:
    return ModelLoadError(f"the ONNX file has {what}", remedy=STANDARD_ONNX)
