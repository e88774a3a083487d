"""What tests ask of compiled programs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustcert.graph.execute import values
from robustcert.graph.layers import Elementwise, LayerGraph
from robustcert.lipschitz.lipsdp.program import Program
from robustcert.lipschitz.lipsdp.propagate import output_covariance


def bound_of(program: Program, multipliers) -> float | None:
    """The bound that the multipliers give, without rounding; ``None``: infeasible."""
    covariance = output_covariance(program, multipliers)
    if covariance is None:
        return None
    largest = max(0.0, float(torch.linalg.eigvalsh(covariance)[-1]))
    return math.ldexp(math.sqrt(largest), -program.exponents[-1])


def jacobian_of_program(program: Program, graph: LayerGraph, point: Tensor) -> Tensor:
    """The Jacobian ``(K, n)`` at ``point`` that a dense program of ``graph`` implies.

    Every unit's slope at the point is written as ``low + (high - low) s``.
    """
    slopes = _slopes_at(graph, point)
    frontier = program.start[0, 0]
    for stage in program.stages:
        share = slopes[stage.layer][stage.units]
        ahead = stage.spread[0, 0] @ (share[:, None] * frontier[stage.acted])
        if stage.carry is not None:
            ahead = ahead + stage.carry[0, 0] @ frontier
        frontier = ahead
    return torch.ldexp(frontier, torch.tensor(-program.exponents[-1]))


def jacobian_of_graph(graph: LayerGraph, point: Tensor) -> Tensor:
    """``(K, n)`` by automatic differentiation."""
    jacobian = torch.autograd.functional.jacobian(
        lambda x: values(graph, x[None])[-1][0], point
    )
    return jacobian.flatten(1)


def _slopes_at(graph: LayerGraph, point: Tensor) -> dict[str, Tensor]:
    found = {}
    outputs = values(graph, point[None])
    for layer in graph.layers:
        if isinstance(layer, Elementwise):
            before = outputs[layer.inputs[0]][0].detach().requires_grad_()
            (slope,) = torch.autograd.grad(layer.activation(before).sum(), before)
            low, high = layer.activation.slopes
            found[layer.name] = ((slope - low) / (high - low)).flatten()
    return found
