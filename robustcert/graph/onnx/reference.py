"""The reading of an ONNX file held against ONNX's own reference evaluator.

The evaluator is the specification written in numpy. It runs only operators that the
walk has read before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.agreement import as_returned
from robustcert.graph.build import Reading
from robustcert.graph.execute import run
from robustcert.graph.layers import Shape
from robustcert.graph.onnx.walk import READING_ERRORS
from robustcert.models.onnx import OnnxModel
from robustcert.results.report import OutputKind

SAMPLES = 3  # unlike the batch that shapes are read with
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-7}
"""Largest difference by the file's type, relative to the outputs' size."""

_TRAINING_BY_MODE = 14


class BatchNormalization(OpRun):
    """Batch norm of opsets before 14, by the specification: one output is eval mode.

    The evaluator's own mixes in the batch's statistics, for want of a mode to read.
    """

    op_domain = ""

    def _run(
        self, *arguments: NDArray[np.floating], epsilon: float = 1e-5, **_: object
    ) -> tuple[NDArray[np.floating]]:
        batch, scale, shift, mean, variance = arguments
        spatial = (-1,) + (1,) * (batch.ndim - 2)
        weight = scale / np.sqrt(variance + epsilon)
        whole = (batch - mean.reshape(spatial)) * weight.reshape(spatial)
        return ((whole + shift.reshape(spatial)).astype(batch.dtype),)


def check_reading(model: OnnxModel, reading: Reading, own: Shape) -> None:
    """Raise unless graph and evaluator agree on random inputs.

    Half of them are drawn from [0, 1], half from [-2, 2]; the evaluator computes in the
    file's type, the graph in float64.

    Args:
        model: the file.
        reading: of it; the graph takes inputs of as many numbers as ``own``.
        own: shape of the file's input without the batch.

    Raises:
        UnsupportedLayerError: they differ, or the evaluator cannot run the file.
    """
    inputs = _inputs(reading.graph.input_shape, model)
    rows = inputs.reshape(len(inputs), *own)
    theirs = torch.cat([_evaluated(model, part) for part in _batches(rows, model)])
    with torch.no_grad():
        logits = run(reading.graph, inputs.double())
    ours = as_returned(logits, reading.output or OutputKind.LOGITS)
    if ours.shape != theirs.shape:
        raise _differs(f"shape {tuple(theirs.shape)} against {tuple(ours.shape)}")
    gap = (ours - theirs).abs().max().item()
    scale = max(1.0, theirs.abs().max().item())
    if not gap <= TOLERANCE[model.dtype] * scale:
        raise _differs(f"a difference of {gap:.3g}")


def _inputs(shape: Shape, model: OnnxModel) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    batch = model.batch or 1
    count = -(-SAMPLES // batch) * batch  # whole batches
    unit = torch.rand(count, *shape, generator=generator, dtype=model.dtype)
    return torch.cat([unit, unit * 4.0 - 2.0])


def _batches(rows: Tensor, model: OnnxModel) -> list[Tensor]:
    """Samples together as the file takes them."""
    return [rows] if model.batch is None else list(torch.split(rows, model.batch))


def _evaluated(model: OnnxModel, rows: Tensor) -> Tensor:
    try:
        with np.errstate(all="ignore"):
            evaluator: Any = ReferenceEvaluator(
                model.proto, new_ops=_own_operators(model.opset)
            )
            (found,) = evaluator.run(None, {model.input_name: rows.numpy()})
            return torch.tensor(np.ascontiguousarray(found), dtype=torch.float64)
    except (*READING_ERRORS, AttributeError) as error:
        raise UnsupportedLayerError(
            "model", f"ONNX's reference evaluator cannot run it: {error}"
        ) from error


def _own_operators(opset: int) -> list[type[OpRun]]:
    return [BatchNormalization] if opset < _TRAINING_BY_MODE else []


def _differs(what: str) -> UnsupportedLayerError:
    return UnsupportedLayerError(
        "model",
        f"its graph differs from ONNX's reference evaluator ({what}): it is not used",
    )
