"""Trainers side by side on one net of Fashion-MNIST: 784-200-80-10.

Each has one setting, the same for all seeds, which costs a few points of clean accuracy
at most. Every net is evaluated by the standard tier and by certificates with tight
Lipschitz bounds.
"""

from __future__ import annotations

from dataclasses import replace

from robustcert.experiments.arms import Arm
from robustcert.experiments.classification import EPSILONS, separate_parts
from robustcert.experiments.judging import PAPER_ATTACK, Measures
from robustcert.experiments.study import Choice, Study
from robustcert.train.interface import Plan
from robustcert.train.selection import latest

NAME = "comparison"
PLAN = Plan(epochs=12, batch=128, rate=1e-3, optimiser="adam", schedule="one-cycle")

ARMS = (
    Arm("none", "erm"),
    Arm("WR", "weight-penalty", ("lambda=3e-3",)),
    Arm("CLIP", "clip", ("lambda=0.15",)),
    Arm("CLIP+", "clip+", ("lambda=0.1",)),
    Arm("spectral", "spectral-penalty", ("lambda=1e-2",)),
    Arm("margin", "margin", ("epsilon=0.2", "constants=product")),
    Arm(
        "margin-CLIP+",
        "margin-clip+",
        ("epsilon=0.2", "constants=product", "lambda=0.03"),
    ),
    Arm("TRADES", "trades", ("epsilon=0.5", "beta=3.0")),
)

NOTES = (
    "Robust accuracy is no more than shown (standard tier), certified accuracy no less "
    "(margins over tight Lipschitz bounds of pairs of logits). The paper's attack "
    "is shown for comparison with published figures only: it is weak.",
    "Margin over Lipschitz does not change when logits are scaled, as each of the two "
    "does.",
)


def comparison(epochs: int | None = None) -> Study:
    """The study.

    Args:
        epochs: of every training, instead of the plan's.
    """
    plan = PLAN if epochs is None else replace(PLAN, epochs=epochs)
    return Study(
        NAME,
        "Trainers side by side, 784-200-80-10",
        NOTES,
        "mlp-200-80",
        plan,
        ARMS,
        separate_parts,
        Choice("latest", latest),
        Measures(PAPER_ATTACK, 2000, 1.0, EPSILONS, samples=1000),
    )
