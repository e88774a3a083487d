"""Random nets of every layer kind and activation, small enough to try many."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch

from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import run
from robustcert.graph.layers import LayerGraph
from robustcert.models.interface import LoadedModel
from robustcert.results.report import OutputKind
from robustcert.results.threat_model import UNIT_BOX, Box
from tests.models.spline_nets import SPLINES
from tests.unit.lipschitz.graphs import Sketch

BOXES = (UNIT_BOX, Box(-1.0, 1.0), Box(-3.0, 2.0), Box(0.25, 0.5))

PARAMETERS: dict[ActivationKind, Callable[[random.Random], tuple[float, ...]]] = {
    ActivationKind.LEAKY_RELU: lambda dice: (dice.choice([0.01, 0.5, -0.2, 1.5]),),
    ActivationKind.ELU: lambda dice: dice.choice(
        [(1.0, 1.0, 1.0), (0.7, 1.2, 1.0), (1.5, 1.0, 1 / 1.5)]
    ),
    ActivationKind.SOFTPLUS: lambda dice: (dice.choice([0.5, 1.0, 5.0]),),
    ActivationKind.CLAMP: lambda dice: dice.choice([(0.0, 6.0), (-0.5, 0.7)]),
    ActivationKind.SPLINE: lambda dice: dice.choice(SPLINES).parameters,
}


@dataclass(frozen=True, slots=True, eq=False)
class FuzzNet:
    """A net as it runs in float32, and what is certified of it.

    Attributes:
        name: its family and seed; they make it again.
        model: runs in float32.
        graph: the same weights in float64.
        box: of its inputs.
    """

    name: str
    model: LoadedModel
    graph: LayerGraph
    box: Box


@dataclass(frozen=True, slots=True)
class Draft:
    """A net being drawn.

    Attributes:
        net: its layers so far.
        dice: for choices; weights come from the sketch's own generator.
    """

    net: Sketch
    dice: random.Random

    def act(self, kind: ActivationKind | None = None) -> int:
        """Add the activation, or a random one."""
        chosen = kind or self.dice.choice(list(ActivationKind))
        parameters = PARAMETERS.get(chosen, lambda _: ())(self.dice)
        return self.net.act(Activation(chosen, parameters))

    def head(self) -> None:
        """Add logits, and sometimes an activation on them."""
        self.net.flatten()
        self.net.linear(self.dice.choice([1, 2, 3, 5]))
        if self.dice.random() < 0.1:
            self.act()

    def spread(self) -> None:
        """Widen or narrow the values, so that activations bend more or less."""
        self.net.affine(self.dice.choice([0.3, 1.0, 3.0, 10.0]))


def _start(shape: tuple[int, ...], seed: int) -> Draft:
    net = Sketch(*shape, seed=seed, dtype=torch.float32)
    return Draft(net, random.Random(seed))  # noqa: S311 - no secret


def _dense(seed: int, kind: ActivationKind | None = None) -> Draft:
    draft = _start((1 + seed % 5,), seed)
    for _ in range(draft.dice.choice([1, 1, 2, 3])):
        draft.net.linear(draft.dice.randint(2, 8))
        draft.spread()
        draft.act(kind)
    draft.head()
    return draft


def _relu(seed: int) -> Draft:
    return _dense(seed, ActivationKind.RELU)


def _linear(seed: int) -> Draft:
    draft = _start((1 + seed % 5,), seed)
    draft.net.linear(4)
    draft.net.linear(draft.dice.choice([1, 2, 3]))
    return draft


def _convolutional(seed: int) -> Draft:
    draft = _start((2, 5, 4), seed)
    dice, padding = draft.dice, draft.dice.choice([0, 1, ((1, 0), (0, 2))])
    draft.net.random_conv(
        dice.choice([2, 4]), size=2, stride=dice.choice([1, 2]), padding=padding,
        dilation=dice.choice([1, 2]), groups=dice.choice([1, 2]),
    )  # fmt: skip
    draft.act()
    draft.net.random_conv(3, size=1)
    draft.act()
    draft.head()
    return draft


def _line(seed: int) -> Draft:
    draft = _start((2, 6), seed)
    draft.net.random_conv(3, size=3, padding=((2, 0),))
    draft.act()
    draft.head()
    return draft


def _pooled(seed: int) -> Draft:
    draft = _start((2, 5, 5), seed)
    dice, net = draft.dice, draft.net
    net.random_conv(2, size=2)
    draft.act()
    overlap = dice.choice([(2, 2, 0), (2, 1, 0), (3, 2, 1)])
    if dice.random() < 0.6:
        net.maximum(*overlap, ceil=dice.random() < 0.5)
    else:
        net.average(*overlap, ceil=dice.random() < 0.5, count=dice.random() < 0.5)
    draft.act()
    draft.head()
    return draft


def _residual(seed: int) -> Draft:
    draft = _start((2, 4, 4), seed)
    net = draft.net
    net.random_conv(3, padding=1)
    stem = draft.act()
    net.random_conv(3, padding=1)
    draft.act()
    branch = net.random_conv(3, padding=1)
    net.add(stem, branch, draft.dice.choice([1.0, -1.0, 0.5]))
    draft.act()
    draft.head()
    return draft


def _joined(seed: int) -> Draft:
    draft = _start((2, 4, 4), seed)
    net = draft.net
    net.random_conv(2, size=1, source=0)
    left = draft.act()
    net.random_conv(3, padding=1, source=0)
    right = draft.act()
    net.concat(left, right, 0, dim=0)
    draft.head()
    return draft


def _turned(seed: int) -> Draft:
    draft = _start((2, 3, 4), seed)
    net = draft.net
    net.random_conv(3, size=2)
    net.permute(*draft.dice.choice([(2, 0, 1), (1, 2, 0)]))
    draft.act()
    net.mean(*draft.dice.choice([(0,), (1, 2), (2,)]), keep=draft.dice.random() < 0.5)
    draft.head()
    return draft


def _sliced(seed: int) -> Draft:
    draft = _start((2, 3, 4), seed)
    net, dice = draft.net, draft.dice
    net.zero_pad(*(dice.choice([-1, 0, 1]) for _ in range(4)))
    net.random_conv(3, size=2)
    draft.act()
    size = net.layers[-1].size
    net.gather([[dice.randrange(-1, size) for _ in range(4)] for _ in range(2)])
    net.linear(4)
    draft.act()
    draft.head()
    return draft


def _normalised(seed: int) -> Draft:
    draft = _start((2, 3, 3), seed)
    net, ones = draft.net, torch.ones(2, 1, 1)
    net.affine(ones * torch.tensor([5.0, -2.0]).reshape(2, 1, 1), -0.4 * ones)
    net.random_conv(3, size=2, padding=1)
    net.affine(net.random(3, 1, 1), net.random(3, 1, 1))
    draft.act()
    draft.head()
    return draft


def _kinked(seed: int) -> Draft:
    """Small whole numbers: pre-activations and margins are often exactly 0."""
    draft = _start((3,), seed)
    net = draft.net
    for width in (4, 4):
        size = net.layers[-1].size
        net.linear(net.random(width, size).round(), net.random(width).round())
        draft.act(ActivationKind.RELU)
    size = net.layers[-1].size
    net.linear(net.random(3, size).round(), net.random(3).round())
    return draft


def _huge(seed: int) -> Draft:
    """Weights so large that float32 logits are off by more than usual margins."""
    draft = _start((4,), seed)
    net, scale = draft.net, 10.0 ** draft.dice.randint(2, 5)
    for width in (6, 6):
        size = net.layers[-1].size
        net.linear(scale * net.random(width, size), scale * net.random(width))
        draft.act(ActivationKind.RELU)
    net.linear(3)
    return draft


def _cancelling(seed: int) -> Draft:
    """Large numbers common to all logits: margins are small differences of them."""
    draft = _start((4,), seed)
    net, scale = draft.net, 10.0 ** draft.dice.randint(2, 6)
    net.linear(6)
    draft.act(ActivationKind.RELU)
    weight, bias = net.random(3, 6), net.random(3)
    net.linear(weight + scale * net.random(1, 6), bias + scale)
    return draft


def _tiny(seed: int) -> Draft:
    """Two classes whose rows all but agree: margins near the slack."""
    draft = _start((4,), seed)
    net = draft.net
    net.linear(6)
    draft.act(ActivationKind.RELU)
    row, scale = net.random(1, 6), 10.0 ** -draft.dice.randint(2, 5)
    net.linear(row + scale * net.random(2, 6), scale * net.random(2))
    return draft


def _dying(seed: int) -> Draft:
    """Units that are off or on everywhere, beside some that are neither."""
    draft = _start((4,), seed)
    net = draft.net
    for _ in range(2):
        size = net.layers[-1].size
        net.linear(net.random(8, size), net.random(8) * 4.0)
        draft.act(draft.dice.choice([ActivationKind.RELU, ActivationKind.CLAMP]))
    draft.head()
    return draft


FAMILIES: dict[str, Callable[[int], Draft]] = {
    "relu": _relu,
    "dense": _dense,
    "linear": _linear,
    "convolutional": _convolutional,
    "line": _line,
    "pooled": _pooled,
    "residual": _residual,
    "joined": _joined,
    "turned": _turned,
    "sliced": _sliced,
    "normalised": _normalised,
    "kinked": _kinked,
    "huge": _huge,
    "cancelling": _cancelling,
    "tiny": _tiny,
    "dying": _dying,
    **{
        kind.value: lambda seed, kind=kind: _dense(seed, kind)
        for kind in ActivationKind
        if kind is not ActivationKind.RELU
    },
}
"""By name; a seed makes the same net again."""


def fuzz_net(family: str, seed: int) -> FuzzNet:
    """The family's net of this seed, with a box of its own."""
    draft = FAMILIES[family](seed)
    small = draft.net.graph()
    single = small.outputs == 1
    model = LoadedModel(
        lambda inputs: run(small, inputs), small, "0" * 64, "torchscript",
        small.input_shape, max(2, small.outputs),
        OutputKind.SINGLE_LOGIT if single else OutputKind.LOGITS, 1, torch.float32,
        torch.device("cpu"),
    )  # fmt: skip
    box = BOXES[draft.dice.randrange(len(BOXES))]
    return FuzzNet(f"{family} {seed}", model, small.to(torch.float64), box)
