"""LipSDP and its L-infinity counterpart as the papers write them, solved by Clarabel.

An oracle for small nets: one dense matrix inequality over inputs and units, handed to
an interior-point method.

References:
    Fazlyab et al. Efficient and Accurate Estimation of Lipschitz Constants for Deep
    Neural Networks. NeurIPS 2019 (LipSDP-Neuron).
    Wang et al. A Quantitative Geometric Approach to Neural-Network Smoothness.
    NeurIPS 2022 (GeoLIP).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from tests.differential.slope_nets import Array, Net, Node, Rows, read

__all__ = ["Optimum", "geolip", "lipsdp", "read"]

ROUGH = 1e-3  # asked of the solver for the scale
EXACT = 1e-10  # asked of the solver once the optimum is scaled to 1
GRANTED = 1e4  # times what was asked, where the solver can do no better


@dataclass(frozen=True, slots=True, eq=False)
class Optimum:
    """The SDP's optimum lies in ``[lower, upper]``, up to the solver's tolerance.

    ``upper`` is the primal value and bounds the net, ``lower`` is the dual value.
    ``multipliers`` has one entry a unit, 0 where the unit's slope is known; they belong
    to ``lambda (v - low z) (v - high z)``.
    """

    upper: float
    lower: float
    multipliers: Array


def lipsdp(net: Net, groups: NDArray[np.intp] | None = None) -> Optimum:
    """The LipSDP bound on the net's L2 Lipschitz constant.

    Args:
        net: small: the matrix inequality has a row an input and a row a unit.
        groups: one index a unit; units of one group share a multiplier. Without it
            each unit has its own (LipSDP-Neuron).
    """
    forms = _forms(_narrowed(net), groups)
    return _scaled(forms, np.ones((forms.inputs, 1)))


def geolip(net: Net, groups: NDArray[np.intp] | None = None) -> Optimum:
    """The bound on one output's change by input changes of L-infinity norm 1.

    ``|y|^2 <= sum_i d_i x_i^2 <= sum d``, minimised over d and the multipliers.
    """
    if len(net.output.direct) != 1:
        raise ValueError("the L-infinity bound is of one output; choose it by `logit`")
    forms = _forms(net, groups)
    return _scaled(forms, np.eye(forms.inputs))


def _narrowed(net: Net) -> Net:
    """The net on the inputs' coordinates that it reads, where those are fewer."""
    maps = [*(node.rows.direct for node in net.nodes), net.output.direct]
    stacked = np.concatenate(maps)
    if len(stacked) >= stacked.shape[1]:
        return net
    basis = np.linalg.qr(stacked.T)[0]
    nodes = tuple(
        Node(Rows(n.rows.direct @ basis, n.rows.units), n.low, n.high)
        for n in net.nodes
    )
    return Net(nodes, Rows(net.output.direct @ basis, net.output.units))


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """A node's units as row functionals of (x, u), u being the free units, scaled.

    A unit is free unless its slope is known. It is divided by its gain, the norm of the
    row that leads to it, so that badly scaled nets are solved as well: that changes no
    slope, and the multiplier by ``gain ** 2``.

    Attributes:
        values: of all units, unscaled, (units, columns).
        below: ``v - low z`` of the free units, scaled.
        above: ``v - high z`` of the free units, scaled; never of the sign of ``below``.
        gains: of the free units.
    """

    values: Array
    below: Array
    above: Array
    gains: Array


def _units(node: Node, earlier: list[_Units], columns: int, taken: int) -> _Units:
    z = _functionals(node.rows, earlier, columns)
    sizes = np.linalg.norm(z, axis=1)
    free = np.flatnonzero(node.low < node.high)
    gains = np.where(sizes > 0.0, sizes, 1.0)[free]
    values = node.low[:, None] * z
    values[free] = 0.0
    values[free, taken + np.arange(len(free))] = gains
    below, above = (
        (values[free] - end[free, None] * z[free]) / gains[:, None]
        for end in (node.low, node.high)
    )
    return _Units(values, below, above, gains)


