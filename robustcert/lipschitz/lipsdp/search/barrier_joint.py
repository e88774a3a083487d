"""The barrier's derivatives in the channels' and the dense units' multipliers together.

The dense units' ``b_j`` have a part on the torus, ``-R_j^H``. So K^-1 gains there
``Phi Lambda X Lambda Phi^H``, and ``K^-1 b_j`` is ``Phi (Lambda Y^T - I) e_j``. The
dense part's own ``-e logdet K`` feels a channel by ``root^T Phi^H E_j Phi root`` with
``root root^T = Lambda X Lambda``: further columns beside the eigenvalues' sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.lipschitz.lipsdp.search.barrier_dense import (
    DenseState,
    Sides,
)
from robustcert.lipschitz.lipsdp.search.barrier_torus import (
    TorusCurvature,
    TorusState,
    torus_curvature,
)
from robustcert.lipschitz.lipsdp.search.curvature import Curvature


@dataclass(frozen=True, slots=True)
class Push:
    """The factors e with which the barrier keeps K off its boundary.

    Attributes:
        torus: of each coarse frequency's logdet.
        dense: of the logdet of the dense part, the torus being eliminated.
    """

    torus: float
    dense: float


@dataclass(frozen=True, slots=True, eq=False)
class Derivatives:
    """Of phi at fixed sigma.

    Attributes:
        gradient: ``(units,)``.
        hessian: ``(units, units)``.
        mixed: ``(units,)``, the gradient's derivative in sigma.
    """

    gradient: Tensor
    hessian: Tensor
    mixed: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """Both parts at a point.

    Attributes:
        torus: the torus part.
        dense: the dense part.
        own: first derivatives of the eigenvalues in the dense units' multipliers.
        parts: second derivatives of the dense part.
    """

    torus: TorusState
    dense: DenseState
    own: Sides
    parts: Curvature


def joined(
    joint: Joint, weights: Tensor, push: Push, dense: Derivatives
) -> Derivatives:
    """Derivatives in all multipliers, the channels first.

    Args:
        joint: both parts.
        weights: ``(k,)``, derivatives of the barrier in the eigenvalues.
        push: the factors of the logdets.
        dense: the derivatives in the dense units' multipliers.
    """
    felt = joint.own.felt
    columns, prices = felt, weights
    if push.dense > 0.0:
        root = _root(joint, len(felt))
        columns = torch.cat([felt, root], dim=1)
        prices = torch.cat([weights, weights.new_full((root.shape[1],), push.dense)])
    curvature = torus_curvature(joint.torus, columns, prices, push.torus)
    count = len(weights)
    values = _Values(joint, curvature, felt.T @ curvature.through[..., :count], weights)
    own, shared = values.channels(), values.shared()
    felt_slopes = values.slopes.diagonal(dim1=1, dim2=2)
    gradient = -(felt_slopes @ weights) - push.torus * curvature.slope
    if push.dense > 0.0:
        pushed = _Pushed(joint, root, curvature.through[..., count:], push.dense)
        own, shared = own + pushed.channels(), shared + pushed.shared()
        gradient = gradient + pushed.gradient()
    upper = torch.cat([own, shared], dim=1)
    lower = torch.cat([shared.T, dense.hessian], dim=1)
    return Derivatives(
        torch.cat([gradient, dense.gradient]),
        torch.cat([upper, lower]),
        torch.cat([felt_slopes @ weights.square(), dense.mixed]),
    )


def _root(joint: Joint, rows: int) -> Tensor:
    """``(h, n')`` whose square is ``Lambda X Lambda`` at the n' units that read."""
    units = joint.dense.part.readers
    own, _ = torch.linalg.cholesky_ex(joint.parts.x[0][units][:, units])
    root = joint.parts.x.new_zeros(rows, len(units))
    root[: len(units)] = joint.dense.multipliers[units, None] * own
    return root


class _Values:
    """Terms of the eigenvalues, ``-logdet(sigma I - G)``.

    Args:
        joint: both parts.
        curvature: sums over the torus.
        slopes: ``(channels, k, k)``, ``m^T Phi^H E_j Phi m``: the eigenvalues' slopes.
        weights: ``(k,)``.
    """

    def __init__(
        self, joint: Joint, curvature: TorusCurvature, slopes: Tensor, weights: Tensor
    ) -> None:
        self.joint, self.curvature = joint, curvature
        self.slopes, self.weights = slopes, weights
        units = joint.dense.part.readers
        self.read = curvature.through[:, : len(units), : len(weights)]
        self.scaled = joint.dense.multipliers[units, None] * self.read

    def channels(self) -> Tensor:
        """``(channels, channels)``."""
        units = self.joint.dense.part.readers
        weighted = (self.scaled * self.weights).flatten(1)
        between = self.joint.parts.x[0][units][:, units] @ self.scaled
        slopes = self.weights[:, None] * self.slopes
        hessian = self.curvature.hessian + 2.0 * weighted @ between.flatten(1).T
        return hessian + slopes.flatten(1) @ slopes.mT.flatten(1).T

    def shared(self) -> Tensor:
        """``(channels, n)``."""
        joint, weights, own = self.joint, self.weights, self.joint.own
        ahead = joint.parts.x[0][:, joint.dense.part.readers] @ self.scaled
        behind = joint.parts.y[0][:, joint.dense.part.readers] @ self.scaled
        behind[:, joint.dense.part.readers] -= self.read
        squares = (own.alpha * weights) @ self.slopes
        terms = (ahead + squares) * own.beta + behind * own.alpha
        return 2.0 * terms @ weights


class _Pushed:
    """Terms of the dense part's ``-e logdet K``.

    Args:
        joint: both parts.
        root: ``(h, n')``.
        through: ``(channels, h, n')``, ``Phi^H E_j Phi root``.
        factor: e.
    """

    def __init__(
        self, joint: Joint, root: Tensor, through: Tensor, factor: float
    ) -> None:
        self.joint, self.root, self.factor = joint, root, factor
        self.through = through
        self.slopes = root.T @ through

    def gradient(self) -> Tensor:
        """``(channels,)``."""
        return -self.factor * self.slopes.diagonal(dim1=1, dim2=2).sum(dim=1)

    def channels(self) -> Tensor:
        """``(channels, channels)``."""
        return self.factor * self.slopes.flatten(1) @ self.slopes.mT.flatten(1).T

    def shared(self) -> Tensor:
        """``(channels, n)``."""
        joint, units = self.joint, self.joint.dense.part.readers
        multipliers = joint.dense.multipliers[units]
        own = self.root[: len(units)] / multipliers[:, None]
        ahead = torch.linalg.solve_triangular(own, joint.parts.x[0][units], upper=False)
        read = self.through[:, : len(units)]
        behind = (joint.parts.y[0][:, units] * multipliers) @ read
        behind[:, units] -= read
        terms: Tensor = (behind * ahead.T).sum(dim=2)
        return 2.0 * self.factor * terms
