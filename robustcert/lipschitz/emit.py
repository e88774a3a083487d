"""Certificates from the multipliers that a search ended with."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from robustcert.graph.layers import Shape
from robustcert.lipschitz.lipsdp.program import Program
from robustcert.results.lipschitz_certificate import (
    LayerMultipliers,
    LipschitzCertificate,
)
from robustcert.results.norm import Norm


def emitted(
    program: Program,
    multipliers: Sequence[Tensor],
    norm: Norm,
    model_sha256: str = "",
    value: float = math.inf,
    *,
    input_shape: Shape,
) -> LipschitzCertificate:
    """A certificate of the multipliers of a global program.

    Args:
        program: whose slopes hold everywhere.
        multipliers: ``(M,)`` for each stage, on the program's scale.
        norm: of inputs and logits alike.
        model_sha256: of the model's file.
        value: the bound claimed, on the true scale; infinite until a checker has
            proved one.
        input_shape: of one input, without the batch.
    """
    layers: list[LayerMultipliers] = []
    on_torus = True
    for number, stage in enumerate(program.stages):
        torus = program.torus.get(stage.layer) if on_torus else None
        values = tuple(float(each) for each in multipliers[number].tolist())
        layers.append(
            LayerMultipliers(stage.layer, values, program.exponents[number], torus)
        )
        on_torus &= not stage.leaves_torus and stage.unfolding is None
    return LipschitzCertificate(norm, value, model_sha256, input_shape, tuple(layers))
