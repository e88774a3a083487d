"""Optimisers and schedules of their rates, by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import nn, optim

from robustcert.errors import UnknownNameError

Schedule = Callable[[float], float]
"""Maps the share of the training that is done, in [0, 1), to a factor of the rate."""

MOMENTUM = 0.9
WARM_UP = 0.3
"""Share of a one-cycle training in which the rate grows."""
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = 1e-4


def _sgd(parameters: Sequence[nn.Parameter], rate: float) -> optim.Optimizer:
    return optim.SGD(parameters, lr=rate, momentum=MOMENTUM, fused=True)


def _adam(parameters: Sequence[nn.Parameter], rate: float) -> optim.Optimizer:
    return optim.Adam(parameters, lr=rate, fused=True)


def _adamw(parameters: Sequence[nn.Parameter], rate: float) -> optim.Optimizer:
    return optim.AdamW(parameters, lr=rate, fused=True)


def constant(_: float) -> float:
    """The rate as it was given."""
    return 1.0


def cosine(done: float) -> float:
    """Half a wave from 1 to 0 (Loshchilov and Hutter, ICLR 2017, without restarts)."""
    return (1.0 + math.cos(math.pi * done)) / 2.0


def one_cycle(done: float) -> float:
    """Up from 1/25 to 1, then down to 1/10,000 (Smith and Topin 2019)."""
    if done < WARM_UP:
        return _between(ONE_CYCLE_START, 1.0, done / WARM_UP)
    return _between(1.0, ONE_CYCLE_END, (done - WARM_UP) / (1.0 - WARM_UP))


def step(done: float) -> float:
    """1 in the first half of the training, then 1/10, in the last quarter 1/100."""
    if done < 0.5:
        return 1.0
    return 0.1 if done < 0.75 else 0.01


OPTIMISERS: dict[str, Callable[[Sequence[nn.Parameter], float], optim.Optimizer]] = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": _adamw,
}

SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "cosine": cosine,
    "one-cycle": one_cycle,
    "step": step,
}


def optimiser_named(
    name: str, parameters: Sequence[nn.Parameter], rate: float
) -> optim.Optimizer:
    """A fresh optimiser.

    Raises:
        UnknownNameError: no row is called ``name``.
    """
    if name not in OPTIMISERS:
        raise UnknownNameError(
            f"no optimiser is called {name!r}; there are {', '.join(OPTIMISERS)}"
        )
    return OPTIMISERS[name](parameters, rate)


def schedule_named(name: str) -> Schedule:
    """The schedule called ``name``.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in SCHEDULES:
        raise UnknownNameError(
            f"no schedule is called {name!r}; there are {', '.join(SCHEDULES)}"
        )
    return SCHEDULES[name]


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) * cosine(share)
