"""Run attacks on the samples that are still open, and keep what verification keeps.

At each epsilon, smallest first, an attack sees only samples that are neither broken at
a distance of at most epsilon nor certified at epsilon or more. Each claim is verified
alone, shrunk along the segment to its sample, and verified alone again. An example
counts at every epsilon from its distance upwards.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustcert.attacks.counting import QueryCount, counted
from robustcert.attacks.interface import Attack, Target
from robustcert.attacks.ledger import Ledger
from robustcert.attacks.verify import judged_margins, shrink, verify
from robustcert.models.interface import LoadedModel
from robustcert.results.attack import AttackRun
from robustcert.results.progress import Listener, Progress
from robustcert.results.threat_model import ThreatModel, ThreatSweep
from robustcert.tensors import lp_norms

CHUNK = 64
"""Samples attacked at once, fewer where inputs are large."""

CHUNK_COORDINATES = 2**21
"""Coordinates attacked at once; guests multiply them by up to a few hundred."""

_ROUNDING = 1e-4
"""How far beyond epsilon a minimal attack's find may lie and still be a claim."""


@dataclass(slots=True)
class Tally:
    """The running cost and yield of one attack."""

    queries: QueryCount
    broken: int = 0
    unverified: int = 0
    non_finite: int = 0
    seconds: float = 0.0

    def as_run(self, name: str) -> AttackRun:
        """The final record."""
        return AttackRun(
            name,
            self.broken,
            self.queries.forward,
            self.queries.backward,
            self.seconds,
            self.unverified,
        )


@dataclass(slots=True, eq=False)
class Campaign:
    """Attacks on one sample set; the ledger and the tallies grow as it runs."""

    model: LoadedModel
    inputs: Tensor
    labels: Tensor
    seed: int
    ledger: Ledger
    listener: Listener
    tallies: dict[str, Tally] = field(default_factory=dict)

    def run(self, attacks: Sequence[Attack], threats: ThreatSweep) -> None:
        """Each attack at each epsilon; minimal ones once, at the largest."""
        for threat in threats:
            for attack in attacks:
                goal = threats.largest if attack.minimal else threat
                too_early = threat.epsilon == 0.0 < goal.epsilon
                if attack.minimal and (too_early or attack.name in self.tallies):
                    continue
                rows = self.ledger.open_at(threat.epsilon, goal.epsilon)
                self._sweep(attack, goal, rows)

    def _sweep(self, attack: Attack, threat: ThreatModel, rows: Tensor) -> None:
        """One attack on all of ``rows``, a chunk at a time."""
        model, queries = counted(self.model)
        tally = self.tallies.setdefault(attack.name, Tally(QueryCount()))
        if threat.epsilon == 0.0 or threat.box.width == 0.0 or not len(rows):
            return
        began, before, done = time.perf_counter(), tally.broken, 0
        stage = f"{attack.name} at {threat.norm.word} {threat.epsilon:g}"
        for chunk in torch.split(rows, chunk_size(model.input_shape)):
            seed = derived_seed(self.seed, attack.name, threat.epsilon, done)
            target = Target(model, self.inputs[chunk], self.labels[chunk], threat, seed)
            self._strike(attack, target, chunk, tally)
            done += len(chunk)
            note = f"{tally.broken - before} broken"
            self.listener(Progress(stage, done, len(rows), note))
        tally.queries.forward += queries.forward
        tally.queries.backward += queries.backward
        tally.seconds += time.perf_counter() - began

    def _strike(
        self, attack: Attack, target: Target, rows: Tensor, tally: Tally
    ) -> None:
        """One attack on one chunk: perturb, verify, shrink, record."""
        candidates = attack.perturb(target)
        claims, odd = _claims(target, candidates)
        tally.non_finite += odd
        task = target.subset(claims)
        checked = verify(
            task.model, candidates[claims], task.inputs, task.labels, task.threat
        )
        passed = checked.passed
        tally.unverified += int(
            (~passed & _delivered(attack, task, candidates[claims])).sum()
        )
        tally.non_finite += int((~checked.finite).sum())
        kept = task.subset(passed)
        found = shrink(
            kept.model, checked.subset(passed), kept.inputs, kept.labels, kept.threat
        )
        tally.broken += self.ledger.record(rows[claims][passed], found, attack.name)


def _claims(target: Target, candidates: Tensor) -> tuple[Tensor, int]:
    """Positions of the candidates that fool the model as returned, and odd outputs."""
    gaps = judged_margins(target.model, candidates, target.labels)
    return (gaps < 0.0).nonzero().flatten(), int(gaps.isnan().sum())


def _delivered(attack: Attack, task: Target, candidates: Tensor) -> Tensor:
    """Whether a candidate was meant to lie within epsilon.

    Bounded attacks mean all of theirs; minimal ones know no epsilon.
    """
    if not attack.minimal:
        return torch.ones(len(candidates), dtype=torch.bool, device=candidates.device)
    sizes = lp_norms(candidates.double() - task.inputs.double(), task.threat.norm)
    return sizes <= task.threat.epsilon * (1.0 + _ROUNDING)


def chunk_size(shape: tuple[int, ...]) -> int:
    """How many inputs of this shape are attacked at once."""
    return max(1, min(CHUNK, CHUNK_COORDINATES // max(1, math.prod(shape))))


def derived_seed(seed: int, name: str, epsilon: float, offset: int) -> int:
    """A seed in [0, 2^32) for one chunk of one sweep."""
    return zlib.crc32(f"{seed}:{name}:{epsilon!r}:{offset}".encode())
