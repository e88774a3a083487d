"""The trainers' names, torch-free, so that the command line can list them."""

from __future__ import annotations

SUMMARIES: dict[str, str] = {
    "erm": "Minimise the loss alone.",
    "weight-penalty": "Penalise the squares of the weights.",
    "spectral-penalty": "Penalise the product of the spectral norms.",
    "clip": "Penalise the steepest pair, as published (CLIP).",
    "clip+": "Penalise pairs that persist in the box (CLIP+).",
    "margin": "Raise rivals by what epsilon gains them (GloRo).",
    "margin-clip+": "Margin and CLIP+ together.",
    "adversarial": "Fit inputs moved by gradient ascent (PGD).",
    "trades": "Keep predictions where inputs move (TRADES).",
    "interval": "Fit interval bounds in L-infinity (IBP).",
    "crown-interval": "Fit linear bounds in L-infinity (CROWN-IBP).",
}
"""One sentence for each row of :data:`robustcert.train.registry.TRAINERS`."""
