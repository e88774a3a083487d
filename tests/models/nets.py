"""Nets of every layer kind, and nets whose answers are known."""

from __future__ import annotations

import io
import itertools
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGE = (2, 8, 8)
TABLE = (6,)


class Residual(nn.Module):
    """conv - relu - conv, added to its input in place, as torchvision writes it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.conv2(self.relu(self.norm(self.conv1(x))))
        out += identity
        return self.relu(out)


class Concat(nn.Module):
    """Two branches side by side, with the input."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(2, 3, 1)
        self.right = nn.Conv2d(2, 3, 3, padding=1)
        self.head = nn.Linear(8 * 64, 4)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([F.relu(self.left(x)), torch.tanh(self.right(x)), x], dim=1)
        return self.head(both.view(x.size(0), -1))


class Normalised(nn.Module):
    """Constant normalisation in front, as many users export it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5]).view(1, 2, 1, 1))
        self.register_buffer("std", torch.tensor([0.2, 0.3]).view(1, 2, 1, 1))
        self.body = nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(192, 4)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body((x - self.mean) / self.std)


class Sliced(nn.Module):
    """Slices of a picture in every way that people write them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.head = nn.Linear(312, 4)

    def forward(self, x: Tensor) -> Tensor:
        left, right = F.relu(self.conv(x)).chunk(2, dim=1)
        top, middle, bottom = right[:, :, :2], right[:, :, 2:7], right[:, :, -1:]
        first, second = torch.split(left, 1, dim=1)
        parts = [
            (first - second).flip(2)[:, :, 1:-1, ::2].flatten(1),
            top.narrow(3, 2, 4).flatten(1),
            torch.stack([middle[:, 0], middle[:, 1]], dim=2).flatten(1),
            bottom.select(2, 0)[..., 3:].flatten(1),
            x[:, [1, 0, 1]].flatten(1)[:, 5:-5],
        ]
        return self.head(torch.cat(parts, dim=1))


class PaddedShortcut(nn.Module):
    """A strided block whose shortcut drops pixels and adds empty channels.

    He et al. Deep Residual Learning for Image Recognition. CVPR 2016, option A.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))
        out = F.relu(self.conv2(F.relu(self.conv1(x))) + short)
        return self.head(torch.flatten(out, 1))


class Picked(nn.Module):
    """Columns of a table by their numbers, some of them twice, and some missing."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(9, 5)
        self.head = nn.Linear(3, 3)
        self.register_buffer("columns", torch.tensor([4, 0, 4]))

    def forward(self, x: Tensor) -> Tensor:
        single = torch.stack([x[:, 2], x[:, -1]], dim=1)
        some = x.index_select(1, self.columns)
        hidden = torch.tanh(self.first(torch.cat([single, some, x[:, 1:5]], dim=1)))
        return self.head(F.pad(hidden, (1, 0), value=0.25)[:, :3])


class ShapeBranch(nn.Module):
    """Control flow on shapes: resolved while the graph is read."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 6) for _ in range(3)])
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() > 2:
            x = x.flatten(1)
        for layer in self.layers:
            x = torch.relu(layer(x)) + x
        return self.head(x)


class DataBranch(nn.Module):
    """Control flow on data: no graph stands for it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        if bool(x.sum() > 0):
            return self.head(x)
        return self.head(-x)


class ViewThenInPlace(nn.Module):
    """Reads a tensor again after a view of it was changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        z = y.view(-1, 2, 3)
        z.relu_()
        return self.head(y)


def conv_net(activation: nn.Module | None = None, **conv: int | str) -> nn.Sequential:
    """A conv net on IMAGE with one convolution of the given settings."""
    first = nn.Conv2d(2, 4, 3, **conv)
    act = activation or nn.ReLU()
    size = first(torch.zeros(1, *IMAGE)).numel()
    return nn.Sequential(first, act, nn.Flatten(), nn.Linear(size, 4))


def conv_net_of(size: int, activation: nn.Module) -> nn.Sequential:
    """A conv net on square images of two channels and this size."""
    sizes = 3 * (size - 2) ** 2
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), activation, nn.Flatten(), nn.Linear(sizes, 4)
    )


def mlp(*sizes: int, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of the given sizes with an activation between them."""
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), activation()]
    return nn.Sequential(*layers[:-1])


def pooled(pool: nn.Module) -> nn.Sequential:
    """A conv net with a pooling layer."""
    body = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), pool)
    size = body(torch.zeros(1, *IMAGE)).numel()
    return nn.Sequential(body, nn.Flatten(), nn.Linear(size, 4))


