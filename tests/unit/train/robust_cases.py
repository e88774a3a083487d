"""Nets, a problem in the plane, and certificates of what was trained on it."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from robustcert.certify.interface import CertificationTask
from robustcert.certify.registry import CERTIFIERS
from robustcert.graph.execute import run
from robustcert.graph.layers import LayerGraph
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box
from robustcert.train.interface import Batch, Fit, Moment, TrainingData
from robustcert.train.live import live_graph

PLANE = Box(-2.0, 2.0)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def seeded(net: nn.Module, seed: int = 0) -> nn.Module:
    """The net in float64 with parameters drawn from a generator of its own."""
    g = generator(seed)
    net = net.double()
    with torch.no_grad():
        for parameter in net.parameters():
            drawn = torch.randn(parameter.shape, generator=g, dtype=torch.float64)
            parameter.copy_(drawn / math.sqrt(max(1, parameter[0].numel())))
    return net


def plane_net(seed: int = 0) -> nn.Module:
    layers = [nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU()]
    return seeded(nn.Sequential(*layers, nn.Linear(16, 2)), seed)


def plane_data(examples: int = 256) -> TrainingData:
    """Two classes, on the left and on the right, with a gap of 0.6 between them.

    The second coordinate tells nothing.
    """
    g = generator(3)
    labels = torch.arange(examples) % 2
    across = 0.3 + 0.7 * torch.rand(examples, generator=g, dtype=torch.float64)
    along = 2.0 * torch.rand(examples, generator=g, dtype=torch.float64) - 1.0
    inputs = torch.stack([across * (2 * labels - 1), along], dim=1)
    everything = Batch(inputs, labels)
    nothing = everything.rows(slice(0, 0))
    return TrainingData(everything, nothing, nothing, PLANE, "plane")


def trained(net: nn.Module, fit: Fit, data: TrainingData, steps: int = 80) -> nn.Module:
    """The net after some steps of Adam on all examples at once."""
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for step in range(steps):
        loss = fit(net, data.training, Moment(0, step, steps)).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net


def frozen_graph(net: nn.Module, shape: tuple[int, ...]) -> LayerGraph:
    """The graph of a copy, in float64, nothing of it differentiated."""
    return live_graph(copy.deepcopy(net).double().requires_grad_(False), shape)


def certified_share(
    net: nn.Module, data: TrainingData, name: str, norm: Norm, epsilon: float
) -> float:
    """Share of the training examples that a certifier proves at ``epsilon``."""
    inputs, labels = data.training.inputs.double(), data.training.targets
    graph = frozen_graph(net, tuple(inputs.shape[1:]))
    right = run(graph, inputs).argmax(dim=1) == labels
    inputs, labels = inputs[right], labels[right]
    slack = torch.zeros(len(inputs), dtype=torch.float64)
    task = CertificationTask(graph, inputs, labels, norm, data.box, slack)
    proof = CERTIFIERS[name](graph, norm).prove(task, slack + epsilon)
    return float(proof.proved.sum()) / len(right)
