"""A model run on random inputs, once: it must return one row of scores for each."""

from __future__ import annotations

import torch
from torch import Tensor

from robustcert.errors import ModelLoadError, UnsoundModelError

PROBES = 16


def probes(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Inputs ``(PROBES, *shape)`` from [0, 1], the same ones each time."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(PROBES, *shape, generator=generator)
    return drawn.to(dtype=dtype, device=device)


def checked_scores(outputs: object, inputs: Tensor) -> Tensor:
    """What a model returned for ``inputs`` ``(N, *shape)``: ``(N,)`` or ``(N, K)``.

    Raises:
        ModelLoadError: it is something other than one tensor of scores.
        UnsoundModelError: a score is not finite.
    """
    if not isinstance(outputs, Tensor):
        raise ModelLoadError(
            f"the model returns a {type(outputs).__name__}, not a tensor of scores",
            remedy="Wrap it so that forward returns the logits alone.",
        )
    if outputs.shape[:1] != inputs.shape[:1] or outputs.ndim > 2:
        raise ModelLoadError(
            f"the model returns shape {tuple(outputs.shape)} for a batch of "
            f"{len(inputs)}, not (N, classes)",
            remedy="Wrap it so that forward returns one row of scores for each input.",
        )
    if not torch.isfinite(outputs).all():
        raise UnsoundModelError("the model returns NaN or infinity on random inputs")
    return outputs


def check_finite(tensors: list[Tensor]) -> None:
    """Raise unless every weight is finite.

    Raises:
        UnsoundModelError: one is not.
    """
    if not all(torch.isfinite(tensor).all() for tensor in tensors):
        raise UnsoundModelError(
            "the model has weights that are NaN or infinite",
            remedy="Train it again, or load an earlier checkpoint.",
        )
