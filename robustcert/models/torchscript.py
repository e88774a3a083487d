"""TorchScript files: bytes in, a :class:`LoadedModel` out.

The bytes are untrusted: scan them with ``robustcert.archive`` before, and call this
inside the sandbox's child. TorchScript is deprecated in torch 2.13; this file and
``graph/torchscript/`` are the only places that know it.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from robustcert.errors import (
    InputShapeError,
    ModelLoadError,
)
from robustcert.models.input_shape import candidate_shapes
from robustcert.models.interface import LoadedModel
from robustcert.models.output_kind import class_count, output_kind
from robustcert.models.probing import check_finite, checked_scores, probes

Module = Any
"""A ScriptModule; a frozen one lacks half of a module's attributes."""


def load_torchscript(
    data: bytes,
    *,
    input_shape: tuple[int, ...] | None = None,
    device: str | torch.device = "cpu",
) -> LoadedModel:
    """Load a TorchScript archive and find out what it maps to what.

    Args:
        data: the file's bytes.
        input_shape: without the batch; ``None`` looks for one that fits.
        device: where the model is to run.

    Raises:
        ModelLoadError: it cannot be loaded, fails on its input, or returns something
            other than one tensor of scores.
        InputShapeError: ``input_shape`` does not fit, or none or several do.
        UnsoundModelError: weights or outputs are not finite.
    """
    module = _load(data, torch.device(device))
    tensors = weights(module)
    check_finite(tensors)
    dtype = next((t.dtype for t in tensors if t.is_floating_point()), torch.float32)
    shape = _find_shape(module, tensors, input_shape, dtype, torch.device(device))
    outputs = _outputs(module, probes(shape, dtype, torch.device(device)))
    kind = output_kind(outputs)
    return LoadedModel(
        function=module,
        artifact=module,
        sha256=hashlib.sha256(data).hexdigest(),
        format="torchscript",
        input_shape=shape,
        classes=class_count(outputs, kind),
        output=kind,
        parameters=sum(t.numel() for t in tensors),
        dtype=dtype,
        device=torch.device(device),
    )


def frozen(module: object) -> Module:
    """The module with its weights as constants of its graph, its calls inlined."""
    script: Module = module
    if not hasattr(script, "training"):
        return script
    with _deprecation_silenced():
        try:
            return torch.jit.freeze(script.eval(), optimize_numerics=False)
        except RuntimeError as error:
            raise ModelLoadError(
                f"the model cannot be frozen: {error_line(error)}"
            ) from error


def weights(module: Module) -> list[Tensor]:
    """The trained tensors, also of an archive that was frozen before it was saved."""
    found = [parameter.detach() for parameter in module.parameters()]
    if found:
        return found
    constants = [
        node.t("value")
        for node in module.graph.nodes()
        if node.kind() == "prim::Constant"
        and "value" in node.attributeNames()
        and node.kindOf("value") == "t"
    ]
    return [constant for constant in constants if constant.is_floating_point()]


def error_line(error: BaseException) -> str:
    """The last line of an error of TorchScript's, which holds the cause, shortened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]


def _load(data: bytes, device: torch.device) -> Module:
    try:
        with _deprecation_silenced():
            module = torch.jit.load(  # type: ignore[no-untyped-call]
                io.BytesIO(data), map_location=device
            )
    except (RuntimeError, ValueError) as error:
        raise ModelLoadError(
            f"torch.jit.load refuses the file: {error_line(error)}"
        ) from error
    if hasattr(module, "training"):
        module.eval()
        for parameter in module.parameters():
            parameter.requires_grad = False  # gradients are taken by inputs alone
    return module


@contextmanager
def _deprecation_silenced() -> Iterator[None]:
    """TorchScript warns at each use that it is deprecated; users still bring it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*")
        yield


def _outputs(module: Module, inputs: Tensor) -> Tensor:
    """What the model returns for ``inputs``, checked to be one score tensor."""
    problem = _problem(module, inputs)
    if problem:
        raise ModelLoadError(problem)
    with torch.no_grad():
        outputs = module(inputs)
    return checked_scores(outputs, inputs)


def _problem(module: Module, inputs: Tensor) -> str:
    """Why the model cannot run on ``inputs``; empty where it can."""
    try:
        with torch.no_grad():
            module(inputs)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        return (
            f"the model fails on inputs of shape {tuple(inputs.shape[1:])}: "
            f"{error_line(error)}"
        )
    return ""


def _find_shape(
    module: Module,
    tensors: list[Tensor],
    asked: tuple[int, ...] | None,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[int, ...]:
    if asked is not None:
        problem = _problem(module, probes(asked, dtype, device)[:2])
        if problem:
            raise InputShapeError(problem)
        return asked
    candidates = candidate_shapes([tuple(tensor.shape) for tensor in tensors])
    fitting = [
        shape
        for shape in candidates
        if not _problem(module, probes(shape, dtype, device)[:2])
    ]
    if not fitting:
        raise InputShapeError(
            f"no input shape is named, and none of {len(candidates)} likely ones fits"
        )
    sizes = {torch.Size(shape).numel() for shape in fitting}
    if len(sizes) > 1:
        raise InputShapeError(
            "no input shape is named, and several fit: "
            + ", ".join("x".join(map(str, shape)) for shape in fitting[:6])
        )
    return fitting[0]
