"""Layers without those that an output does not need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from robustcert.graph.layers import Layer


def pruned(layers: Sequence[Layer], output: int) -> tuple[Layer, ...]:
    """The input and what the layer at ``output`` depends on, which comes last."""
    needed = {0}
    pending = [output]
    while pending:
        position = pending.pop()
        if position not in needed:
            needed.add(position)
            pending.extend(layers[position].inputs)
    order = sorted(needed)
    place = {old: new for new, old in enumerate(order)}
    return tuple(
        replace(
            layers[old], inputs=tuple(place[source] for source in layers[old].inputs)
        )
        for old in order
    )
