"""auto_LiRPA 0.3, its release on PyPI, made to run on a torch it was not written for.

The release asks for torch below 1.13. What it expects of torch and numpy has moved
since; :func:`imported` puts it back for this process, and changes no computation.

Reference:
    Xu et al. Automatic Perturbation Analysis for Scalable Certified Robustness and
        Beyond. NeurIPS 2020.
"""

from __future__ import annotations

import importlib
import sys
import types
from itertools import takewhile
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peer_task import PeerTask
from robustcert.errors import UnsupportedLayerError
from robustcert.graph.activations import ActivationKind
from robustcert.graph.layers import (
    Add,
    Affine,
    Conv,
    Elementwise,
    Input,
    Layer,
    LayerGraph,
    Linear,
    Reshape,
)
from robustcert.results.norm import Norm

OPTIONS = {"sparse_features_alpha": False, "conv_mode": "patches"}

BATCH = 20
"""Samples at once."""

FUNCTIONS = {
    ActivationKind.RELU: torch.relu,
    ActivationKind.SIGMOID: torch.sigmoid,
    ActivationKind.TANH: torch.tanh,
}


def imported() -> Any:
    """The package.

    Raises:
        ImportError: it is not installed, or expects more than is put back here.
    """
    import torch.onnx.symbolic_helper as helper

    moved = types.ModuleType("numpy.lib.arraysetops")
    moved.isin = np.isin  # type: ignore[attr-defined]
    sys.modules.setdefault("numpy.lib.arraysetops", moved)
    if not hasattr(helper, "_set_opset_version"):
        helper._set_opset_version = lambda _: None
    if not hasattr(torch._C.Node, "__getitem__"):
        torch._C.Node.__getitem__ = _attribute
    package = importlib.import_module("auto_LiRPA")
    # It overrides a private method by one with fewer arguments than torch now gives.
    members = package.BoundedModule.__dict__.get("_named_members")
    if members is not None:
        package.BoundedModule._named_members = _without_duplicates(members)
    return package


def _without_duplicates(members: Any) -> Any:
    def called(self: Any, *given: Any, **named: Any) -> Any:
        named.pop("remove_duplicate", None)
        return members(self, *given, **named)

    return called


def _attribute(node: Any, name: str) -> Any:
    return getattr(node, node.kindOf(name))(name)


class Module(nn.Module):
    """A graph as a float32 module of the layers that the peer can read.

    Scaling of the input is left out: the peer gets a scaled ball instead.
    """

    def __init__(self, graph: LayerGraph) -> None:
        super().__init__()
        self.layers = graph.layers
        self.maps = nn.ModuleDict()
        for place, layer in enumerate(graph.layers):
            scaling = place <= len(_scalings(graph))
            found = None if scaling else _parametrised(layer)
            if found is not None:
                self.maps[str(place)] = found

    def forward(self, inputs: Tensor) -> Tensor:
        values = [inputs]
        for place, layer in enumerate(self.layers[1:], start=1):
            sources = [values[source] for source in layer.inputs]
            if str(place) in self.maps:
                values.append(self.maps[str(place)](sources[0]))
            elif isinstance(layer, Elementwise):
                values.append(FUNCTIONS[layer.activation.kind](sources[0]))
            elif isinstance(layer, Affine):
                values.append(sources[0])
            elif isinstance(layer, Add):
                values.append(sources[0] + sources[1])
            else:
                values.append(sources[0].reshape(-1, *layer.shape))
        return values[-1]


def _scalings(graph: LayerGraph) -> list[Affine]:
    """The affine layers right behind the input."""
    found = takewhile(lambda layer: isinstance(layer, Affine), graph.layers[1:])
    return [layer for layer in found if isinstance(layer, Affine)]


def _parametrised(layer: Layer) -> nn.Module | None:
    match layer:
        case Linear():
            plain = nn.Linear(*layer.weight.shape[::-1])
            return _with(plain, layer.weight, layer.bias)
        case Conv() if len(layer.stride) == 2 and all(a == b for a, b in layer.padding):
            outputs, width, *kernel = layer.weight.shape
            conv = nn.Conv2d(
                width * layer.groups, outputs, tuple(kernel), layer.stride,
                tuple(low for low, _ in layer.padding), layer.dilation, layer.groups,
            )  # fmt: skip
            return _with(conv, layer.weight, layer.bias)
        case Elementwise() if layer.activation.kind in FUNCTIONS:
            return None
        case Add() if layer.weight == 1.0:
            return None
        case Input() | Reshape():
            return None
    raise UnsupportedLayerError(layer.name, f"no {layer.kind} is handed to this peer")


def _with(module: Any, weight: Tensor, bias: Tensor | None) -> nn.Module:
    module.weight.data = weight.float()
    zero = torch.zeros_like(module.bias)
    module.bias.data = zero if bias is None else bias.float()
    return module


def refusal(task: PeerTask) -> str:
    """Why the package cannot run here; empty where it can."""
    try:
        imported()
        Module(task.graph)
    except ImportError as error:
        return f"auto_LiRPA cannot be imported ({error})"
    except UnsupportedLayerError as error:
        return error.reason
    return ""


def crown_certified(task: PeerTask) -> Tensor:
    """By CROWN."""
    return _certified(task, "CROWN")


def alpha_crown_certified(task: PeerTask) -> Tensor:
    """By CROWN with slopes that it optimises, those of hidden bounds too."""
    return _certified(task, "CROWN-Optimized")


def _certified(task: PeerTask, method: str) -> Tensor:
    package, module = imported(), Module(task.graph)
    proved = torch.zeros(len(task.labels), dtype=torch.bool)
    for rows in torch.arange(len(task.labels)).split(BATCH):
        ball = _ball(package, task, task.inputs[rows].float())
        # Its slopes keep the sizes of the batch that they were made for.
        net = package.BoundedModule(module, ball[:1], bound_opts=dict(OPTIONS))
        bound = net.compute_bounds(
            x=(ball,),
            C=_margin_rows(task.labels[rows], task.graph.layers[-1].size),
            method=method,
            bound_upper=False,
        )[0]
        proved[rows] = (bound.detach() > 0.0).all(dim=1)
    return proved


def _ball(package: Any, task: PeerTask, inputs: Tensor) -> Any:
    """The scaled centres with their ball; an L2 ball is not cut by the box."""
    shape = package.perturbations.PerturbationLpNorm
    scalings = _scalings(task.graph)
    if task.norm is Norm.L2:
        if scalings:
            name = scalings[0].name
            raise UnsupportedLayerError(name, "an L2 ball is not scaled here")
        return package.BoundedTensor(inputs, shape(norm=2, eps=task.epsilon))
    low = (inputs - task.epsilon).clamp(min=task.box.low)
    high = (inputs + task.epsilon).clamp(max=task.box.high)
    for layer in scalings:
        scale, shift = layer.scale.float(), layer.shift.float()
        low, high = scale * low + shift, scale * high + shift
    ball = shape(norm=np.inf, eps=task.epsilon, x_L=low, x_U=high)
    return package.BoundedTensor((low + high) / 2, ball)


def _margin_rows(labels: Tensor, classes: int) -> Tensor:
    """``(N, K - 1, K)``: the label's logit less each other one."""
    unit = torch.eye(classes)
    rows = unit[labels][:, None] - unit[None]
    others = F.one_hot(labels, classes) == 0
    return rows[others].reshape(len(labels), classes - 1, classes)
