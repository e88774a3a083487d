"""Run one function in a process that can harm nobody."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from robustcert.errors import (
    ChildCrashedError,
    EvaluationCancelledError,
    MemoryLimitError,
    SandboxError,
    TimeLimitError,
    UsageError,
)
from robustcert.results.progress import Listener, unheard
from robustcert.sandbox import wire
from robustcert.sandbox.child import Child, Order, running
from robustcert.sandbox.limits import MIB, Limits

ENTRY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
TICK_SECONDS = 0.05
LAST_WORDS = 500

Line = Mapping[str, Any]


def run_in_child(
    entry: str,
    request: Mapping[str, object],
    limits: Limits,
    *,
    files: Sequence[Path] = (),
    code: Sequence[Path] = (),
    home: Path | None = None,
    on_progress: Listener = unheard,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Call ``entry(request, report, layers)`` in a fresh, confined process.

    The process has no environment, no network and no way to start another process; it
    reads Python's files and ``files``, and writes to a private folder that is removed,
    or to ``home`` alone.

    Args:
        entry: ``package.module:function``, imported in the child once it is confined.
        request: a JSON object, handed to the function.
        limits: what the child may use.
        files: files and folders the child may read, such as the model.
        code: folders, besides robustcert's own, from which the child may import.
        home: the folder the child works in and may write to; it stays, and holds what
            a stranger wrote. ``None``: a fresh one.
        on_progress: hears what the function reports, here in the parent.
        cancelled: asked about every 50 ms; ``True`` kills the child.

    Returns:
        The JSON object that the function returned. Where it has no key ``layers``, the
        layers that held in the child are added under it.

    Raises:
        TimeLimitError: the wall-clock limit passed.
        MemoryLimitError: the memory limit passed, or an allocation was refused.
        ChildCrashedError: the child ended without an answer, or with an exception that
            is not one of robustcert's own.
        EvaluationCancelledError: ``cancelled`` said so.
        SandboxError: the child's answer is malformed or beyond a limit.
        RobustCertError: the function raised it; kind and sentences are the same.
        UsageError: ``entry`` names no function, or ``request`` is not JSON.
    """
    if not ENTRY.fullmatch(entry):
        raise UsageError(
            f"{entry!r} names no function to run in a child process.",
            remedy="Write it as package.module:function.",
        )
    try:
        json.dumps(request, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"The request cannot be sent to a child process ({error}).",
            remedy="Send finite numbers, texts, lists and objects.",
        ) from error
    with running(Order(entry, request, limits, files, code, home)) as child:
        return Watch(child, limits, on_progress, cancelled or _never).answer()


@final
class Watch:
    """Waits for one child's answer and enforces its limits meanwhile."""

    def __init__(
        self,
        child: Child,
        limits: Limits,
        on_progress: Listener,
        cancelled: Callable[[], bool],
    ) -> None:
        self._child = child
        self._limits = limits
        self._on_progress = on_progress
        self._cancelled = cancelled
        self._deadline = time.monotonic() + limits.seconds
        self._next_look = 0.0
        self._unread = bytearray()

    def answer(self) -> dict[str, Any]:
        """The child's result, or its error raised."""
        poll = select.poll()  # unlike select, it takes any descriptor's number
        poll.register(self._child.answers, select.POLLIN)
        while True:
            ready = poll.poll(1000 * TICK_SECONDS)
            self._look()
            if not ready:
                continue
            chunk = os.read(self._child.answers, MIB)
            if not chunk:
                raise self._unanswered()
            for line in self._lines(chunk):
                result = self._heard(line)
                if result is not None:
                    return result

    def _look(self) -> None:
        """Compare the child with its limits, at most once a tick."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + TICK_SECONDS
        self._child.drain()
        if self._cancelled():
            raise EvaluationCancelledError("The evaluation was cancelled.")
        if now > self._deadline:
            raise self._too_slow()
        if self._child.peak_memory() > self._limits.memory_bytes:
            raise MemoryLimitError(
                "The model's process used more than its "
                f"{self._limits.memory_bytes // MIB} MiB of memory."
            )
        if self._child.written_bytes() > self._limits.file_bytes:
            raise SandboxError(
                f"The model's process wrote more than {self._limits.file_bytes} bytes "
                "to its folder.",
                remedy="Export a model that writes no files.",
            )

    def _lines(self, chunk: bytes) -> list[bytes]:
        self._unread += chunk
        *lines, rest = self._unread.split(b"\n")
        self._unread = rest
        if max(map(len, (*lines, rest))) > self._limits.output_bytes:
            raise SandboxError(
                "The model's process answered with more than "
                f"{self._limits.output_bytes} bytes.",
                remedy="Ask for fewer samples.",
            )
        return [bytes(line) for line in lines]

    def _heard(self, line: bytes) -> dict[str, Any] | None:
        """Act on one line; the result if it holds one.

        A result or an error is the child's last word: it is killed afterwards, so it
        does not matter what it still does.
        """
        said = _object(line)
        if "progress" in said:
            progress = wire.progress_from_wire(said["progress"])
            if progress is not None:
                self._on_progress(progress)
            return None
        if "error" in said:
            raise wire.error_from_wire(said["error"])
        result, layers = said.get("result"), said.get("layers")
        if not isinstance(result, dict) or not isinstance(layers, list):
            raise _malformed()
        return {"layers": layers, **result}

    def _unanswered(self) -> SandboxError:
        """Why the child closed its pipe without an answer."""
        while not self._child.has_ended() and time.monotonic() < self._deadline:
            self._look()
            time.sleep(TICK_SECONDS)
        code = self._child.end()
        if code == -signal.SIGXCPU:
            return self._too_slow()
        words = wire.printable(self._child.last_words(LAST_WORDS), LAST_WORDS)
        how = f"with status {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
        ending = f"; its last words: {words}" if words else ""
        return ChildCrashedError(
            f"The model's process ended {how} and without an answer{ending}."
        )

    def _too_slow(self) -> TimeLimitError:
        return TimeLimitError(
            f"The model's process ran past its limit of {self._limits.seconds:g} "
            "seconds."
        )


def _object(line: bytes) -> Line:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise _malformed()
    return said


def _malformed() -> SandboxError:
    return SandboxError(
        "The model's process gave an answer that cannot be read.",
        remedy="Check that the model runs in a process of its own.",
    )


def _never() -> bool:
    return False
