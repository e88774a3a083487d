"""torch.export files (.pt2): bytes in, a :class:`LoadedModel` out.

``torch.export.load`` is not used. It unpickles the file's sample inputs, weights and
constants without restriction and evaluates its symbolic sizes; and it takes torch's
compiler along. The scan of ``robustcert.archive`` reads the description and the places
of the weights instead, and the operators it names are called one after the other. The
bytes are untrusted all the same: call this inside the sandbox's child.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from robustcert.archive.exported_layout import EXPORT
from robustcert.archive.exported_program import Program
from robustcert.archive.exported_scan import read_program
from robustcert.archive.exported_signature import EVAL_REMEDY
from robustcert.errors import InputShapeError, ModelLoadError
from robustcert.models.exported_module import ExportedModule
from robustcert.models.interface import LoadedModel
from robustcert.models.output_kind import class_count, output_kind
from robustcert.models.probing import check_finite, checked_scores, probes

FORMAT = "torch.export"
LARGEST_BATCH = 1024
LARGEST_INPUT = 2**24
ALIKE = {torch.float16: 2e-2, torch.bfloat16: 1e-1, torch.float32: 1e-4}
"""Largest difference, relative to the outputs' size, between batches of other sizes."""


def load_exported(
    data: bytes,
    *,
    input_shape: tuple[int, ...] | None = None,
    device: str | torch.device = "cpu",
) -> LoadedModel:
    """Load a torch.export archive.

    A program whose batch size is fixed is run with any number of samples, after a check
    that each sample's outputs are its own.

    Args:
        data: the file's bytes.
        input_shape: without the batch; ``None`` takes the file's.
        device: where the model is to run.

    Raises:
        ArchiveError: the scan refuses the file.
        ModelLoadError: it fails on its input, mixes the samples of a batch, or returns
            something other than one tensor of scores.
        InputShapeError: ``input_shape`` is not the file's.
        UnsoundModelError: weights or outputs are not finite.
    """
    program = read_program(data)
    dtype = getattr(torch, program.dtype)
    if not dtype.is_floating_point:
        raise ModelLoadError(
            f"the model takes inputs of type {program.dtype}",
            remedy="Export the model with inputs of float32.",
        )
    shape = _shape(program, input_shape)
    if math.prod(shape) > LARGEST_INPUT:
        raise ModelLoadError(
            f"the model takes inputs of shape {shape}, which is too large",
            remedy="Export a model of smaller inputs.",
        )
    place = torch.device(device)
    module = ExportedModule(program, data).to(place).eval()
    check_finite([t for t in module.tensors().values() if t.is_floating_point()])
    inputs = probes(shape, dtype, place)
    versions = _versions(module)
    outputs = checked_scores(_run(module, inputs), inputs)
    if _versions(module) != versions:
        raise ModelLoadError(
            "the model changes its own weights or buffers: it keeps state",
            remedy=EVAL_REMEDY,
        )
    _check_rows(module, inputs, outputs)
    kind = output_kind(outputs)
    return LoadedModel(
        function=module,
        artifact=module,
        sha256=hashlib.sha256(data).hexdigest(),
        format=FORMAT,
        input_shape=shape,
        classes=class_count(outputs, kind),
        output=kind,
        parameters=_parameters(module),
        dtype=dtype,
        device=place,
    )


def _shape(program: Program, asked: tuple[int, ...] | None) -> tuple[int, ...]:
    """The input's shape without the batch, as the file and the caller agree on it."""
    found = program.sizes[1:]
    written = "x".join("?" if size is None else str(size) for size in found)
    if not found:
        raise InputShapeError(
            "the model takes inputs without a batch dimension", remedy=EXPORT
        )
    if asked is None:
        fixed = tuple(size for size in found if size is not None)
        if len(fixed) < len(found):
            raise InputShapeError(f"the model takes inputs of any shape {written}")
        return fixed
    pairs = zip(asked, found, strict=False)
    if len(asked) != len(found) or any(b not in (None, a) for a, b in pairs):
        raise InputShapeError(
            f"the model takes inputs of shape {written}, not "
            + "x".join(map(str, asked)),
            remedy="Leave the shape out, or name the one the model was exported with.",
        )
    return asked


def _run(module: ExportedModule, inputs: Tensor) -> object:
    try:
        with torch.no_grad():
            return module(inputs)
    except (RuntimeError, ValueError, IndexError, TypeError, ArithmeticError) as error:
        lines = str(error).strip().splitlines()
        raise ModelLoadError(
            f"the model fails on inputs of shape {tuple(inputs.shape)}: "
            f"{(lines or [type(error).__name__])[0][:300]}",
            remedy="Export it with a dynamic batch dimension. " + EXPORT,
        ) from error


def _check_rows(module: ExportedModule, inputs: Tensor, outputs: Tensor) -> None:
    """Where the batch size is fixed: each sample's outputs do not depend on others.

    The program says what it returns for batches of its own size alone; for any other
    number of samples that is a reading, which these comparisons support.
    """
    batch = module.program.sizes[0]
    if batch is None:
        return
    if not 0 < batch <= LARGEST_BATCH:
        raise ModelLoadError(
            f"the model is fixed to batches of {batch}",
            remedy="Export it with a dynamic batch dimension. " + EXPORT,
        )
    rows = torch.arange(batch, device=inputs.device) % len(inputs)
    as_filed = checked_scores(_run(module, inputs[rows]), inputs[rows])
    alone = checked_scores(_run(module, inputs[:1]), inputs[:1])
    gap = (as_filed - outputs[rows]).abs().max() + (alone - outputs[:1]).abs().max()
    tolerance = ALIKE.get(outputs.dtype, 1e-7) * max(1.0, outputs.abs().max().item())
    if not gap.item() <= tolerance:
        raise ModelLoadError(
            f"the model is fixed to batches of {batch} and mixes their samples",
            remedy="Export it so that each sample is scored by itself. " + EXPORT,
        )


def _versions(module: ExportedModule) -> list[int]:
    """How often each stored tensor was written to, by whatever name."""
    return [tensor._version for tensor in module.tensors().values()]


def _parameters(module: ExportedModule) -> int:
    """Number of trained numbers; of an archive without parameters, of its constants."""
    trained = [parameter.numel() for parameter in module.parameters()]
    constants = [t.numel() for t in module.buffers() if t.is_floating_point()]
    return sum(trained or constants)
