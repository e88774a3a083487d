"""How accurate a model stays on corrupted inputs; torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from robustcert.results.interval import Interval, share_interval
from robustcert.results.mean_interval import mean_interval
from robustcert.results.report import ModelCard, Provenance, SampleSetCard
from robustcert.results.threat_model import Box


@dataclass(frozen=True, slots=True)
class CorruptionCell:
    """One corruption at one severity.

    Attributes:
        corruption: its name in the registry.
        severity: 1 to 5.
        strength: what the severity stands for, in the corruption's own unit.
        right: samples that the model still classifies correctly.
        count: samples, at least 1.
    """

    corruption: str
    severity: int
    strength: float
    right: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.count or self.count < 1:
            raise ValueError(f"{self.right} of {self.count} samples cannot be right")

    @property
    def accuracy(self) -> float:
        """Share of the samples that are right."""
        return self.right / self.count

    @property
    def interval(self) -> Interval:
        """95 % Clopper-Pearson: what the share says about new samples."""
        return share_interval(self.right, self.count)


@dataclass(frozen=True, slots=True)
class RefusedCorruption:
    """A corruption that inputs of this shape cannot have, and why."""

    corruption: str
    reason: str


@dataclass(frozen=True, slots=True)
class CorruptionTable:
    """Accuracy by corruption and severity on one sample set.

    This says nothing about an adversary, who chooses the perturbation.

    Attributes:
        clean: samples that are right without corruption.
        count: samples, at least 1.
        cells: each corruption at each severity, the same samples in all of them.
        refused: corruptions that were asked for and do not apply.
    """

    clean: int
    count: int
    cells: tuple[CorruptionCell, ...]
    refused: tuple[RefusedCorruption, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.clean <= self.count or self.count < 1:
            raise ValueError(f"{self.clean} of {self.count} samples cannot be right")
        if not self.cells or any(cell.count != self.count for cell in self.cells):
            raise ValueError("a table needs cells, all about the same samples")

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Names in the order of the cells, each once."""
        return tuple(dict.fromkeys(cell.corruption for cell in self.cells))

    @property
    def clean_accuracy(self) -> float:
        """Share of the samples that are right without corruption."""
        return self.clean / self.count

    @property
    def clean_interval(self) -> Interval:
        """95 % Clopper-Pearson."""
        return share_interval(self.clean, self.count)

    @property
    def mean_accuracy(self) -> float:
        """Mean corruption accuracy: all cells weigh the same."""
        return sum(cell.right for cell in self.cells) / (len(self.cells) * self.count)

    @property
    def mean_interval(self) -> Interval:
        """95 % interval of :attr:`mean_accuracy`.

        One sample appears in every cell, so cells are dependent. A sample's own share
        of cells that are right is one draw in [0, 1]; the interval holds for any such.
        """
        return mean_interval(self.mean_accuracy, self.count)

    def accuracy_of(self, corruption: str) -> float:
        """Mean accuracy of one corruption over its severities."""
        own = [cell.accuracy for cell in self.cells if cell.corruption == corruption]
        return sum(own) / len(own)


@dataclass(frozen=True, slots=True)
class CorruptionReport:
    """A table, and what it is about."""

    model: ModelCard
    samples: SampleSetCard
    box: Box
    table: CorruptionTable
    provenance: Provenance
