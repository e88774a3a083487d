"""bound-propagation 0.4.7: interval, CROWN and alpha-CROWN bounds of dense chains."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peer_task import PeerTask
from robustcert.errors import UnsupportedLayerError
from robustcert.graph.activations import ActivationKind
from robustcert.graph.fold import folded
from robustcert.graph.layers import (
    Elementwise,
    Input,
    Layer,
    LayerGraph,
    Linear,
    Reshape,
)
from robustcert.results.norm import Norm

BATCH = 20
"""Samples at once; more is slower on one thread."""


def interval_certified(task: PeerTask) -> Tensor:
    """By IBP."""
    return _certified(task, lambda net, region: net.ibp(region).lower)


def crown_certified(task: PeerTask) -> Tensor:
    """By CROWN."""
    return _certified(task, _crown)


def alpha_crown_certified(task: PeerTask) -> Tensor:
    """By CROWN with slopes that it optimises."""
    return _certified(task, lambda net, region: _crown(net, region, alpha=True))


def refusal(task: PeerTask) -> str:
    """Why the package cannot run here; empty where it can."""
    try:
        importlib.import_module("bound_propagation")
    except ImportError as error:
        return f"bound_propagation cannot be imported ({error})"
    if task.norm is Norm.L2:
        # p / (1 - p) where the dual norm is p / (p - 1): for p = 2 it takes the norm of
        # order -2, which is below the true one.
        return "its dual norm has the wrong sign: its L2 bounds are not sound"
    try:
        dense_chain(task.graph)
    except UnsupportedLayerError as error:
        return error.reason
    return ""


def dense_chain(graph: LayerGraph) -> list[Layer]:
    """The layers of a net of linear layers and ReLU, one after another.

    Raises:
        UnsupportedLayerError: the net is another.
    """
    layers = list(folded(graph).layers)
    for position, layer in enumerate(layers):
        follows = layer.inputs in ((), (position - 1,))
        relu = (
            isinstance(layer, Elementwise)
            and layer.activation.kind is ActivationKind.RELU
        )
        if not follows or not (relu or isinstance(layer, Input | Reshape | Linear)):
            raise UnsupportedLayerError(layer.name, f"it has no {layer.kind} here")
    if not isinstance(layers[-1], Linear):
        raise UnsupportedLayerError(layers[-1].name, "the last layer is not linear")
    return [layer for layer in layers if isinstance(layer, Linear | Elementwise)]


def margin_net(chain: list[Layer], label: int) -> nn.Sequential:
    """A float32 net whose outputs are the label's margins over each other class."""
    modules: list[nn.Module] = []
    for layer in chain[:-1]:
        linear = isinstance(layer, Linear)
        modules.append(_module(layer.weight, layer.bias) if linear else nn.ReLU())
    last = chain[-1]
    others = [k for k in range(len(last.weight)) if k != label]
    shift = None if last.bias is None else last.bias[label] - last.bias[others]
    modules.append(_module(last.weight[label] - last.weight[others], shift))
    return nn.Sequential(*modules)


def _module(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    module.weight.data = weight.float()
    if bias is not None:
        module.bias.data = bias.float()
    return module


def _certified(task: PeerTask, bound: Callable[[Any, Any], Tensor]) -> Tensor:
    package = importlib.import_module("bound_propagation")
    chain = dense_chain(task.graph)
    proved = torch.zeros(len(task.labels), dtype=torch.bool)
    for label in task.labels.unique().tolist():
        net = package.BoundModelFactory().build(margin_net(chain, label))
        net.propagate_size(task.inputs[0].numel())
        for rows in _rows(task.labels == label):
            centres = task.inputs[rows].flatten(1).float()
            region = package.HyperRectangle(
                (centres - task.epsilon).clamp(min=task.box.low),
                (centres + task.epsilon).clamp(max=task.box.high),
            )
            proved[rows] = (bound(net, region).detach() > 0.0).all(dim=1)
    return proved


def _crown(net: Any, region: Any, *, alpha: bool = False) -> Tensor:
    return net.crown(region, alpha=alpha, bound_upper=False).concretize().lower


def _rows(mask: Tensor) -> Iterator[Tensor]:
    return iter(mask.nonzero().flatten().split(BATCH))
