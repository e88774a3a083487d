"""Whether the service is up, and whether it can work."""

from __future__ import annotations

from fastapi import APIRouter

from robustcert.client.wire import Health

from ..dependencies import PROBLEMS, TheService
from ..errors import ServiceFaultError

router = APIRouter(tags=["health"], responses=PROBLEMS)


@router.get("/healthz", summary="Whether the service is up")
async def healthz() -> Health:
    """Answers on the event loop: busy workers do not delay it."""
    return Health()


@router.get("/readyz", summary="Whether the service can accept and run evaluations")
def readyz(service: TheService) -> Health:
    """Looks at the database and at the threads that run evaluations."""
    service.evaluations.page(None, 1)
    if not service.dispatcher.alive:
        raise NotReadyError("The threads that run evaluations have ended.")
    return Health()


class NotReadyError(ServiceFaultError):
    """The service is up and cannot work."""

    remedy = "Restart the service; nothing accepted is lost."
    status = 503
    title = "The service cannot work"
