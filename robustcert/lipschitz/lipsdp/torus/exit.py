"""From a torus to a dense frontier: the real linear map behind the last torus step."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.execute import apply_linear
from robustcert.graph.layers import LayerGraph, Shape
from robustcert.lipschitz.lipsdp.dense import LARGEST
from robustcert.lipschitz.lipsdp.frontier import Step
from robustcert.lipschitz.lipsdp.torus.frequencies import number

_CHUNK = 2**24  # numbers a layer may hold for one batch of rows


def exit_symbols(
    graph: LayerGraph, step: Step, sizes: Shape, frequencies: Tensor, weights: Tensor
) -> dict[int, Tensor]:
    """The dense frontier behind ``step``, by each layer that is read.

    A row w of the map stands on the valid positions of the torus. In unitary Fourier
    coordinates ``w.u = sum_f conj(w^(f)) u^(f)`` over all f; of two opposite terms,
    conjugate to each other, one is held and counts twice.

    Args:
        graph: whose layers in front of the step stand on one torus.
        step: none of the layers behind it stands there.
        sizes: of the torus.
        frequencies: ``(F, D)``, those held.
        weights: ``(F,)`` how often each counts.

    Returns:
        ``(1, F, n', c)`` for each such layer of c channels.
    """
    rows = sum(graph.layers[position].size for position in step.after)
    if rows > LARGEST:
        raise UnsupportedLayerError(
            graph.layers[step.after[0]].name,
            f"it leaves the torus with {rows} units, too many for dense matrices",
        )
    factors = (weights / math.prod(sizes)).sqrt()
    chosen = number(frequencies, sizes)
    parts: dict[int, list[Tensor]] = {}
    for batch in _batches(graph, step, rows):
        for leaf, pulled in _pulled_back(graph, step, batch).items():
            waves = _transformed(pulled, sizes)[:, :, chosen] * factors
            parts.setdefault(leaf, []).append(waves.conj().permute(2, 0, 1))
    return {leaf: torch.cat(found, dim=1)[None] for leaf, found in parts.items()}


def _transformed(rows: Tensor, sizes: Shape) -> Tensor:
    """``(n', c, N)``, the Fourier transform of rows ``(n', c, *valid)``."""
    dims = tuple(range(2, rows.ndim))
    transformed: Tensor = torch.fft.fftn(rows, s=sizes, dim=dims)  # pads with zeros
    return transformed.flatten(2)


def _batches(graph: LayerGraph, step: Step, rows: int) -> list[range]:
    layers = (*step.before, step.source, *step.members)
    widest = max(graph.layers[position].size for position in layers)
    size = max(1, _CHUNK // (2 * widest))
    return [range(i, min(i + size, rows)) for i in range(0, rows, size)]


def _pulled_back(graph: LayerGraph, step: Step, rows: range) -> Mapping[int, Tensor]:
    """The given rows of the map, ``(n', *shape)`` for each layer that is read."""
    read = {source for m in step.members for source in graph.layers[m].inputs}
    leaves = sorted(read & {*step.before, step.source})
    with torch.enable_grad():
        values = {
            leaf: torch.zeros(
                (len(rows), *graph.layers[leaf].shape),
                dtype=torch.float64,
                requires_grad=True,
            )
            for leaf in leaves
        }
        inputs = list(values.values())
        for member in step.members:
            layer = graph.layers[member]
            values[member] = apply_linear(layer, [values[i] for i in layer.inputs])
        frontier = torch.cat([values[i].flatten(1) for i in step.after], dim=1)
        picked = frontier[torch.arange(len(rows)), torch.tensor(rows)].sum()
        return dict(zip(leaves, torch.autograd.grad(picked, inputs), strict=True))
