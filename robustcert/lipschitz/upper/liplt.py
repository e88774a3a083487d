"""LipLT: every activation is half a line and half a map of constant 1.

With slopes in [0, 1], ``s(z) = (z + phi(z)) / 2`` and phi has constant 1. Following
the lines alone, the input z_k of activation k is

    ``z_k = X_k0 x + sum_{j<k} X_kj phi_j``,

X being products of the linear maps with every activation replaced by 1/2. So

    ``L(z_k) <= |X_k0| + sum_{j<k} |X_kj| L(z_j)``,

at the outputs likewise. In a chain ``|X_kj|`` is at most the product of the norms in
between, halved at every activation, hence the bound is never above their product.

*Rounding.* The X need not be exact: let ``X_(i+1)j`` be what the machine makes of
``A_i X_ij``. The rest ``r_i`` of frontier i that the X leave out then follows
``|r_(i+1)| <= |A_i| |r_i| + gamma(n) |A_i|_F sum_j |X_ij|_F L_j + e_i |u_i|``, with the
frontier u_i and the error e_i of the program's own matrices (``lipsdp.map_errors``).
It is added to each sum. Terms that hardly count are moved into the rest as well.

Reference:
    Fazlyab et al. Certified Robustness via Dynamic Margin Maximization and Improved
    Lipschitz Regularization. NeurIPS 2023, Theorem 2 and its algorithm LipLT.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustcert.lipschitz.interface import Problem
from robustcert.lipschitz.lipsdp.change_bounds import (
    change_bounds,
    require_small,
    scaled_error,
    straightened,
)
from robustcert.lipschitz.lipsdp.compile import source_of, written_out
from robustcert.lipschitz.lipsdp.dense import dense_program
from robustcert.lipschitz.lipsdp.linear_norms import (
    block_frobenius_bound,
    loose_norm_bound,
    spectral_norm_bounds,
)
from robustcert.lipschitz.lipsdp.map_errors import map_errors
from robustcert.lipschitz.lipsdp.pools import without_max_pools
from robustcert.lipschitz.lipsdp.program import Program, Stage
from robustcert.lipschitz.rounding import gamma, power_up, product_up, sum_up
from robustcert.lipschitz.upper.prepared import prepared_graph, prepared_program
from robustcert.results.bound import UpperBound
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm

NAME = "liplt"
_MATTERS = 1e-4
_FOLLOWED = 1e-4


def liplt(problem: Problem, effort: Effort) -> UpperBound:
    """Upper bound of the map from inputs to logits, everywhere.

    L2 on the problem's program, on tori for convolutional nets. ``max`` writes those
    out as well: norms of maps that do not reach round a torus are up to a tenth
    smaller. L-infinity on dense matrices, with one constant for each unit instead of
    one for the layer.

    Raises:
        UnsupportedLayerError: there is no graph, a layer has no rule, or the products
            of its maps are too large.
        UnsoundModelError: a weight is NaN or infinite.
    """
    graph = prepared_graph(problem)
    if problem.norm is Norm.LINF:
        program = dense_program(without_max_pools(graph))
        value = linf_bound(program, _errors(program, problem))
        return UpperBound(value, problem.norm, NAME)
    program = prepared_program(problem)
    value = l2_bound(program, _errors(program, problem))
    finer = written_out(graph) if effort is Effort.MAX else None
    if finer is not None:
        value = min(value, l2_bound(finer, _errors(finer, problem)))
    return UpperBound(value, problem.norm, NAME)


def _errors(program: Program, problem: Problem) -> tuple[float, ...]:
    source = source_of(program, prepared_graph(problem))
    return map_errors(source, problem.norm)


def linf_bound(program: Program, errors: tuple[float, ...]) -> float:
    """LipLT in L-infinity, rounded up, with one constant for each unit.

    Args:
        program: dense.
        errors: of its maps in L-infinity, one a step, from ``map_errors``.

    Raises:
        UnsupportedLayerError: the products are too large.
    """
    ones = torch.ones(program.start.shape[3], 1, dtype=torch.float64)
    rows = change_bounds(program, errors, ones).whole
    return power_up(float(rows.max()), -program.exponents[-1])


def l2_bound(program: Program, errors: tuple[float, ...]) -> float:
    """LipLT in L2, rounded up.

    Args:
        program: without unfolding.
        errors: of its maps, one a step, from ``map_errors``.

    Raises:
        UnsupportedLayerError: the products are too large.
    """
    parts = [_Part(program.start.transpose(1, 2).flatten(2), 1.0)]
    rest = fresh = power_up(errors[0], program.exponents[0])
    before: Stage | None = None
    for number, stage in enumerate(program.stages):
        sizes = [part.size for part in parts]
        bounds = _bounds(_acted(stage, parts), sizes)
        constant = _total(bounds, before, rest, fresh)
        whole = sum_up(_sum(sizes), rest)
        straight = straightened(stage, parts[0].rows.shape[1])
        flat = straight.transpose(1, 2).flatten(2)
        error = sum_up(_product_error(flat), scaled_error(program, errors, number))
        parts, dropped = _without_small(parts, sizes)
        fresh = product_up(error, whole)
        rest = product_up(loose_norm_bound(flat), sum_up(rest, dropped))
        rest = sum_up(rest, fresh)
        parts = [_advanced(stage, straight, part) for part in parts]
        parts.append(_new_part(stage, constant))
        require_small(stage, [part.rows for part in parts])
        before = stage
    bounds = _bounds(parts, [part.size for part in parts])
    return power_up(_total(bounds, before, rest, fresh), -program.exponents[-1])


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One term of a frontier: a map's blocks ``(F, n, C)``, of something Lipschitz."""

    rows: Tensor
    constant: float

    @property
    def size(self) -> float:
        """A bound on the term's own constant that costs next to nothing."""
        return product_up(block_frobenius_bound(self.rows), self.constant)


