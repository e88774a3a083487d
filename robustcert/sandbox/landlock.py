"""Landlock: the kernel lets the process reach the files named here, and no others.

Source: linux/landlock.h and Documentation/userspace-api/landlock.rst; Linux 5.13 and
later. Where the kernel is newer, TCP, signals and abstract sockets are closed as well.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

from robustcert.sandbox import kernel

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # on every architecture
VERSION_QUESTION = 1
RULE_PATH_BENEATH = 1

WRITE_FILE, READ_FILE, READ_DIR = 1 << 1, 1 << 2, 1 << 3
REMOVE_FILE, MAKE_REGULAR, TRUNCATE = 1 << 5, 1 << 8, 1 << 14
FIRST_FILE_RIGHTS = (1 << 13) - 1
FILE_RIGHTS_SINCE = {2: 1 << 13, 3: TRUNCATE, 5: 1 << 15}  # refer, truncate, ioctl
FILES_ONLY = WRITE_FILE | READ_FILE | TRUNCATE

NETWORK_SINCE, NETWORK_RIGHTS = 4, 0b11  # bind and connect of TCP
SCOPES_SINCE, SCOPES = 6, 0b11  # abstract sockets and signals

READ = READ_FILE | READ_DIR
# Folders cannot be made, so the private folder stays flat and cheap to remove.
WRITE = READ | WRITE_FILE | REMOVE_FILE | MAKE_REGULAR | TRUNCATE


def version() -> int:
    """The kernel's Landlock version; 0 where there is none."""
    if not kernel.is_linux():
        return 0
    try:
        return kernel.syscall(CREATE_RULESET, 0, 0, VERSION_QUESTION)
    except OSError:
        return 0


def restrict(readable: Iterable[Path], writable: Iterable[Path]) -> bool:
    """Close every file to this thread but those below the paths given.

    Paths that do not exist are passed over. Needs ``no_new_privs``. Files that are open
    already stay open.

    Returns:
        Whether the kernel enforces it.

    Raises:
        OSError: the kernel has Landlock and refuses the rules.
    """
    known = version()
    if known < 1:
        return False
    handled = _handled_rights(known)
    ruleset = _ruleset(known, handled)
    try:
        for path in readable:
            _allow(ruleset, path, READ & handled)
        for path in writable:
            _allow(ruleset, path, WRITE & handled)
        kernel.syscall(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return True


def _handled_rights(known: int) -> int:
    rights = FIRST_FILE_RIGHTS
    for since, right in FILE_RIGHTS_SINCE.items():
        if known >= since:
            rights |= right
    return rights


def _ruleset(known: int, handled: int) -> int:
    fields = [handled]
    if known >= NETWORK_SINCE:
        fields.append(NETWORK_RIGHTS)
    if known >= SCOPES_SINCE:
        fields.append(SCOPES)
    packed = struct.pack(f"={len(fields)}Q", *fields)
    buffer = ctypes.create_string_buffer(packed, len(packed))
    return kernel.syscall(CREATE_RULESET, ctypes.addressof(buffer), len(packed), 0)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= FILES_ONLY
        packed = struct.pack("=Qi", rights, descriptor)
        buffer = ctypes.create_string_buffer(packed, len(packed))
        kernel.syscall(
            ADD_RULE, ruleset, RULE_PATH_BENEATH, ctypes.addressof(buffer), 0
        )
    finally:
        os.close(descriptor)
