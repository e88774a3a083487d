"""What proves a Lipschitz bound again: multipliers, one a unit or a channel."""

from __future__ import annotations

import math
from dataclasses import dataclass

from robustcert.results.norm import Norm

LARGEST_EXPONENT = 2**20
"""Absolute value of the binary exponents that multipliers may have."""


@dataclass(frozen=True, slots=True)
class LayerMultipliers:
    """The multipliers of one activation layer.

    Attributes:
        layer: its name in the graph that the bound was found on.
        values: the true multipliers are ``values * 4**-exponent``; finite, at least 0.
        exponent: a whole number.
        torus: sizes of the layer's torus, where a multiplier is a channel's; ``None``
            where it is a unit's.
    """

    layer: str
    values: tuple[float, ...]
    exponent: int
    torus: tuple[int, ...] | None

    def __post_init__(self) -> None:
        if not all(0.0 <= value < math.inf for value in self.values):
            raise ValueError(
                f"the multipliers of layer {self.layer!r} are not all finite and at "
                "least 0"
            )
        if abs(self.exponent) > LARGEST_EXPONENT:
            raise ValueError(f"the exponent of layer {self.layer!r} is out of range")
        if self.torus is not None and (not self.torus or min(self.torus) < 1):
            raise ValueError(f"the torus of layer {self.layer!r} has no positions")


@dataclass(frozen=True, slots=True)
class LipschitzCertificate:
    """A global upper bound and the multipliers that prove it.

    Attributes:
        norm: of inputs and logits alike.
        value: the bound that is claimed; infinite if nothing is.
        model_sha256: of the model's file; empty where there is none.
        input_shape: of one input, without the batch.
        layers: the activation layers in the order in which they run.
    """

    norm: Norm
    value: float
    model_sha256: str
    input_shape: tuple[int, ...]
    layers: tuple[LayerMultipliers, ...]

    def __post_init__(self) -> None:
        if not self.value >= 0.0:
            raise ValueError(f"a Lipschitz bound is at least 0, not {self.value}")
