"""A saved model taken apart and put together otherwise, as an attacker would."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping

ROOT = "archive/"


def parts(data: bytes) -> dict[str, bytes]:
    """The archive's members by their names below the root."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {
            name.partition("/")[2]: archive.read(name) for name in archive.namelist()
        }


def packed(
    members: Mapping[str, bytes],
    *,
    deflated: Callable[[str], bool] = lambda _: False,
    root: str = ROOT,
    twice: tuple[str, ...] = (),
) -> bytes:
    """An archive of those members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in (*members, *twice):
            kind = zipfile.ZIP_DEFLATED if deflated(name) else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(root + name), members[name], kind)
    return buffer.getvalue()


def edited(data: bytes, changes: Mapping[str, bytes | None]) -> bytes:
    """The archive with members replaced, added, or (``None``) left out."""
    members = {**parts(data), **changes}
    return packed({name: body for name, body in members.items() if body is not None})


def with_code(data: bytes, old: str, new: str) -> bytes:
    """The archive with a piece of its code replaced wherever it stands."""
    members = parts(data)
    changed = {
        name: body.decode().replace(old, new).encode()
        for name, body in members.items()
        if name.endswith(".py") and old in body.decode()
    }
    assert changed, f"{old!r} is nowhere in the code"
    return edited(data, changed)


def patched_end(data: bytes, at: int, layout: str, value: int) -> bytes:
    """The archive with one field of its plain end record changed."""
    start = len(data) - 22 + at
    patch = struct.pack(layout, value)
    return data[:start] + patch + data[start + len(patch) :]


class Call:
    """Something that, were it unpickled, would call ``function(*arguments)``."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def pickled(value: object) -> bytes:
    return pickle.dumps(value, protocol=2)
