"""Evaluations on this machine, in the sandbox's child; torch-free in this process."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from robustcert.attacks.budget import Budget
from robustcert.errors import UsageError
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.request import EvaluationRequest, to_request
from robustcert.results.effort import Effort, Tier
from robustcert.results.norm import norm_from_word
from robustcert.results.options import Options
from robustcert.results.progress import Listener, unheard
from robustcert.results.smoothing import DRAWS, smoothing_asked
from robustcert.results.threat_model import Box, ThreatSweep
from robustcert.sandbox.limits import MIB, Limits
from robustcert.sandbox.run import run_in_child

CHILD = "robustcert.evaluation.child"
DEFAULT_SECONDS = 3600.0
DEFAULT_MEMORY_MB = 16384

PART = re.compile(r"shard-\d+-\d+\.(json|part)")
"""Name of a file in which a finished part of an evaluation is kept."""

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
        model: a TorchScript, .pt2 or ONNX file, its bytes, or a built-in model's name.
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
        certify_seconds=options.get("certify_seconds"),
        budget=Budget(options.get("attack_seconds"), options.get("attack_queries")),
        smoothing=smoothing_asked(
            options.get("smooth_sigma"),
            options.get("smooth_draws", DRAWS),
            options.get("seed", 0),
        ),
    )
    with tempfile.TemporaryDirectory(prefix="robustcert-") as folder:
        seconds = options.get("seconds") or DEFAULT_SECONDS
        shape = options.get("input_shape")
        request = EvaluationRequest(
            _file(model, Path(folder) / "model.pt"),
            _file(samples, Path(folder) / "samples.npz"),
            plan,
            input_shape=None if shape is None else tuple(shape),
            seconds=seconds,
        )
        limits = Limits(
            seconds=seconds,
            memory_bytes=(options.get("memory_mb") or DEFAULT_MEMORY_MB) * MIB,
        )
        found = in_sandbox("evaluate", to_request(request), limits, on_progress)
        return dict(found["document"])


def in_sandbox(
    entry: str, request: Mapping[str, Any], limits: Limits, listener: Listener
) -> Document:
    """What ``entry`` of :mod:`robustcert.evaluation.child` gives: ``document``, ...

    A folder that the request names under ``checkpoints`` is the one folder the child
    may write to; it is made where it is missing, and stays.

    Args:
        entry: the function's name.
        request: JSON; ``model`` and ``samples`` are paths or built-in names,
            ``checkpoints`` is a folder or empty.
        limits: of the child process.
        listener: hears of every step.

    Raises:
        RobustCertError: whatever the entry raises, or a limit is reached.
        UsageError: the folder for checkpoints holds something else.
    """
    absolute, files = dict(request), []
    for name in ("model", "samples"):
        path = Path(request.get(name, ""))
        if path.is_file():
            files.append(path.resolve())
            absolute[name] = str(path.resolve())  # the child works elsewhere
    home = _kept_folder(str(request.get("checkpoints") or ""))
    if home is not None:
        absolute["checkpoints"] = str(home)
    return dict(
        run_in_child(
            f"{CHILD}:{entry}",
            absolute,
            limits,
            files=files,
            home=home,
            on_progress=listener,
        )
    )


def _kept_folder(name: str) -> Path | None:
    """The folder for checkpoints; a stranger's model may write to all that is in it."""
    if not name:
        return None
    folder = Path(name).resolve()
    inside = [folder] if folder.is_file() else []
    if folder.is_dir():
        inside = [path for path in folder.iterdir() if not PART.fullmatch(path.name)]
    if inside:
        raise UsageError(
            f"{name!r} is no folder for checkpoints: there is {inside[0].name!r}",
            remedy="Give a folder of its own; the model's process may write to it.",
        )
    return folder


def _file(source: str | Path | bytes, target: Path) -> str:
    """A path or name as it is; bytes are written to ``target``."""
    if not isinstance(source, bytes):
        return str(source)
    target.write_bytes(source)
    return str(target)
