"""Seccomp: the kernel refuses every system call that is not on the list.

A filter of classic BPF, built here and checked by the kernel. A refused call fails with
EPERM; a call the list does not know by number, and ``clone3``, whose arguments a filter
cannot see, fail with ENOSYS, so that libraries fall back to what they used before.

Source: Documentation/userspace-api/seccomp_filter.rst, linux/bpf_common.h,
linux/seccomp.h, linux/audit.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from robustcert.sandbox import kernel, syscalls

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16

ALLOW = 0x7FFF0000
KILL = 0x80000000
REFUSE = 0x00050000 | errno.EPERM
UNKNOWN = 0x00050000 | errno.ENOSYS

MODE_FILTER = 2
NEWEST_KNOWN = 451
CLONE_THREAD = 0x00010000
TERMINAL_QUESTIONS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # isatty, close
FILE_CONTROLS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)  # flags and locks
NAMES_A_REGION = 0x53564D41

Instruction = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A processor's audit number and its system calls."""

    audit: int
    plain: Mapping[str, int]
    checked: Mapping[str, int]


ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, syscalls.X86_64, syscalls.X86_64_CHECKED),
    "aarch64": Architecture(0xC00000B7, syscalls.AARCH64, syscalls.AARCH64_CHECKED),
}


def is_available() -> bool:
    """Whether this kernel and processor can run the filter."""
    if not kernel.is_linux() or platform.machine() not in ARCHITECTURES:
        return False
    # A 32-bit Python on a 64-bit kernel has other numbers.
    if sys.maxsize <= 2**32:
        return False
    try:
        kernel.prctl(kernel.PR_SET_SECCOMP, MODE_FILTER, 0)
    except OSError as error:
        return error.errno == errno.EFAULT  # it would take a filter, and got none
    return False


def restrict() -> bool:
    """Install the filter in this thread and all it starts; needs ``no_new_privs``.

    Returns:
        Whether the kernel enforces it.

    Raises:
        OSError: the kernel has seccomp and refuses the filter.
    """
    if not is_available():
        return False
    code = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in program(ARCHITECTURES[platform.machine()], os.getpid())
    )
    instructions = ctypes.create_string_buffer(code, len(code))
    header = struct.pack(
        "HxxxxxxP", len(code) // 8, ctypes.addressof(instructions)
    )  # struct sock_fprog
    filter_header = ctypes.create_string_buffer(header, len(header))
    kernel.prctl(kernel.PR_SET_SECCOMP, MODE_FILTER, ctypes.addressof(filter_header))
    return True


def program(architecture: Architecture, process: int) -> list[Instruction]:
    """The filter's instructions; signals may go to ``process`` alone."""
    numbers = architecture.checked
    built: list[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (EQUAL, 1, 0, architecture.audit),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER_AT),
        # Also refuses the x32 interface, whose numbers start at 2**30.
        (AT_LEAST, 0, 1, NEWEST_KNOWN + 1),
        (RETURN, 0, 0, UNKNOWN),
        (EQUAL, 0, 1, numbers["clone3"]),
        (RETURN, 0, 0, UNKNOWN),
    ]
    for name, argument, values in _argument_rules(process):
        built += _only_for(numbers[name], argument, values)
    built += _threads_only(numbers["clone"])
    for number in architecture.plain.values():
        built += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]
    built.append((RETURN, 0, 0, REFUSE))
    return built


def _argument_rules(process: int) -> Iterable[tuple[str, int, tuple[int, ...]]]:
    """Calls that are allowed where one argument has one of these values."""
    own_names = (kernel.PR_SET_NAME, kernel.PR_GET_NAME, NAMES_A_REGION)
    return (
        ("prctl", 0, own_names),
        ("ioctl", 1, TERMINAL_QUESTIONS),
        ("fcntl", 1, FILE_CONTROLS),
        ("prlimit64", 0, (0,)),
        ("sched_setaffinity", 0, (0,)),
        ("kill", 0, (process,)),
        ("tgkill", 0, (process,)),
    )


def _only_for(number: int, argument: int, values: tuple[int, ...]) -> list[Instruction]:
    """Allow the call if the low word of its argument is one of ``values``.

    Each of these arguments is a 32-bit number to the kernel, so its low word is all.
    """
    body: list[Instruction] = [(LOAD, 0, 0, ARGUMENTS_AT + 8 * argument)]
    for value in values:
        body += [(EQUAL, 0, 1, value), (RETURN, 0, 0, ALLOW)]
    body.append((RETURN, 0, 0, REFUSE))
    return [(EQUAL, 0, len(body), number), *body]


def _threads_only(number: int) -> list[Instruction]:
    return [
        (EQUAL, 0, 4, number),
        (LOAD, 0, 0, ARGUMENTS_AT),
        (ANY_BIT, 0, 1, CLONE_THREAD),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    ]
