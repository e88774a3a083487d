"""The parent's handle on one child process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, final

import robustcert
from robustcert.sandbox.limits import Limits

KIBIBYTE = 1024
INHERITED_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
DRAINED_AT_ONCE = 2**20


@dataclass(frozen=True, slots=True)
class Order:
    """What a child is asked to do.

    Attributes:
        entry: ``package.module:function``.
        request: a JSON object.
        limits: what it may use.
        files: what it may read besides Python's own files.
        code: folders, besides robustcert's own, from which it may import.
        home: the folder it may write to, which stays; ``None``: a fresh one, removed
            afterwards. A child may leave anything in it, but no folder and no link.
    """

    entry: str
    request: Mapping[str, object]
    limits: Limits
    files: Sequence[Path] = ()
    code: Sequence[Path] = ()
    home: Path | None = None


@final
@dataclass(slots=True)
class Tail:
    """The last bytes of a stream that nobody interprets."""

    descriptor: int
    most: int
    kept: bytearray = field(default_factory=bytearray)

    def drain(self) -> None:
        """Take what is there, a bounded amount, and keep the end of it."""
        taken = 0
        with suppress(BlockingIOError):
            while taken < DRAINED_AT_ONCE:
                chunk = os.read(self.descriptor, 2**16)
                if not chunk:
                    break
                taken += len(chunk)
                self.kept += chunk
                del self.kept[: -self.most]

    def text(self, characters: int) -> str:
        """The last characters of the stream."""
        return self.kept.decode("utf-8", errors="replace")[-characters:]


@final
class Child:
    """One running child process, in a process group and a folder of its own."""

    def __init__(self, order: Order, home: Path) -> None:
        self.home = home
        self.answers, sent = os.pipe()
        try:
            self._process = _started(order, home, sent)
        except BaseException:
            os.close(self.answers)
            raise
        finally:
            os.close(sent)
        os.set_blocking(self.answers, False)
        self._tails = [
            Tail(_unblocked(stream), order.limits.text_bytes)
            for stream in (self._process.stdout, self._process.stderr)
        ]

    def drain(self) -> None:
        """Take what the child printed."""
        for tail in self._tails:
            tail.drain()

    def last_words(self, characters: int) -> str:
        """The end of what the child wrote to its standard error."""
        return self._tails[1].text(characters)

    def has_ended(self) -> bool:
        """Whether the process is over; it keeps its number until :meth:`end`."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, flags) is not None

    def peak_memory(self) -> int:
        """Most resident bytes so far; 0 where the system does not tell."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return 0
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * KIBIBYTE
        return 0

    def written_bytes(self) -> int:
        """Bytes in the child's folder, which has no folders in it."""
        total = 0
        with suppress(OSError), os.scandir(self.home) as entries:
            for entry in entries:
                with suppress(OSError):
                    # A file takes room even when it is empty.
                    total += entry.stat(follow_symlinks=False).st_size + KIBIBYTE
        return total

    def end(self) -> int:
        """Kill the whole process group; the process's return code."""
        if self._process.returncode is None:
            # Not yet waited for, so the number still belongs to this group.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        self.drain()
        return code

    def close(self) -> None:
        """End the process and close every pipe to it."""
        self.end()
        os.close(self.answers)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


@contextmanager
def running(order: Order) -> Iterator[Child]:
    """A child process in a folder of its own; it is gone afterwards."""
    with _home(order.home) as home:
        child = Child(order, home)
        try:
            yield child
        finally:
            child.close()


@contextmanager
def _home(kept: Path | None) -> Iterator[Path]:
    """The folder ``kept``, made where it is missing, or one that is gone afterwards."""
    if kept is not None:
        kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield kept.resolve()
        return
    home = Path(tempfile.mkdtemp(prefix="robustcert-")).resolve()
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _started(order: Order, home: Path, answers: int) -> subprocess.Popen[bytes]:
    with tempfile.TemporaryFile() as stdin:
        stdin.write(_message(order, home))
        stdin.seek(0)
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-B", "-m", "robustcert.sandbox.main", str(answers)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=home,
            env=_environment(order.code, home),
            pass_fds=(answers,),
            start_new_session=True,
            umask=0o077,
        )


def _message(order: Order, home: Path) -> bytes:
    return json.dumps(
        {
            "entry": order.entry,
            "request": order.request,
            "limits": asdict(order.limits),
            "files": [str(path.resolve()) for path in order.files],
            "code": [str(path.resolve()) for path in order.code],
            "home": str(home),
            "parent": os.getpid(),
        },
        allow_nan=False,
    ).encode()


def _environment(code: Sequence[Path], home: Path) -> dict[str, str]:
    """A fresh environment: nothing of the caller's but the number of threads."""
    own = str(Path(robustcert.__path__[0]).parent)
    imports = [str(path.resolve()) for path in code]
    if not own.endswith("-packages"):  # else Python finds it without help
        imports.append(own)
    kept = {name: os.environ[name] for name in INHERITED_SETTINGS if name in os.environ}
    if site.USER_BASE:
        kept["PYTHONUSERBASE"] = site.USER_BASE
    return kept | {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        # Threads that wait sleep instead of spinning: on a busy machine spinning made
        # the small convolutions of an evaluation up to twenty times slower.
        "OMP_WAIT_POLICY": "PASSIVE",
        # numpy has threads of its own that spin whatever the policy says.
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(imports),
    }


def _unblocked(stream: IO[bytes] | None) -> int:
    if stream is None:
        raise ValueError("the stream was not piped")
    os.set_blocking(stream.fileno(), False)
    return stream.fileno()
