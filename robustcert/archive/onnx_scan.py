"""The static scan of an ONNX file: its structure, before any parser of ONNX sees it.

Each message may hold the fields in its table and no other. What a plain network does
not need is refused by name: subgraphs (control flow), functions, operators of other
domains, data in other files. No message of the tables holds itself, so nothing nests
without end.

Source: onnx.proto of ONNX, IR version 13.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from robustcert.archive import wording
from robustcert.archive.limits import ArchiveLimits
from robustcert.archive.protobuf import Field, Reader, malformed, packed_numbers
from robustcert.archive.report import ArchiveReport
from robustcert.errors import ArchiveError

OPSETS = range(7, 29)
"""Versions of the standard operators whose meaning is known here."""
DOMAINS: Final = frozenset((b"", b"ai.onnx"))
MOST_DIMENSIONS = 16

ITEM_SIZES: Final = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8}
"""Bytes of a number, by its type: float, uint8, int8, int32, int64, bool, float16,
double."""

PLAIN: Final = frozenset[int]
MODEL_PLAIN = PLAIN((1, 2, 3, 4, 5, 6, 14))
GRAPH_PLAIN = PLAIN((2, 10, 11, 12, 13, 14, 16))
NODE_PLAIN = PLAIN((1, 2, 3, 6, 8, 9))
ATTRIBUTE_PLAIN = PLAIN((1, 2, 3, 4, 7, 8, 9, 13, 20))
TENSOR_PLAIN = PLAIN((8, 12, 16))
OPSET_DOMAIN, OPSET_VERSION = 1, 2

REFUSED: Final = {
    ("model", 20): "holds what it was trained with",
    ("model", 25): "defines functions",
    ("graph", 15): "has sparse weights",
    ("attribute", 6): "has control flow (If, Loop or Scan)",
    ("attribute", 11): "has control flow (If, Loop or Scan)",
    ("attribute", 21): "defines functions",
    ("attribute", 22): "has sparse weights",
    ("attribute", 23): "has sparse weights",
    ("tensor", 3): "has weights in segments",
    ("tensor", 6): "holds texts",
    ("tensor", 13): "keeps weights in another file",
}
"""Fields that have a name for people; all others are refused by their number."""


def scanned(data: bytes, limits: ArchiveLimits) -> ArchiveReport:
    """Scan an ONNX file without parsing it by its schema.

    Raises:
        ArchiveError: it is malformed, or holds more than a plain network needs.
    """
    scan = _Scan(Reader(limits.fields))
    scan.model(memoryview(data))
    if scan.opset is None:
        raise malformed("names no version of its operators")
    return ArchiveReport(
        format="onnx",
        root="",
        members=(),
        size=len(data),
        code_size=0,
        version=scan.opset,
        classes=0,
        tensors=scan.tensors,
    )


@dataclass(slots=True)
class _Scan:
    """One pass over a file, and what it has found so far."""

    reader: Reader
    opset: int | None = None
    tensors: int = 0

    def model(self, message: memoryview) -> None:
        for part in self.reader.fields(message):
            if part.number == 7 and part.is_bytes:
                self._graph(part.content)
            elif part.number == 8 and part.is_bytes:
                self._operators(part.content)
            else:
                _refuse_unlisted("model", part, MODEL_PLAIN)

    def _graph(self, message: memoryview) -> None:
        for part in self.reader.fields(message):
            if part.number == 1 and part.is_bytes:
                self._node(part.content)
            elif part.number == 5 and part.is_bytes:
                self._tensor(part.content)
            else:
                _refuse_unlisted("graph", part, GRAPH_PLAIN)

    def _node(self, message: memoryview) -> None:
        operator, domain = b"", b""
        for part in self.reader.fields(message):
            if part.number == 4 and part.is_bytes:
                operator = bytes(part.content)
            elif part.number == 7 and part.is_bytes:
                domain = bytes(part.content)
            elif part.number == 5 and part.is_bytes:
                self._attribute(part.content)
            else:
                _refuse_unlisted("node", part, NODE_PLAIN)
        if domain not in DOMAINS:
            raise ArchiveError(
                f"The model uses {_shown(operator)} of the domain {_shown(domain)}, "
                "which is no operator of standard ONNX.",
                remedy=wording.STANDARD_ONNX,
            )

    def _attribute(self, message: memoryview) -> None:
        for part in self.reader.fields(message):
            if part.number in (5, 10) and part.is_bytes:
                self._tensor(part.content)
            else:
                _refuse_unlisted("attribute", part, ATTRIBUTE_PLAIN)

    def _tensor(self, message: memoryview) -> None:
        self.tensors += 1
        claim = _Claim()
        for part in self.reader.fields(message):
            if not claim.takes(part):
                _refuse_unlisted("tensor", part, TENSOR_PLAIN)
        claim.check()

    def _operators(self, message: memoryview) -> None:
        """The version of one domain's operators."""
        domain, version = b"", 0
        for part in self.reader.fields(message):
            if part.number == OPSET_DOMAIN:
                domain = bytes(part.content)
            elif part.number == OPSET_VERSION:
                version = part.value
        if domain not in DOMAINS:
            return  # none of its operators may be used
        if version not in OPSETS:
            raise ArchiveError(
                f"The model uses version {version} of ONNX's operators; known are "
                f"{OPSETS.start} to {OPSETS.stop - 1}.",
                remedy="Export it again with an opset in this range, such as 17.",
            )
        self.opset = version


@dataclass(slots=True)
class _Claim:
    """What a tensor says about its own size, and the bytes that are there."""

    kind: int = 0
    dims: list[int] = field(default_factory=list)
    raw: int | None = None
    listed: int = 0

    def takes(self, part: Field) -> bool:
        """Note a field that matters for the size; whether it does."""
        match part.number:
            case 1:
                one = [part.value]
                more = packed_numbers(part.content, MOST_DIMENSIONS)
                self.dims += more if part.is_bytes else one
            case 2:
                self.kind = part.value
            case 9:
                self.raw = len(part.content)
            case 4 | 5 | 7 | 10 | 11:
                self.listed += max(1, len(part.content))
            case 14:
                if part.value:
                    raise _refused("keeps weights in another file")
            case _:
                return False
        return True

    def check(self) -> None:
        """Refuse a tensor that claims more numbers than the file holds for it."""
        if self.kind not in ITEM_SIZES:
            raise _refused("holds numbers of an unusual type")
        if len(self.dims) > MOST_DIMENSIONS or any(d >= 2**40 for d in self.dims):
            raise _refused("has a tensor of an impossible shape")
        count = math.prod(self.dims)
        if self.raw is None:
            fits = count <= self.listed
        else:
            fits = count * ITEM_SIZES[self.kind] == self.raw and not self.listed
        if not fits:
            raise malformed("claims another number of weights than it holds")


def _refuse_unlisted(message: str, part: Field, plain: frozenset[int]) -> None:
    if part.number in plain:
        return
    named = REFUSED.get((message, part.number))
    raise _refused(named or f"has the unknown field {part.number} in a {message}")


def _refused(what: str) -> ArchiveError:
    return ArchiveError(
        f"The ONNX file {what}, which a plain network does not need.",
        remedy=wording.STANDARD_ONNX,
    )


def _shown(text: bytes) -> str:
    return wording.quoted(text.decode("utf-8", errors="replace"))
