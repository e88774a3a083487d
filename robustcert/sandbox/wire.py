"""Errors and progress as they cross the pipe between child and parent.

The child has run a stranger's program, so whatever arrives is checked, made printable
and cut short before anyone sees it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from robustcert.errors import (
    MemoryLimitError,
    RobustCertError,
    SandboxError,
    UnsupportedLayerError,
)
from robustcert.results.progress import Progress

MESSAGE_LENGTH = 500
WORD_LENGTH = 100
TAIL_LENGTH = 4096

# How PyTorch and the C++ library say that an allocation was refused.
OUT_OF_MEMORY = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "bad_alloc",
    "out of memory",
    "failed to map segment",
    "cannot create std::vector larger",
)


def printable(text: object, limit: int = MESSAGE_LENGTH) -> str:
    """A stranger's text on one line: non-printables escaped, cut to ``limit``."""
    start = str(text)[:limit]
    spaced = start.replace("\N{NO-BREAK SPACE}", " ")
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in spaced)
    return shown[:limit]


def error_to_wire(error: RobustCertError) -> dict[str, object]:
    """An error as a JSON object: kind, message, remedy, exit code and status."""
    wire: dict[str, object] = {
        "kind": error.kind,
        "message": printable(error.message),
        "remedy": printable(error.remedy),
        "exit_code": error.exit_code,
        "status": error.status,
    }
    if isinstance(error, UnsupportedLayerError):
        wire["layer"] = printable(error.layer)
        wire["reason"] = printable(error.reason)
    return wire


def error_from_wire(wire: object) -> RobustCertError:
    """The error that a JSON object describes.

    Exit code and status are the kind's own, whatever the object says. A kind that this
    version does not know becomes a :class:`SandboxError` with the same two sentences.
    """
    fields = wire if isinstance(wire, Mapping) else {}
    message = printable(fields.get("message", "The child process failed."))
    remedy = printable(fields.get("remedy", ""))
    kind = _kinds().get(str(fields.get("kind")), SandboxError)
    if issubclass(kind, UnsupportedLayerError):
        return kind(
            printable(fields.get("layer", "")),
            printable(fields.get("reason", message)),
            remedy=remedy,
        )
    return kind(message, remedy=remedy)


def progress_to_wire(progress: Progress) -> dict[str, object]:
    """A progress report as a JSON object."""
    return {
        "stage": progress.stage,
        "done": progress.done,
        "total": progress.total,
        "note": printable(progress.note),
    }


def progress_from_wire(wire: object) -> Progress | None:
    """The progress report that a JSON object describes; ``None`` if it is none."""
    match wire:
        case {"stage": str() as stage, "done": int() as done, "total": int() as total}:
            note = wire.get("note", "") if isinstance(wire, Mapping) else ""
            return Progress(printable(stage, WORD_LENGTH), done, total, printable(note))
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out."""
    if isinstance(error, MemoryError | MemoryLimitError):
        return True
    if not isinstance(error, RuntimeError | OSError | ImportError):
        return False
    text = cause(error).lower()
    return any(words in text for words in OUT_OF_MEMORY)


def cause(error: BaseException) -> str:
    """The last line of an exception's text, which is where TorchScript names the cause.

    Only the end of the text is looked at, which may be megabytes long.
    """
    lines = str(error)[-TAIL_LENGTH:].strip().splitlines() or [""]
    return lines[-1]


def _kinds() -> dict[str, type[RobustCertError]]:
    """The errors of the library; a service's or client's own are not a child's."""
    every = _below(RobustCertError)
    return {_kind(e): e for e in every if e.__module__ == RobustCertError.__module__}


def _below(parent: type[RobustCertError]) -> Iterator[type[RobustCertError]]:
    yield parent
    for child in parent.__subclasses__():
        yield from _below(child)


def _kind(known: type[RobustCertError]) -> str:
    # A kind is spelled from the class alone, so an empty instance will do.
    return known.__new__(known).kind
