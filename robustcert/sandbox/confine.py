"""A process shuts itself in, layer by layer, and says which layers hold."""

from __future__ import annotations

import os
import signal
import site
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import robustcert
from robustcert.sandbox import kernel, landlock, rlimits, seccomp
from robustcert.sandbox.limits import Limits

LAYERS: Final = ("process", "rlimits", "no-new-privs", "landlock", "seccomp")

# Libraries, and what glibc, OpenMP and PyTorch ask about the machine.
SYSTEM_FILES: Final = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo",
    "/etc/ld.so.cache", "/etc/localtime", "/proc/self", "/proc/cpuinfo",
    "/proc/meminfo", "/sys/devices/system/cpu", "/sys/devices/system/node",
    "/dev/urandom", "/dev/zero",
)  # fmt: skip


def capabilities() -> tuple[str, ...]:
    """The layers that a child process has on this machine, outermost first."""
    offered = {
        "process": True,
        "rlimits": os.name == "posix",
        "no-new-privs": kernel.is_linux(),
        "landlock": landlock.version() > 0,
        "seccomp": seccomp.is_available(),
    }
    return tuple(layer for layer in LAYERS if offered[layer])


def confine(
    limits: Limits, home: Path, files: Sequence[Path], code: Sequence[Path]
) -> tuple[str, ...]:
    """Shut this process in, for good.

    Call it before any thread is started and before any code of the model is imported.

    Args:
        limits: what the process may use.
        home: the one folder it may write to.
        files: what it may read besides Python's own files.
        code: folders from which it may import.

    Returns:
        The layers that hold, outermost first. A layer the machine does not offer is
        left out.

    Raises:
        OSError: the machine offers a layer and then refuses it.
    """
    layers = ["process"]
    rlimits.restrict(limits)
    layers.append("rlimits")
    if not kernel.is_linux():
        return tuple(layers)
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    layers.append("no-new-privs")
    readable = (*_python_files(), *map(Path, SYSTEM_FILES), *files, *code)
    if landlock.restrict(readable, (home, Path(os.devnull))):
        layers.append("landlock")
    if seccomp.restrict():
        layers.append("seccomp")
    return tuple(layers)


def die_with_parent(parent: int) -> None:
    """Be killed when the process ``parent`` ends, even if it ended already."""
    if kernel.is_linux():
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _python_files() -> tuple[Path, ...]:
    """The standard library, the installed packages and robustcert's own source."""
    libraries = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    packages = [sysconfig.get_path(name) for name in ("purelib", "platlib")]
    installed = [entry for entry in sys.path if entry.endswith("-packages")]
    shared = [f"{prefix}/lib" for prefix in (sys.prefix, sys.base_prefix)]
    own = robustcert.__path__
    found = {*libraries, *packages, *installed, *shared, *own}
    if site.ENABLE_USER_SITE and site.USER_SITE:
        found.add(site.USER_SITE)
    return tuple(Path(entry) for entry in sorted(found))
