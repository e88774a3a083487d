"""ONNX files: bytes in, a :class:`~robustcert.models.interface.LoadedModel` out.

PyTorch cannot run ONNX, so the graph that is read from the file *is* the model: attacks
and certificates speak of the same layers, in the file's floating-point type. What the
reading is worth is seen by comparing it with ONNX's reference evaluator, on random
inputs and in that type, before the model is given out. An operator without a rule
therefore refuses the whole file, not its certificates alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import fields

import torch
from torch import Tensor

from robustcert.errors import InputShapeError
from robustcert.graph.agreement import as_returned
from robustcert.graph.build import GraphBuilder
from robustcert.graph.execute import run
from robustcert.graph.layers import LayerGraph, Shape
from robustcert.graph.onnx.reference import check_reading
from robustcert.graph.onnx.walk import walked
from robustcert.models.interface import LoadedModel
from robustcert.models.onnx import OnnxModel, parse_onnx
from robustcert.models.output_kind import class_count, output_kind
from robustcert.models.probing import check_finite, checked_scores, probes
from robustcert.results.report import OutputKind


def load_onnx(
    data: bytes,
    *,
    input_shape: Shape | None = None,
    device: str | torch.device = "cpu",
) -> LoadedModel:
    """Load an ONNX file.

    Args:
        data: the file's bytes.
        input_shape: without the batch; ``None`` takes the file's. Another shape of as
            many numbers is put into the file's in row-major order by a first layer,
            which the report names; so images can be given to a file that takes rows.
        device: where the model is to run.

    Raises:
        ModelLoadError: the file is malformed, or no network with one input and output.
        UnsupportedLayerError: names the operator without a rule, or the disagreement
            with the reference evaluator.
        InputShapeError: ``input_shape`` does not fit, or the file leaves it open.
        UnsoundModelError: weights or outputs are not finite.
    """
    model = parse_onnx(data)
    own = _own_shape(model, input_shape)
    taken = own if input_shape is None else input_shape
    builder = GraphBuilder()
    reading = builder.reading(walked(model, builder, own, taken))
    check_finite(_weights(reading.graph))
    check_reading(model, reading, own)
    place = torch.device(device)
    function = _function(reading.graph.to(model.dtype, place), reading.output)
    inputs = probes(taken, model.dtype, place)
    with torch.no_grad():
        outputs = checked_scores(function(inputs), inputs)
    kind = output_kind(outputs)
    return LoadedModel(
        function=function,
        artifact=reading,
        sha256=hashlib.sha256(data).hexdigest(),
        format="onnx",
        input_shape=taken,
        classes=class_count(outputs, kind),
        output=kind,
        parameters=model.parameters,
        dtype=model.dtype,
        device=place,
    )


def _own_shape(model: OnnxModel, asked: Shape | None) -> Shape:
    """The shape of the file's input, its open dimensions as asked."""
    fixed = tuple(size for size in model.shape if size is not None)
    written = "x".join("?" if size is None else str(size) for size in model.shape)
    if len(fixed) == len(model.shape):
        if asked is None or math.prod(asked) == math.prod(fixed):
            return fixed
        raise InputShapeError(
            f"the ONNX file takes inputs of shape {written}, not "
            f"{'x'.join(map(str, asked))}"
        )
    if asked is None:
        raise InputShapeError(f"the ONNX file leaves its input's shape open: {written}")
    if len(asked) != len(model.shape) or any(
        size not in (None, given)
        for size, given in zip(model.shape, asked, strict=True)
    ):
        raise InputShapeError(
            f"the ONNX file takes inputs of shape {written}, which "
            f"{'x'.join(map(str, asked))} does not fit"
        )
    return asked


def _weights(graph: LayerGraph) -> list[Tensor]:
    return [
        value
        for layer in graph.layers
        for item in fields(layer)
        if isinstance(value := getattr(layer, item.name), Tensor)
    ]


def _function(
    graph: LayerGraph, output: OutputKind | None
) -> Callable[[Tensor], Tensor]:
    """What the model returns for ``(N, *shape)``."""

    def function(inputs: Tensor) -> Tensor:
        return as_returned(run(graph, inputs), output or OutputKind.LOGITS)

    return function
