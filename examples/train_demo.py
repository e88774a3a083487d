"""Train the demo model that ships with robustcert, and cut out its samples.

A small convolutional net on Fashion-MNIST, trained with interval bound propagation
(Gowal et al. 2018) for perturbations of l-infinity norm 0.1, so that the demo has
something to prove. Takes about ten minutes on two cores:

    apt-get install dataset-fashion-mnist
    python examples/train_demo.py --data /usr/share/datasets/fashion-mnist

Writes ``fashion_mnist_demo.ts.pt`` and ``fashion_mnist_500.npz`` to ``--out``.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 0.1
SAMPLES = 500


def read_idx(path: Path) -> Tensor:
    """The array in a gzipped idx file (http://yann.lecun.com/exdb/mnist)."""
    data = gzip.decompress(path.read_bytes())
    rank = data[3]
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    array = np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)
    return torch.from_numpy(array.copy())


def demo_net() -> nn.Sequential:
    """conv16 - conv32 (4x4, stride 2) - 64 - 10 with ReLU; 110,000 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def worst_logits(
    net: nn.Sequential, inputs: Tensor, labels: Tensor, epsilon: float
) -> Tensor:
    """Logits ``(N, 10)`` relative to the label's, at their worst over the ball.

    Interval bound propagation, with the last layer taken as differences of rows.
    """
    low, high = (inputs - epsilon).clamp(min=0), (inputs + epsilon).clamp(max=1)
    for layer in net[:-1]:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            centre, radius = (low + high) / 2, (high - low) / 2
            centre, radius = layer(centre), spread(layer, radius)
            low, high = centre - radius, centre + radius
        else:
            low, high = layer(low), layer(high)
    last: nn.Linear = net[-1]
    rows = last.weight[None] - last.weight[labels][:, None]
    shift = last.bias[None] - last.bias[labels][:, None]
    centre, radius = (low + high) / 2, (high - low) / 2
    reach = torch.einsum("nki,ni->nk", rows.abs(), radius)
    return torch.einsum("nki,ni->nk", rows, centre) + shift + reach


def spread(layer: nn.Conv2d | nn.Linear, radius: Tensor) -> Tensor:
    """Radius of an affine layer's output."""
    weight = layer.weight.abs()
    if isinstance(layer, nn.Linear):
        return F.linear(radius, weight)
    return F.conv2d(radius, weight, None, layer.stride, layer.padding)


def train(inputs: Tensor, labels: Tensor, epochs: int, seed: int) -> nn.Sequential:
    """The trained net; epsilon grows over the first two thirds of the epochs."""
    torch.manual_seed(seed)
    net = demo_net()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    batches = len(inputs) // 256
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=2e-3, total_steps=epochs * batches
    )
    for epoch in range(epochs):
        order = torch.randperm(len(inputs))
        for step in range(batches):
            done = (epoch + step / batches) / epochs
            ramp = min(1.0, max(0.0, (done - 0.05) / 0.6))
            picked = order[step * 256 : step * 256 + 256]
            x, y = inputs[picked], labels[picked]
            loss = (1 - ramp / 2) * F.cross_entropy(net(x), y)
            if ramp > 0:
                worst = worst_logits(net, x, y, EPSILON * ramp)
                loss = loss + ramp / 2 * F.cross_entropy(worst, y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            scheduler.step()
        print(f"epoch {epoch + 1}/{epochs}: loss {loss.item():.4f}", flush=True)
    return net.eval()


def shares(net: nn.Sequential, inputs: Tensor, labels: Tensor) -> tuple[float, float]:
    """Clean and certified accuracy (at EPSILON, by interval propagation)."""
    with torch.no_grad():
        clean = net(inputs).argmax(1) == labels
        worst = worst_logits(net, inputs, labels, EPSILON)
        others = worst.scatter(1, labels[:, None], -torch.inf)
        proved = others.amax(1) < 0
    return clean.double().mean().item(), proved.double().mean().item()


def main() -> None:
    """Train, export, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("robustcert/models/data"))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    train_x = read_idx(asked.data / "train-images-idx3-ubyte.gz")
    train_y = read_idx(asked.data / "train-labels-idx1-ubyte.gz").long()
    test_x = read_idx(asked.data / "t10k-images-idx3-ubyte.gz")
    test_y = read_idx(asked.data / "t10k-labels-idx1-ubyte.gz").long()
    net = train(train_x[:, None] / 255.0, train_y, asked.epochs, asked.seed)
    clean, proved = shares(net, test_x[:, None] / 255.0, test_y)
    print(f"test set: clean {clean:.4f}, certified at {EPSILON}: {proved:.4f}")
    torch.jit.script(net).save(asked.out / "fashion_mnist_demo.ts.pt")
    np.savez_compressed(
        asked.out / "fashion_mnist_500.npz",
        inputs=test_x[:SAMPLES, None].numpy(),
        labels=test_y[:SAMPLES].numpy().astype(np.int64),
    )


if __name__ == "__main__":
    main()
