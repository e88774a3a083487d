"""Models with known answers, and one small net trained on the spot."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robustcert.models.interface import LoadedModel
from robustcert.results.report import OutputKind

Wrap = Callable[..., LoadedModel]


@pytest.fixture(scope="session")
def wrap() -> Wrap:
    """Any function of a batch as a loaded model."""

    def loaded(
        function: Callable[[Tensor], Tensor],
        shape: tuple[int, ...],
        classes: int,
        output: OutputKind = OutputKind.LOGITS,
        dtype: torch.dtype = torch.float32,
    ) -> LoadedModel:
        return LoadedModel(
            function, function, "0" * 64, "torchscript", shape, classes, output, 0,
            dtype, torch.device("cpu"),
        )  # fmt: skip

    return loaded


def striped_pictures(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy 1x8x8 pictures of four classes: where the bright bar lies."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=generator)
    inputs = 0.25 + 0.15 * torch.randn(count, 1, 8, 8, generator=generator)
    for row, label in enumerate(labels.tolist()):
        inputs[row, :, 2 * label : 2 * label + 2] += 0.35
    return inputs.clamp(0.0, 1.0), labels


@pytest.fixture(scope="session")
def bars(wrap: Wrap) -> tuple[LoadedModel, Tensor, Tensor]:
    """A small conv net that tells the bars apart, and 32 samples it has not seen."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(384, 4)
        )
        inputs, labels = striped_pictures(256, seed=1)
        adam = torch.optim.Adam(net.parameters(), lr=0.01)
        for _ in range(40):
            adam.zero_grad()
            nn.functional.cross_entropy(net(inputs), labels).backward()
            adam.step()
    net.requires_grad_(False).eval()
    return wrap(net, (1, 8, 8), 4), *striped_pictures(32, seed=2)


@pytest.fixture(scope="session")
def linear(wrap: Wrap) -> tuple[LoadedModel, Tensor, Tensor, Tensor]:
    """A linear classifier, samples far from the box's faces, labels, and its matrix."""
    generator = torch.Generator().manual_seed(4)
    W = torch.randn(5, 12, generator=generator)
    inputs = 0.5 + 0.02 * torch.randn(16, 12, generator=generator)
    offset = -W @ torch.full((12,), 0.5)
    model = wrap(lambda x: x @ W.to(x.dtype).T + offset.to(x.dtype), (12,), 5)
    return model, inputs, model.logits(inputs).argmax(dim=1), W
