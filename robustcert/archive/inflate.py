"""The bytes of one member, inflated under a cap."""

from __future__ import annotations

import zlib

from robustcert.archive import wording
from robustcert.archive.report import Member
from robustcert.errors import ArchiveError


def inflated(data: bytes, member: Member, most: int) -> bytes:
    """The member's bytes, of which at most ``most`` are ever produced.

    Raises:
        ArchiveError: it is larger than ``most``, or than the archive says.
    """
    if member.size > most:
        raise too_large(member)
    packed = data[member.start : member.start + member.packed]
    if member.stored:
        return packed
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        # One byte more than claimed shows a false claim without inflating the rest.
        out = inflater.decompress(packed, member.size + 1)
    except zlib.error:
        out = b""
    if len(out) != member.size or not inflater.eof or inflater.unused_data:
        raise ArchiveError(
            f"The member {wording.quoted(member.name)} does not inflate to the size "
            "the archive claims.",
            remedy=wording.SEND_AGAIN,
        )
    return out


def too_large(member: Member) -> ArchiveError:
    """The refusal of a member past its cap."""
    return ArchiveError(
        f"The member {wording.quoted(member.name)} is larger than a model needs.",
        remedy=wording.SMALLER,
    )