def _acted(stage: Stage, parts: list[_Part]) -> list[_Part]:
    """The activation's inputs."""
    rows = parts[0].rows.shape[1]
    if len(stage.acted) == rows and bool((stage.acted == torch.arange(rows)).all()):
        return parts
    return [replace(part, rows=part.rows[:, stage.acted]) for part in parts]


def _bounds(parts: list[_Part], sizes: list[float]) -> list[float]:
    """Each term's constant: where it matters, by the spectral norm.

    ``sizes`` bounds each term's constant already.
    """
    best = list(sizes)
    least = _MATTERS * sum(sizes)
    places = [place for place, size in enumerate(sizes) if size > least]
    norms = spectral_norm_bounds([parts[place].rows for place in places])
    for place, norm in zip(places, norms, strict=True):
        exact = product_up(norm, parts[place].constant)
        best[place] = min(sizes[place], exact)
    return best


def _total(
    bounds: list[float], before: Stage | None, rest: float, fresh: float
) -> float:
    """The sum of the terms, or the product of the last stage where that is less.

    The last term is half of the last stage's map times the constant of its input, to
    which only the errors of that stage have to be added.
    """
    total = sum_up(_sum(bounds), rest)
    if before is not None and before.carry is None:
        return min(total, sum_up(2.0 * bounds[-1], fresh))
    return total


def _without_small(parts: list[_Part], sizes: list[float]) -> tuple[list[_Part], float]:
    """The terms worth following on, and the sum of the others' sizes.

    What is dropped goes on as a plain product of norms, and halves behind each
    activation against the sum.
    """
    least = _FOLLOWED * sum(sizes)
    dropped = _sum([size for size in sizes if size <= least])
    kept = [part for part, size in zip(parts, sizes, strict=True) if size > least]
    return kept, dropped


def _sum(values: list[float]) -> float:
    """Rounded up."""
    total = 0.0
    for value in values:
        total = sum_up(total, value)
    return total


def _advanced(stage: Stage, straight: Tensor, part: _Part) -> _Part:
    """The part ``(F' A, n, C)`` behind the stage: ``(F', n', A C)``."""
    blocks = part.rows.reshape(*straight.shape[:2], *part.rows.shape[1:])
    return _placed(stage, _Part((straight @ blocks), part.constant))


def _new_part(stage: Stage, constant: float) -> _Part:
    return _placed(stage, _Part(0.5 * stage.spread, constant))


def _placed(stage: Stage, part: _Part) -> _Part:
    """Columns of all aliases; behind a torus, where ``Re(X X^H)`` counts, real ones."""
    rows = part.rows.transpose(1, 2).flatten(2)
    if stage.leaves_torus:
        rows = torch.cat([rows.real, rows.imag], dim=2)
    return _Part(rows, part.constant)


def _product_error(straight: Tensor) -> float:
    """What a product of ``straight`` errs by, against a factor's Frobenius norm."""
    roundings = 4 * (straight.shape[2] + 8)
    return product_up(gamma(roundings), block_frobenius_bound(straight))
