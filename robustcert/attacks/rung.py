"""One rung of an attack tier: which attack runs, and how long without a new break."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from robustcert.errors import UsageError


@dataclass(frozen=True, slots=True)
class Rung:
    """An attack by its catalogue name, and its patience.

    A rung attacks the open samples chunk by chunk, those with the smallest margin
    reached so far first.

    Attributes:
        attack: in the catalogue.
        patience: the rung ends after this many chunks in a row in which it broke
            nothing, at least 1; ``None``: it attacks every open sample.
    """

    attack: str
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.patience is not None and self.patience < 1:
            raise UsageError(
                f"{self.attack}: the patience {self.patience} is not positive",
                remedy="Give a patience of at least 1, or None to attack every sample.",
            )


def rungs_of(attacks: Iterable[Rung | str]) -> tuple[Rung, ...]:
    """Each attack once, in order; a plain name has endless patience."""
    rungs = [item if isinstance(item, Rung) else Rung(item) for item in attacks]
    first = {rung.attack: rung for rung in reversed(rungs)}
    return tuple(first[name] for name in dict.fromkeys(rung.attack for rung in rungs))


@dataclass(slots=True)
class Patience:
    """How many more samples a rung attacks without a break.

    Over several radii a rung that gave up has half its patience at the next one, and
    all of it again once it breaks something. So all radii together never cost it more
    than twice its patience in vain, however many there are.

    Attributes:
        full: samples attacked in a row without a break; ``None``: any number.
        granted: the same at the radius at hand.
        vain: attacked in a row without a break so far.
    """

    full: int | None
    granted: int = field(init=False)
    vain: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.granted = self.full or 0

    @property
    def ended(self) -> bool:
        """Whether the rung has given up at this radius."""
        return self.full is not None and self.vain >= self.granted

    def next_chunk(self, size: int) -> int:
        """How many samples to attack at once, ``size`` at most."""
        return size if self.full is None else min(size, self.granted - self.vain)

    def saw(self, samples: int, broken: int) -> None:
        """Take note of a chunk."""
        if broken:
            self.granted, self.vain = self.full or 0, 0
        else:
            self.vain += samples

    def enter(self) -> None:
        """Begin at the next radius."""
        if self.ended:
            self.granted, self.vain = self.granted // 2, 0
