"""The regression of the paper: what the penalty does to a function of one variable.

A net learns ``f(x) = max(|x| - 3, 0) / 2`` from 100 noisy samples that leave two wide
gaps. Down a ladder of weights lambda, each fit starting from the one before, its
theory can be seen: the empirical risk falls and the Lipschitz constant grows
(Proposition 2), from the best constant (Proposition 4) to an interpolant of small
Lipschitz constant (Proposition 3).

Where the paper is silent, the choices are ours: how strong the noise on the samples
is, how a net starts whose sigmoid units cover the interval, and Adam with a rate that
falls to 0 at every rung, without which the penalty, which has kinks, never settles.

Reference:
    Bungert, Raab, Roith, Schwinn, Tenbrinck. CLIP: Cheap Lipschitz Training of Neural
        Networks. SSVM 2021, arXiv 2103.12531, section 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from robustcert.experiments.slope_bracket import slope_bracket
from robustcert.lipschitz.interface import Problem
from robustcert.lipschitz.upper.spectral_product import spectral_product
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm
from robustcert.results.progress import Listener, Progress, unheard
from robustcert.results.threat_model import Box
from robustcert.train.interface import (
    Batch,
    Penalty,
    Plan,
    Trainer,
    TrainingData,
    drawn_from,
)
from robustcert.train.live import live_graph
from robustcert.train.loop import train
from robustcert.train.losses import MeanSquared
from robustcert.train.nets import NETS
from robustcert.train.pairs import noisy_pairs, quotients
from robustcert.train.weights import Fixed

STAGE = "regression"
INTERVAL = Box(-4.0, 4.0)
SPANS = ((-4.0, -3.0), (-0.3, 0.3), (3.0, 4.0))
"""Where there are samples; the gaps lie between them."""

SAMPLES = 100
ROUNDS = 12
"""Times that an epoch shows every sample; pairs are drawn anew after it."""

NOISE = 0.05
"""Standard deviation of the samples about the function."""

RESERVE = 1000
"""Points of the interval that pairs are drawn from."""

PAIR_NOISE = 0.05
PROBES = 1000
"""Pairs of the estimate Lip(f, X_Lip)."""

LADDER = (10.0, 1.0, 0.1, 0.03, 0.01, 0.003, 1e-10, 0.0)
"""Weights, from the largest down."""

PLAN = Plan(epochs=40, batch=SAMPLES, rate=2e-3, optimiser="adam", schedule="cosine")
"""Of one rung: 480 steps."""

OUTPUTS = {"linear": "mlp-regression", "sigmoid": "mlp-regression-sigmoid"}
"""Nets by what stands behind their last layer."""

GRID = 401
_DATA, _START, _PROBE = 41, 42, 43

MakePenalty = Callable[[TrainingData, int], Penalty]


@dataclass(frozen=True, slots=True)
class Rung:
    """One fit.

    Attributes:
        weight: lambda.
        risk: mean squared error on the samples.
        estimate: the largest quotient of pairs that nobody optimised.
        lower: of the Lipschitz constant on the interval, attained.
        upper: exceeded nowhere on it.
        product: of the layers' norms; holds everywhere.
        range_: largest minus smallest value on the interval.
        mean: value, averaged over the interval.
        gap_error: root mean square distance from the true function in the gaps.
        curve: values on :func:`grid`.
    """

    weight: float
    risk: float
    estimate: float
    lower: float
    upper: float
    product: float
    range_: float
    mean: float
    gap_error: float
    curve: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Ladder:
    """The fits of one net, from the largest weight down.

    Attributes:
        output: a key of :data:`OUTPUTS`.
        seed: of samples, start and pairs.
        rungs: at least one.
        samples: pairs of input and value.
        barycentre: mean of the samples' values, the best constant.
    """

    output: str
    seed: int
    rungs: tuple[Rung, ...]
    samples: tuple[tuple[float, float], ...]
    barycentre: float

    @property
    def best(self) -> Rung:
        """The fit that is nearest to the true function in the gaps."""
        return min(self.rungs, key=lambda rung: rung.gap_error)


def truth(inputs: Tensor) -> Tensor:
    """``max(|x| - 3, 0) / 2`` elementwise."""
    return (inputs.abs() - 3.0).clamp(min=0.0) / 2.0


def grid() -> Tensor:
    """``(GRID, 1)`` float32 points of the interval, both ends among them."""
    return torch.linspace(INTERVAL.low, INTERVAL.high, GRID)[:, None]


def samples(seed: int) -> TrainingData:
    """100 noisy samples on the spans, uniform in length, and points to pair.

    The training part holds every sample as often as an epoch shows it.
    """
    generator = drawn_from(seed, _DATA)
    inputs = _on_spans(torch.rand(SAMPLES, 1, generator=generator))
    noise = NOISE * torch.randn(SAMPLES, 1, generator=generator)
    points = torch.rand(RESERVE, 1, generator=generator)
    spread = INTERVAL.low + INTERVAL.width * points
    nothing = torch.zeros(0, 1)
    training = Batch(inputs, truth(inputs) + noise)
    return TrainingData(
        training.rows(torch.arange(SAMPLES).repeat(ROUNDS)),
        Batch(spread, truth(spread)),
        Batch(nothing, nothing),
        INTERVAL,
        "regression",
    )


def starting_net(output: str, seed: int) -> nn.Module:
    """A net of sigmoid units whose steepest points cover the interval.

    Torch's own start leaves units of four sigmoid layers nearly linear, and the net
    nearly constant. The first layer gets slopes up to 4 and centres on the interval,
    the others the uniform start of Glorot and Bengio (AISTATS 2010).
    """
    generator = drawn_from(seed, _START)
    net = NETS[OUTPUTS[output]].build((1,), 1, generator)
    layers = [module for module in net.modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for layer in layers:
            reach = math.sqrt(6.0 / (layer.in_features + layer.out_features))
            layer.weight.uniform_(-reach, reach, generator=generator)
            layer.bias.zero_()
        first = layers[0]
        first.weight.uniform_(INTERVAL.low, INTERVAL.high, generator=generator)
        centres = torch.rand(first.out_features, generator=generator)
        centres = INTERVAL.low + INTERVAL.width * centres
        first.bias.copy_(-first.weight[:, 0] * centres)
    return net


def climbed_down(
    output: str,
    penalty: MakePenalty,
    *,
    seed: int = 0,
    plan: Plan = PLAN,
    weights: Sequence[float] = LADDER,
    listener: Listener = unheard,
) -> Ladder:
    """Fit the samples with every weight, the largest first, each from the last fit.

    Args:
        output: a key of :data:`OUTPUTS`.
        penalty: makes the penalty of one rung from data and seed.
        seed: of samples, start and pairs.
        plan: of a rung; its seed is not used.
        weights: descending, at least 0.
        listener: told after each rung.
    """
    data, net = samples(seed), starting_net(output, seed)
    rungs: list[Rung] = []
    for number, weight in enumerate(weights):
        listener(Progress(STAGE, number, len(weights), f"lambda {weight:g}"))
        own = replace(plan, seed=seed * len(LADDER) + number)
        trainer = Trainer(MeanSquared(), penalty(data, own.seed), Fixed(weight))
        trained = train(net, data, trainer, own)
        rungs.append(measured(trained.model, data, weight, seed))
    listener(Progress(STAGE, len(weights), len(weights)))
    shown = data.training.rows(slice(0, SAMPLES))
    pairs = torch.cat([shown.inputs, shown.targets], dim=1)
    return Ladder(
        output,
        seed,
        tuple(rungs),
        tuple((float(x), float(y)) for x, y in pairs.tolist()),
        float(data.training.targets.mean()),
    )


def measured(model: nn.Module, data: TrainingData, weight: float, seed: int) -> Rung:
    """Everything that is said about one fit."""
    with torch.no_grad():
        return _measured(model, data, weight, seed)


def largest_rise(values: Sequence[float], floor: float) -> float:
    """By how large a share a value exceeds the one before it, at most; 0 for none.

    Args:
        values: that ought not to rise.
        floor: values below it count as equal to it.
    """
    kept = [max(value, floor) for value in values]
    rises = (b / a - 1.0 for a, b in pairwise(kept))
    return max(0.0, *rises) if len(kept) > 1 else 0.0


def _measured(model: nn.Module, data: TrainingData, weight: float, seed: int) -> Rung:
    points = grid()
    values = model(points)
    graph = live_graph(model, (1,)).to(torch.float64)
    slopes = slope_bracket(graph, INTERVAL.low, INTERVAL.high)
    problem = Problem(graph, model, torch.zeros(0, 1), INTERVAL, Norm.L2)
    misfit = model(data.training.inputs) - data.training.targets
    error = (values - truth(points))[_in_gaps(points)]
    return Rung(
        weight,
        risk=float(misfit.square().mean()),
        estimate=_estimate(model, data, seed),
        lower=slopes.lower,
        upper=slopes.upper,
        product=spectral_product(problem, Effort.FAST).value,
        range_=float(values.max() - values.min()),
        mean=float(values.mean()),
        gap_error=float(error.square().mean().sqrt()),
        curve=tuple(values.flatten().tolist()),
    )


def _estimate(model: nn.Module, data: TrainingData, seed: int) -> float:
    """Lip(f, X_Lip), equation (5), over fresh pairs."""
    generator = drawn_from(seed, _PROBE)
    pairs = noisy_pairs(data.reserve.inputs[:PROBES], INTERVAL, PAIR_NOISE, generator)
    return float(quotients(model, pairs.joined(), INTERVAL).max())


def _on_spans(shares: Tensor) -> Tensor:
    """Numbers in [0, 1) laid along the spans."""
    left = shares * sum(high - low for low, high in SPANS)
    found = torch.full_like(left, SPANS[-1][1])
    for low, high in SPANS:
        here = (left >= 0.0) & (left < high - low)
        found = torch.where(here, low + left, found)
        left = left - (high - low)
    return found


def _in_gaps(points: Tensor) -> Tensor:
    outside = torch.ones_like(points, dtype=torch.bool)
    for low, high in SPANS:
        outside &= (points < low) | (points > high)
    return outside
