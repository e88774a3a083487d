"""Exact certificates for tiny ReLU nets: HiGHS searches, safe bounds prove."""

from __future__ import annotations

import math
import time
from typing import final

import torch
from torch import Tensor

from robustcert.certify.gaps import gaps_at, with_gaps
from robustcert.certify.interface import CertificationTask, Certifier, Proof
from robustcert.certify.milp.encoding import encoded, require_relu_net
from robustcert.certify.milp.highs import solver
from robustcert.certify.milp.oracle import oracle_radius
from robustcert.certify.milp.tree import Answer, Question, answered
from robustcert.certify.radius import searched
from robustcert.errors import UnsupportedLayerError, UsageError
from robustcert.graph.execute import run
from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.local.region import Region
from robustcert.lipschitz.upper.propagation import check_finite
from robustcert.results.norm import Norm

SECONDS = 60.0
"""For one proof while a radius is looked for."""

_SHARES = (1.0 - 1e-7, 1.0 - 1e-5, 1.0 - 1e-3)
"""Of the oracle's radius, tried before a bisection."""


def milp(graph: LayerGraph, norm: Norm) -> Certifier:
    """Certificates that fall short of the truth by rounding alone.

    The radius is HiGHS' optimum of a mixed-integer program, which proves nothing: it is
    then proved by cases, each unit of open sign passing or being cut, with a bound of
    each case's linear program that holds for any prices the solver may have found.

    The work may double with each unstable unit; there may be at most
    :data:`~robustcert.certify.milp.encoding.MOST_UNSTABLE` of them in the ball.

    Args:
        graph: linear maps and rectifiers.
        norm: L-infinity; a ball in L2 has no linear rows.

    Raises:
        UnsupportedLayerError: another norm or layer; names the layer.
        UnsoundModelError: a weight is NaN or infinite.
        UsageError: scipy is not installed.

    References:
        Tjeng, Xiao, Tedrake. Evaluating Robustness of Neural Networks with Mixed
            Integer Programming. ICLR 2019.
        Neumaier, Shcherbina. Safe bounds in linear and mixed-integer linear
            programming. Mathematical Programming 2004.
    """
    if norm is not Norm.LINF:
        raise UnsupportedLayerError(
            graph.layers[0].name, f"milp has no rows for a ball in {norm.word}"
        )
    require_relu_net(graph)
    check_finite(graph)
    solver()
    return _Milp(graph.to(torch.float64))


@final
class _Milp:
    def __init__(self, graph: LayerGraph) -> None:
        self._graph = graph

    def prove(
        self, task: CertificationTask, radii: Tensor, seconds: float = math.inf
    ) -> Proof:
        """See :class:`~robustcert.certify.interface.Certifier`."""
        proved = torch.zeros(len(task), dtype=torch.bool)
        suspects: dict[int, Tensor] = {}
        with torch.no_grad():
            for row in range(len(task)):
                deadline = time.monotonic() + seconds
                answer = self._answer(task, row, float(radii[row]), deadline)
                proved[row] = answer.proved
                if answer.suspect is not None:
                    point = answer.suspect.reshape(task.inputs.shape[1:])
                    suspects[row] = point.to(task.inputs)
        return Proof(proved.to(task.labels.device), suspects)

    def radii(self, task: CertificationTask, most: Tensor) -> Tensor:
        """See :class:`~robustcert.certify.interface.Certifier`."""
        found = torch.zeros(len(task), dtype=torch.float64)
        for row in range(len(task)):
            end = min(float(most[row]), task.box.width)
            found[row] = self._radius(task.rows(row, row + 1), end)
        return found.to(task.inputs.device)

    def _radius(self, task: CertificationTask, end: float) -> float:
        """The largest radius up to ``end`` that is proved for the only sample."""
        nearest = self._nearest(task, end)
        tried = [nearest * share for share in _SHARES] if nearest < end else [end]
        for radius in tried:
            if self._proves(task, torch.tensor([radius], dtype=torch.float64)):
                return radius
        top = torch.tensor([nearest], dtype=torch.float64)
        return float(searched(self._in_time, task, torch.zeros_like(top), top)[0])

    def _nearest(self, task: CertificationTask, end: float) -> float:
        """Where to look: what the oracle says, or ``end`` where it takes too long."""
        label, slack = int(task.labels[0]), float(task.slack[0])
        try:
            found = oracle_radius(
                self._graph, task.inputs[0], label, task.box, end, slack
            )
        except UsageError:  # cases may be settled long before HiGHS has its optimum
            return end
        return min(found, end)

    def _in_time(self, task: CertificationTask, radii: Tensor) -> Proof:
        return self.prove(task, radii, SECONDS)

    def _proves(self, task: CertificationTask, radii: Tensor) -> bool:
        return bool(self._in_time(task, radii).proved.all())

    def _answer(
        self, task: CertificationTask, row: int, radius: float, deadline: float
    ) -> Answer:
        gaps = with_gaps(self._graph, int(task.labels[row]))
        centre = task.inputs[row].detach().to("cpu", torch.float64)
        slack = float(task.slack[row])
        if not bool(gaps_at(gaps, centre).amin() > slack):
            return Answer(proved=False)
        if radius == 0.0:
            return Answer(proved=True)
        encoding = encoded(gaps, Region(centre, radius, Norm.LINF, task.box))

        def fails(point: Tensor) -> bool:
            return bool(run(gaps, point.reshape(1, *centre.shape)).amin() <= slack)

        for output in range(gaps.outputs):
            answer = answered(Question(encoding, output, slack, fails, deadline))
            if not answer.proved:
                return answer
        return Answer(proved=True)
