"""What a child process may use."""

from __future__ import annotations

import math
from dataclasses import dataclass

from robustcert.errors import UsageError

MIB = 2**20
LEAST_MEMORY = 512 * MIB  # PyTorch itself takes about 230 MiB once imported


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on one child process.

    Attributes:
        seconds: wall-clock time until the process is killed.
        memory_bytes: resident memory, at least 512 MiB.
        output_bytes: of one line of its answer (a progress report or the result).
        text_bytes: kept of each of its standard output and error.
        file_bytes: written to its private folder, in each file and together.
        open_files: file descriptors.
    """

    seconds: float = 900.0
    memory_bytes: int = 8192 * MIB
    output_bytes: int = 64 * MIB
    text_bytes: int = 2**16
    file_bytes: int = 256 * MIB
    open_files: int = 256

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf:
            raise UsageError(
                "The time limit must be a positive number of seconds.",
                remedy="Give a limit such as 900.",
            )
        if self.memory_bytes < LEAST_MEMORY:
            raise UsageError(
                f"The memory limit of {self.memory_bytes} bytes is below what PyTorch "
                "itself needs.",
                remedy="Give at least 512 MiB.",
            )
        if min(self.output_bytes, self.text_bytes, self.open_files) < 1:
            raise UsageError(
                "The limits of output, text and open files must be positive.",
                remedy="Leave them at their defaults.",
            )
