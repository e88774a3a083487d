"""Numbers of the system calls that Python and PyTorch need, by architecture.

An allow-list: what is not here does not exist inside the sandbox. Not here on purpose:
sockets, new processes and programs, tracing, mounts, keys, other processes' memory,
folders and links, modes and owners, anonymous files, io_uring, user namespaces.

Source: asm/unistd_64.h and asm-generic/unistd.h of Linux 6.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

X86_64: Final[Mapping[str, int]] = {
    "read": 0, "write": 1, "readv": 19, "writev": 20, "pread64": 17, "pwrite64": 18,
    "preadv": 295, "pwritev": 296, "open": 2, "openat": 257, "close": 3, "stat": 4,
    "fstat": 5, "lstat": 6, "newfstatat": 262, "statx": 332, "access": 21,
    "faccessat": 269, "faccessat2": 439, "lseek": 8, "mmap": 9, "mprotect": 10,
    "munmap": 11, "mremap": 25, "madvise": 28, "brk": 12, "msync": 26, "mincore": 27,
    "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "sigaltstack": 131,
    "rt_sigpending": 127, "rt_sigtimedwait": 128, "dup": 32, "dup2": 33, "dup3": 292,
    "pipe": 22, "pipe2": 293, "select": 23, "poll": 7, "ppoll": 271, "pselect6": 270,
    "epoll_create1": 291, "epoll_ctl": 233, "epoll_wait": 232, "epoll_pwait": 281,
    "eventfd2": 290, "futex": 202, "futex_waitv": 449, "get_robust_list": 274,
    "set_robust_list": 273, "rseq": 334, "membarrier": 324, "sched_yield": 24,
    "sched_getaffinity": 204, "sched_getparam": 143, "sched_getscheduler": 145,
    "sched_get_priority_max": 146, "sched_get_priority_min": 147, "nanosleep": 35,
    "clock_nanosleep": 230, "clock_gettime": 228, "clock_getres": 229,
    "gettimeofday": 96, "time": 201, "getrusage": 98, "times": 100, "getcpu": 309,
    "getpid": 39, "gettid": 186, "getppid": 110, "getuid": 102, "geteuid": 107,
    "getgid": 104, "getegid": 108, "getgroups": 115, "getresuid": 118, "getresgid": 120,
    "getpgrp": 111, "getpgid": 121, "getsid": 124, "uname": 63, "sysinfo": 99,
    "getcwd": 79, "getdents64": 217, "getdents": 78, "readlink": 89, "readlinkat": 267,
    "unlink": 87, "unlinkat": 263, "rename": 82, "renameat": 264, "renameat2": 316,
    "ftruncate": 77, "fallocate": 285, "fsync": 74, "fdatasync": 75, "flock": 73,
    "fadvise64": 221, "umask": 95, "getrandom": 318, "arch_prctl": 158,
    "set_tid_address": 218, "exit": 60, "exit_group": 231, "getrlimit": 97,
    "mbind": 237, "get_mempolicy": 239, "set_mempolicy": 238, "wait4": 61,
    "waitid": 247, "restart_syscall": 219, "statfs": 137, "fstatfs": 138,
}  # fmt: skip

AARCH64: Final[Mapping[str, int]] = {
    "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67, "pwrite64": 68,
    "preadv": 69, "pwritev": 70, "openat": 56, "close": 57, "fstat": 80,
    "newfstatat": 79, "statx": 291, "faccessat": 48, "faccessat2": 439, "lseek": 62,
    "mmap": 222, "mprotect": 226, "munmap": 215, "mremap": 216, "madvise": 233,
    "brk": 214, "msync": 227, "mincore": 232, "rt_sigaction": 134,
    "rt_sigprocmask": 135, "rt_sigreturn": 139, "sigaltstack": 132,
    "rt_sigpending": 136, "rt_sigtimedwait": 137, "dup": 23, "dup3": 24, "pipe2": 59,
    "ppoll": 73, "pselect6": 72, "epoll_create1": 20, "epoll_ctl": 21,
    "epoll_pwait": 22, "eventfd2": 19, "futex": 98, "futex_waitv": 449,
    "get_robust_list": 100, "set_robust_list": 99, "rseq": 293, "membarrier": 283,
    "sched_yield": 124, "sched_getaffinity": 123, "sched_getparam": 121,
    "sched_getscheduler": 120, "sched_get_priority_max": 125,
    "sched_get_priority_min": 126, "nanosleep": 101, "clock_nanosleep": 115,
    "clock_gettime": 113, "clock_getres": 114, "gettimeofday": 169, "getrusage": 165,
    "times": 153, "getcpu": 168, "getpid": 172, "gettid": 178, "getppid": 173,
    "getuid": 174, "geteuid": 175, "getgid": 176, "getegid": 177, "getgroups": 158,
    "getresuid": 148, "getresgid": 150, "getpgid": 155, "getsid": 156, "uname": 160,
    "sysinfo": 179, "getcwd": 17, "getdents64": 61, "readlinkat": 78, "unlinkat": 35,
    "renameat": 38, "renameat2": 276, "ftruncate": 46, "fallocate": 47, "fsync": 82,
    "fdatasync": 83, "flock": 32, "fadvise64": 223, "umask": 166, "getrandom": 278,
    "set_tid_address": 96, "exit": 93, "exit_group": 94, "getrlimit": 163, "mbind": 235,
    "get_mempolicy": 236, "set_mempolicy": 237, "wait4": 260, "waitid": 95,
    "restart_syscall": 128, "statfs": 43, "fstatfs": 44,
}  # fmt: skip

# Allowed for some arguments only; the rules are in robustcert.sandbox.seccomp.
X86_64_CHECKED: Final[Mapping[str, int]] = {
    "clone": 56, "prctl": 157, "ioctl": 16, "fcntl": 72, "prlimit64": 302,
    "tgkill": 234, "kill": 62, "sched_setaffinity": 203, "clone3": 435,
}  # fmt: skip

AARCH64_CHECKED: Final[Mapping[str, int]] = {
    "clone": 220, "prctl": 167, "ioctl": 29, "fcntl": 25, "prlimit64": 261,
    "tgkill": 131, "kill": 129, "sched_setaffinity": 122, "clone3": 435,
}  # fmt: skip
