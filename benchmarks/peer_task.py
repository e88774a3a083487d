"""What a peer among certifiers is given, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from robustcert.graph.layers import LayerGraph
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box


@dataclass(frozen=True, slots=True, eq=False)
class PeerTask:
    """Samples that the model gets right.

    Attributes:
        graph: as it was read: scaling of the input is a layer of its own.
        inputs: ``(N, *shape)`` float64.
        labels: ``(N,)`` int64.
        norm: of the ball.
        epsilon: its radius, in input units.
        box: of the inputs.
    """

    graph: LayerGraph
    inputs: Tensor
    labels: Tensor
    norm: Norm
    epsilon: float
    box: Box


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody else's method.

    Attributes:
        refusal: why it cannot run on a task; empty where it can.
        certified: ``(N,)`` bool: the samples it calls certified.
    """

    refusal: Callable[[PeerTask], str]
    certified: Callable[[PeerTask], Tensor]
