"""Margin against a Lipschitz constant that holds on the ball alone.

On a small ball most activations have one slope only, and a bound on how far the margin
moves is close to the norm of its gradient: far below the global Lipschitz constant.
Slopes are enclosed by backward substitution; the bound follows the units' changes with
every open slope in its middle, and adds what the open slopes can bend.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from robustcert.certify.gaps import gaps_at, with_gaps
from robustcert.certify.interface import CertificationTask, Certifier, Proof
from robustcert.certify.radius import ByBisection
from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.lipsdp.change_bounds import ChangeBounds, change_bounds
from robustcert.lipschitz.lipsdp.dense import dense_program
from robustcert.lipschitz.lipsdp.map_errors import map_errors
from robustcert.lipschitz.lipsdp.pools import without_max_pools
from robustcert.lipschitz.local.enclosure import enclosure, slopes_within
from robustcert.lipschitz.local.region import Region
from robustcert.lipschitz.rounding import gamma, power_up
from robustcert.lipschitz.upper.propagation import check_finite, sound_folded
from robustcert.results.norm import Norm


def local_lipschitz(graph: LayerGraph, norm: Norm) -> Certifier:
    """The largest radius r with ``margin_k >= r L_k(ball of r)`` for every class k.

    ``L_k`` bounds the Lipschitz constant of ``f_y - f_k`` on the ball as far as it lies
    in the box. Where the box cuts the ball, what the gradient's part can lose is taken
    over the cut ball itself.

    Samples are judged one by one, at the cost of one backward substitution of the units
    whose slope is open, and of dense matrices between the activations: about the
    parameters of a dense net, but the square of the units for a convolution.

    Args:
        graph: any; more units at once than matrices are written out for are refused
            when the first sample is judged.
        norm: L2 or L-infinity.

    Raises:
        UnsoundModelError: a weight is NaN or infinite.

    References:
        Hein, Andriushchenko. Formal Guarantees on the Robustness of a Classifier
            against Adversarial Manipulation. NeurIPS 2017, Theorem 2.1.
        Weng et al. Towards Fast Computation of Certified Robustness for ReLU Networks.
            ICML 2018, section 3.4 (Fast-Lip: slopes of the units that are settled).
        Fazlyab et al. Certified Robustness via Dynamic Margin Maximization and Improved
            Lipschitz Regularization. NeurIPS 2023 (LipLT).
    """
    check_finite(graph)
    return _LocalLipschitz(graph.to(torch.float64), norm)


@dataclass(frozen=True, slots=True, eq=False)
class _Gaps:
    """``f_y - f_k`` for every class k but y.

    Attributes:
        shipped: as shipped, with the differences behind it.
        simple: the same, ready to be written out as matrices.
        errors: bounds of what rounding does to those, one a step.
    """

    shipped: LayerGraph
    simple: LayerGraph
    errors: tuple[float, ...]


@final
class _LocalLipschitz(ByBisection):
    def __init__(self, graph: LayerGraph, norm: Norm) -> None:
        self._graph = graph
        self._norm = norm
        self._known: dict[int, _Gaps] = {}

    def prove(
        self, task: CertificationTask, radii: Tensor, seconds: float = math.inf
    ) -> Proof:
        """See :class:`~robustcert.certify.interface.Certifier`.

        One sample cannot be stopped; those that come after ``seconds`` times the number
        of samples are not proved.
        """
        proved = torch.zeros(len(task), dtype=torch.bool)
        deadline = time.monotonic() + seconds * max(1, len(task))
        with torch.no_grad():
            for row in range(len(task)):
                if time.monotonic() > deadline:
                    break
                least = self._least_gap(task, row, float(radii[row]))
                proved[row] = bool(least > task.slack[row].cpu())
        return Proof(proved.to(task.labels.device))

    def _least_gap(self, task: CertificationTask, row: int, radius: float) -> Tensor:
        """Lower bound ``()`` of the smallest ``f_y - f_k`` over the ball."""
        gaps = self._gaps(int(task.labels[row]))
        centre = task.inputs[row].detach().to("cpu", torch.float64)
        at_centre = gaps_at(gaps.shipped, centre)
        if radius == 0.0:
            return at_centre.amin()
        region = Region(centre, radius, self._norm, task.box)
        least = at_centre - _losses(gaps, region)
        return (least - 4.0 * gamma(1) * at_centre.abs()).amin()

    def _gaps(self, label: int) -> _Gaps:
        if label not in self._known:
            shipped = with_gaps(self._graph, label)
            simple = without_max_pools(sound_folded(shipped))
            self._known[label] = _Gaps(shipped, simple, map_errors(simple, Norm.LINF))
        return self._known[label]


def _losses(gaps: _Gaps, region: Region) -> Tensor:
    """Upper bounds ``(K - 1,)`` of ``gap(centre) - gap(x)`` over the region.

    Between x and the centre, which both lie in the convex region, each activation's
    chord is as steep as its enclosed slopes allow.
    """
    slopes = slopes_within(gaps.shipped, enclosure(gaps.shipped, region, {}))
    program = dense_program(gaps.simple, slopes)
    bounds = change_bounds(program, gaps.errors, _moves(region))
    straight = region.reach(-bounds.straight)
    whole, bent = _sizes(bounds, region)
    losses = torch.minimum(whole, straight + bent) * (1.0 + gamma(8))
    ahead = -program.exponents[-1]
    scaled = [power_up(loss, ahead) for loss in losses.tolist()]
    return torch.tensor(scaled, dtype=torch.float64)


def _moves(region: Region) -> Tensor:
    """How far inputs move ``(n, C)``: all at once, or by one unit one at a time."""
    if region.norm is Norm.L2:
        return torch.eye(region.centre.numel(), dtype=torch.float64)
    return _reach(region)[:, None]


def _reach(region: Region) -> Tensor:
    """``(n,)`` how far each input moves at most, rounded up."""
    interval, centre = region.interval, region.centre.flatten()
    rises, falls = interval.high.flatten() - centre, centre - interval.low.flatten()
    return torch.maximum(rises, falls) * (1.0 + gamma(4))


def _sizes(bounds: ChangeBounds, region: Region) -> tuple[Tensor, Tensor]:
    """Upper bounds ``(K - 1,)`` of the change, and of what bends it."""
    if region.norm is Norm.LINF:
        return bounds.whole[:, 0], bounds.bent[:, 0]
    # An entry bounds a derivative; the region's reach knows ball and box.
    moves = _reach(region)
    slack = 1.0 + gamma(2 * len(moves) + 16)
    whole, bent = (
        torch.minimum(
            entries @ moves, region.radius * torch.linalg.vector_norm(entries, dim=1)
        )
        * slack
        for entries in (bounds.whole, bounds.bent)
    )
    return whole, bent
