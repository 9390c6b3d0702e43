"""A real HTTP server that takes what Apprise sends (`json://`), and can be made to refuse or to hang."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Receiver:
    """What has arrived, oldest first."""

    port: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    asked: int = 0
    status: int = 200
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Not set: nobody is answered."""

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/hook"

    @property
    def titles(self) -> list[str]:
        return [str(message["title"]) for message in self.messages]

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        """Those of these types: `failure`, `warning`, `info`, `success`."""
        return [message for message in self.messages if message["type"] in kinds]

    async def take(self, request: web.Request) -> web.Response:
        self.asked += 1
        body = await request.json() if request.method == "POST" else None
        await self.held.wait()
        if self.status == 200 and body is not None:
            self.messages.append(body)
        return web.Response(status=self.status)


@asynccontextmanager
async def running_receiver() -> AsyncGenerator[Receiver]:
    """A receiver on a free port of the loopback."""
    receiver = Receiver()
    receiver.held.set()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.port = runner.addresses[0][1]
    yield receiver
    receiver.held.set()
    await runner.cleanup()
