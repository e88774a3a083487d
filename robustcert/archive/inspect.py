"""The static scan of a model file, before anything loads it."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Sequence

from robustcert.archive import (
    code_rules,
    code_text,
    directory,
    exported_layout,
    exported_scan,
    layout,
    onnx_scan,
    recognise,
    wording,
)
from robustcert.archive.inflate import inflated, too_large
from robustcert.archive.limits import DEFAULT_LIMITS, ArchiveLimits
from robustcert.archive.pickle_calls import ITEM_SIZES
from robustcert.archive.pickle_machine import PickleMachine
from robustcert.archive.pickle_values import Storage
from robustcert.archive.report import ArchiveReport, Member
from robustcert.errors import ArchiveError

VERSIONS = range(1, 11)  # file formats that torch.jit.load of PyTorch 2 reads
SMALL_MEMBER = 64


def inspect(data: bytes, limits: ArchiveLimits = DEFAULT_LIMITS) -> ArchiveReport:
    """Scan a model file without executing, importing or unpickling anything.

    Args:
        data: the whole file.
        limits: caps, each checked before the work it bounds.

    Returns:
        What the file holds; it is a model that classifiers may be, of the format it
        names.

    Raises:
        ArchiveError: the file is something else, is damaged, or does more than a
            classifier needs; the remedy fits the case.
    """
    if len(data) > limits.size_bytes:
        raise ArchiveError(
            f"The model file has {len(data)} bytes; at most {limits.size_bytes} are "
            "read.",
            remedy=wording.SMALLER,
        )
    if recognise.is_onnx(data):
        return onnx_scan.scanned(data, limits)
    recognise.refuse_other_formats(data)
    root, members = layout.members(directory.entries(data, limits.members))
    if exported_layout.is_exported(member.name for member in members):
        return exported_scan.inspect_exported(data, limits)
    return _torchscript(data, root, members, limits)


def _torchscript(
    data: bytes, root: str, members: tuple[Member, ...], limits: ArchiveLimits
) -> ArchiveReport:
    recognise.refuse_other_archives({member.name for member in members})
    layout.refuse_foreign(members)
    _refuse_total(members, limits)
    version = _version(data, members)
    types = _checked_code(data, members, limits)
    tensors = _checked_pickles(data, members, types, limits)
    return ArchiveReport(
        format="torchscript",
        root=root,
        members=members,
        size=len(data),
        code_size=sum(member.size for member in members if _is_code(member)),
        version=version,
        classes=len(types),
        tensors=tensors,
    )


def _is_code(member: Member) -> bool:
    return member.name.endswith(".py") and member.name.startswith("code/")


def _is_debug(member: Member) -> bool:
    return member.name.endswith(".debug_pkl") and member.name.startswith("code/")


def _refuse_total(members: Sequence[Member], limits: ArchiveLimits) -> None:
    """Caps on what the members claim; inflating holds them to their claims."""
    if sum(member.size for member in members) > limits.size_bytes:
        raise ArchiveError(
            f"The archive unpacks to more than {limits.size_bytes} bytes.",
            remedy=wording.SMALLER,
        )
    caps = ((_is_code, limits.code_bytes), (_is_debug, limits.debug_bytes))
    for belongs, cap in caps:
        total = 0
        for member in filter(belongs, members):
            total += member.size
            if total > cap:
                raise too_large(member)


def _version(data: bytes, members: Sequence[Member]) -> int:
    small = {m.name: m for m in members if m.size <= SMALL_MEMBER and m.stored}
    order = small.get("byteorder")
    if order and inflated(data, order, SMALL_MEMBER) != b"little":
        raise ArchiveError(
            "The model was saved on a big-endian machine.",
            remedy="Save it on a little-endian machine.",
        )
    member = small.get(".data/version") or small.get("version")
    text = inflated(data, member, SMALL_MEMBER).strip() if member else b""
    version = int(text) if text.isdigit() and len(text) < SMALL_MEMBER else 0
    if version not in VERSIONS:
        raise ArchiveError(
            "The archive names no version of the TorchScript format that we read.",
            remedy="Save the model again with a version of PyTorch from 1.6 on.",
        )
    return version


def _checked_code(
    data: bytes, members: Sequence[Member], limits: ArchiveLimits
) -> frozenset[str]:
    trees: dict[str, ast.Module] = {}
    lines = 0
    for member in filter(_is_code, members):
        source = inflated(data, member, limits.code_bytes)
        lines += source.count(b"\n")
        if lines > limits.lines:
            raise ArchiveError(
                f"The model's code has more than {limits.lines} lines.",
                remedy=wording.SMALLER,
            )
        text = code_text.checked(member.name, source, limits)
        trees[member.name] = code_rules.parsed(member.name, text)
    return code_rules.refuse_unneeded(trees)


def _checked_pickles(
    data: bytes,
    members: Sequence[Member],
    types: Collection[str],
    limits: ArchiveLimits,
) -> int:
    """Read every pickle; the number of storages, each with exactly its bytes."""
    sizes = {member.name: member.size for member in members}
    claimed: set[str] = set()
    for member in members:
        if member.name.endswith("pkl") and not member.name.startswith("extra/"):
            debug = _is_debug(member)
            most = limits.debug_bytes if debug else limits.pickle_bytes
            machine = PickleMachine(types, limits.pickle_depth)
            found = machine.read(inflated(data, member, most))
            claimed |= _matched(member.name.removesuffix(".pkl"), found, sizes)
    folders = ("data/", "constants/", "traced_inputs/")
    spare = [n for n in sizes if n.startswith(folders) and n not in claimed]
    if spare:
        raise _mismatch(spare[0], "belongs to no tensor")
    return len(claimed)


def _matched(
    folder: str, storages: Iterable[Storage], sizes: dict[str, int]
) -> set[str]:
    """Names of the members that the storages claim, none short and none long."""
    claimed = set()
    for storage in storages:
        name = f"{folder}/{storage.key}"
        needed = storage.numel * ITEM_SIZES[storage.kind]
        if name not in sizes:
            raise _mismatch(name, "is missing")
        # A traced model names the shape of its example inputs and leaves them out.
        if sizes[name] != needed and not (
            folder == "traced_inputs" and not sizes[name]
        ):
            raise _mismatch(name, f"has {sizes[name]} bytes where {needed} are claimed")
        claimed.add(name)
    return claimed


def _mismatch(name: str, what: str) -> ArchiveError:
    return ArchiveError(
        f"The tensor member {wording.quoted(name)} {what}.",
        remedy=wording.SAVE_AGAIN,
    )
