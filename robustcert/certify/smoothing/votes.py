"""How often a model gives each class when noise is added to one input."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from robustcert.errors import UnsoundModelError
from robustcert.models.interface import LoadedModel

NUMBERS = 2**22
"""Numbers drawn at once; what a seed draws depends on it."""

MOST_ROWS = 4096

_PROBES = 8
_CLOSE = 1e-3
"""Relative to the largest logit: float32 sums may depend on the batch by far less."""


def noise_source(seed: int, index: int, device: torch.device) -> torch.Generator:
    """The generator of one sample's noise: it depends on no other sample.

    Args:
        seed: of the whole table.
        index: of the sample.
        device: where the noise is drawn; kinds of devices draw different numbers.
    """
    mixed = zlib.crc32(f"{seed}:{index}".encode())
    return torch.Generator(device=device).manual_seed(mixed)


def votes(
    model: LoadedModel,
    point: Tensor,
    sigma: float,
    count: int,
    generator: torch.Generator,
) -> Tensor:
    """How many of ``count`` noisy copies get each class: ``(classes + 1,)`` int64.

    The last entry counts outputs that are not finite: they are no vote for any class.

    Args:
        model: the base model; each row of its output must depend on that row alone.
        point: ``(*shape)``.
        sigma: standard deviation of the noise, in input units.
        count: number of draws.
        generator: on the model's device.
    """
    found = torch.zeros(model.classes + 1, dtype=torch.int64)
    rows = max(1, min(MOST_ROWS, NUMBERS // max(1, point.numel())))
    with torch.no_grad():
        for start in range(0, count, rows):
            many = min(rows, count - start)
            found += _counted(model, noisy(model, point, sigma, many, generator))
    return found


def noisy(
    model: LoadedModel,
    point: Tensor,
    sigma: float,
    count: int,
    generator: torch.Generator,
) -> Tensor:
    """``count`` copies of the point with noise: ``(count, *shape)``, not clipped."""
    dtype = torch.promote_types(model.dtype, torch.float32)
    draws = torch.randn(
        count, *point.shape, generator=generator, dtype=dtype, device=model.device
    )
    return point.to(draws) + sigma * draws


def require_separate_rows(model: LoadedModel, points: Tensor) -> None:
    """Raise unless the model answers alike twice, and alike in a batch and alone.

    Draws are independent only if each answer hangs on its own draw.

    Args:
        model: the base model.
        points: ``(N, *shape)``; the first few are tried.

    Raises:
        UnsoundModelError: it does not.
    """
    tried = points[:_PROBES]
    with torch.no_grad():
        together = model.logits(tried)
        again = model.logits(tried)
        alone = torch.cat([model.logits(row[None]) for row in tried])
    size = together.nan_to_num(0.0, 0.0, 0.0).abs().amax()
    for other, when in ((again, "the second time"), (alone, "outside its batch")):
        if not torch.allclose(
            together, other, rtol=0.0, atol=_CLOSE * float(size), equal_nan=True
        ):
            raise UnsoundModelError(
                f"the model answers otherwise {when}: noise cannot be counted",
                remedy="Export the model in eval mode, without random layers.",
            )


def _counted(model: LoadedModel, inputs: Tensor) -> Tensor:
    logits = model.logits(inputs).cpu()
    nowhere = torch.full((len(logits),), model.classes)
    given = logits.argmax(dim=1).where(logits.isfinite().all(dim=1), nowhere)
    return torch.bincount(given, minlength=model.classes + 1)
