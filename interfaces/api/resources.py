"""What the routes stand on: the database's stores, and a look at Temporal."""

import asyncio
import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import structlog
from fastapi import Request

from brainops.access.keys import KeyStore
from brainops.checks.store import CheckStore
from brainops.database.engine import Database
from brainops.errors import BrainOpsError
from brainops.telemetry.outage import Outage
from interfaces.api.access import FailureLimit
from interfaces.api.memory_runtime import MemoryRuntime
from interfaces.api.settings import ApiSettings
from workers.reach import listens, temporal_address

if TYPE_CHECKING:
    from temporalio.client import Client

logger = structlog.get_logger("api")

PROBE_TIMEOUT_SECONDS = 2.0
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0


class TemporalProbe:
    """Looks whether the Temporal server answers.

    The SDK is imported at the first look and in a thread: it costs 0.3 s and some 40 MB, which a process that is
    only asked for `/live` should not pay before it listens.
    """

    def __init__(self) -> None:
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def reachable(self) -> bool:
        """Whether the server answers its health check within two seconds."""
        if not await listens(temporal_address(), PROBE_TIMEOUT_SECONDS):
            return False
        runtime = await asyncio.to_thread(importlib.import_module, "workers.runtime")
        service = await asyncio.to_thread(importlib.import_module, "temporalio.service")
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                async with self._connecting:
                    if self._client is None:
                        self._client = cast("Client", await runtime.connect_temporal())
                return await self._client.service_client.check_health()
        except (TimeoutError, OSError, RuntimeError, BrainOpsError, service.RPCError):
            # RuntimeError: what the SDK raises when nobody listens at the address.
            return False


@dataclass
class Resources:
    """Opened when the app starts, closed when it stops."""

    settings: ApiSettings
    database: Database
    temporal: TemporalProbe = field(default_factory=TemporalProbe)
    failure_limit: FailureLimit = field(default_factory=FailureLimit)
    memory: MemoryRuntime = field(init=False)

    def __post_init__(self) -> None:
        self.memory = MemoryRuntime(self.database)

    @property
    def keys(self) -> KeyStore:
        """API keys."""
        return KeyStore(self.database)

    @property
    def checks(self) -> CheckStore:
        """Checks and heartbeats."""
        return CheckStore(self.database)

    async def watch_database(self) -> None:
        """Say once when the database is away and once when it is back, for ever. Requests meet a 503 meanwhile."""
        outage = Outage()
        pause = FIRST_PAUSE_SECONDS
        while True:
            if await self.database.ready():
                if outage.recovered():
                    logger.info("Postgres answers again")
                pause = LONGEST_PAUSE_SECONDS
            else:
                if outage.failed():
                    logger.warning("Postgres does not answer; requests that need it get 503 until it does")
                pause = FIRST_PAUSE_SECONDS if pause == LONGEST_PAUSE_SECONDS else min(pause * 2, LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)


def resources(request: Request) -> Resources:
    """The app's resources, as a dependency of a route."""
    return cast("Resources", request.app.state.resources)
