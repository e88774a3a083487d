"""Is the evaluation itself sound? Signs of attacks that fail for their own reasons.

Some are read off the model before it is attacked, some off the attacks' own figures.
Which of them make a robust accuracy unreliable, and which attacks resolve them, is in
:mod:`robustcert.results.soundness`.

References:
    Carlini et al. On Evaluating Adversarial Robustness. 2019.
    Pintor et al. Indicators of Attack Failure. NeurIPS 2022.
"""

from __future__ import annotations

from robustcert.attacks.diagnostics.gradients import differentiable
from robustcert.attacks.diagnostics.model import (
    PROBES,
    clean_margins,
    model_findings,
)
from robustcert.attacks.diagnostics.runs import (
    FEW_SAMPLES,
    non_finite,
    refused,
    run_findings,
)
from robustcert.attacks.headway import Headway, headway

__all__ = [
    "FEW_SAMPLES",
    "PROBES",
    "Headway",
    "clean_margins",
    "differentiable",
    "headway",
    "model_findings",
    "non_finite",
    "refused",
    "run_findings",
]
