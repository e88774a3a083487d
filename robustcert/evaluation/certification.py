"""What certifiers do for the samples of a shard, from the cheap to the dear.

Before the attacks each cheap certifier looks at the epsilons asked for, so that what it
proves is not attacked. After them the dear ones look at what is still open. At last the
certified radius of each sample is moved up towards its adversarial distance.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robustcert.certify.radius import RETREATS, STEPS, apart, halfway
from robustcert.certify.registry import AT_ONCE, DEAR, FREE
from robustcert.evaluation.allowance import Allowance
from robustcert.evaluation.judging import Bench
from robustcert.results.threat_model import ThreatSweep
from robustcert.tensors import box_diameter

RADIUS_STEPS = 8
"""Of the bisection of a radius, by one certifier; one more judgement follows, alone.
Sides a factor of 2 apart come to 1 %, of 16 apart to 2 %. Certifiers whose time does
not count take more."""

PORTION = 0.25
"""Of the time that is left to a radius, for one step that may not succeed."""

RESOLUTION = 1.01
"""Sides whose ratio is below this are not told apart. A certifier that cannot prove so
much more than what is known is not asked further."""


def certify_cheaply(bench: Bench, threats: ThreatSweep) -> None:
    """One look of each cheap certifier, at each epsilon that is still open.

    Their radii come first where they cost no more than a verdict.
    """
    rows = (bench.standing.distance > 0.0).nonzero().flatten()
    for name in bench.names:
        if name in AT_ONCE and len(rows):
            radii = bench.radii_at_once(name, rows)
            bench.standing.certify(rows, radii, name)
    cheap = [name for name in bench.names if name not in DEAR | AT_ONCE]
    _climb(bench, cheap, threats)


def settle(bench: Bench, threats: ThreatSweep, allowance: Allowance) -> None:
    """The dear certifiers where nothing is known yet, smallest epsilon first."""
    bench.grant(allowance.verdict)
    _climb(bench, [name for name in bench.names if name in DEAR], threats)


def widen(bench: Bench, threats: ThreatSweep, allowance: Allowance) -> None:
    """Move certified radii up towards adversarial distances, while time is left.

    Each certifier goes on where cheaper ones have stopped, if it gets any further at
    all: one look a little above what is known tells.
    """
    bench.grant(allowance.radius, PORTION)
    for name in bench.names:
        if name in allowance.radius_by and name not in AT_ONCE:
            steps = STEPS if name in FREE else RADIUS_STEPS
            _bisect(bench, name, _ends(bench, name, threats), steps)


def _climb(bench: Bench, names: Sequence[str], threats: ThreatSweep) -> None:
    word = threats.norm.word
    for epsilon in (one for one in threats.epsilons if one > 0.0):
        for name in names:
            rows = bench.standing.open_at(epsilon)
            radii = torch.full((len(rows),), epsilon, dtype=torch.float64)
            stage = f"{name} at {word} {epsilon:g}"
            proved = bench.judge(name, rows, radii, stage)
            bench.standing.certify(rows[proved], radii[proved], name)


def _ends(bench: Bench, name: str, threats: ThreatSweep) -> Tensor:
    """``(N,)`` how far a certifier need look: where it failed, or an example is known.

    Where none is, the largest epsilon is the end, but for certifiers whose time does
    not count.
    """
    task = bench.task
    widest = box_diameter(task.box, task.inputs[:1].numel(), task.norm)
    last = widest if name in FREE else min(widest, threats.largest.epsilon)
    known = bench.standing.distance
    ends = known.where(known.isfinite(), torch.full_like(known, last))
    return ends.minimum(bench.account(name).failed)


def _bisect(bench: Bench, name: str, most: Tensor, steps: int) -> None:
    """Bisect between both sides with one certifier."""
    low, high = bench.standing.radius.clone(), most
    for step in range(steps):
        rows = apart(low, high, most, RESOLUTION)
        middles = halfway(low[rows], high[rows], most[rows])
        if step == 0:
            nearby = low[rows] * RESOLUTION
            middles = nearby.where(nearby > 0.0, middles)
        stage = f"radii by {name}, step {step + 1} of {steps}"
        proved = bench.judge(name, rows, middles, stage)
        low[rows] = middles.where(proved, low[rows])
        high = most.minimum(bench.account(name).failed)
    _confirm(bench, name, low)


def _confirm(bench: Bench, name: str, radii: Tensor) -> None:
    """Keep the radii that their certifier proves once more, alone."""
    for row in (radii > bench.standing.radius).nonzero().flatten().tolist():
        place, known = torch.tensor([row]), float(bench.standing.radius[row])
        tried = (float(radii[row]) * share for share in RETREATS)
        worth = (radius for radius in tried if radius > known)
        radius = next((one for one in worth if bench.confirms(name, row, one)), None)
        if radius is not None:
            found = torch.tensor([radius], dtype=torch.float64)
            bench.standing.certify(place, found, name)
