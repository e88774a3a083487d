"""How a report came about: versions, seed, machine, time."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import torch

from robustcert.models.interface import LoadedModel
from robustcert.results.report import Provenance

PACKAGES = ("robustcert", "torch", "numpy", "torchattacks")


@dataclass(frozen=True, slots=True)
class Clock:
    """When the work began."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    tick: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since then."""
        return time.monotonic() - self.tick


def provenance(
    model: LoadedModel, seed: int, clock: Clock, sandbox: tuple[str, ...]
) -> Provenance:
    """The provenance of work on ``model`` that began at ``clock``."""
    return Provenance(
        versions=versions(),
        seed=seed,
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        started=clock.started.isoformat(timespec="seconds"),
        seconds=clock.seconds,
        sandbox=sandbox,
    )


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result rests on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # an optional one
            continue
    return found
