"""Starts the server; what ``robustcert serve`` and ``python -m`` call."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from .main import create_app
from .service import Service, check_start
from .settings import Settings, check_address

_GRACE_SECONDS = 5


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then kill the children and queue their work again.

    Raises:
        UsageError: the address is not a loopback address, or the sandbox is weak.
        DataDirInUseError: another service works in the same folder.
    """
    check_address(settings.host)
    check_start(settings)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        access_log=False,
        server_header=False,
    )
    _Server(config, app).run()


class _Server(uvicorn.Server):
    """Lets waiting requests go at once when it is told to stop.

    Otherwise a client that waits for news would hold the server, and with it the
    children, until its wait is over.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer those who wait, then shut down."""
        service: Service | None = getattr(self._app.state, "service", None)
        if service is not None:
            service.bell.close()
        await super().shutdown(sockets)
