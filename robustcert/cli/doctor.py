"""``robustcert doctor``: what this installation can do, and what it lacks."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from robustcert.cli.output import people, write_json
from robustcert.cli.serve import server_package
from robustcert.errors import EvaluationError, UsageError
from robustcert.sandbox.confine import capabilities

LAYERS = ("process", "rlimits", "no-new-privs", "landlock", "seccomp")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    fine: bool
    found: str
    remedy: str


def doctor(
    *,
    json: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write the findings.")
    ] = None,
) -> None:
    """Say what this installation can do, and how to mend what it cannot."""
    checks = list(_checks())
    console = people(json)
    for check in checks:
        console.print(f"{'ok  ' if check.fine else 'FAIL'} {check.name}: {check.found}")
        if not check.fine:
            console.print(f"     remedy: {check.remedy}")
    write_json({"checks": [_as_json(check) for check in checks]}, json)
    if not all(check.fine for check in checks):
        raise typer.Exit(EvaluationError.exit_code)


def _checks() -> Iterator[Check]:
    yield Check("python", fine=True, found=platform.python_version(), remedy="")
    yield _package("torch", "pip install torch")
    yield _package("torchattacks", "pip install 'robustcert[attacks]'")
    yield _server()
    layers = capabilities()
    missing = [layer for layer in LAYERS if layer not in layers]
    yield Check(
        "sandbox",
        not missing,
        ", ".join(layers) + (f"; lacks {', '.join(missing)}" if missing else ""),
        "Use Linux 5.13 or newer; where that cannot be, evaluate trusted models only.",
    )


def _package(name: str, remedy: str) -> Check:
    try:
        found = version(name)
    except PackageNotFoundError:
        found = ""
    there = bool(found) and importlib.util.find_spec(name) is not None
    return Check(name, there, found or "not installed", remedy)


def _server() -> Check:
    try:
        package = server_package()
    except UsageError as error:
        return Check("service", fine=False, found=error.message, remedy=error.remedy)
    return Check("service", fine=True, found=package, remedy="")


def _as_json(check: Check) -> dict[str, object]:
    return {
        "name": check.name,
        "fine": check.fine,
        "found": check.found,
        "remedy": check.remedy,
    }
