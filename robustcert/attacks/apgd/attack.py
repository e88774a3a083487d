"""APGD on samples, targets and restarts at once; a sample leaves once it is fooled.

Reference:
    Croce, Hein. Reliable Evaluation of Adversarial Robustness with an Ensemble of
        Diverse Parameter-free Attacks. ICML 2020.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.attacks import losses
from robustcert.attacks.apgd.finds import Finds, Judge, finds_of
from robustcert.attacks.apgd.objectives import (
    Goals,
    Objective,
    Query,
    temperatures,
    with_unit_slopes,
)
from robustcert.attacks.apgd.pace import FIRST_STEP, checkpoints, first_pace
from robustcert.attacks.apgd.trajectories import (
    MOMENTUM,
    Iterate,
    Trajectories,
    random_starts,
)
from robustcert.attacks.interface import Target, lacks_norm
from robustcert.attacks.slope import slope
from robustcert.attacks.verify import fooled
from robustcert.models.interface import LoadedModel
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import ThreatModel

WAVE = 256
"""Trajectories climbed at once. The likeliest targets of many samples go before the
unlikely ones of any; few samples try all their targets side by side."""


@dataclass(frozen=True, slots=True)
class Apgd:
    """Projected gradient ascent with momentum and adaptive steps, of one objective.

    Takes every model: objectives give way to the margin where there are too few classes
    for them. Each trajectory costs ``steps + 1`` gradients at most.

    Attributes:
        name: in the catalogue.
        objective: what is climbed.
        steps: of each trajectory.
        targets: this many of the likeliest other classes are tried, one trajectory
            each; 1 for untargeted objectives.
        restarts: random starts of each.
        judge: when a sample is done.
        norms: the norms it can attack in.
        minimal: it knows epsilon.
    """

    name: str
    objective: Objective
    steps: int
    targets: int = 1
    restarts: int = 1
    judge: Judge = fooled
    norms: frozenset[Norm] = frozenset(THREAT_NORMS)
    minimal: bool = False

    def refusal(self, model: LoadedModel, threat: ThreatModel) -> str | None:  # noqa: ARG002 - any model will do
        """Why the attack cannot run here, ``None`` where it can."""
        return lacks_norm(self, threat)

    def perturb(self, target: Target) -> Tensor:
        """Candidates ``(N, *input_shape)``, float32 at least, inside ball and box."""
        threat = target.threat
        if threat.epsilon == 0.0 or threat.box.width == 0.0 or not len(target.inputs):
            return target.inputs.clone()
        generator = torch.Generator(device=target.inputs.device)
        generator.manual_seed(target.seed)
        finds = finds_of(target, self.judge)
        climb = _Climb(self, finds, generator)
        with torch.no_grad():
            logits = target.model.logits(target.inputs).double()
        softened = temperatures(logits)
        classes = losses.likeliest_others(logits, target.labels, self.targets)
        classes = classes.repeat(1, self.restarts)
        tried = 0
        while tried < classes.shape[1] and len(finds.left):
            left = finds.left
            width = max(1, WAVE // len(left))
            some = classes[left, tried : tried + width]
            rows = left.repeat_interleave(some.shape[1])
            climb.run(rows, Goals(target.labels[rows], some.flatten(), softened[rows]))
            tried += width
        return finds.points


@dataclass(frozen=True, slots=True, eq=False)
class _Climb:
    """One attack on one target: runs a wave of trajectories after another."""

    attack: Apgd
    finds: Finds
    generator: torch.Generator

    def run(self, rows: Tensor, goals: Goals) -> None:
        """Climb from random starts, all steps or until all samples are done."""
        threat, last = self.finds.target.threat, 0
        reviews = checkpoints(self.attack.steps)
        wave = self._open(self._start(rows, goals))
        for step in range(1, self.attack.steps + 1):
            if not len(wave.rows):
                return
            share = 1.0 if step == 1 else MOMENTUM
            after = self._look(
                wave.rows, wave.centres, wave.goals, wave.ahead(threat, share)
            )
            wave = self._open(wave.moved(after))
            if step in reviews:
                wave, last = wave.reviewed(step - last), step

    def _start(self, rows: Tensor, goals: Goals) -> Trajectories:
        target = self.finds.target
        centres = target.inputs[rows].to(self.finds.points.dtype)
        first = random_starts(centres, target.threat, self.generator)
        now = self._look(rows, centres, goals, first)
        sizes = torch.full_like(now.losses, FIRST_STEP * target.threat.epsilon)
        pace = first_pace(now.losses, sizes.to(centres.dtype))
        return Trajectories(rows, centres, goals, now, now.points, now, pace)

    def _look(
        self, rows: Tensor, centres: Tensor, goals: Goals, points: Tensor
    ) -> Iterate:
        """One forward and one backward pass; what is found is kept."""
        target = self.finds.target
        query = Query(goals, points - centres, target.threat.norm, self.generator)

        def objective(logits: Tensor) -> Tensor:
            return self.attack.objective(with_unit_slopes(logits), query)

        seen = slope(target.model.logits, points, objective)
        self.finds.note(rows, points, seen.logits)
        rising = seen.losses.where(~seen.losses.isnan(), -math.inf)
        return Iterate(points, rising, seen.gradients)

    def _open(self, wave: Trajectories) -> Trajectories:
        """Without the trajectories of samples that are done."""
        still = ~self.finds.done[wave.rows]
        return wave if bool(still.all()) else wave.subset(still)
