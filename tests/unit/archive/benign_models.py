"""Classifiers as people write them, for the scan that must not refuse any."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGE = (3, 8, 8)


class Residual(nn.Module):
    def __init__(self, width: int, stride: int = 1):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(width, width, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm(self.first(x)), inplace=True)
        y = self.second(y)
        y += self.shortcut(x)
        return F.relu(y)


class Normalised(nn.Module):
    def __init__(self, inner: nn.Module):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.2, 0.2, 0.2]).view(1, 3, 1, 1))
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x - self.mean) / self.std)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.out = nn.Linear(4 * 16, 5)
        self.drop = nn.Dropout(0.3)

    def forward(self, x):
        x = F.max_pool2d(torch.relu(self.conv(x)), 2)
        x = x.view(x.size(0), -1)
        x = F.dropout(x, p=0.2, training=self.training)
        return F.log_softmax(self.out(self.drop(x)), dim=1)


class ShapeChecks(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(192, 4)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 4 or x.shape[1] != 3:
            raise ValueError("expected an image batch, got " + str(x.shape))
        assert x.size(2) == x.size(3), "the image must be square"
        if x.shape[0] == 0:
            return torch.zeros([0, 4], dtype=x.dtype, device=x.device)
        batch = x.shape[0]
        return self.out(x.reshape(batch, -1))


class Loops(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(192, 192) for _ in range(3)])
        self.out = nn.Linear(192, 4)
        self.repeats: Final[int] = 2

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        seen: list[Tensor] = []
        for layer in self.layers:
            x = torch.tanh(layer(x))
            seen.append(x)
        for i in range(self.repeats):
            x = x + 0.5 * seen[i]
        return self.out(torch.stack(seen).mean(0) + x)


class Branches(nn.Module):
    def __init__(self, sharp: bool = False):
        super().__init__()
        self.sharp = sharp
        self.a = nn.Conv2d(3, 4, 1)
        self.b = nn.Conv2d(3, 4, 3, padding=1)
        self.out = nn.Linear(8, 4)

    def forward(self, x: Tensor, scale: float | None = None) -> Tensor:
        y = torch.cat([self.a(x), self.b(x)], dim=1)
        y = F.silu(y) if self.sharp else F.hardtanh(y, -1.0, 1.0)
        if scale is not None:
            y = y * scale
        return self.out(F.adaptive_avg_pool2d(y, (1, 1)).squeeze(-1).squeeze(-1))


class Attention(nn.Module):
    def __init__(self, width: int = 8):
        super().__init__()
        self.patch = nn.Conv2d(3, width, 2, 2)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 17, width) * 0.02)
        self.qkv = nn.Linear(width, 3 * width)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 4)
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
        weights = torch.softmax(q @ k.transpose(-2, -1) / self.width**0.5, dim=-1)
        x = x + torch.matmul(weights, v)
        return self.out(x[:, 0])


class Grouped(nn.Module):
    """Channel shuffle, as in mobile networks."""

    def __init__(self):
        super().__init__()
        self.depth = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.lift = nn.Conv2d(3, 4, 1)
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depth(self.lift(x))
        batch, channels, height, width = x.shape
        x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2).contiguous()
        x = x.view(batch, -1, height, width)
        return self.out(x.mean([2, 3]))


class SqueezeExcite(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.down = nn.Conv2d(3, 2, 1)
        self.up = nn.Conv2d(2, 3, 1)
        self.out = nn.Linear(192, 4)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.up(F.relu6(self.down(self.pool(x)))))
        return self.out((x * gate).flatten(1))


class Denseish(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleDict({"a": nn.Conv2d(3, 2, 1), "b": nn.Conv2d(5, 2, 1)})
        self.out = nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts.values():
            x = torch.cat((x, F.relu(part(x))), 1)
        return self.out(x.amax(dim=(2, 3)))


class Odds(nn.Module):
    """Arithmetic that hand-written heads are full of."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(192, 5) * 0.1)
        self.bias = nn.Parameter(torch.zeros(5))
        self.temperature = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.flatten(x.clamp(0.0, 1.0), 1).sub(0.5).mul(2.0)
        x = torch.where(x > 0, x, 0.1 * x)
        x = x / (x.norm(p=2, dim=1, keepdim=True) + 1e-6)
        y = torch.addmm(self.bias, x, self.weight)
        y = y - y.max(dim=1, keepdim=True)[0]
        y = torch.exp(y).sqrt().log1p() + torch.abs(y).neg() + y.pow(2) - y.square()
        return y / self.temperature.exp().clamp_min(1e-3)


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        layers = OrderedDict(
            [("flat", nn.Flatten()), ("up", nn.Linear(192, 6)), ("act", nn.ELU())]
        )
        self.body = nn.Sequential(layers)
        self.heads = nn.ModuleList([nn.Linear(6, 3), nn.Linear(6, 3)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        return torch.stack([head(x) for head in self.heads], dim=0).sum(0)


class WithConstants(nn.Module):
    def __init__(self):
        super().__init__()
        self.classes = 4
        self.names = ["cat", "dog"]
        self.sizes = [8, 8]
        self.corner = (1, "x", None, -3, 2**40, torch.device("cpu"), 1j)
        self.scales = [1.0, 0.5]
        self.flags = [True, False]
        self.table = {"a": 1.5, "b": 2.5}
        self.tensors = [torch.ones(192), torch.zeros(192)]
        self.out = nn.Linear(192, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(-1, 3 * self.sizes[0] * self.sizes[1]) * self.scales[0]
        x = x * self.tensors[0] + self.tensors[1] + self.table["a"]
        return self.out(x)[:, 0 : self.classes]

    @torch.jit.export
    def describe(self) -> list[str]:
        # TorchScript has no unpacking.
        return self.names + ["it's a \"name\" of ''' # no; comment é"]  # noqa: RUF005


class Image(nn.Module):
    """Padding, upsampling and permutation."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        x = F.interpolate(self.conv(x), scale_factor=2.0, mode="nearest")
        x = F.leaky_relu(x.permute(0, 2, 3, 1), 0.2)
        return self.out(x.sum(dim=1).mean(dim=1))


class DoublePrecision(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(192, 3).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x.to(torch.float64).flatten(1)).float()


def _mlp(activation: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 6), activation, nn.Linear(6, 4))


def _pooled(pool: nn.Module, norm: nn.Module | None = None) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        norm or nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        pool,
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 4),
    )


ACTIVATIONS: tuple[Callable[[], nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU,
    nn.Mish, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.Hardtanh,
    nn.Hardswish, nn.Hardsigmoid, nn.LogSigmoid, nn.Softshrink, nn.Hardshrink,
    nn.Tanhshrink, nn.PReLU, nn.Identity, nn.Dropout, nn.AlphaDropout,
)  # fmt: skip

POOLS: dict[str, Callable[[], nn.Module]] = {
    "max": lambda: nn.MaxPool2d(2),
    "average": lambda: nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False),
    "adaptive": lambda: nn.AdaptiveAvgPool2d((4, 4)),
    "power": lambda: nn.LPPool2d(2, 2),
    "none": lambda: nn.Dropout2d(0.1),
    "upsample": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "zero-pad": lambda: nn.ZeroPad2d(1),
    "reflection-pad": lambda: nn.ReflectionPad2d(1),
}

NORMS: dict[str, Callable[[], nn.Module]] = {
    "group": lambda: nn.GroupNorm(2, 4),
    "instance": lambda: nn.InstanceNorm2d(4, affine=True),
    "layer": lambda: nn.LayerNorm([4, 8, 8]),
    "stateless-batch": lambda: nn.BatchNorm2d(4, track_running_stats=False),
    "local-response": lambda: nn.LocalResponseNorm(2),
}

ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "residual": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), Residual(4), Residual(4, 2), nn.Flatten(), nn.Linear(36, 3)
    ),
    "normalised": lambda: Normalised(_pooled(nn.MaxPool2d(2))),
    "functional": Functional,
    "shape-checks": ShapeChecks,
    "loops": Loops,
    "branches": Branches,
    "sharp-branches": lambda: Branches(sharp=True),
    "attention": Attention,
    "grouped": Grouped,
    "squeeze-excite": SqueezeExcite,
    "dense": Denseish,
    "odds": Odds,
    "named": Named,
    "constants": WithConstants,
    "image": Image,
    "double": DoublePrecision,
    "transposed": lambda: nn.Sequential(
        nn.ConvTranspose2d(3, 2, 2, 2), nn.Flatten(), nn.Linear(512, 3), nn.Softmax(1)
    ),
    "bilinear-head": lambda: nn.Sequential(
        nn.Flatten(2), nn.Conv1d(3, 2, 3), nn.MaxPool1d(2), nn.Flatten(), nn.Tanh(),
        nn.Linear(62, 2), nn.LogSoftmax(dim=-1),
    ),
    "unflatten": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(192, 32), nn.Unflatten(1, (2, 4, 4)),
        nn.PixelShuffle(1), nn.Flatten(), nn.BatchNorm1d(32), nn.Linear(32, 3),
    ),
    "half": lambda: _mlp(nn.ReLU()).to(torch.bfloat16),
    "frozen-batch-norm-free": lambda: _mlp(nn.GELU("tanh")),
    "transformer": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 4, 4), nn.Flatten(2),
        nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
        nn.Flatten(), nn.Linear(32, 3),
    ),
    "self-attention": lambda: SelfAttention(),
    "weight-normed": lambda: nn.Sequential(
        nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(192, 3))
    ),
    "recurrent": lambda: Recurrent(),
    "stochastic-depth": lambda: StochasticDepth(),
}  # fmt: skip


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells = nn.LSTM(8, 5, batch_first=True)
        self.out = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.cells(x.flatten(1, 2))
        return self.out(states[:, -1])


class StochasticDepth(nn.Module):
    """As torchvision writes it, with uninitialised memory that is then filled."""

    def __init__(self):
        super().__init__()
        self.branch = nn.Conv2d(3, 3, 3, padding=1)
        self.out = nn.Linear(192, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch(x)
        if self.training:
            shape = [x.shape[0]] + [1] * (x.ndim - 1)
            keep = torch.empty(shape, dtype=x.dtype, device=x.device)
            y = y * keep.bernoulli_(0.8).div_(0.8)
        return self.out((x + y).flatten(1))


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)[:, :, :3]
        tokens = F.pad(tokens, [0, 1])
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return self.out(F.normalize(mixed, dim=-1).mean(dim=1))


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    **{f"activation-{a.__name__}": (lambda a=a: _mlp(a())) for a in ACTIVATIONS},
    **{f"pool-{name}": (lambda p=p: _pooled(p())) for name, p in POOLS.items()},
    **{
        f"norm-{name}": (lambda n=n: _pooled(nn.MaxPool2d(2), n()))
        for name, n in NORMS.items()
    },
    **ARCHITECTURES,
}


def model(name: str) -> nn.Module:
    """The classifier of that name, in eval mode, with weights from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return BUILDERS[name]().eval()


def example(module: nn.Module) -> Tensor:
    """Two inputs in the model's own dtype."""
    first = next(iter(module.parameters()))
    dtype = first.dtype if first.dtype is not torch.float64 else torch.float32
    return torch.linspace(0, 1, 2 * 192).reshape(2, *IMAGE).to(dtype)


def scripted(module: nn.Module) -> torch.jit.ScriptModule:
    return torch.jit.script(module)


def traced(module: nn.Module) -> torch.jit.ScriptModule:
    return torch.jit.trace(module, example(module), check_trace=False)


def frozen(module: nn.Module) -> torch.jit.ScriptModule:
    return torch.jit.freeze(torch.jit.script(module))


def saved(module: torch.jit.ScriptModule) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    return buffer.getvalue()
