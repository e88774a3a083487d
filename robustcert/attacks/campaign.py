"""Run attacks on the samples that are still open, and keep what verification keeps.

Radii come largest first. An adversarial example at distance d breaks its sample at
every epsilon from d upwards, so the sample is attacked again only at the largest
epsilon below d. A sample that withstood the attacks at some epsilon is not attacked at
smaller ones: an example there would lie in the larger ball too. So each sample pays for
one failure of every attack, however many radii there are. At the radius where it
withstands it has met every attack; the one that broke it last comes first, because it
is the likeliest to break it again. Where smaller radii wait, examples are polished:
the smaller an example, the more radii it settles.

Misclassified samples get no query, and none is made at radii at which a sample is
certified. Each claim is verified alone, shrunk along the segment to its sample, and
verified alone again.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustcert.attacks.budget import NOTHING_LEFT, UNLIMITED, Budget, Leftover
from robustcert.attacks.counting import counted
from robustcert.attacks.headway import Headway, headway
from robustcert.attacks.interface import Attack, Target
from robustcert.attacks.ledger import Ledger
from robustcert.attacks.minimal.polish import polished
from robustcert.attacks.rung import Patience
from robustcert.attacks.surrogate import Surrogate
from robustcert.attacks.tally import Level, Tally
from robustcert.attacks.verify import judged_margins, shrink, verify
from robustcert.graph.smooth_twin import SmoothTwin
from robustcert.models.interface import LoadedModel
from robustcert.results.numbers import percent_up
from robustcert.results.progress import Listener, Progress
from robustcert.results.threat_model import ThreatModel, ThreatSweep
from robustcert.tensors import lp_norms

CHUNK = 64
"""Samples attacked at once, fewer where inputs are large."""

PATIENT_CHUNK = 32
"""The same for attacks that give up: large enough to fill a batch with the targets and
restarts of each sample, small enough to notice soon that nothing breaks."""

CHUNK_COORDINATES = 2**21
"""Coordinates attacked at once; guests multiply them by up to a few hundred."""

_ROUNDING = 1e-4
"""How far beyond epsilon a minimal attack's find may lie and still be a claim."""


