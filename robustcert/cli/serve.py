"""``robustcert serve``: start the service on this machine."""

from __future__ import annotations

import importlib.util
import os
import runpy
from pathlib import Path
from typing import Annotated

import typer

import robustcert
from robustcert.errors import UsageError

INSTALLED = "robustcert_server"
CHECKOUT = "api"


def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Loopback address.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; 0: any.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of uploads and database.")
    ] = None,
    slots: Annotated[
        int | None, typer.Option(help="Evaluations at the same time.")
    ] = None,
) -> None:
    """Start the service; options override the ROBUSTCERT_* variables."""
    chosen = {"HOST": host, "PORT": port, "DATA_DIR": data_dir, "SLOTS": slots}
    for name, value in chosen.items():
        if value is not None:
            os.environ[f"ROBUSTCERT_{name}"] = str(value)
    package = server_package()
    _require_extra()
    runpy.run_module(package, run_name="__main__", alter_sys=True)


def server_package() -> str:
    """The service's package: its name in a wheel, or the folder of a checkout.

    Raises:
        UsageError: neither is there.
    """
    if importlib.util.find_spec(INSTALLED) is not None:
        return INSTALLED
    beside = Path(robustcert.__file__).resolve().parents[1] / CHECKOUT
    found = importlib.util.find_spec(CHECKOUT)
    if found is not None and found.origin == str(beside / "__init__.py"):
        return CHECKOUT
    raise UsageError(
        "the service is not installed", remedy="pip install 'robustcert[server]'"
    )


def _require_extra() -> None:
    missing = [
        name
        for name in ("fastapi", "uvicorn", "sqlalchemy", "alembic", "pydantic_settings")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise UsageError(
            f"the service needs {', '.join(missing)}",
            remedy="pip install 'robustcert[server]'",
        )
