"""The list of members of a zip archive, read strictly.

Two readers of a zip file may see two different archives: the end record, the central
directory and the local headers all say where the members are. This reader accepts only
archives in which all of them agree, with nothing before, between or behind what they
name that a second reader could take for something else.

Source: PKWARE APPNOTE 6.3.10; PyTorch writes zip64 end records and data descriptors.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from robustcert.archive import wording
from robustcert.errors import ArchiveError

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR64 = struct.Struct("<4sLQL")

LOCAL_MAGIC = b"PK\x03\x04"
CENTRAL_MAGIC = b"PK\x01\x02"
END_MAGIC = b"PK\x05\x06"
END64_MAGIC = b"PK\x06\x06"
LOCATOR64_MAGIC = b"PK\x06\x07"

STORED, DEFLATED = 0, 8
DESCRIPTOR, UTF8 = 0x0008, 0x0800  # the only flags PyTorch sets
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
ZIP64_EXTRA = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A member as the directory lists it; ``name`` is the full one, root included."""

    name: str
    method: int
    packed: int
    size: int
    header: int
    start: int


@dataclass(frozen=True, slots=True)
class _Listing:
    count: int
    start: int
    end: int


def entries(data: bytes, most: int) -> tuple[Entry, ...]:
    """Every member of the archive ``data``, at most ``most``.

    Raises:
        ArchiveError: the archive is cut short, ambiguous or has too many members.
    """
    listing = _listing(data)
    if listing.count > most:
        raise ArchiveError(
            f"The archive lists {listing.count} members; at most {most} are read.",
            remedy=wording.SMALLER,
        )
    found: list[Entry] = []
    at = listing.start
    for _ in range(listing.count):
        entry, at = _central(data, at, listing.end)
        found.append(entry)
    if at != listing.end:
        raise _ambiguous("its list of members has another length than it claims")
    _refuse_overlap(found, listing.start)
    return tuple(found)


def _listing(data: bytes) -> _Listing:
    end_at = len(data) - END.size
    if end_at < 0 or data[end_at : end_at + 4] != END_MAGIC:
        found = data.rfind(END_MAGIC, max(0, len(data) - END.size - FULL16))
        if 0 <= found < end_at:
            raise _ambiguous("something follows its end record")
        raise ArchiveError(
            "The archive is cut short: its end record is missing.",
            remedy=wording.SEND_AGAIN,
        )
    _, disk, first_disk, here, count, size, start, comment = END.unpack_from(
        data, end_at
    )
    if disk or first_disk or comment or here != count:
        raise _ambiguous("its end record is not that of a single plain file")
    short = _Listing(count, start, start + size)
    wide, behind = _listing64(data, end_at)
    listing = wide or short
    saturated = count == FULL16 or FULL32 in (size, start)
    if wide and not saturated and wide != short:
        raise _ambiguous("its two end records disagree")
    if listing.end != behind or listing.start > listing.end:
        raise _ambiguous("its list of members does not end at its end record")
    return listing


def _listing64(data: bytes, end_at: int) -> tuple[_Listing | None, int]:
    """The zip64 listing, and where the end records begin."""
    locator_at = end_at - LOCATOR64.size
    if locator_at < 0 or data[locator_at : locator_at + 4] != LOCATOR64_MAGIC:
        return None, end_at
    _, disk, record_at, disks = LOCATOR64.unpack_from(data, locator_at)
    if disk or disks != 1 or record_at != locator_at - END64.size:
        raise _ambiguous("its end locator points elsewhere")
    fields = END64.unpack_from(data, record_at)
    magic, length, _, _, disk, first_disk, here, count, size, start = fields
    plain = magic == END64_MAGIC and length == END64.size - 12
    if not plain or disk or first_disk or here != count:
        raise _ambiguous("its wide end record is malformed")
    return _Listing(count, start, start + size), record_at


def _central(data: bytes, at: int, end: int) -> tuple[Entry, int]:
    """The entry listed at ``at``, and where the next one is listed."""
    if at + CENTRAL.size > end:
        raise _ambiguous("its list of members is cut short")
    fields = CENTRAL.unpack_from(data, at)
    magic, _, _, flags, method, _, _, _, packed, size = fields[:10]
    name_length, extra_length, comment_length, disk, _, _, header = fields[10:]
    name_at = at + CENTRAL.size
    extra_at = name_at + name_length
    after = extra_at + extra_length + comment_length
    if magic != CENTRAL_MAGIC or after > end or disk:
        raise _ambiguous("its list of members is malformed")
    if flags & ~(DESCRIPTOR | UTF8) or method not in (STORED, DEFLATED):
        raise ArchiveError(
            "A member of the archive is encrypted or packed in an unusual way.",
            remedy=wording.SAVE_AGAIN,
        )
    size, packed, header = _widened(
        data[extra_at : extra_at + extra_length], (size, packed, header)
    )
    raw_name = data[name_at:extra_at]
    start = _data_start(data, header, raw_name, method)
    if start + packed > len(data) or (method == STORED and packed != size):
        raise _ambiguous("a member's size is not the one it claims")
    return Entry(_text(raw_name), method, packed, size, header, start), after


def _widened(extra: bytes, fields: tuple[int, int, int]) -> tuple[int, int, int]:
    """Sizes and offset, from the zip64 field where the plain ones are saturated."""
    if FULL32 not in fields:
        return fields
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == ZIP64_EXTRA and at + 4 + length <= len(extra):
            wide = list(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
            needed = fields.count(FULL32)
            if length != 8 * needed:
                break
            size, packed, header = (
                wide.pop(0) if field == FULL32 else field for field in fields
            )
            return size, packed, header
        at += 4 + length
    raise _ambiguous("a member's wide sizes are missing")


def _data_start(data: bytes, header: int, name: bytes, method: int) -> int:
    """Offset of a member's bytes; its local header must agree with the list."""
    if header + LOCAL.size > len(data):
        raise _ambiguous("a member lies outside the file")
    fields = LOCAL.unpack_from(data, header)
    magic, _, flags, local_method, *_, name_length, extra_length = fields
    name_at = header + LOCAL.size
    local_name = data[name_at : name_at + name_length]
    same = local_name == name and local_method == method
    if magic != LOCAL_MAGIC or not same or flags & ~(DESCRIPTOR | UTF8):
        raise _ambiguous("a member's own header and the list disagree")
    start: int = name_at + name_length + extra_length
    return start


def _refuse_overlap(found: list[Entry], limit: int) -> None:
    reached = 0
    for entry in sorted(found, key=lambda entry: entry.header):
        if entry.header < reached or (reached == 0 and entry.header != 0):
            raise _ambiguous("its members overlap or do not start the file")
        reached = entry.start + entry.packed
    if reached > limit:
        raise _ambiguous("a member reaches into the list of members")


def _text(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        raise _ambiguous("a member's name is not text") from None


def _ambiguous(reason: str) -> ArchiveError:
    return ArchiveError(
        f"The archive is damaged or was edited: {reason}.", remedy=wording.SAVE_AGAIN
    )
