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

    Over several radii a rung that gave up has a quarter of its patience at the next
    one, none where that was in vain too, and all of it once it breaks something. A
    probe, whose patience is one chunk, ends after two radii in vain, however few
    samples they had: a few cost nearly as much time as a chunk.

    Attributes:
        chunks: attacked in a row without a break; ``None``: any number.
        size: samples a chunk.
        granted: samples attacked in a row without a break at the radius at hand.
        vain: attacked in a row without a break so far.
        radii: in a row at which it attacked something and broke nothing.
    """

    chunks: int | None
    size: int
    granted: int = field(init=False)
    vain: int = field(init=False, default=0)
    radii: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.granted = self._all

    @property
    def _all(self) -> int:
        return 0 if self.chunks is None else self.chunks * self.size

    @property
    def ended(self) -> bool:
        """Whether the rung has given up at this radius."""
        return self.chunks is not None and self.vain >= self.granted

    def next_chunk(self, size: int) -> int:
        """How many samples to attack at once, ``size`` at most."""
        return size if self.chunks is None else min(size, self.granted - self.vain)

    def saw(self, samples: int, broken: int) -> None:
        """Take note of a chunk."""
        if broken:
            self.granted, self.vain, self.radii = self._all, 0, 0
        else:
            self.vain += samples

    def enter(self) -> None:
        """Begin at the next radius."""
        if self.chunks is None:
            return
        self.radii += self.vain > 0
        if self.chunks == 1 and self.radii > 1:
            self.granted, self.vain = 0, 0
        elif self.ended:
            again = self.granted == self._all
            self.granted, self.vain = self.granted // 4 if again else 0, 0
