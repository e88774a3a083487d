"""The barrier that second-order LipSDP descends.

``phi_t(lambda) = min over sigma of t sigma - logdet(sigma I - G) - e logdet K``: the
outputs' covariance G is convex in lambda on ``K > 0``, so only its eigenvalues need a
barrier, and the second term keeps K off its boundary where they do not feel it. With n
rows in K and k outputs the minimum is within ``(k + e n) / t`` of the smallest
eigenvalue bound there is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.lipschitz.lipsdp.search.barrier_dense import (
    DenseState,
    Sides,
    dense_curvature,
    dense_state,
    sides,
)
from robustcert.lipschitz.lipsdp.search.barrier_joint import (
    Derivatives,
    Joint,
    Push,
    joined,
)
from robustcert.lipschitz.lipsdp.search.barrier_torus import (
    TorusState,
    torus_state,
)
from robustcert.lipschitz.lipsdp.search.curvature import Curvature
from robustcert.lipschitz.lipsdp.search.unrolled import Unrolled

_BISECTIONS = 60


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """A point inside: everything that one factorisation gives.

    Attributes:
        multipliers: ``(units,)``, lambda of the torus' channels, then of dense units.
        torus: ``None`` where the program has none.
        dense: what stands behind it.
        offset: ``-e logdet K``.
        weight: ``k + e n``, the barrier's price.
    """

    multipliers: Tensor
    torus: TorusState | None
    dense: DenseState
    offset: float
    weight: float

    @property
    def values(self) -> Tensor:
        """``(k,)`` eigenvalues of the outputs' covariance, ascending."""
        return self.dense.values


class Barrier:
    """The barrier of one program.

    Args:
        maps: the program written out.
        push: how hard K is kept off its boundary.
    """

    def __init__(self, maps: Unrolled, push: Push) -> None:
        self.maps, self.push = maps, push
        self.channels = sum(maps.torus.layout.widths[1:])
        self._read = None if self.channels else _input_covariance(maps)

    def at(self, multipliers: Tensor) -> State | None:
        """The point with these lambda; ``None`` where it is not inside."""
        own, others = multipliers[: self.channels], multipliers[self.channels :]
        torus, gamma = None, self._read
        if gamma is None:
            torus = torus_state(self.maps.torus, own)
            if torus is None:
                return None
            gamma = torus.gamma
        dense = dense_state(self.maps.dense, others, gamma)
        if dense is None or not bool(torch.isfinite(dense.values).all()):
            return None
        return _point(multipliers, torus, dense, self.push)

    def derivatives(self, state: State, sigma: float) -> Derivatives:
        """Gradient and Hessian of phi in lambda, sigma being above the eigenvalues."""
        weights = 1.0 / (sigma - state.values)
        own, parts = sides(state.dense), dense_curvature(state.dense)
        dense = _dense_derivatives(own, parts, weights, self.push.dense)
        if state.torus is None:
            return dense
        joint = Joint(state.torus, state.dense, own, parts)
        return joined(joint, weights, self.push, dense)


def lowest_sigma(values: Tensor, sharpness: float) -> float:
    """Where ``t sigma - sum log(sigma - values)`` is least, above all values."""
    found: list[float] = values.tolist()
    low, high = found[-1] + 0.5 / sharpness, found[-1] + len(found) / sharpness
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if sum(1.0 / (middle - value) for value in found) > sharpness:
            low = middle
        else:
            high = middle
    return high


def _input_covariance(maps: Unrolled) -> Tensor:
    reads = maps.torus.reads
    if not reads:
        return maps.dense.outputs.new_zeros(0, 0)
    rows = reads[0].flatten(0, 1)
    return rows.mH @ rows


def _point(
    multipliers: Tensor, torus: TorusState | None, dense: DenseState, push: Push
) -> State:
    weight = len(dense.values) + push.dense * dense.part.units
    logdet = 0.0
    if dense.factor is not None:
        logdet = push.dense * float(dense.factor.logdets().sum())
    if torus is not None:
        layout = torus.part.layout
        weight += push.torus * layout.groups * (layout.size - layout.rows(0).stop)
        logdet += push.torus * float(torus.factor.logdets().sum())
    return State(multipliers, torus, dense, -logdet, weight)


def _dense_derivatives(
    own: Sides, parts: Curvature, weights: Tensor, factor: float
) -> Derivatives:
    """In the dense units' multipliers; ``factor`` is that of ``-logdet K``."""
    alpha, beta = own.alpha, own.beta
    x, y, v = parts.x[0], parts.y[0], parts.v[0]
    scaled = alpha * weights
    crossing = scaled @ beta.T
    both = crossing.mul(2.0).add_(y.T, alpha=factor).mul_(y)
    hessian = both + both.T
    hessian.addcmul_(crossing, crossing.T, value=2.0)
    alpha_alpha = scaled @ alpha.T
    beta_beta = ((beta * weights) @ beta.T).mul_(2.0)
    hessian.addcmul_(x, beta_beta).addcmul_(alpha_alpha, beta_beta)
    hessian.addcmul_(v, alpha_alpha.add_(x, alpha=factor), value=2.0)
    return Derivatives(
        -2.0 * ((scaled * beta).sum(dim=1) + factor * y.diagonal()),
        hessian,
        2.0 * (scaled * weights * beta).sum(dim=1),
    )
