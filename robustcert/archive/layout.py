"""Which members a TorchScript archive may have, and how they may be packed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from robustcert.archive import wording
from robustcert.archive.directory import STORED, Entry
from robustcert.archive.report import Member
from robustcert.errors import ArchiveError

# What torch.jit.save writes; `extra/` holds the caller's own _extra_files.
KNOWN = re.compile(
    r"version|byteorder|\.format_version|\.storage_alignment"
    r"|\.data/(?:serialization_id|version)"
    r"|(?:data|constants|traced_inputs)\.pkl"
    r"|(?:data|constants|traced_inputs)/\d{1,9}"
    r"|code/__torch__(?:/[^/]+)*\.py(?:\.debug_pkl)?"
    r"|extra/.+"
)
# Code and its debug records are deflated by torch.jit.save, everything else is stored.
MAY_DEFLATE = re.compile(r"code/.+|extra/.+")
NAME_LENGTH = 1024


def members(entries: Sequence[Entry]) -> tuple[str, tuple[Member, ...]]:
    """The one root folder, and the members named below it.

    Raises:
        ArchiveError: a name is unusable or used twice, or there are several roots.
    """
    for entry in entries:
        _refuse_unsafe(entry.name)
    roots = {entry.name.partition("/")[0] for entry in entries}
    if len(roots) != 1:
        raise ArchiveError(
            f"The archive has {len(roots)} top folders; a model's has one.",
            remedy=wording.SAVE_AGAIN,
        )
    # Torch finds members without regard to case, so neither may differ by it alone.
    if len({entry.name.lower() for entry in entries}) != len(entries):
        raise ArchiveError(
            "The archive holds two members of the same name.",
            remedy=wording.SAVE_AGAIN,
        )
    return roots.pop(), tuple(_member(entry) for entry in entries)


def refuse_foreign(found: Sequence[Member]) -> None:
    """Refuse members that torch.jit.save does not write, or packs otherwise.

    Raises:
        ArchiveError: naming the first such member.
    """
    for member in found:
        if not KNOWN.fullmatch(member.name):
            raise ArchiveError(
                f"The archive holds {wording.quoted(member.name)}, which is not part "
                "of a TorchScript model.",
                remedy=wording.SAVE_AGAIN,
            )
        if not member.stored and not MAY_DEFLATE.fullmatch(member.name):
            raise ArchiveError(
                f"The member {wording.quoted(member.name)} is compressed; "
                "torch.jit.save stores tensors and pickles as they are.",
                remedy=wording.SAVE_AGAIN,
            )


def _member(entry: Entry) -> Member:
    below = entry.name.partition("/")[2]
    return Member(below, entry.size, entry.method == STORED, entry.start, entry.packed)


def _refuse_unsafe(name: str) -> None:
    parts = name.split("/")
    plain = len(parts) > 1 and all(part not in ("", ".", "..") for part in parts)
    if not plain or len(name) > NAME_LENGTH or "\\" in name or not name.isprintable():
        raise ArchiveError(
            f"The archive holds a member with an unsafe name: {wording.quoted(name)}.",
            remedy=wording.SAVE_AGAIN,
        )
