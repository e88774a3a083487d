"""What a name in an ONNX file may stand for while the file is walked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustcert.graph.build import Final, Symbol

Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True, eq=False)
class ErrorTerm:
    """``(factor * erf(x / sqrt 2) + shift)``, times x where ``times`` is set.

    GELU is ``x / 2 * (erf(x / sqrt 2) + 1)``; files from before opset 20 spell it out.
    """

    source: Symbol
    factor: float = 1.0
    shift: float = 0.0
    times: bool = False


@dataclass(frozen=True, slots=True)
class Above:
    """``x > threshold`` for the output x of a layer: part of a softplus."""

    position: int
    threshold: float


Value = Symbol | Final | ErrorTerm | Above | Array | None
"""An array is known; ``None`` is an optional input that was left out."""