@dataclass(frozen=True, slots=True, eq=False)
class _Forms:
    """The matrix inequality's pieces; see :class:`_Units`.

    ``sharing`` (free units, groups) turns the groups' multipliers, scaled by their
    largest gain, into the scaled units' multipliers.
    """

    inputs: int
    below: Array
    above: Array
    output: Array
    gains: Array
    free: NDArray[np.bool_]
    sharing: Array


def _forms(net: Net, groups: NDArray[np.intp] | None) -> _Forms:
    inputs = net.output.direct.shape[1]
    free = np.concatenate([np.zeros(0, bool), *(n.low < n.high for n in net.nodes)])
    columns = inputs + int(free.sum())
    units: list[_Units] = []
    for node in net.nodes:
        taken = inputs + sum(len(unit.gains) for unit in units)
        units.append(_units(node, units, columns, taken))
    empty = np.zeros((0, columns))
    gains = np.concatenate([np.zeros(0), *(unit.gains for unit in units)])
    chosen = np.arange(len(free)) if groups is None else groups
    return _Forms(
        inputs,
        np.concatenate([empty, *(unit.below for unit in units)]),
        np.concatenate([empty, *(unit.above for unit in units)]),
        _functionals(net.output, units, columns),
        gains,
        free,
        _sharing(chosen[free], gains),
    )


def _sharing(groups: NDArray[np.intp], gains: Array) -> Array:
    names, places = np.unique(groups, return_inverse=True)
    members = places[:, None] == np.arange(len(names))
    squares = members * gains[:, None] ** 2
    return squares / squares.max(axis=0, initial=0.0)


def _functionals(rows: Rows, units: list[_Units], columns: int) -> Array:
    result = np.zeros((len(rows.direct), columns))
    result[:, : rows.direct.shape[1]] = rows.direct
    for j, matrix in rows.units.items():
        result += matrix @ units[j].values
    return result


def _scaled(forms: _Forms, patterns: Array) -> Optimum:
    """Solved twice: the second time with an optimum of 1, for relative accuracy."""
    scale = float(np.linalg.norm(forms.output, 2))
    if scale == 0.0:
        return Optimum(0.0, 0.0, np.zeros(len(forms.free)))
    scale *= _solved(forms, patterns, scale, ROUGH).upper
    last = _solved(forms, patterns, scale, EXACT)
    multipliers = np.zeros(len(forms.free))
    multipliers[forms.free] = last.multipliers * scale**2
    return Optimum(last.upper * scale, last.lower * scale, multipliers)


def _solved(forms: _Forms, patterns: Array, scale: float, tolerance: float) -> Optimum:
    """Minimise ``sum d``; ``patterns @ d`` are the weights of the inputs' squares.

    The constraint: ``sum_i weight_i x_i^2 + sum_u lambda_u below_u above_u - |y|^2`` is
    never negative.
    """
    weights = cp.Variable(patterns.shape[1], nonneg=True)
    embedding = np.eye(forms.output.shape[1])[:, : forms.inputs]
    squares = embedding @ cp.diag(patterns @ weights) @ embedding.T
    goal = (forms.output / scale).T @ (forms.output / scale)
    form = squares - goal
    multipliers = cp.Constant(np.zeros(0))
    if len(forms.gains):
        shared = cp.Variable(forms.sharing.shape[1], nonneg=True)
        multipliers = forms.sharing @ shared
        pairs = forms.below.T @ cp.diag(multipliers) @ forms.above
        form = form + (pairs + pairs.T) / 2.0
    constraint = form >> 0
    problem = cp.Problem(cp.Minimize(cp.sum(weights)), [constraint])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # inaccurate answers are judged by their gap
        problem.solve(
            solver=cp.CLARABEL,
            tol_gap_abs=tolerance,
            tol_gap_rel=tolerance,
            tol_feas=tolerance,
        )
    dual = float(np.sum(goal * constraint.dual_value))
    if not abs(problem.value - dual) <= GRANTED * tolerance * abs(problem.value):
        raise RuntimeError(f"the solver stopped between {dual} and {problem.value}")
    return Optimum(
        math.sqrt(problem.value), math.sqrt(dual), multipliers.value / forms.gains**2
    )
