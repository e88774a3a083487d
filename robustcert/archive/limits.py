"""How large and how deep an uploaded model may be."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Caps of the static scan, each checked before the work it bounds.

    Attributes:
        size_bytes: of the whole file.
        members: in the archive, read from the end record before the list is parsed.
        code_bytes: of all ``.py`` members, inflated.
        debug_bytes: of all ``.debug_pkl`` members, inflated.
        pickle_bytes: of each of the other pickles.
        pickle_depth: nesting of containers in a pickle.
        line_length: characters in a line of code.
        lines: in all the code.
        bracket_depth: nesting of brackets in the code.
        fields: of all messages in an ONNX file.
    """

    size_bytes: int = 1024 * MIB
    members: int = 4096
    code_bytes: int = 2 * MIB
    debug_bytes: int = 4 * MIB
    pickle_bytes: int = 2 * MIB
    pickle_depth: int = 64
    line_length: int = 2**15
    lines: int = 50_000
    bracket_depth: int = 64
    fields: int = 200_000


DEFAULT_LIMITS = ArchiveLimits()
