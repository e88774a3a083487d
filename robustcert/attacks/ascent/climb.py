"""The batched ascent that all rows share: many lanes a sample, none on broken ones.

A sample is climbed in L lanes at once, one for each start and target class. All lanes
of all open samples make one batch; once a lane fools the model, its sample leaves with
all its lanes. Steps follow the gradient's direction alone, so the scale of the logits
does not matter, and shrink to nothing.

References:
    Madry et al. Towards Deep Learning Models Resistant to Adversarial Attacks.
        ICLR 2018. (Projected ascent.)
    Gowal et al. An Alternative Surrogate Loss for PGD-based Adversarial Testing. 2019.
        (The margin towards each class, with steps that shrink.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustcert.attacks.ascent.aims import Aim, Objective
from robustcert.attacks.ascent.hunt import Hunt
from robustcert.attacks.ascent.schedule import Geometric, shrinking
from robustcert.attacks.ascent.starts import Start, at_sample
from robustcert.attacks.slope import Slope, View, slope
from robustcert.attacks.surrogate import Surrogate
from robustcert.results.threat_model import ThreatModel
from robustcert.tensors import box_diameter, project, rows_like, steepest_unit

REACH = 0.5
"""Length of the first step, as a share of epsilon."""

JUDGED = 2
"""Steps on the twin between two looks at the model, each a quarter of a step's cost."""

_TINY = 1e-30
"""Gradients below this count as none."""


@dataclass(frozen=True, slots=True)
class Course:
    """One ascent from start to end.

    Attributes:
        aim: what is climbed.
        steps: >= 1.
        starts: each is a lane of its own for each lane of the aim.
        sharpness: of the smooth twin that is climbed in the model's place; ``None``
            climbs the model itself, and so does a course without a twin.
    """

    aim: Aim
    steps: int
    starts: tuple[Start, ...] = (at_sample,)
    sharpness: Geometric | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Lanes:
    """What is on its way.

    Attributes:
        rows: ``(A,)`` samples still open.
        centres: ``(L * A, *shape)`` the samples, lane by lane.
        points: where the lanes are.
    """

    rows: Tensor
    centres: Tensor
    points: Tensor

    def without(self, gone: Tensor) -> _Lanes:
        """Without the samples that ``gone`` ``(A,)`` marks."""
        if not gone.any():
            return self
        left = (~gone).repeat(len(self.points) // len(gone))
        return _Lanes(self.rows[~gone], self.centres[left], self.points[left])


def climb(hunt: Hunt, course: Course) -> None:
    """Run a course on the samples that are still open; the hunt keeps the best."""
    if not len(hunt.open):
        return
    objective = course.aim(hunt.clean, hunt.target.labels)
    lanes = _begun(hunt, objective.lanes, course.starts)
    twin = hunt.target.surrogate
    if course.sharpness is None or twin is None:
        lanes = _on_model(hunt, objective, lanes, course.steps)
    else:
        dtype = hunt.target.model.dtype
        views = _views(twin, course.sharpness.over(course.steps), dtype)
        lanes = _on_twin(hunt, objective, lanes, views)
    if len(lanes.rows):
        hunt.judge(lanes.rows, lanes.points)


def _on_model(hunt: Hunt, objective: Objective, lanes: _Lanes, steps: int) -> _Lanes:
    """Each iterate is judged by the logits that come with its gradient."""
    for length in _lengths(hunt.target.threat, lanes, steps):
        if not len(lanes.rows):
            break
        seen = _slope(hunt.target.model.logits, lanes, objective)
        gone = hunt.note(lanes.rows, lanes.points, seen.logits)
        lanes = _stepped(lanes, hunt.target.threat, seen, length).without(gone)
    return lanes


def _on_twin(
    hunt: Hunt, objective: Objective, lanes: _Lanes, views: Sequence[View]
) -> _Lanes:
    """The twin shows the way; now and then the model judges."""
    lengths = _lengths(hunt.target.threat, lanes, len(views))
    for step, (length, view) in enumerate(zip(lengths, views, strict=True)):
        if step and step % JUDGED == 0:
            lanes = lanes.without(hunt.judge(lanes.rows, lanes.points))
        if not len(lanes.rows):
            break
        seen = _slope(view, lanes, objective)
        lanes = _stepped(lanes, hunt.target.threat, seen, length)
    return lanes


def _begun(hunt: Hunt, lanes: int, starts: tuple[Start, ...]) -> _Lanes:
    rows = hunt.open
    centres = at_sample(hunt, rows)
    points = torch.cat([start(hunt, rows) for start in starts for _ in range(lanes)])
    centres = centres.repeat(len(points) // len(rows), *[1] * (centres.ndim - 1))
    return _Lanes(rows, centres, points)


def _views(
    twin: Surrogate, sharpness: Sequence[float], dtype: torch.dtype
) -> list[View]:
    """What each step climbs: the twin, sharper and sharper."""

    def view(value: float) -> View:
        return lambda points: twin.logits(points.to(dtype), value)

    return [view(value) for value in sharpness]


def _lengths(threat: ThreatModel, lanes: _Lanes, steps: int) -> list[float]:
    """Of the steps, in input units; none crosses more than the box."""
    size = lanes.centres[:1].numel()
    across = box_diameter(threat.box, size, threat.norm)
    return shrinking(REACH * min(threat.epsilon, across), steps)


def _slope(view: View, lanes: _Lanes, objective: Objective) -> Slope:
    return slope(
        view, lanes.points, lambda logits: objective.losses(logits, lanes.rows)
    )


def _stepped(lanes: _Lanes, threat: ThreatModel, seen: Slope, length: float) -> _Lanes:
    """One step in the direction of steepest ascent, then back into ball and box."""
    # Squares of gradients may exceed or fall below what floats can hold.
    largest = seen.gradients.flatten(1).abs().amax(dim=1).clamp(min=_TINY)
    scaled = seen.gradients / rows_like(largest, seen.gradients)
    moved = lanes.points + length * steepest_unit(scaled, threat.norm)
    return replace(lanes, points=project(moved, lanes.centres, threat))
