"""Square Attack on a batch; a sample leaves once it is fooled.

Reference:
    Andriushchenko, Croce, Flammarion, Hein. Square Attack: a query-efficient black-box
        adversarial attack via random search. ECCV 2020. Algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.attacks.apgd.finds import Finds, Judge, finds_of
from robustcert.attacks.interface import Target, lacks_norm
from robustcert.attacks.square.canvas import Canvas, Dice, canvas_of
from robustcert.attacks.square.proposals import first_points, next_points
from robustcert.attacks.square.schedule import share_at
from robustcert.attacks.verify import fooled
from robustcert.models.interface import LoadedModel
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import ThreatModel


@dataclass(frozen=True, slots=True)
class Square:
    """Random search on the margin; no gradients, any shape, any number of classes.

    Attributes:
        name: in the catalogue.
        queries: for each sample at most, besides one to confirm a find.
        judge: when a sample is done.
        norms: the norms it can attack in.
        minimal: it knows epsilon.
    """

    name: str
    queries: int
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
        search = _Search(finds, canvas_of(target.model.input_shape), generator)
        walk = search.start()
        for query in range(1, self.queries):
            if not len(walk.rows):
                break
            walk = search.step(walk, share_at(query - 1, self.queries))
        return finds.points


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    """Where the search of T samples stands.

    Attributes:
        rows: ``(T,)`` positions of the samples.
        centres: ``(T, D)`` the samples.
        points: ``(T, D)`` the best points so far.
        gaps: ``(T,)`` their margins.
    """

    rows: Tensor
    centres: Tensor
    points: Tensor
    gaps: Tensor

    def subset(self, rows: Tensor) -> _Walk:
        """The samples at ``rows`` (a mask) alone."""
        return _Walk(
            self.rows[rows], self.centres[rows], self.points[rows], self.gaps[rows]
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """One attack on one target."""

    finds: Finds
    canvas: Canvas
    generator: torch.Generator

    def start(self) -> _Walk:
        """All samples at random points of the sphere."""
        centres = self.finds.points.flatten(1).clone()
        rows = self.finds.left
        points = first_points(
            self.canvas, centres, self.finds.target.threat, self._dice(centres)
        )
        return self._open(_Walk(rows, centres, points, self._margins(rows, points)))

    def step(self, walk: _Walk, share: float) -> _Walk:
        """One query each; what has a smaller margin stays."""
        tried = next_points(
            self.canvas,
            walk.points,
            walk.centres,
            self.finds.target.threat,
            share,
            self._dice(walk.points),
        )
        gaps = self._margins(walk.rows, tried)
        better = gaps < walk.gaps
        points = tried.where(better[:, None], walk.points)
        gaps = gaps.where(better, walk.gaps)
        return self._open(_Walk(walk.rows, walk.centres, points, gaps))

    def _dice(self, points: Tensor) -> Dice:
        return Dice(self.generator, len(points), points.dtype)

    def _margins(self, rows: Tensor, points: Tensor) -> Tensor:
        model = self.finds.target.model
        shaped = points.reshape(-1, *self.finds.points.shape[1:])
        with torch.no_grad():
            return self.finds.note(rows, shaped, model.logits(shaped))

    def _open(self, walk: _Walk) -> _Walk:
        """Without the samples that are done."""
        still = ~self.finds.done[walk.rows]
        return walk if bool(still.all()) else walk.subset(still)
