"""Layers as affine forms of a program's variables.

A form is computed in float64, so it is off by a little; ``blur`` says by how much at
most, wherever the variables are in their bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.graph.execute import apply, apply_linear
from robustcert.graph.layers import Layer, Shape
from robustcert.lipschitz.magnitude import magnitude, terms
from robustcert.lipschitz.rounding import gamma


@dataclass(frozen=True, slots=True, eq=False)
class Forms:
    """``|value - (v . columns + shift)| <= blur`` for variables v in their bounds.

    Attributes:
        columns: ``(V, *shape)``, one row a variable.
        shift: ``(*shape)``.
        size: ``(*shape)``: more than the sum of all that was added up on the way.
        roundings: in a row, on the way so far.
    """

    columns: Tensor
    shift: Tensor
    size: Tensor
    roundings: int

    @property
    def blur(self) -> Tensor:
        """``(*shape)``; the size is rounded too, so it counts twice."""
        return 2.0 * gamma(2 * self.roundings + 2 * len(self.columns) + 32) * self.size


def through_linear(layer: Layer, sources: Sequence[Forms], shape: Shape) -> Forms:
    """The forms of a linear layer's output.

    Args:
        layer: of a linear kind.
        sources: of its inputs.
        shape: of its first input.
    """
    whole = magnitude(layer)
    columns = apply_linear(layer, [forms.columns for forms in sources])
    shift = apply(layer, [forms.shift[None] for forms in sources])[0]
    size = apply(whole, [forms.size[None] for forms in sources])[0]
    longest = max(forms.roundings for forms in sources)
    return Forms(columns, shift, size, longest + terms(layer, shape) + 4)


def through_settled(forms: Forms, slopes: Tensor) -> Forms:
    """Units that pass or are cut: each form times 1 or 0.

    Args:
        forms: of the units' inputs.
        slopes: ``(*shape)``, 0 or 1.
    """
    return Forms(
        forms.columns * slopes,
        forms.shift * slopes,
        forms.size * slopes,
        forms.roundings,
    )


def of_variables(columns: Tensor, size: Tensor) -> Forms:
    """Variables that stand for themselves."""
    return Forms(columns, torch.zeros_like(size), size, 0)


def joined(units: Tensor, first: Forms, second: Forms) -> Forms:
    """``first`` where ``units`` ``(*shape)`` is true, ``second`` elsewhere."""
    return Forms(
        torch.where(units, first.columns, second.columns),
        torch.where(units, first.shift, second.shift),
        torch.where(units, first.size, second.size),
        max(first.roundings, second.roundings),
    )