def settled(net: nn.Module, seed: int = 0) -> nn.Module:
    """The net in eval mode with weights from ``seed`` and batch norms that matter."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        for parameter in module.parameters(recurse=False):
            scale = 1.0 / max(1, parameter[0].numel()) ** 0.5
            parameter.data = torch.randn(parameter.shape, generator=generator) * scale
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            size = module.num_features
            module.running_mean = torch.randn(size, generator=generator)
            module.running_var = torch.rand(size, generator=generator) + 0.5
            module.weight.data = torch.rand(size, generator=generator) + 0.5
    return net.eval()


IMAGE_NETS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: mlp(128, 10, 8, 4),
    "conv": lambda: conv_net(padding=1),
    "conv strided": lambda: conv_net(stride=2, padding=1),
    "conv dilated": lambda: conv_net(dilation=2, padding=2),
    "conv grouped": lambda: conv_net(groups=2),
    "conv same": lambda: conv_net(padding="same", dilation=2),
    "batch norm": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(144, 4),
    ),
    "batch norm first": lambda: nn.Sequential(
        nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3, padding=1), nn.Flatten(), mlp(192, 5, 3)
    ),
    "leaky relu": lambda: conv_net(nn.LeakyReLU(0.1)),
    "elu": lambda: conv_net(nn.ELU(0.7)),
    "selu": lambda: conv_net(nn.SELU()),
    "celu": lambda: conv_net(nn.CELU(1.5)),
    "sigmoid": lambda: conv_net(nn.Sigmoid()),
    "tanh": lambda: conv_net(nn.Tanh()),
    "softplus": lambda: conv_net(nn.Softplus(2.0)),
    "silu": lambda: conv_net(nn.SiLU()),
    "gelu": lambda: conv_net(nn.GELU()),
    "gelu tanh": lambda: conv_net(nn.GELU(approximate="tanh")),
    "relu6": lambda: conv_net(nn.ReLU6()),
    "hardtanh": lambda: conv_net(nn.Hardtanh(-0.5, 0.7)),
    "hardsigmoid": lambda: conv_net(nn.Hardsigmoid()),
    "hardswish": lambda: conv_net(nn.Hardswish()),
    "prelu": lambda: conv_net(nn.PReLU()),
    "max pool": lambda: pooled(nn.MaxPool2d(2)),
    "max pool overlapping": lambda: pooled(nn.MaxPool2d(3, stride=2, padding=1)),
    "average pool": lambda: pooled(nn.AvgPool2d(3, stride=2, padding=1)),
    "average pool uncounted": lambda: pooled(
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)
    ),
    "adaptive pool": lambda: pooled(nn.AdaptiveAvgPool2d(2)),
    "global pool": lambda: pooled(nn.AdaptiveAvgPool2d(1)),
    "adaptive max pool": lambda: pooled(nn.AdaptiveMaxPool2d(4)),
    "residual": lambda: nn.Sequential(Residual(2), nn.Flatten(), nn.Linear(128, 4)),
    "concat": Concat,
    "normalised": Normalised,
    "zero padded": lambda: nn.Sequential(
        nn.ZeroPad2d((1, 0, 2, 1)),
        nn.Conv2d(2, 4, 3, stride=2, padding=(1, 0)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(96, 4),
    ),
    "constant padded": lambda: nn.Sequential(
        nn.ConstantPad2d(1, 0.5), conv_net_of(10, nn.ReLU())
    ),
    "reflection padded": lambda: nn.Sequential(
        nn.ReflectionPad2d(2), conv_net_of(12, nn.ReLU())
    ),
    "replication padded": lambda: nn.Sequential(
        nn.ReplicationPad2d((1, 0, 0, 2)), mlp(180, 6, 4)
    ),
    "circular padded": lambda: nn.Sequential(
        nn.CircularPad2d(1), conv_net_of(10, nn.ReLU())
    ),
    "pixels to channels": lambda: nn.Sequential(
        nn.PixelUnshuffle(2), nn.Conv2d(8, 3, 2), nn.Tanh(), mlp(27, 4)
    ),
    "sliced": Sliced,
    "padded shortcut": PaddedShortcut,
    "softmax": lambda: nn.Sequential(mlp(128, 6, 4), nn.Softmax(dim=1)),
    "log softmax": lambda: nn.Sequential(mlp(128, 6, 4), nn.LogSoftmax(dim=-1)),
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, 4)),
}
"""Nets on IMAGE that every front door must read."""

TABLE_NETS: dict[str, Callable[[], nn.Module]] = {
    "table mlp": lambda: mlp(6, 5, 3),
    "shape branch": ShapeBranch,
    "picked": Picked,
    "one logit": lambda: mlp(6, 5, 1),
    "batch norm 1d": lambda: nn.Sequential(
        nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)
    ),
}
"""Nets on TABLE that every front door must read."""


def scripted(net: nn.Module) -> bytes:
    """The net as a scripted TorchScript archive."""
    return _saved(torch.jit.script(net))


def traced(net: nn.Module, shape: tuple[int, ...]) -> bytes:
    """The net as a traced TorchScript archive."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        module = torch.jit.trace(net, torch.zeros(2, *shape), check_trace=False)
    return _saved(module)


def frozen(net: nn.Module) -> bytes:
    """The net as a TorchScript archive that was frozen before it was saved."""
    return _saved(torch.jit.freeze(torch.jit.script(net)))


def _saved(module: torch.jit.ScriptModule) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    return buffer.getvalue()
