"""What the benchmarks of memory share: memory running alone, as on a developer's laptop, and the ways to talk to it."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import JsonValue

from benchmarks import harness
from brainops.config.paths import StatePaths
from brainops.contracts.base import Contract
from brainops.contracts.memory import Nothing, Stats
from interfaces.memory_client import MemoryClient
from workers.stack.stack import EMBEDDED, Stack

INDEXED_SECONDS = 600.0


@dataclass
class MemoryStage:
    """A running memory."""

    stack: Stack
    home: Path
    """The home folder of the API process: transcripts below it may be read."""
    client: MemoryClient
    _http: aiohttp.ClientSession

    async def call(self, name: str, request: Contract) -> Any:  # the answer's type follows from the call
        """A public call over the Unix socket."""
        return await self.client.call(name, request)

    async def hook(self, payload: Mapping[str, JsonValue]) -> str:
        """Send what `brainops-hook` sends; the text to inject that comes back, if any."""
        async with self._http.post(
            "http://localhost/v1/memory/hooks/claude-code",
            data=json.dumps(payload),
            headers={"Content-Type": "application/json"},
        ) as answer:
            answer.raise_for_status()
            told: dict[str, Any] = await answer.json() if answer.content_type == "application/json" else {}
        return str(told.get("hookSpecificOutput", {}).get("additionalContext", ""))

    async def indexed(self) -> None:
        """Wait until everything that was written has its words and its vector in the index."""
        async with asyncio.timeout(INDEXED_SECONDS):
            while True:
                stats: Stats = await self.call("stats", Nothing())
                if not stats.outbox and stats.embedded >= stats.chunks:
                    return
                await asyncio.sleep(0.2)


@asynccontextmanager
async def memory_alone(folder: Path) -> AsyncGenerator[MemoryStage]:
    """`brainops up --only memory` with everything below `folder`."""
    home = folder / "home"
    home.mkdir()
    stack = Stack(
        StatePaths(folder / "state"), ports="auto", environment={**EMBEDDED, "HOME": str(home)}, only="memory"
    )
    try:
        info = await stack.start(harness.say)
        connector = aiohttp.UnixConnector(path=str(info.api_socket))
        async with aiohttp.ClientSession(connector=connector) as http, MemoryClient(str(info.api_socket)) as client:
            yield MemoryStage(stack, home, client, http)
    finally:
        await stack.stop()
