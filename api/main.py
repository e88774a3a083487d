"""The web application: ``uvicorn --factory api.main:create_app``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from .guard import Guard
from .handlers import add_handlers
from .openapi import describe
from .pages.views import add_pages
from .routes import blobs, evaluations, health, models, reports, samples
from .service import Service
from .settings import Settings, load_settings

_ROUTERS = (blobs, models, samples, evaluations, reports, health)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; it opens its data folder when it starts, not here.

    Args:
        settings: those of the environment if left out.
    """
    chosen = settings or load_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = await run_in_threadpool(Service.open, chosen)
        app.state.service = service
        try:
            yield
        finally:
            await run_in_threadpool(service.close)

    # The built-in pages for the documentation load scripts from elsewhere.
    app = FastAPI(title="robustcert", docs_url=None, redoc_url=None, lifespan=lifespan)
    for module in _ROUTERS:
        app.include_router(module.router)
    add_pages(app)
    add_handlers(app)
    app.add_middleware(Guard, upload_prefix=blobs.router.prefix)
    describe(app)
    return app
