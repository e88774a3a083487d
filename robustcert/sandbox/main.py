"""The child process: shut in, then one call, then one line of JSON.

Started by :mod:`robustcert.sandbox.run` as ``python -m robustcert.sandbox.main FD``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from robustcert.errors import ChildCrashedError, MemoryLimitError, RobustCertError
from robustcert.results.progress import Listener, Progress
from robustcert.sandbox import confine, wire
from robustcert.sandbox.limits import Limits

CAUSE_LENGTH = 300
Entry = Callable[[Mapping[str, Any], Listener, tuple[str, ...]], Mapping[str, Any]]


def main(descriptor: int) -> None:
    """Read the order from standard input and answer on the pipe ``descriptor``."""
    order = _order()
    with os.fdopen(descriptor, "w", encoding="ascii") as pipe:

        def say(line: Mapping[str, object]) -> None:
            pipe.write(json.dumps(line, allow_nan=False) + "\n")
            pipe.flush()

        def report(progress: Progress) -> None:
            say({"progress": wire.progress_to_wire(progress)})

        layers: tuple[str, ...] = ()
        try:
            layers = _confined(order)
            entry = _entry(order["entry"])
            result = entry(order["request"], report, layers)
            say({"result": dict(result), "layers": layers})
        except BaseException as error:  # the child's outermost frame
            say({"error": wire.error_to_wire(_typed(error)), "layers": layers})
    # Threads that PyTorch started need no farewell; the parent kills the process.
    os._exit(0)


def _order() -> dict[str, Any]:
    order: dict[str, Any] = json.load(sys.stdin)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return order


def _confined(order: Mapping[str, Any]) -> tuple[str, ...]:
    confine.die_with_parent(order["parent"])
    return confine.confine(
        Limits(**order["limits"]),
        Path(order["home"]),
        [Path(name) for name in order["files"]],
        [Path(name) for name in order["code"]],
    )


def _entry(name: str) -> Entry:
    module, _, function = name.partition(":")
    found: Entry = getattr(importlib.import_module(module), function)
    return found


def _typed(error: BaseException) -> RobustCertError:
    if isinstance(error, RobustCertError):
        return error
    text = wire.printable(f"{type(error).__name__}: {wire.cause(error)}", CAUSE_LENGTH)
    if wire.is_out_of_memory(error):
        return MemoryLimitError(f"The model's process ran out of memory ({text}).")
    return ChildCrashedError(f"The model's process failed ({text}).")


if __name__ == "__main__":
    main(int(sys.argv[1]))
