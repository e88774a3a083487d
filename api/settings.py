"""What the operator decides, from ``ROBUSTCERT_*`` variables."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from robustcert.client.wire import LEAST_MEMORY_MB
from robustcert.errors import UsageError

MEBIBYTE = 2**20


class Settings(BaseSettings):
    """The service's settings; each is the variable ``ROBUSTCERT_`` + its name.

    Attributes:
        data_dir: holds the uploads and, unless ``database_url`` says otherwise, the
            database.
        database_url: SQLAlchemy URL; empty means SQLite inside ``data_dir``.
        host: loopback address to listen on.
        port: TCP port; 0 lets the system choose.
        slots: evaluations that run at the same time.
        upload_bytes: largest upload.
        samples_bytes: largest sample file once inflated.
        evaluation_seconds: longest evaluation, and the default of a request.
        evaluation_memory_mb: largest evaluation, and the default of a request.
        queue_limit: evaluations that may wait; beyond it the answer is 503.
        idle_seconds: an upload that sends nothing for so long is given up.
        worker_entry: ``module:function`` that the sandbox child runs, for engines that
            evaluate in another way. It takes and returns what
            :mod:`robustcert.evaluation.child` does.
        allow_weak_sandbox: start although this machine does not offer every layer of
            the sandbox; the reports say which held.
        worker_code: folders from which ``worker_entry`` is imported, a JSON list.
    """

    model_config = SettingsConfigDict(env_prefix="ROBUSTCERT_", frozen=True)

    data_dir: Path = Path("robustcert-data")
    database_url: str = ""
    host: str = "127.0.0.1"
    port: int = Field(default=8770, ge=0, le=65535)
    slots: int = Field(default=1, ge=1, le=256)
    upload_bytes: int = Field(default=256 * MEBIBYTE, ge=1)
    samples_bytes: int = Field(default=1024 * MEBIBYTE, ge=1)
    evaluation_seconds: float = Field(default=900.0, gt=0.0)
    evaluation_memory_mb: int = Field(default=8192, ge=LEAST_MEMORY_MB)
    queue_limit: int = Field(default=1000, ge=1)
    idle_seconds: float = Field(default=30.0, gt=0.0)
    worker_entry: str = Field(
        default="robustcert.evaluation.child:evaluate",
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
    )
    worker_code: tuple[Path, ...] = ()
    allow_weak_sandbox: bool = False

    @property
    def resolved_database_url(self) -> str:
        """``database_url``, or that of the SQLite file inside ``data_dir``."""
        if self.database_url:
            return self.database_url
        return f"sqlite:///{self.data_dir.resolve() / 'robustcert.sqlite3'}"


def load_settings() -> Settings:
    """The settings of this process's environment.

    Raises:
        UsageError: a variable holds a value that is not allowed.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(
            f"ROBUSTCERT_{str(item['loc'][0]).upper()}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
        )
        raise UsageError(
            f"the service's settings are not valid: {wrong}.",
            remedy="Correct the variables named, or unset them.",
        ) from None


def is_loopback(host: str) -> bool:
    """Whether ``host`` names this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_address(host: str) -> None:
    """Refuse to listen where others could reach the service.

    Raises:
        UsageError: ``host`` is not a loopback address.
    """
    if not is_loopback(host):
        raise UsageError(
            f"the service has no access keys yet and refuses to listen on {host!r}.",
            remedy="Listen on 127.0.0.1 and put a proxy that authenticates in front.",
        )
