"""Pairs a fixed distance apart that climb, and go back where a step leads down."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box
from robustcert.tensors import (
    box_diameter,
    clip_to_box,
    lp_norms,
    rows_like,
    steepest_unit,
)

_UNSEEN = -1.0  # below every quotient
_SHORTER = 0.5
_LONGER = 1.5


@dataclass(frozen=True, slots=True)
class Ground:
    """Where pairs climb.

    Attributes:
        box: of the inputs; at least ``separation`` wide.
        separation: distance of the ends of a pair, L2, input units.
        reach: longest step of a pair's middle, L2, as a share of the box's diameter.
    """

    box: Box
    separation: float
    reach: float


@dataclass(frozen=True, slots=True, eq=False)
class Climbers:
    """N pairs with ends ``middle +- direction * separation / 2``.

    Attributes:
        places: ``(N, 2, D)``, the middle and the unit direction of each pair.
        best: ``(N, 2, D)``, where a pair returns from a step that led down.
        steepness: ``(N,)``, the quotient at ``best`` when last measured; -1 before.
        fallen: ``(N,)``, the quotient of the step a pair returns from; -1 otherwise.
        lengths: ``(N,)``, of the next step, as shares of the longest.
    """

    places: Tensor
    best: Tensor
    steepness: Tensor
    fallen: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self.places)

    def rows(self, chosen: slice | Tensor) -> Climbers:
        """Some of the pairs."""
        return Climbers(*(tensor[chosen] for tensor in self.tensors().values()))

    def tensors(self) -> dict[str, Tensor]:
        """All of them by name."""
        return {
            "places": self.places,
            "best": self.best,
            "steepness": self.steepness,
            "fallen": self.fallen,
            "lengths": self.lengths,
        }


def climbers_at(inputs: Tensor, ground: Ground, generator: torch.Generator) -> Climbers:
    """Pairs about inputs, ``(N, *shape)``, in random directions."""
    middles = inputs.flatten(1)
    drawn = torch.randn(middles.shape, generator=generator).to(middles)
    places = _placed(middles, steepest_unit(drawn, Norm.L2), ground)
    unseen = torch.full_like(middles[:, 0], _UNSEEN)
    return Climbers(places, places, unseen, unseen, torch.ones_like(unseen))


def ends(climbers: Climbers, ground: Ground) -> Tensor:
    """``(2 N, D)``: all first ends, then all second ends, in the box."""
    middles, directions = climbers.places.unbind(1)
    offsets = directions * (ground.separation / 2.0)
    joined = torch.cat([middles + offsets, middles - offsets])
    return clip_to_box(joined, ground.box)  # by a rounding at most


def climbed(
    climbers: Climbers, steepness: Tensor, uphill: Tensor, ground: Ground
) -> Climbers:
    """Each pair after a step, or back where its last step led down from.

    The middle moves along the gradient. The direction turns towards the difference of
    the gradients at the two ends, which for a short pair is the power iteration
    ``J^T J direction``. A pair that fell returns to its best place, where it is
    measured again: if it was indeed steeper there, its steps become shorter (if not,
    the model has changed meanwhile). So with a model that stays, the best quotient of
    a pair never falls, and with one that moves no quotient outlives its truth for
    long.

    Args:
        climbers: N pairs.
        steepness: ``(N,)`` quotients at their places.
        uphill: ``(2 N, D)`` gradients of the quotients, as :func:`ends`; of any
            positive scale in each pair.
        ground: where they climb.
    """
    returned = climbers.fallen > _UNSEEN
    risen = returned | (steepness >= climbers.steepness)
    shorter = returned & (climbers.fallen < steepness)
    factors = torch.where(shorter, _SHORTER, torch.where(returned, 1.0, _LONGER))
    lengths = torch.where(risen, climbers.lengths * factors, climbers.lengths)
    lengths = lengths.clamp(max=1.0)
    moved = _moved(climbers.places, uphill, lengths, ground)
    chosen = rows_like(risen, moved)
    return Climbers(
        torch.where(chosen, moved, climbers.best),
        torch.where(chosen, climbers.places, climbers.best),
        torch.where(risen, steepness, climbers.steepness),
        torch.where(risen, torch.full_like(steepness, _UNSEEN), steepness),
        lengths,
    )


def renewed(climbers: Climbers, fresh: Climbers) -> Climbers:
    """The steepest of the pairs, and fresh ones instead of the others."""
    kept = climbers.steepness.topk(len(climbers) - len(fresh)).indices
    return joined([climbers.rows(kept), fresh])


def joined(parts: list[Climbers]) -> Climbers:
    """All pairs, one part after the other."""
    tensors = [part.tensors() for part in parts]
    return Climbers(
        **{name: torch.cat([each[name] for each in tensors]) for name in tensors[0]}
    )


def moved_to(climbers: Climbers, like: Tensor) -> Climbers:
    """On the device and in the dtype of ``like``."""
    return replace(
        climbers, **{name: t.to(like) for name, t in climbers.tensors().items()}
    )


def _moved(places: Tensor, uphill: Tensor, lengths: Tensor, ground: Ground) -> Tensor:
    middles, directions = places.unbind(1)
    ahead, behind = uphill.chunk(2)
    size = middles.shape[1]
    reach = ground.reach * box_diameter(ground.box, size, Norm.L2)
    steps = steepest_unit(ahead + behind, Norm.L2) * (lengths * reach)[:, None]
    gained = steepest_unit(ahead - behind, Norm.L2)
    turned = steepest_unit(directions.lerp(gained, lengths[:, None]), Norm.L2)
    # No gradient, or one that would turn a direction into 0.
    lost = lp_norms(turned, Norm.L2)[:, None] < 0.5
    turned = torch.where(lost, directions, turned)
    return _placed(middles + steps, turned, ground)


def _placed(middles: Tensor, directions: Tensor, ground: Ground) -> Tensor:
    """Middles as near as may be whose ends lie in the box at their full distance."""
    room = directions.abs() * (ground.separation / 2.0)
    inside = middles.clamp(ground.box.low + room, ground.box.high - room)
    return torch.stack([inside, directions], dim=1)