@dataclass(slots=True, eq=False)
class Campaign:
    """Attacks on one sample set; the ledger and the tallies grow as it runs.

    Attributes:
        model: to be fooled.
        inputs: ``(N, *input_shape)``, inside the box.
        labels: ``(N,)`` int64.
        seed: of every random step.
        ledger: what is known about each sample.
        listener: told after each chunk.
        twin: the model's smooth twin, where it has one.
        budget: of all attacks together.
        tallies: one an attack, in the order in which they run.
        cut: whether the budget was spent before all was done.
    """

    model: LoadedModel
    inputs: Tensor
    labels: Tensor
    seed: int
    ledger: Ledger
    listener: Listener
    twin: SmoothTwin | None = None
    budget: Budget = UNLIMITED
    tallies: list[Tally] = field(default_factory=list)
    cut: bool = False

    def run(
        self, attacks: Sequence[tuple[Attack, int | None]], threats: ThreatSweep
    ) -> None:
        """Each attack, and its patience in chunks, at each radius, largest first.

        It may be called again with further attacks: they take what is still open.
        """
        patient = min(PATIENT_CHUNK, chunk_size(self.model.input_shape))
        first = len(self.tallies)
        self.tallies += [
            Tally(attack, Patience(chunks, patient)) for attack, chunks in attacks
        ]
        self.ledger.reopen()
        for threat in reversed(tuple(threats)):
            room = threat.epsilon > 0.0 and threat.box.width > 0.0
            if room and not self.cut:
                self._descend_to(Level(threat, threats, first))

    @property
    def headways(self) -> dict[str, Headway]:
        """By attack, of those that look within epsilon."""
        return {t.attack.name: t.headway for t in self.tallies if t.headway.rows}

    def leftover(self, threats: ThreatSweep) -> Leftover:
        """What is left undone where the budget was spent."""
        if not self.cut:
            return NOTHING_LEFT
        radii = [threat.epsilon for threat in threats if threat.epsilon > 0.0]
        waiting = {i for e in radii for i in self.ledger.open_at(e).tolist()}
        seen = set[int]().union(*(tally.seen for tally in self.tallies))
        return Leftover(len(waiting), len(waiting - seen))

    def _descend_to(self, level: Level) -> None:
        """All attacks at one radius; first those that broke a sample last."""
        epsilon, places = level.threat.epsilon, range(level.first, len(self.tallies))
        self.ledger.enter(epsilon)
        for place in places:
            self.tallies[place].patience.enter()
        for passed_over in (False, True):
            for place in places:
                rows = self._rows(place, epsilon)
                late = self.ledger.starts[rows] > place
                self._sweep(place, rows[late == passed_over], level)
        if not self.cut:
            self.ledger.leave(epsilon)

    def _rows(self, place: int, epsilon: float) -> Tensor:
        """The samples open to an attack, the most hopeful first."""
        tally, rows = self.tallies[place], self.ledger.open_at(epsilon)
        if tally.attack.minimal:
            new = [row not in tally.seen for row in rows.tolist()]
            rows = rows[torch.tensor(new, dtype=torch.bool, device=rows.device)]
        return self.ledger.by_hope(rows)

    def _sweep(self, place: int, rows: Tensor, level: Level) -> None:
        """One attack on ``rows``, a chunk at a time, while patience and budget last."""
        tally, threat = self.tallies[place], level.threat
        goal = level.goal(tally.attack)
        stage = f"{tally.attack.name} at {threat.norm.word} {goal.epsilon:g}"
        size, done = chunk_size(self.model.input_shape), 0
        if tally.patience.chunks is not None:
            size = min(size, PATIENT_CHUNK)
        while done < len(rows) and not tally.patience.ended:
            self.cut = self.cut or not self._affordable()
            if self.cut:
                return
            chunk = rows[done : done + tally.patience.next_chunk(size)]
            broken = self._attack(place, chunk, level, done)
            tally.patience.saw(len(chunk), broken)
            done += len(chunk)
            self.listener(Progress(stage, done, len(rows), self._note(tally, threat)))

    def _affordable(self) -> bool:
        queries = sum(t.queries.forward + t.queries.backward for t in self.tallies)
        return self.budget.allows(sum(t.seconds for t in self.tallies), queries)

    def _note(self, tally: Tally, threat: ThreatModel) -> str:
        share = percent_up(self.ledger.robust_share(threat.epsilon))
        return f"{len(tally.broken)} broken, robust accuracy at most {share} so far"

    def _attack(self, place: int, chunk: Tensor, level: Level, offset: int) -> int:
        """One attack on one chunk; the number of samples it newly broke there."""
        tally, began = self.tallies[place], time.perf_counter()
        epsilon, goal = level.threat.epsilon, level.goal(tally.attack)
        model, queries = counted(self.model)
        surrogate = None if self.twin is None else Surrogate(self.twin, queries)
        seed = derived_seed(self.seed, tally.attack.name, epsilon, offset)
        target = Target(
            model, self.inputs[chunk], self.labels[chunk], goal, seed, surrogate
        )
        self._strike(tally, target, chunk, level)
        new = chunk[self.ledger.distances[chunk] <= epsilon]
        self.ledger.starts[new] = place
        tally.broken.update(new.tolist())
        tally.seen.update(chunk.tolist())
        tally.queries.forward += queries.forward
        tally.queries.backward += queries.backward
        tally.seconds += time.perf_counter() - began
        return len(new)

    def _strike(self, tally: Tally, target: Target, rows: Tensor, level: Level) -> None:
        """Perturb, verify, shrink, record."""
        candidates = tally.attack.perturb(target)
        gaps = judged_margins(target.model, candidates, target.labels)
        tally.non_finite += int(gaps.isnan().sum())
        if not tally.attack.minimal:
            margins = self.ledger.margins[rows]
            tally.headway += headway(target, candidates, gaps, margins)
        sizes = lp_norms(
            candidates.double() - target.inputs.double(), target.threat.norm
        )
        near = (sizes <= level.threat.epsilon * (1.0 + _ROUNDING)) & ~gaps.isnan()
        self.ledger.approach(rows[near], gaps[near])
        claims = gaps < 0.0
        task = target.subset(claims)
        checked = verify(
            task.model, candidates[claims], task.inputs, task.labels, task.threat
        )
        passed = checked.passed
        # Bounded attacks mean all of theirs; minimal ones know no epsilon.
        meant = sizes[claims] <= task.threat.epsilon * (1.0 + _ROUNDING)
        tally.unverified += int((~passed & (meant | (not tally.attack.minimal))).sum())
        tally.non_finite += int((~checked.finite).sum())
        kept = task.subset(passed)
        found = shrink(
            kept.model, checked.subset(passed), kept.inputs, kept.labels, kept.threat
        )
        hit = rows[claims][passed]
        worth = level.waits_below(found.distances) | tally.attack.minimal
        self.ledger.record(hit[~worth], found.subset(~worth), tally.attack.name)
        smaller = polished(kept.subset(worth), found.subset(worth))
        self.ledger.record(hit[worth], smaller, tally.attack.name)


def chunk_size(shape: tuple[int, ...]) -> int:
    """How many inputs of this shape are attacked at once."""
    return max(1, min(CHUNK, CHUNK_COORDINATES // max(1, math.prod(shape))))


def derived_seed(seed: int, name: str, epsilon: float, offset: int) -> int:
    """A seed in [0, 2^32) for one chunk of one sweep."""
    return zlib.crc32(f"{seed}:{name}:{epsilon!r}:{offset}".encode())
