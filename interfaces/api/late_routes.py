"""Routes that are made at the first request to one of them: memory's models cost some MB that an idle API can save."""

import asyncio
import importlib
from typing import cast

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

PREFIXES = ("/v1/memory", "/v1/sessions", "/mcp", "/openapi.json")
"""The description of the API names them, too."""

MODULE = "interfaces.api.memory"


class LateRoutes:
    """Includes the routes of memory before the first request that needs them is looked at."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._making = asyncio.Lock()
        self._made = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if not self._made and scope["type"] == "http" and scope["path"].startswith(PREFIXES):
            async with self._making:
                if not self._made:
                    module = await asyncio.to_thread(importlib.import_module, MODULE)
                    module.install(cast("FastAPI", scope["app"]))
                    self._made = True
        await self._app(scope, receive, send)
