"""What is kept of one trained and measured net, on the disk as soon as it is known."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from robustcert.results.document import canonical_json
from robustcert.train.checkpoint import write_whole

MODELS = "models"
RUNS = "runs"


@dataclass(frozen=True, slots=True)
class EpochLine:
    """One epoch; a number that was not finite is ``None``."""

    number: int
    loss: float | None
    accuracy: float | None
    penalty: float | None
    weight: float
    validation: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """One net: how it was trained, and everything that was measured of it.

    Accuracies are shares in [0, 1].

    Attributes:
        arm: the line of the table it belongs to.
        seed: of its training.
        model: its file, beside the record.
        sha256: of that file.
        epoch: whose parameters were taken.
        weight: of the penalty in that epoch.
        step_seconds: of the processor, for one step of training.
        train: accuracy on the training part.
        test: accuracy on the test part.
        noise: the same under Gaussian noise.
        attack: the same under the paper's attack, on the first test examples.
        samples: how many of the test examples the following is about.
        clean: accuracy on them, unperturbed.
        epsilons: radii in L2.
        robust: accuracy under the attacks of the tier; the truth is at most this.
        certified: proved accuracy; the truth is at least this.
        lower: Lipschitz lower bound in L2.
        upper: Lipschitz upper bound; ``None`` where nothing is proved.
        product: of the layers' norms.
        margin: the median of the test part, in logit units.
        findings: what the evaluation says about itself.
        epochs: the course of training.
    """

    arm: str
    seed: int
    model: str
    sha256: str
    epoch: int
    weight: float
    step_seconds: float
    train: float
    test: float
    noise: float
    attack: float
    samples: int
    clean: float
    epsilons: tuple[float, ...]
    robust: tuple[float, ...]
    certified: tuple[float, ...]
    lower: float
    upper: float | None
    product: float | None
    margin: float
    findings: tuple[str, ...]
    epochs: tuple[EpochLine, ...]

    @property
    def reach(self) -> float | None:
        """Median margin over the Lipschitz upper bound: a length in input units.

        It does not change when all logits are scaled, as either of its parts does.
        """
        return self.margin / self.upper if self.upper else None

    @property
    def training_seconds(self) -> float:
        """Of the processor, for the whole training."""
        return sum(line.seconds for line in self.epochs)

    def robust_at(self, epsilon: float) -> float:
        """Robust accuracy at one of the radii."""
        return self.robust[self.epsilons.index(epsilon)]

    def certified_at(self, epsilon: float) -> float:
        """Certified accuracy at one of the radii."""
        return self.certified[self.epsilons.index(epsilon)]


_WIRE = TypeAdapter(Outcome)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one net's files lie.

    Attributes:
        folder: of the experiment.
        key: of the arm and the seed.
        recipe: everything that the outcome depends on, as JSON.
    """

    folder: Path
    key: str
    recipe: Mapping[str, Any]

    @property
    def model(self) -> Path:
        """The trained net."""
        return self.folder / MODELS / f"{self.key}.ts.pt"

    @property
    def checkpoint(self) -> Path:
        """Of a training that has not ended."""
        return self.folder / RUNS / f"{self.key}-{self._digest}.checkpoint"

    @property
    def shards(self) -> Path:
        """Of an evaluation that has not ended."""
        return self.folder / RUNS / f"{self.key}-{self._digest}.shards"

    def find(self) -> Outcome | None:
        """The outcome, where one with this recipe was kept."""
        try:
            kept = json.loads(self._record.read_bytes())
            if not isinstance(kept, dict) or kept.get("recipe") != self._plain:
                return None
            return _WIRE.validate_python(kept["outcome"])
        except (OSError, ValueError, KeyError, ValidationError):
            return None

    def keep(self, outcome: Outcome) -> None:
        """Write the record; what served to resume is no longer needed.

        Raises:
            UsageError: it cannot be written.
        """
        record = {"recipe": self._plain, "outcome": asdict(outcome)}
        write_whole(self._record, canonical_json(record).encode())
        self.checkpoint.unlink(missing_ok=True)
        shutil.rmtree(self.shards, ignore_errors=True)

    @property
    def _record(self) -> Path:
        return self.folder / RUNS / f"{self.key}.json"

    @property
    def _plain(self) -> Any:  # noqa: ANN401 - JSON
        """The recipe as it comes back from a file."""
        return json.loads(json.dumps(self.recipe, sort_keys=True))

    @property
    def _digest(self) -> str:
        text = json.dumps(self.recipe, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
