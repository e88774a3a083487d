"""How often a model is evaluated and differentiated, counted per sample."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from robustcert.models.interface import LoadedModel


@dataclass(slots=True)
class QueryCount:
    """Forward and backward passes so far, in samples."""

    forward: int = 0
    backward: int = 0


def counted(model: LoadedModel) -> tuple[LoadedModel, QueryCount]:
    """The same model with a count of its queries, whoever makes them.

    A hook on the output counts each backward pass through it, so an attack that
    differentiates every logit of one forward pass pays for every logit.
    """
    count = QueryCount()

    def function(inputs: Tensor) -> Tensor:
        rows = len(inputs)
        count.forward += rows
        raw = model.function(inputs)

        def note(_: Tensor) -> None:
            count.backward += rows

        if raw.requires_grad:
            raw.register_hook(note)  # type: ignore[no-untyped-call] # torch's stub
        return raw

    return replace(model, function=function), count
