"""Read a loaded model as a graph of layers, or refuse by the operator's name."""

from __future__ import annotations

import torch

from robustcert.errors import ModelLoadError, UnsupportedLayerError
from robustcert.graph.activations import ActivationKind
from robustcert.graph.agreement import check_agreement
from robustcert.graph.build import Final, GraphBuilder, Reading, Symbol
from robustcert.graph.exported.read import read_exported
from robustcert.graph.layers import Elementwise, LayerGraph
from robustcert.graph.torchscript.rules import RULES
from robustcert.graph.torchscript.walk import Walk
from robustcert.models.exported_module import ExportedModule
from robustcert.models.interface import LoadedModel
from robustcert.models.torchscript import frozen
from robustcert.results.report import OutputKind


def extract(model: LoadedModel) -> LayerGraph:
    """The model's layers up to its logits, in float64 on the CPU.

    A final softmax is left out: the graph ends in what it is applied to. The graph is
    run against the model on random inputs before it is returned.

    Raises:
        UnsupportedLayerError: names the operator without a rule, or the disagreement.
        ModelLoadError: the model returns one probability instead of a logit.
    """
    reading = _reading(model)
    _check_output(reading.graph, model, reading.output or model.output)
    check_agreement(reading.graph, model)
    return reading.graph


def _reading(model: LoadedModel) -> Reading:
    """The graph by the front door that fits what was loaded."""
    builder = GraphBuilder()
    match model.artifact:
        case Reading() as reading:  # of ONNX, which is its own graph
            return reading
        case ExportedModule() as module:
            return builder.reading(read_exported(module, builder, model.input_shape))
        case script:
            return builder.reading(
                _walk_torchscript(script, builder, model.input_shape)
            )


def _walk_torchscript(
    artifact: object, builder: GraphBuilder, shape: tuple[int, ...]
) -> Symbol | Final:
    module = frozen(artifact)
    graph = module.graph.copy()
    torch._C._jit_pass_inline(graph)
    owner, *inputs = list(graph.inputs())
    if len(inputs) != 1:
        raise UnsupportedLayerError("forward", f"takes {len(inputs)} inputs, not one")
    walk = Walk(builder, RULES)
    walk.values[owner.debugName()] = module
    walk.values[inputs[0].debugName()] = builder.start(shape)
    outputs = walk.block(graph)
    if len(outputs) != 1 or not isinstance(outputs[0], Symbol | Final):
        raise UnsupportedLayerError("forward", "does not return one tensor")
    return outputs[0]


def _check_output(graph: LayerGraph, model: LoadedModel, kind: OutputKind) -> None:
    last = graph.layers[-1]
    if kind is not model.output:
        raise UnsupportedLayerError(
            last.name, f"returns {kind.value}, but its values look like {model.output}"
        )
    if (
        model.output is OutputKind.SINGLE_LOGIT
        and isinstance(last, Elementwise)
        and last.activation.kind is ActivationKind.SIGMOID
    ):
        raise ModelLoadError(
            "the model returns one probability",
            remedy="Export it without the final sigmoid, so that it returns a logit.",
        )
