"""Runs work on this machine: in a sandbox, or here if the model is trusted."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from robustcert.cli.options import Budget
from robustcert.cli.progress import progress_display
from robustcert.evaluation.local import CHILD, in_sandbox
from robustcert.sandbox.limits import MIB, Limits


def run_locally(
    entry: str, request: Mapping[str, Any], budget: Budget
) -> dict[str, Any]:
    """The document that ``entry`` of the child module gives for ``request``.

    Raises:
        RobustCertError: whatever the entry raises, or a limit is reached.
    """
    return dict(find_locally(entry, request, budget)["document"])


def find_locally(
    entry: str, request: Mapping[str, Any], budget: Budget
) -> Mapping[str, Any]:
    """All that ``entry`` gives: the document, and what stands beside it.

    Raises:
        RobustCertError: whatever the entry raises, or a limit is reached.
    """
    with progress_display() as listener:
        if budget.trust_model:
            work = getattr(import_module(CHILD), entry)
            return dict(work(request, listener, ()))
        limits = Limits(seconds=budget.seconds, memory_bytes=budget.memory_mb * MIB)
        return in_sandbox(entry, request, limits, listener)
