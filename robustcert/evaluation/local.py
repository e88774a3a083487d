"""Evaluations on this machine, in the sandbox's child; torch-free in this process."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.request import EvaluationRequest, to_request
from robustcert.results.effort import Effort, Tier
from robustcert.results.norm import norm_from_word
from robustcert.results.options import Options
from robustcert.results.progress import Listener, unheard
from robustcert.results.threat_model import Box, ThreatSweep
from robustcert.sandbox.limits import MIB, Limits
from robustcert.sandbox.run import run_in_child

CHILD = "robustcert.evaluation.child"
DEFAULT_SECONDS = 3600.0
DEFAULT_MEMORY_MB = 16384

Document = dict[str, Any]


def evaluate(
    model: str | Path | bytes,
    samples: str | Path | bytes,
    norm: str,
    epsilons: Sequence[float],
    on_progress: Listener = unheard,
    **options: Unpack[Options],
) -> Document:
    """Evaluate a model in a sandbox on this machine.

    The blocking twin of :meth:`robustcert.client.Client.evaluate`, without a service.

    Args:
        model: a TorchScript file, its bytes, or a built-in model's name.
        samples: an .npz file, its bytes, or a built-in set's name.
        norm: ``l2`` or ``linf``.
        epsilons: radii, in input units.
        on_progress: hears of every step.
        options: see :class:`~robustcert.results.options.Options`.

    Returns:
        The document ``robustcert/report/v1``.

    Raises:
        RobustCertError: the evaluation is refused or fails, and why.
    """
    plan = EvaluationPlan(
        ThreatSweep(
            norm_from_word(norm),
            tuple(epsilons),
            Box(*options.get("box", (0.0, 1.0))),
        ),
        count=options.get("count"),
        tier=Tier(options.get("tier", Tier.STANDARD)),
        effort=Effort(options.get("effort", Effort.FAST)),
        seed=options.get("seed", 0),
        attacks=tuple(options.get("attacks", ())),
        certifiers=tuple(options.get("certifiers", ())),
    )
    with tempfile.TemporaryDirectory(prefix="robustcert-") as folder:
        request = EvaluationRequest(
            _file(model, Path(folder) / "model.pt"),
            _file(samples, Path(folder) / "samples.npz"),
            plan,
        )
        limits = Limits(
            seconds=options.get("seconds") or DEFAULT_SECONDS,
            memory_bytes=(options.get("memory_mb") or DEFAULT_MEMORY_MB) * MIB,
        )
        found = in_sandbox("evaluate", to_request(request), limits, on_progress)
        return dict(found["document"])


def in_sandbox(
    entry: str, request: Mapping[str, Any], limits: Limits, listener: Listener
) -> Document:
    """What ``entry`` of :mod:`robustcert.evaluation.child` gives: ``document``, ...

    Args:
        entry: the function's name.
        request: JSON; ``model`` and ``samples`` are paths or built-in names.
        limits: of the child process.
        listener: hears of every step.

    Raises:
        RobustCertError: whatever the entry raises, or a limit is reached.
    """
    absolute, files = dict(request), []
    for name in ("model", "samples"):
        path = Path(request.get(name, ""))
        if path.is_file():
            files.append(path.resolve())
            absolute[name] = str(path.resolve())  # the child works elsewhere
    return dict(
        run_in_child(
            f"{CHILD}:{entry}", absolute, limits, files=files, on_progress=listener
        )
    )


def _file(source: str | Path | bytes, target: Path) -> str:
    """A path or name as it is; bytes are written to ``target``."""
    if not isinstance(source, bytes):
        return str(source)
    target.write_bytes(source)
    return str(target)
