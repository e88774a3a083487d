"""Runs work on this machine: in a sandbox, or here if the model is trusted."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from robustcert.cli.options import MEBIBYTE, Budget
from robustcert.cli.progress import progress_display
from robustcert.sandbox.limits import Limits
from robustcert.sandbox.run import run_in_child

CHILD = "robustcert.evaluation.child"


def run_locally(
    entry: str, request: Mapping[str, Any], budget: Budget
) -> dict[str, Any]:
    """The document that ``entry`` of the child module gives for ``request``.

    Raises:
        RobustCertError: whatever the entry raises, or a limit is reached.
    """
    with progress_display() as listener:
        if budget.trust_model:
            work = getattr(import_module(CHILD), entry)
            return dict(work(request, listener, ())["document"])
        limits = Limits(
            seconds=budget.seconds, memory_bytes=budget.memory_mb * MEBIBYTE
        )
        files = [request[name] for name in ("model", "samples") if name in request]
        result = run_in_child(
            f"{CHILD}:{entry}",
            _absolute(request),
            limits,
            files=[Path(name).resolve() for name in files if Path(name).exists()],
            on_progress=listener,
        )
        return dict(result["document"])


def _absolute(request: Mapping[str, Any]) -> dict[str, Any]:
    """The request with its files' paths absolute: the child works elsewhere."""
    absolute = dict(request)
    for name in ("model", "samples"):
        if name in absolute and Path(absolute[name]).exists():
            absolute[name] = str(Path(absolute[name]).resolve())
    return absolute
