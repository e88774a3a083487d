"""The graph must compute what the model computes, or no certificate rests on it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.execute import run
from robustcert.graph.layers import LayerGraph
from robustcert.models.interface import LoadedModel
from robustcert.results.report import OutputKind

BATCH = 3  # unlike the extraction's batch, so that a hard-wired batch size shows
EXACT = 1e-7
"""Largest difference, relative to the outputs' size, when both run in float64.

Wide enough for constants that the model rounds to float32 on the way."""
WIDE = {torch.float16: 2e-2, torch.bfloat16: 1e-1, torch.float32: 1e-4}
"""The same where the model cannot be converted and runs in its own dtype."""


def check_agreement(
    graph: LayerGraph, model: LoadedModel, inputs: Tensor | None = None
) -> None:
    """Raise unless graph and model agree, on ``inputs`` or on random ones.

    Args:
        graph: in float64, on the CPU.
        model: where it lies.
        inputs: ``(N, *shape)``; ``None`` draws some from [-2, 2] and [0, 1].

    Raises:
        UnsupportedLayerError: the largest difference is above the tolerance.
    """
    batch = _random_inputs(graph) if inputs is None else inputs.detach().cpu().double()
    function, tolerance = _reference(model)
    with torch.no_grad():
        ours = as_returned(run(graph, batch), model.output)
        theirs = function(batch).detach().cpu().double().reshape(ours.shape)
    gap = (ours - theirs).abs().max().item()
    scale = max(1.0, theirs.abs().max().item())
    if not gap <= tolerance * scale:
        raise UnsupportedLayerError(
            "model", f"its graph differs from the model by {gap:.3g}, so it is not used"
        )


def as_returned(logits: Tensor, output: OutputKind) -> Tensor:
    """What the model returns for these logits: the inverse of reading them."""
    if output is OutputKind.PROBABILITIES:
        return logits.softmax(dim=1)
    if output is OutputKind.LOG_PROBABILITIES:
        return logits.log_softmax(dim=1)
    return logits


def _random_inputs(graph: LayerGraph) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (BATCH, *graph.input_shape)
    unit = torch.rand(shape, generator=generator, dtype=torch.float64)
    return torch.cat([unit, unit * 4.0 - 2.0])


def _reference(model: LoadedModel) -> tuple[Callable[[Tensor], Tensor], float]:
    """The model in float64 where it can be converted, else as it runs."""
    artifact = model.artifact
    if isinstance(artifact, torch.nn.Module) and any(
        True for _ in artifact.parameters()
    ):
        double = copy.deepcopy(artifact).cpu().double()
        try:
            with torch.no_grad():
                double(torch.zeros(1, *model.input_shape, dtype=torch.float64))
        except RuntimeError:  # a cast inside the model: it runs in one dtype only
            pass
        else:
            return double, EXACT
    return _as_it_runs(model), WIDE.get(model.dtype, EXACT)


def _as_it_runs(model: LoadedModel) -> Callable[[Tensor], Tensor]:
    def function(batch: Tensor) -> Tensor:
        return model.function(batch.to(device=model.device, dtype=model.dtype))

    return function
