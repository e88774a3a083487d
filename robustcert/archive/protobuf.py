"""Protocol buffers read as fields, without a schema and without recursion.

Source: the wire format of Protocol Buffers (protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from robustcert.archive import wording
from robustcert.errors import ArchiveError

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5
WIDTHS: Final = {FIXED64: 8, FIXED32: 4}
VARINT_BYTES = 10


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    Attributes:
        number: in the message's schema.
        value: of a number; 0 for bytes and for floating point.
        content: of bytes, a text or a message; empty for numbers.
        is_bytes: whether ``content`` holds the field, not ``value``.
    """

    number: int
    value: int
    content: memoryview
    is_bytes: bool


@dataclass(slots=True)
class Reader:
    """Reads the fields of messages, and counts them.

    Attributes:
        left: fields that may still be read, of all messages together.
    """

    left: int

    def fields(self, message: memoryview) -> Iterator[Field]:
        """The fields of ``message``, in its order.

        Raises:
            ArchiveError: it is cut short or malformed, or there are too many fields.
        """
        position = 0
        while position < len(message):
            self.left -= 1
            if self.left < 0:
                raise ArchiveError(
                    "The ONNX file has more parts than are read.",
                    remedy=wording.SMALLER,
                )
            tag, position = _varint(message, position)
            number, kind = tag >> 3, tag & 7
            if kind == VARINT:
                value, position = _varint(message, position)
                yield Field(number, value, message[:0], is_bytes=False)
                continue
            length, position = _length(message, position, kind)
            if length > len(message) - position:
                raise malformed("is cut short")
            content = message[position : position + length]
            position += length
            if kind == DELIMITED:
                yield Field(number, 0, content, is_bytes=True)
            else:
                yield Field(number, 0, message[:0], is_bytes=False)


def packed_numbers(content: memoryview, most: int) -> list[int]:
    """The numbers of a packed field.

    Raises:
        ArchiveError: there are more than ``most``, or they are malformed.
    """
    numbers: list[int] = []
    position = 0
    while position < len(content):
        if len(numbers) == most:
            raise malformed(f"has a list of more than {most} numbers")
        value, position = _varint(content, position)
        numbers.append(value)
    return numbers


def malformed(what: str) -> ArchiveError:
    """The refusal of a file that is no whole protocol buffer."""
    return ArchiveError(f"The ONNX file {what}.", remedy=wording.SEND_AGAIN)


def _length(message: memoryview, position: int, kind: int) -> tuple[int, int]:
    if kind == DELIMITED:
        return _varint(message, position)
    if kind not in WIDTHS:
        raise malformed("is malformed")
    return WIDTHS[kind], position


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """An unsigned number and the position behind it."""
    value = 0
    for index in range(VARINT_BYTES):
        if position + index >= len(message):
            raise malformed("is cut short")
        byte = message[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise malformed("is malformed")
