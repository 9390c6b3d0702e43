"""Takes the events out of the spools, in the order in which they happened, and stores them."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from brainops.errors import BadInputError, UnavailableError
from interfaces.hooks.spool import Spool

if TYPE_CHECKING:
    from interfaces.hooks.events import HookEvents

logger = structlog.get_logger("hooks")


class SpoolDrain:
    """The spools of this machine. An event leaves its spool once it is stored, or set aside because it cannot be."""

    def __init__(self, spools: Sequence[Spool], events: "Callable[[], Awaitable[HookEvents]]", home: Path) -> None:
        self._spools = spools
        self._events = events
        self._home = home
        self._draining = asyncio.Lock()

    def waiting(self) -> bool:
        """Whether an event waits."""
        return any(spool.names() for spool in self._spools)

    async def drain(self) -> int:
        """Store what waits; returns how many events that were. Stops where Postgres does not answer."""
        stored = 0
        async with self._draining:
            for spool in self._spools:
                for name in await asyncio.to_thread(spool.names):
                    try:
                        stored += await self._store(spool, name)
                    except UnavailableError as error:
                        logger.warning("events wait in the spool", folder=spool.folder, reason=str(error))
                        return stored
        return stored

    async def _store(self, spool: Spool, name: str) -> bool:
        # Imported with memory, not with the API.
        from interfaces.hooks.events import read_payload  # noqa: PLC0415

        body = await asyncio.to_thread(spool.read, name)
        if body is None:
            return False
        try:
            event = read_payload(json.loads(body))
            await (await self._events()).record(event, self._home)
        except UnavailableError:
            raise
        except (BadInputError, ValueError, RecursionError) as error:
            logger.warning("an event cannot be stored", folder=spool.folder, name=name, reason=str(error)[:500])
            await asyncio.to_thread(spool.set_aside, name)
            return False
        except Exception:  # a fault of ours: this event must not hold up all that come after it
            logger.exception("an event failed", folder=spool.folder, name=name)
            await asyncio.to_thread(spool.set_aside, name)
            return False
        await asyncio.to_thread(spool.remove, name)
        return True
