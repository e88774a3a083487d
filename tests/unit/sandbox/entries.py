"""Functions that the tests run in a child process; some of them misbehave."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from robustcert.errors import ModelLoadError, UnsupportedLayerError
from robustcert.results.progress import Progress


def echo(request, report, layers):
    report(Progress("echo", 1, 2, "half"))
    report(Progress("echo", 2, 2))
    return {
        "request": dict(request),
        "given": layers,
        "pid": os.getpid(),
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "status": Path("/proc/self/status").read_text(),
        "limits": {
            name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1]
            for name in ("CORE", "CPU", "FSIZE", "NOFILE", "AS")
        },
    }


def escapes(request, report, layers):
    """What became of each attempt to reach outside: an error's name, or ``done``."""
    outside = Path(request["outside"])
    attempts = {
        "write outside": lambda: (outside / "written").write_text("x"),
        "truncate outside": lambda: os.truncate(outside / "secret", 0),
        "remove outside": (outside / "secret").unlink,
        "rename outside": lambda: Path("mine").rename(outside / "moved"),
        "link outside": lambda: Path("link").symlink_to(outside / "secret"),
        "read outside": (outside / "secret").read_text,
        "list outside": lambda: list(outside.iterdir()),
        "read passwords": Path("/etc/passwd").read_text,
        "read the parent": Path(f"/proc/{os.getppid()}/environ").read_bytes,
        "read the terminal": Path("/dev/tty").read_bytes,
        "make a folder": Path("folder").mkdir,
        "open a socket": socket.socket,
        "pair sockets": socket.socketpair,
        "fork": os.fork,
        "run a program": lambda: os.execv(sys.executable, ["python"]),  # noqa: S606
        "start a program": lambda: subprocess.run([sys.executable, "--version"]),
        "signal the parent": lambda: os.kill(os.getppid(), signal.SIGCONT),
        "signal everyone": lambda: os.kill(-1, signal.SIGCONT),
        "take the parent's sigio": _own_sigio,
        "anonymous file": lambda: os.memfd_create("x"),
        "mount": lambda: _call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "trace the parent": lambda: _call("ptrace", 16, os.getppid(), 0, 0),
        "new namespace": lambda: _call("unshare", 0x10000000),
        "raise a limit": lambda: resource.setrlimit(
            resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        ),
        "outlive the parent": lambda: _call("prctl", 1, 0, 0, 0, 0),
    }
    Path("mine").write_text("x")
    return {name: _outcome(attempt) for name, attempt in attempts.items()}


def _own_sigio():
    with Path("mine").open() as file:
        fcntl.fcntl(file, 8, os.getppid())  # F_SETOWN


def _call(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _outcome(attempt):
    try:
        attempt()
    except (OSError, ValueError) as error:
        return type(error).__name__
    return "done"


def works(request, report, layers):
    """What a well-behaved evaluation does: threads, its file, its folder."""
    sums = []
    threads = [threading.Thread(target=lambda: sums.append(1)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    Path("scratch").write_text("scratch")
    return {
        "threads": len(sums),
        "file": Path(request["file"]).read_text(),
        "scratch": Path("scratch").read_text(),
    }


def raises_typed(request, report, layers):
    raise ModelLoadError("The model is odd.", remedy="Make it even.")


def raises_unsupported(request, report, layers):
    raise UnsupportedLayerError("attn", "no rule in crown", remedy="Use smoothing.")


def raises_untyped(request, report, layers):
    raise KeyError("\x1b[31mred\n" + "x" * 10_000_000)


def exits(request, report, layers):
    raise SystemExit(3)


def vanishes(request, report, layers):
    sys.stderr.write("last words \x1b[2J")
    sys.stderr.flush()
    os._exit(7)


def aborts(request, report, layers):
    os.abort()


def hides(request, report, layers):
    """Close every pipe, and stay."""
    os.closerange(1, 64)
    time.sleep(600)


def sleeps(request, report, layers):
    report(Progress("asleep", 0, 1, str(os.getpid())))
    time.sleep(600)
    return {}


def spins(request, report, layers):
    while True:
        pass


def grows(request, report, layers):
    kept = []
    while True:
        kept.append(bytearray(os.urandom(2**20)) * 16)


def reserves(request, report, layers):
    return {"length": len(bytearray(2**40))}


def answers_too_much(request, report, layers):
    return {"text": "x" * request["bytes"]}


def answers_not_a_number(request, report, layers):
    return {"bound": float("nan")}


def prints_a_flood(request, report, layers):
    for _ in range(20):
        os.write(2, b"x" * 50_000)
    os.write(2, b"the end")
    os._exit(1)


def fills_its_folder(request, report, layers):
    for number in range(10_000):
        Path(str(number)).write_bytes(b"x" * 50_000)
    time.sleep(600)
    return {}


def writes_one_large_file(request, report, layers):
    Path("large").write_bytes(b"x" * request["bytes"])
    return {}
