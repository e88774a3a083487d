"""The nets that the Lipschitz figures are measured on, made from nothing but a seed.

The dense nets are trained on Fashion-MNIST (Debian's package ``dataset-fashion-mnist``)
and kept in a folder of the caller's; the convolutional ones are random.
"""

from __future__ import annotations

import gzip
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from robustcert.errors import SamplesError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.build import GraphBuilder, Symbol
from robustcert.graph.layers import Conv, Elementwise, LayerGraph, Linear

FASHION = Path("/usr/share/datasets/fashion-mnist")
CLASSES = 10
EPOCHS = 2
BATCH = 128
RATE = 1e-3

RELU = Activation(ActivationKind.RELU)
Weights = list[tuple[Tensor, Tensor]]  # of each dense layer: weight, bias


@dataclass(frozen=True, slots=True)
class DenseNet:
    """A dense ReLU net, and the seed of its weights and of the batches' order."""

    name: str
    widths: tuple[int, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class ConvNet:
    """3 x 3 convolutions with padding 1 on images of ``size``, then a dense head."""

    name: str
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    seed: int = 0
    size: int = 32


DENSE_NETS = (
    DenseNet("784-256-256-10", (784, 256, 256, CLASSES), seed=5),
    DenseNet("784-128x4-10", (784, *(128,) * 4, CLASSES), seed=3),
    DenseNet("784-64x9-10", (784, *(64,) * 9, CLASSES), seed=12),
)
CONV_NETS = (
    ConvNet("6 convs, stride 1", (16, 16, 32, 32, 64, 64), (1,) * 6),
    ConvNet(
        "8 strided convs", (16, 16, 32, 32, 64, 64, 64, 64), (1, 2, 1, 2, 1, 2, 1, 2)
    ),
)


def fashion_mlp(net: DenseNet, folder: Path) -> LayerGraph:
    """The trained net, from ``folder`` or trained now and kept there.

    Weights are float32 numbers in float64. Another kind of processor rounds otherwise
    and ends in another net: compare what was measured on the same weights.

    Raises:
        SamplesError: Fashion-MNIST is not installed.
    """
    file = folder / f"fashion_{net.name}_seed{net.seed}.npz"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        arrays = [part.numpy() for layer in trained_weights(net) for part in layer]
        np.savez(file, *arrays)
    with np.load(file) as kept:
        parts = [torch.from_numpy(kept[name]) for name in kept.files]
    return dense_graph(list(zip(parts[::2], parts[1::2], strict=True)))


def trained_weights(net: DenseNet) -> Weights:
    """Two epochs of Adam on the cross-entropy; float32.

    On one thread: another order of summation ends in another net.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _trained(net)
    finally:
        torch.set_num_threads(threads)


def _trained(net: DenseNet) -> Weights:
    images, labels = fashion("train")
    generator = torch.Generator().manual_seed(net.seed)
    layers = initial_weights(net.widths, generator)
    parts = [part.requires_grad_() for layer in layers for part in layer]
    optimiser = torch.optim.Adam(parts, lr=RATE)
    for _ in range(EPOCHS):
        order = torch.randperm(len(images), generator=generator)
        for chosen in order.split(BATCH):
            loss = F.cross_entropy(_logits(layers, images[chosen]), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return [(weight.detach(), bias.detach()) for weight, bias in layers]


def initial_weights(widths: tuple[int, ...], generator: torch.Generator) -> Weights:
    """Weights and biases uniform in ``+- 1 / sqrt(fan in)``, as torch draws them."""

    def uniform(fan_in: int, *shape: int) -> Tensor:
        return (2.0 * torch.rand(shape, generator=generator) - 1.0) / fan_in**0.5

    return [
        (uniform(fan_in, fan_out, fan_in), uniform(fan_in, fan_out))
        for fan_in, fan_out in itertools.pairwise(widths)
    ]


def fashion(part: str, folder: Path = FASHION) -> tuple[Tensor, Tensor]:
    """Images ``(N, 784)`` in [0, 1] and labels; ``part`` is "train" or "t10k".

    Raises:
        SamplesError: Fashion-MNIST is not installed.
    """
    if not folder.is_dir():
        raise SamplesError(
            f"Fashion-MNIST is not in {folder}",
            remedy="Install it: apt-get install dataset-fashion-mnist",
        )
    images = _idx(folder / f"{part}-images-idx3-ubyte.gz", header=16)
    labels = _idx(folder / f"{part}-labels-idx1-ubyte.gz", header=8)
    return images.reshape(len(labels), -1).float() / 255.0, labels.long()


def _idx(file: Path, header: int) -> Tensor:
    data = gzip.decompress(file.read_bytes())
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=header).copy())


def _logits(layers: Weights, inputs: Tensor) -> Tensor:
    for weight, bias in layers[:-1]:
        inputs = F.relu(F.linear(inputs, weight, bias))
    return F.linear(inputs, *layers[-1])


def dense_graph(layers: Weights) -> LayerGraph:
    """Dense layers with ReLU between them."""
    builder = GraphBuilder()
    symbol = builder.start((layers[0][0].shape[1],))
    for number, (weight, bias) in enumerate(layers):
        if number:
            symbol = builder.add(Elementwise, "relu", [symbol], {"activation": RELU})
        symbol = _linear(builder, symbol, weight, bias)
    return builder.finish(symbol)


def random_conv_net(net: ConvNet) -> LayerGraph:
    """The net with He's initialisation: weights of variance 2 / fan in, no biases.

    Reference:
        He et al. Delving Deep into Rectifiers. ICCV 2015.
    """
    generator = torch.Generator().manual_seed(net.seed)
    builder = GraphBuilder()
    symbol = builder.start((3, net.size, net.size))
    for channels, stride in zip(net.channels, net.strides, strict=True):
        weight = _he(generator, channels, symbol.shape[0], 3, 3)
        symbol = builder.add(
            Conv,
            "conv",
            [symbol],
            {
                "weight": weight,
                "bias": None,
                "stride": (stride, stride),
                "padding": ((1, 1), (1, 1)),
                "dilation": (1, 1),
                "groups": 1,
            },
        )
        symbol = builder.add(Elementwise, "relu", [symbol], {"activation": RELU})
    symbol = builder.reshape("flatten", symbol, symbol.example.flatten(1))
    head = _he(generator, CLASSES, symbol.shape[0])
    return builder.finish(_linear(builder, symbol, head, torch.zeros(CLASSES)))


def _he(generator: torch.Generator, *shape: int) -> Tensor:
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    return weight * (2.0 / weight[0].numel()) ** 0.5


def _linear(
    builder: GraphBuilder, symbol: Symbol, weight: Tensor, bias: Tensor
) -> Symbol:
    attributes = {"weight": weight.double(), "bias": bias.double()}
    return builder.add(Linear, "linear", [symbol], attributes)
