"""Robustness brackets for trained PyTorch classifiers, from both sides.

>>> import robustcert
>>> document = robustcert.evaluate(
...     "model.pt", "samples.npz", "linf", [0.02, 0.1]
... )  # doctest: +SKIP

Importing this package loads nothing else; each name is loaded when it is first used,
and none of them loads torch: models run in a child process of their own. The types of
these names are in ``__init__.pyi``.
"""

from __future__ import annotations

from importlib import import_module

_HOMES = {
    "RobustnessReport": "robustcert.results.report",
    "evaluate": "robustcert.evaluation.local",
    "from_document": "robustcert.results.document",
}

__all__ = ["RobustnessReport", "evaluate", "from_document"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'robustcert' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
