"""The model's smooth twin, as attacks see it: gradients where the model has none."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.attacks.counting import QueryCount
from robustcert.graph.layers import LayerGraph
from robustcert.graph.smooth_twin import SmoothTwin, has_kinks, smooth_twin
from robustcert.models.interface import LoadedModel, as_logits
from robustcert.results.report import OutputKind

SHOWN = 64
"""Inputs on which the sizes of a twin's layers are measured."""


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """A smooth stand-in for the model; nothing it says is ever a claim.

    Attributes:
        twin: of the model's graph, in its dtype and on its device.
        count: of queries, the model's own: a query of the twin costs as much.
    """

    twin: SmoothTwin
    count: QueryCount

    def logits(self, inputs: Tensor, sharpness: float) -> Tensor:
        """Logits ``(N, K)``, K >= 2, with kinks rounded off.

        Args:
            inputs: ``(N, *shape)``; the result is differentiable by them.
            sharpness: above 0; the twin tends to the model as it grows.
        """
        rows, count = len(inputs), self.count
        count.forward += rows
        raw = self.twin.outputs(inputs, sharpness)

        def note(_: Tensor) -> None:
            count.backward += rows

        if raw.requires_grad:
            raw.register_hook(note)  # type: ignore[no-untyped-call] # torch's stub
        single = raw.shape[1] == 1
        return as_logits(raw, OutputKind.SINGLE_LOGIT if single else OutputKind.LOGITS)


def twin_of(
    graph: LayerGraph | None, model: LoadedModel, inputs: Tensor
) -> SmoothTwin | None:
    """The model's smooth twin, in its dtype and on its device.

    Args:
        graph: of ``model``, or ``None``.
        model: what it stands for.
        inputs: ``(N, *shape)``; the first ones show the layers' typical sizes.

    Returns:
        ``None`` without a graph, or where nothing in it has a kink.
    """
    if graph is None or not any(has_kinks(layer) for layer in graph.layers):
        return None
    with torch.no_grad():
        own = graph.to(model.dtype, model.device)
        shown = inputs[:SHOWN].to(device=model.device, dtype=model.dtype)
        return smooth_twin(own, shown)
