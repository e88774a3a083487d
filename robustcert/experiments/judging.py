"""What is measured of a trained net: the paper's figures, and what they leave open.

The file is measured, not the module in memory: it is loaded by the front door that
uploads go through, and what is said holds for what a reader can download.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from robustcert.evaluation.load import load_model
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.run import Surroundings, evaluate
from robustcert.experiments.shares import accuracy, median_margin, noisy_accuracy
from robustcert.experiments.sign_ascent import SignAscent
from robustcert.experiments.sources import Source
from robustcert.models.interface import LoadedModel
from robustcert.results.effort import Effort, Tier
from robustcert.results.norm import Norm
from robustcert.results.report import Level, RobustnessReport
from robustcert.results.threat_model import UNIT_BOX, ThreatModel, ThreatSweep
from robustcert.train.interface import Batch

PRODUCT = "spectral_product"
NOISE_SEED = 0
"""The same noise for every net, so that differences are theirs."""


@dataclass(frozen=True, slots=True)
class Measures:
    """What is measured, and how thoroughly.

    Attributes:
        attack: the paper's.
        attacked: test examples it is run on.
        noise: standard deviation of the Gaussian noise, in input units.
        epsilons: radii in L2 for the tier's attacks and for certificates.
        samples: test examples those are run on.
        certifiers: names of the registry.
        effort: of the Lipschitz bounds.
    """

    attack: SignAscent
    attacked: int
    noise: float
    epsilons: tuple[float, ...]
    samples: int
    certifiers: tuple[str, ...] = ("lipschitz-margin",)
    effort: Effort = Effort.TIGHT

    @property
    def words(self) -> dict[str, Any]:
        """The same as JSON."""
        threat = self.attack.threat
        return {
            "attack": [threat.epsilon, self.attack.step, self.attack.steps],
            "attacked": self.attacked,
            "noise": self.noise,
            "epsilons": [*self.epsilons],
            "samples": self.samples,
            "certifiers": [*self.certifiers],
            "effort": self.effort.value,
            "tier": Tier.STANDARD.value,
        }

    def limited(self, count: int) -> Measures:
        """The same on at most ``count`` test examples each."""
        return replace(
            self,
            attacked=min(count, self.attacked),
            samples=min(count, self.samples),
        )


PAPER_ATTACK = SignAscent(ThreatModel(Norm.L2, 2.0, UNIT_BOX), step=0.25, steps=100)
"""Of the paper's table: L2, epsilon 2, step .25, 100 steps, along the sign."""


class _Logits(nn.Module):
    """A loaded model as a module."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self._model = model

    def forward(self, inputs: Tensor) -> Tensor:
        return self._model.logits(inputs)


def measured(
    path: Path, training: Batch, source: Source, measures: Measures, shards: Path
) -> dict[str, Any]:
    """The measured fields of an :class:`~robustcert.experiments.outcome.Outcome`.

    Args:
        path: the model's file.
        training: what it was fitted to.
        source: whose test part the rest is measured on.
        measures: what to measure.
        shards: folder for finished parts of the evaluation.

    Raises:
        RobustCertError: the file cannot be evaluated.
    """
    shape = tuple(training.inputs.shape[1:])
    loaded = load_model(path.read_bytes(), sample_shape=shape)
    net, test = _Logits(loaded), source.test
    plan = EvaluationPlan(
        ThreatSweep(Norm.L2, measures.epsilons, UNIT_BOX),
        effort=measures.effort,
        certifiers=measures.certifiers,
    )
    samples = source.samples(measures.samples)
    report = evaluate(loaded, samples, plan, Surroundings(checkpoints=shards))
    attacked = test.rows(slice(0, measures.attacked))
    return {
        "train": accuracy(net, training),
        "test": accuracy(net, test),
        "noise": noisy_accuracy(net, test, measures.noise, NOISE_SEED),
        "attack": measures.attack.accuracy(net, attacked),
        "margin": median_margin(net, test),
        **_reported(report),
    }


def _reported(report: RobustnessReport) -> dict[str, Any]:
    """What a report adds."""
    bracket = report.lipschitz
    upper, lower = bracket.upper, bracket.lower
    products = [bound.value for bound in bracket.uppers if bound.method == PRODUCT]
    alarms = [f.rule for f in report.findings if f.level is not Level.NOTE]
    return {
        "samples": len(report.rows),
        "clean": report.clean_accuracy,
        "epsilons": tuple(point.epsilon for point in report.curve),
        "robust": tuple(point.robust for point in report.curve),
        "certified": tuple(point.certified for point in report.curve),
        "lower": 0.0 if lower is None else lower.value,
        "upper": None if upper is None or math.isinf(upper.value) else upper.value,
        "product": products[0] if products else None,
        "findings": tuple(dict.fromkeys(alarms)),
    }
