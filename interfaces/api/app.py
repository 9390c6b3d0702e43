"""The HTTP API: an app that is served on a loopback port and on a Unix socket alike."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from fastapi import FastAPI

from brainops.database.engine import Database
from interfaces.api import heartbeats, live, operations, problems
from interfaces.api.late_routes import LateRoutes
from interfaces.api.middleware import RequestFrame
from interfaces.api.resources import Resources
from interfaces.api.settings import ApiSettings
from interfaces.version import brainops_version

DESCRIPTION = """\
BrainOps over HTTP. Send a key as `Authorization: Bearer bok_…` (`brainops keys create NAME --scope read`).
Every error is `application/problem+json`."""


def create_app(settings: ApiSettings) -> FastAPI:
    """The app for `settings`. It starts whether or not the database answers; requests that need it get 503 until then."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        opened = Resources(settings, Database(settings.database_url))
        app.state.resources = opened
        watches = [asyncio.create_task(opened.watch_database()), asyncio.create_task(opened.memory.look_after())]
        try:
            yield
        finally:
            for watch in watches:
                watch.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watch
            await opened.memory.close()
            await opened.database.close()

    app = FastAPI(
        title="BrainOps",
        version=brainops_version(),
        description=DESCRIPTION,
        lifespan=lifespan,
        responses=problems.RESPONSES,
        # The pages load their scripts from elsewhere; the document itself is served.
        docs_url=None,
        redoc_url=None,
        # A redirect would send the key to a path that was not asked for.
        redirect_slashes=False,
    )
    app.add_middleware(LateRoutes)
    app.add_middleware(RequestFrame)
    problems.install(app)
    app.include_router(live.router)
    app.include_router(heartbeats.router)
    app.include_router(operations.router)
    return app
