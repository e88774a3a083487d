"""Limits that the kernel keeps for each process."""

from __future__ import annotations

import math
import os
import resource

from robustcert.sandbox.limits import MIB, Limits

# Address space is reserved far beyond what is used. Measured with PyTorch 2.13 for CPU:
# 0.75 GiB after import and a convolution, and 8 MiB of stack and 64 MiB of allocator
# arena for each thread.
SPARE_ADDRESSES = 2048 * MIB
SPARE_PER_THREAD = 128 * MIB
SPARE_SECONDS = 5


def restrict(limits: Limits) -> None:
    """Set the limits of this process; they cannot be raised again.

    Raises:
        OSError: a limit is above one that this process already has.
        ValueError: likewise.
    """
    cores = os.cpu_count() or 1
    addresses = limits.memory_bytes + SPARE_ADDRESSES + cores * SPARE_PER_THREAD
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: math.ceil(limits.seconds) * cores + SPARE_SECONDS,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_AS: addresses,
    }
    for kind, most in wanted.items():
        _, hard = resource.getrlimit(kind)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))
