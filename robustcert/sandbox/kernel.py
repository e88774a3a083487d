"""The few calls into the Linux kernel that Python's library has no names for."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_GET_NAME = 16
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39
CAPABILITY_VERSION = 0x20080522


def is_linux() -> bool:
    """Whether this is the kernel the layers are written for."""
    return sys.platform == "linux"


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, argument: int = 0, pointer: int = 0) -> int:
    """``prctl(2)``.

    Raises:
        OSError: the kernel refuses.
    """
    zero = ctypes.c_ulong(0)
    return _checked(
        _libc().prctl(
            ctypes.c_int(option),
            ctypes.c_ulong(argument),
            ctypes.c_ulong(pointer),
            zero,
            zero,
        )
    )


def syscall(number: int, *arguments: int) -> int:
    """A system call by its number; each argument is passed as a machine word.

    Raises:
        OSError: the kernel refuses, or knows no such call.
    """
    words = [ctypes.c_long(argument) for argument in arguments]
    return _checked(_libc().syscall(ctypes.c_long(number), *words))


def drop_capabilities() -> None:
    """Give up every capability, as a process of root has them.

    Raises:
        OSError: the kernel refuses.
    """
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    _checked(_libc().capset(header, none))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
