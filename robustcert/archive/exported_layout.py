"""Which members a torch.export archive (.pt2) may have.

Source: ``torch/csrc/export/pt2_archive_constants.h``; one program, called ``model``, is
what ``torch.export.save`` writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from robustcert.archive import wording
from robustcert.archive.report import Member
from robustcert.errors import ArchiveError

FORMAT = "archive_format"
OLD_FORMAT = "serialized_exported_program.json"  # of PyTorch 2.1 to 2.7
PROGRAM = "models/model.json"
WEIGHTS = "data/weights/"
CONSTANTS = "data/constants/"
WEIGHTS_CONFIG = WEIGHTS + "model_weights_config.json"
CONSTANTS_CONFIG = CONSTANTS + "model_constants_config.json"
CONFIGS = {WEIGHTS: WEIGHTS_CONFIG, CONSTANTS: CONSTANTS_CONFIG}
TENSOR = re.compile(r"data/(?:weights/weight|constants/tensor)_\d{1,6}")

# The sample inputs are a pickle, which nobody opens; `extra/` holds the caller's own.
KNOWN = re.compile(
    r"archive_(?:format|version)|version|byteorder|\.format_version|\.storage_alignment"
    r"|\.data/(?:serialization_id|version)|data/sample_inputs/model\.pt|extra/.+"
    rf"|{re.escape(PROGRAM)}|{re.escape(WEIGHTS_CONFIG)}|{re.escape(CONSTANTS_CONFIG)}"
    rf"|{TENSOR.pattern}"
)
REQUIRED = (FORMAT, "archive_version", PROGRAM, WEIGHTS_CONFIG, CONSTANTS_CONFIG)
EXPORT = (
    "Save the model with torch.export.save(torch.export.export(model.eval(), "
    '(example,), dynamic_shapes=({0: torch.export.Dim("batch")},)), FILE).'
)
EXPORT_AGAIN = (
    "Save the model again with torch.export.save, and do not repack the file."
)
EXPORT_ANEW = "Save the model again with torch.export.save of PyTorch 2.10 or later."


def is_exported(names: Iterable[str]) -> bool:
    """Whether members of these names, below the root, are a torch.export program."""
    return not {FORMAT, OLD_FORMAT}.isdisjoint(names)


def named(members: Sequence[Member]) -> Mapping[str, Member]:
    """The members by name, all of which ``torch.export.save`` writes.

    Raises:
        ArchiveError: naming the member that is foreign, packed or missing.
    """
    found = {member.name: member for member in members}
    if OLD_FORMAT in found or "data/weights/model.pt" in found:
        raise ArchiveError(
            "The program was saved by an old version of PyTorch, with its weights in a "
            "pickle.",
            remedy=EXPORT_ANEW,
        )
    for member in members:
        _refuse_foreign(member)
    missing = [name for name in REQUIRED if name not in found]
    if missing:
        raise ArchiveError(
            f"The archive lacks {wording.quoted(missing[0])}.", remedy=EXPORT_AGAIN
        )
    return found


def _refuse_foreign(member: Member) -> None:
    if member.name.startswith("data/aotinductor/"):
        raise ArchiveError(
            "The archive holds compiled code (AOTInductor), which is never run.",
            remedy=EXPORT,
        )
    if not KNOWN.fullmatch(member.name):
        raise ArchiveError(
            f"The archive holds {wording.quoted(member.name)}, which is not part of "
            "a classifier that torch.export saved.",
            remedy=EXPORT,
        )
    if not member.stored:
        raise ArchiveError(
            f"The member {wording.quoted(member.name)} is compressed; "
            "torch.export.save stores all members as they are.",
            remedy=EXPORT_AGAIN,
        )
