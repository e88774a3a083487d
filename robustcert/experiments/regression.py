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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import nn

from robustcert.experiments.regression_task import (
    INTERVAL,
    SAMPLES,
    grid,
    in_gaps,
    samples,
    starting_net,
    truth,
)
from robustcert.experiments.slope_bracket import slope_bracket
from robustcert.lipschitz.interface import Problem
from robustcert.lipschitz.upper.spectral_product import spectral_product
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm
from robustcert.results.progress import Listener, Progress, unheard
from robustcert.train.interface import (
    Penalty,
    Plan,
    Trainer,
    TrainingData,
    drawn_from,
)
from robustcert.train.live import live_graph
from robustcert.train.loop import train
from robustcert.train.losses import MeanSquared
from robustcert.train.pairs import noisy_pairs, quotients
from robustcert.train.weights import Fixed

STAGE = "regression"
PAIR_NOISE = 0.05
PROBES = 1000
"""Pairs of the estimate Lip(f, X_Lip)."""

LADDER = (10.0, 1.0, 0.1, 0.03, 0.01, 0.003, 1e-10, 0.0)
"""Weights, from the largest down."""

PLAN = Plan(epochs=40, batch=SAMPLES, rate=2e-3, optimiser="adam", schedule="cosine")
"""Of one rung: 480 steps."""

_PROBE = 43

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
        curve: values on the grid.
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
        output: a key of :data:`~robustcert.experiments.regression_task.OUTPUTS`.
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


@dataclass(frozen=True, slots=True)
class _Heard:
    """Hears of one rung's training, and tells of the ladder."""

    listener: Listener
    rung: int
    rungs: int
    note: str

    def __call__(self, progress: Progress) -> None:
        done = self.rung * progress.total + progress.done
        total = self.rungs * progress.total
        self.listener(Progress(STAGE, done, total, self.note))


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
        output: a key of :data:`~robustcert.experiments.regression_task.OUTPUTS`.
        penalty: makes the penalty of one rung from data and seed.
        seed: of samples, start and pairs.
        plan: of a rung; its seed is not used.
        weights: descending, at least 0.
        listener: told of steps, all rungs' together, and which rung they belong to.
    """
    data, net = samples(seed), starting_net(output, seed)
    about = f"{output} output, seed {seed}"
    rungs: list[Rung] = []
    for number, weight in enumerate(weights):
        heard = _Heard(listener, number, len(weights), f"{about}, lambda {weight:g}")
        own = replace(plan, seed=seed * len(LADDER) + number)
        trainer = Trainer(MeanSquared(), penalty(data, own.seed), Fixed(weight))
        trained = train(net, data, trainer, own, listener=heard)
        rungs.append(measured(trained.model, data, weight, seed))
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
    error = (values - truth(points))[in_gaps(points)]
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
