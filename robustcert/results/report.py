"""The report: everything one evaluation found, ready to be issued.

The accuracy curve is not stored but computed from the rows (:func:`accuracy_curve`),
so a report cannot disagree with itself about what its samples say.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from robustcert.results.attack import AttackRun
from robustcert.results.bound import Bracket
from robustcert.results.certificate import CertifierRun, Verdict
from robustcert.results.interval import Interval, share_interval
from robustcert.results.smoothing import SmoothingTable
from robustcert.results.threat_model import ThreatSweep


class OutputKind(enum.Enum):
    """What the model's last layer returns."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    LOG_PROBABILITIES = "log_probabilities"
    SINGLE_LOGIT = "single_logit"


class Level(enum.Enum):
    """How much a finding matters."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the evaluation itself that a reader must know."""

    rule: str
    level: Level
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class LayerCard:
    """One layer of the model; ``operator_norm`` is an upper bound where one is known.

    ``shape`` is the layer's output shape without the batch.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    operator_norm: float | None


@dataclass(frozen=True, slots=True)
class UnsupportedLayer:
    """A layer that no certificate can see through, and why."""

    layer: str
    reason: str


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What the model is; ``sha256`` is the hash of the file's bytes."""

    sha256: str
    format: str
    input_shape: tuple[int, ...]
    classes: int
    parameters: int
    output: OutputKind
    layers: tuple[LayerCard, ...] = ()
    unsupported: tuple[UnsupportedLayer, ...] = ()


@dataclass(frozen=True, slots=True)
class SampleSetCard:
    """Which samples were used: the first ``count`` of a set."""

    name: str
    sha256: str
    count: int
    seed: int


@dataclass(frozen=True, slots=True)
class SampleRow:
    """What is known about one sample.

    Attributes:
        index: position in the sample set.
        label: the sample's class.
        predicted: the class the model gives, which may equal the label at a tie.
        margin: label logit minus the best other logit; the model is right if > 0.
        certified_radius: no class change within it, proved; 0 where nothing is proved.
        certified_by: the certifier, or ``None``.
        adversarial_distance: the smallest verified perturbation found, ``None`` where
            none was found, 0 where the model is wrong.
        broken_by: the attack, ``clean`` where the model is wrong, or ``None``.
    """

    index: int
    label: int
    predicted: int
    margin: float
    certified_radius: float
    certified_by: str | None
    adversarial_distance: float | None
    broken_by: str | None

    @property
    def right(self) -> bool:
        """Whether the model classifies the unperturbed sample correctly."""
        return self.margin > 0.0

    def verdict(self, epsilon: float) -> Verdict:
        """What is known about this sample at ``epsilon``."""
        if not self.right:
            return Verdict.BROKEN
        distance = self.adversarial_distance
        if distance is not None and distance <= epsilon:
            return Verdict.BROKEN
        if epsilon == 0.0:
            return Verdict.CERTIFIED
        if self.certified_by is not None and self.certified_radius >= epsilon:
            return Verdict.CERTIFIED
        return Verdict.UNDECIDED

    def settled_by(self, epsilon: float) -> str | None:
        """The method behind :meth:`verdict`, ``None`` while undecided."""
        verdict = self.verdict(epsilon)
        if verdict is Verdict.BROKEN:
            return self.broken_by
        if verdict is Verdict.CERTIFIED:
            return self.certified_by or "clean"
        return None


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Certified and robust accuracy at one epsilon, as shares in [0, 1].

    The intervals are 95 % Clopper-Pearson: what the shares say about the distribution
    the samples were drawn from. About these samples the shares are facts.
    """

    epsilon: float
    certified: float
    robust: float
    certified_interval: Interval
    robust_interval: Interval


@dataclass(frozen=True, slots=True)
class CacheUse:
    """How many shards were answered from the cache."""

    hits: int = 0
    misses: int = 0


@dataclass(frozen=True, slots=True)
class Provenance:
    """How the report came about."""

    versions: dict[str, str]
    seed: int
    device: str
    dtype: str
    threads: int
    started: str
    seconds: float
    sandbox: tuple[str, ...] = ()
    cache: CacheUse = field(default_factory=CacheUse)


@dataclass(frozen=True, slots=True)
class RobustnessReport:
    """The bracket of one model on one sample set, from both sides.

    ``smoothing`` is about another model, the smoothed one; no row rests on it.
    """

    model: ModelCard
    samples: SampleSetCard
    threats: ThreatSweep
    lipschitz: Bracket
    rows: tuple[SampleRow, ...]
    attacks: tuple[AttackRun, ...]
    findings: tuple[Finding, ...]
    provenance: Provenance
    certifiers: tuple[CertifierRun, ...] = ()
    smoothing: SmoothingTable | None = None

    @property
    def clean_accuracy(self) -> float:
        """Share of the samples that the model classifies correctly."""
        return sum(row.right for row in self.rows) / len(self.rows)

    @property
    def curve(self) -> tuple[CurvePoint, ...]:
        """Certified and robust accuracy at every epsilon asked for."""
        return accuracy_curve(self.rows, self.threats.epsilons)


def accuracy_curve(
    rows: tuple[SampleRow, ...], epsilons: tuple[float, ...]
) -> tuple[CurvePoint, ...]:
    """Certified and robust accuracy of ``rows`` at each of ``epsilons``."""
    return tuple(_curve_point(rows, epsilon) for epsilon in epsilons)


def _curve_point(rows: tuple[SampleRow, ...], epsilon: float) -> CurvePoint:
    verdicts = [row.verdict(epsilon) for row in rows]
    certified = verdicts.count(Verdict.CERTIFIED)
    robust = len(rows) - verdicts.count(Verdict.BROKEN)
    return CurvePoint(
        epsilon,
        certified / len(rows),
        robust / len(rows),
        share_interval(certified, len(rows)),
        share_interval(robust, len(rows)),
    )
