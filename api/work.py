"""One evaluation on its way to an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from robustcert.client.wire import EvaluationRequest
from robustcert.results.progress import Listener


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """One evaluation, ready to run.

    Attributes:
        evaluation_id: for logs.
        request: what was asked for.
        model_path: of the verified model file.
        model_sha256: of the model's bytes.
        samples_path: of the verified sample file; ``None`` for a built-in set.
        samples_name: what the report calls them.
        seconds: wall-clock limit.
        memory_mb: memory limit, in MiB.
        folder: the one folder the child may write to. It stays until the evaluation is
            over, so that a run that was cut short goes on where it stood.
    """

    evaluation_id: str
    request: EvaluationRequest
    model_path: Path
    model_sha256: str
    samples_path: Path | None
    samples_name: str
    seconds: float
    memory_mb: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Entry:
    """What a child process runs.

    Attributes:
        function: ``module:function``.
        code: folders from which it is imported, besides the library's own.
    """

    function: str
    code: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Watch:
    """How the dispatcher follows a run and ends it.

    Attributes:
        listener: hears every progress report; called on the thread that runs.
        cancelled: asked often; once true, the run ends within a second.
    """

    listener: Listener
    cancelled: Callable[[], bool]
