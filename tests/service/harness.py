"""A real server in a process of its own, on a free port of the loopback address."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil

from robustcert.sandbox.confine import LAYERS, capabilities

ENTRY = "entries:evaluate"
START_SECONDS = 60.0
ROOT = Path(__file__).resolve().parents[2]


class ServiceProcess:
    """Starts, watches, stops and kills one service.

    Args:
        folder: the service's data folder; its log lies beside it.
        variables: more ``ROBUSTCERT_*`` settings, without the prefix.
    """

    def __init__(self, folder: Path, **variables: object) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = folder.with_name(folder.name + ".log")
        settings = {
            "DATA_DIR": folder,
            "PORT": self.port,
            "ALLOW_WEAK_SANDBOX": capabilities() != LAYERS,
            "WORKER_ENTRY": ENTRY,
            "WORKER_CODE": json.dumps([str(Path(__file__).parent)]),
            **variables,
        }
        self._environment = os.environ | {
            f"ROBUSTCERT_{name.upper()}": str(value) for name, value in settings.items()
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> ServiceProcess:
        """Start the service and wait until it is ready."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "api"],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"the service ended:\n{self.log}")
            try:
                if httpx.get(f"{self.url}/readyz").is_success:
                    return self
            except httpx.TransportError:
                time.sleep(0.05)
        raise RuntimeError(f"the service does not answer:\n{self.log}")

    @property
    def log(self) -> str:
        """Everything the service has written."""
        return self.log_path.read_text()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running service."""
        assert self._process is not None
        return self._process

    def children(self) -> list[psutil.Process]:
        """The processes that the service has started, and theirs."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self) -> int:
        """Send SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        """Send SIGKILL, as a power cut would."""
        self.process.kill()
        self.process.wait(30)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(condition, seconds: float = 20.0):
    """The first true value of ``condition()``; fails when there is none."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return value
