"""Certificates for tests: from programs, and by exact arithmetic."""

from __future__ import annotations

from dataclasses import replace

import mpmath
import numpy as np
import torch

from robustcert.graph.layers import Elementwise, LayerGraph
from robustcert.lipschitz.check.value import certified_value
from robustcert.lipschitz.emit import emitted
from robustcert.lipschitz.lipsdp.multipliers import begin, scaled
from robustcert.lipschitz.lipsdp.program import Program
from robustcert.lipschitz.upper.propagation import sound_folded
from robustcert.results.lipschitz_certificate import (
    LayerMultipliers,
    LipschitzCertificate,
)
from robustcert.results.norm import Norm
from tests.unit.lipschitz.graphs import Sketch

DIGITS = 400


def certificate_of(
    graph: LayerGraph, program: Program, choose=scaled
) -> LipschitzCertificate:
    """The certificate of the multipliers that ``choose`` picks, its value proved."""
    draft = emitted(
        program, begin(program, choose), Norm.L2, input_shape=graph.input_shape
    )
    return replace(draft, value=certified_value(graph, draft))


def handmade(
    graph: LayerGraph, multipliers, tori=None, value: float = float("inf")
) -> LipschitzCertificate:
    """The multipliers of each activation in order, and its torus."""
    names = [layer.name for layer in graph.layers if isinstance(layer, Elementwise)]
    places = tori or [None] * len(names)
    parts = (
        LayerMultipliers(name, tuple(map(float, values)), 0, torus)
        for name, values, torus in zip(names, multipliers, places, strict=True)
    )
    return LipschitzCertificate(Norm.L2, value, "", graph.input_shape, tuple(parts))


def chain(matrices) -> LayerGraph:
    """Linear layers with rectifiers in between."""
    net = Sketch(matrices[0].shape[1])
    for number, matrix in enumerate(matrices):
        if number:
            net.act()
        net.linear(torch.tensor(matrix))
    return sound_folded(net.graph())


def exact_bound(matrices, multipliers):
    """The bound that multipliers give a chain, with 400 digits."""
    with mpmath.workdps(DIGITS):
        first = mpmath.matrix(matrices[0].tolist())
        covariance = first * first.T
        for matrix, values in zip(matrices[1:], multipliers, strict=True):
            weights = mpmath.diag([mpmath.mpf(float(value)) for value in values])
            gain = mpmath.matrix(matrix.tolist()) * weights
            gap = weights - covariance / 4
            mpmath.cholesky(gap)  # raises where the multipliers are not feasible
            covariance = gain * mpmath.inverse(gap) * gain.T
        return mpmath.sqrt(max(mpmath.eigsy(covariance, eigvals_only=True)))


def residual_chain(parts) -> LayerGraph:
    """``h = skip x + branch relu(first x)``, ``y = direct h + last relu(h)``."""
    net = Sketch(parts["first"].shape[1])
    tensors = {name: torch.tensor(matrix) for name, matrix in parts.items()}
    net.linear(tensors["first"])
    net.act()
    branch = net.linear(tensors["branch"])
    middle = net.add(net.linear(tensors["skip"], source=0), branch)
    direct = net.linear(tensors["direct"], source=middle)
    last = net.linear(tensors["last"], source=net.act(source=middle))
    net.add(direct, last)
    return net.graph()


def exact_residual_bound(parts, multipliers):
    """The bound of :func:`residual_chain` in one piece, with 400 digits.

    With ``|x|^2 - v1' T1^-1 (z1 - v1) - v2' T2^-1 (z2 - v2) = w' K w`` for the stacked
    ``w = (x, v1, v2)`` and ``y = G w``, it is the root of the largest eigenvalue of
    ``G K^-1 G'``.
    """
    with mpmath.workdps(DIGITS):
        first, skip, branch, direct, last = (
            mpmath.matrix(parts[name].tolist())
            for name in ("first", "skip", "branch", "direct", "last")
        )
        inputs, one, two = first.cols, first.rows, skip.rows
        left, right = (mpmath.diag([1 / v for v in each]) for each in multipliers)
        whole = mpmath.eye(inputs + one + two)
        gain = mpmath.zeros(last.rows, whole.rows)
        blocks = (
            (left, inputs, inputs),
            (right, inputs + one, inputs + one),
            (left * first / -2, inputs, 0),
            (right * skip / -2, inputs + one, 0),
            (right * branch / -2, inputs + one, inputs),
        )
        for block, row, column in blocks:
            for i in range(block.rows):
                for j in range(block.cols):
                    whole[row + i, column + j] = block[i, j]
                    whole[column + j, row + i] = block[i, j]
        outputs = ((direct * skip, 0), (direct * branch, inputs), (last, inputs + one))
        for block, column in outputs:
            for i in range(block.rows):
                for j in range(block.cols):
                    gain[i, column + j] = block[i, j]
        square = gain * mpmath.inverse(whole) * gain.T
        return mpmath.sqrt(max(mpmath.eigsy(square, eigvals_only=True)))


def feasible(matrices, factor: float = 2.0, spread=np.sqrt) -> list[np.ndarray]:
    """Multipliers of a chain, ``factor`` above the boundary in each layer.

    They are proportional to ``spread`` of the variances.
    """
    found = []
    covariance = matrices[0] @ matrices[0].T
    for matrix in matrices[1:]:
        shape = spread(np.maximum(np.diag(covariance), 1e-300))
        root = np.sqrt(shape)
        balanced = covariance / root[:, None] / root
        values = factor * np.linalg.eigvalsh(balanced)[-1] / 4.0 * shape
        found.append(values)
        gain = matrix * values
        covariance = gain @ np.linalg.solve(np.diag(values) - covariance / 4.0, gain.T)
        covariance = (covariance + covariance.T) / 2.0
    return found
