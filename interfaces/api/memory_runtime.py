"""The memory of the API process: made at its first use, and looked after from then on.

A process that is never asked for memory imports none of it. Once a minute it is seen whether something waits all the
same: events of coding agents in the spool, rows for the index that another process wrote.
"""

import asyncio
import contextlib
import gc
import importlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import structlog
from sqlalchemy import text

from brainops.config.paths import StatePaths
from brainops.database.engine import Database
from brainops.errors import BadInputError, BrainOpsError, UnavailableError
from interfaces.hooks.draining import SpoolDrain
from interfaces.hooks.spool import Spool, own_folder

if TYPE_CHECKING:
    from brainops.contracts.base import Contract
    from brainops.memory.ranking.embedding import Embedder
    from brainops.memory.service import MemoryService
    from interfaces.hooks.events import HookEvents, HookPayload

logger = structlog.get_logger("memory")

LOOK_SECONDS = 60.0
RETRY_SECONDS = 5.0
STALE_AFTER = timedelta(minutes=5)
"""A streamed message of which nothing came for so long was cut off."""

QUIET_AFTER = timedelta(minutes=15)
"""A session of which nothing was heard for so long is read, though nobody said that it was over."""

DEFAULT_DIMENSIONS = 1536

KEEP_SECONDS = 3600.0
"""Between two looks whether the daily round is due, where memory runs alone."""

DEFAULT_ARCHIVE_SECONDS, DEFAULT_PURGE_SECONDS = 30 * 86_400, 90 * 86_400

# What was given up after its tries, and the note that the embedder fails, wait for nobody.
_WAITING = text("SELECT EXISTS (SELECT FROM brainops.memory_outbox WHERE source <> 'embedder' AND attempts < 3)")


class MemoryRuntime:
    """Holds the one `MemoryService` of the process and its background work.

    Reads BRAINOPS_OBJECTS (a folder or a URL; default: the state folder's `objects`) and BRAINOPS_EMBEDDINGS_URL,
    _MODEL, _DIMENSIONS and _KEY_ENV (default: WordLlama, in this process); with BRAINOPS_ONLY=memory, BRAINOPS_ARCHIVE_AFTER
    and BRAINOPS_PURGE_AFTER in seconds (default: 30 and 90 days).
    """

    def __init__(self, database: Database, environment: Mapping[str, str] = os.environ) -> None:
        self._database = database
        self._at_once = environment.get("BRAINOPS_ONLY") == "memory"
        self._environment = environment
        self._service: MemoryService | None = None
        self._events: HookEvents | None = None
        self._making = asyncio.Lock()
        self._stop = asyncio.Event()
        self._woken = asyncio.Event()
        self._settled = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._state = StatePaths.default()
        self._inbox = Spool(str(self._state.spool))
        self._drain = SpoolDrain([self._inbox, Spool(own_folder(environment))], self.hook_events, Path.home())

    async def service(self) -> "MemoryService":
        """The memory. Raises BadInputError for settings that cannot be used."""
        if self._service is None:
            async with self._making:
                if self._service is None:
                    self._service = made = await self._made()
                    # Its modules and tables stay: to look through them again held requests up for 0.1 s now and then.
                    gc.collect()
                    gc.freeze()
                    self.ends_with(asyncio.create_task(self._index(made)))
                    if self._at_once:
                        self.ends_with(asyncio.create_task(self._keep(made)))
                    if self._at_once:
                        self.ends_with(asyncio.create_task(self._load(made)))
                    self._woken.set()
        return self._service

    async def call(self, name: str, asked: "Contract") -> "Contract":
        """The answer to a call, as `MemoryService.call`. What is forgotten does not come back from the spool."""
        service = await self.service()
        if name == "forget":
            await self._drain.drain()
        return await service.call(name, asked)

    async def hook_events(self) -> "HookEvents":
        """What takes the events of coding agents in."""
        service = await self.service()
        if self._events is None:
            async with self._making:
                if self._events is None:
                    module: Any = await asyncio.to_thread(importlib.import_module, "interfaces.hooks.events")
                    self._events = module.HookEvents(service)
        return cast("HookEvents", self._events)

    async def take_in(self, event: "HookPayload") -> None:
        """Keep an event on disk, for its work to be done soon. Raises UnavailableError when the disk does not take it."""
        dated = event if event.at is not None else event.model_copy(update={"at": datetime.now(UTC)})
        body = dated.model_dump_json(exclude_defaults=True).encode()
        try:
            await asyncio.to_thread(self._inbox.put, body)
        except OSError as error:
            raise UnavailableError(f"{self._inbox.folder} cannot be written: {error.strerror}") from error
        self._settled.clear()
        self._woken.set()

    async def settled(self, most_seconds: float) -> None:
        """Wait a moment for events that came before and are not stored yet."""
        if self._settled.is_set() and not self._drain.waiting():
            return
        self._settled.clear()
        self._woken.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), most_seconds)

    async def look_after(self) -> None:
        """Do what waits and sweep what has expired, for ever: at the start, when woken, and once a minute."""
        while True:
            pause = LOOK_SECONDS
            self._woken.clear()
            try:
                if self._wanted() or self._drain.waiting() or await self._rows_wait():
                    service = await self.service()
                    await self._drain.drain()
                    await self._sweep(service)
                self._settled.set()
            except UnavailableError:
                pause = RETRY_SECONDS
            except BrainOpsError as error:
                logger.warning("memory cannot be looked after", reason=str(error))
            except Exception:  # the next look may go better; requests meet the same error with its cause
                logger.exception("looking after memory failed")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), pause)

    def _wanted(self) -> bool:
        """In use already, or all that this process is for: then the first request need not wait for it."""
        return self._service is not None or self._at_once

    def ends_with(self, task: asyncio.Task[None]) -> None:
        """Have `close` end `task`."""
        self._tasks.append(task)

    async def close(self) -> None:
        """Stop indexing and all else in the background; the rest of the outbox is for the next start."""
        self._stop.set()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._service is not None:
            try:
                await self._service.sessions.close()
            except UnavailableError as error:
                logger.warning("the last words of streamed messages are lost", reason=str(error))

    async def _rows_wait(self) -> bool:
        (row,) = await self._database.read(_WAITING)
        return bool(row["exists"])

    async def _sweep(self, service: "MemoryService") -> None:
        await service.working.sweep()
        await service.sessions.interrupt_stale(STALE_AFTER)
        await service.learner.learn_quiet(datetime.now(UTC) - QUIET_AFTER)

    async def _index(self, service: "MemoryService") -> None:
        while not self._stop.is_set():
            try:
                await service.indexer.run(self._stop)
            except UnavailableError as error:
                logger.warning("indexing pauses", reason=str(error))
            except Exception:  # recall by words alone goes on; the outbox says how far behind the index is
                logger.exception("indexing failed")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), RETRY_SECONDS)

    async def _keep(self, service: "MemoryService") -> None:
        """Archive and purge once a day: where memory runs alone, no workflow does."""
        from interfaces.api.memory_upkeep import daily_upkeep  # noqa: PLC0415 - as memory itself

        archive_after = self._seconds("BRAINOPS_ARCHIVE_AFTER", DEFAULT_ARCHIVE_SECONDS)
        purge_after = self._seconds("BRAINOPS_PURGE_AFTER", DEFAULT_PURGE_SECONDS)
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), LOOK_SECONDS)
            try:
                await daily_upkeep(self._database, service.objects, archive_after, purge_after)
            except UnavailableError as error:
                logger.warning("memory's daily round waits", reason=str(error))
            except Exception:  # the next look may go better; nothing that was removed by then is lost
                logger.exception("memory's daily round failed")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), KEEP_SECONDS)

    def _seconds(self, variable: str, default: int) -> timedelta:
        told = self._environment.get(variable, "")
        return timedelta(seconds=int(told) if told.isascii() and told.isdigit() else default)

    async def _load(self, service: "MemoryService") -> None:
        """The index, so that the first recall need not wait for it."""
        try:
            await service.recaller.load()
        except BrainOpsError as error:
            logger.warning("the index will be loaded by the first recall", reason=str(error))

    async def _made(self) -> "MemoryService":
        module = await asyncio.to_thread(importlib.import_module, "brainops.memory.service")
        storage: Any = await asyncio.to_thread(importlib.import_module, "brainops.storage.objects")
        place = self._environment.get("BRAINOPS_OBJECTS") or self._state.objects
        objects = await asyncio.to_thread(storage.ObjectStore, place)
        return module.MemoryService(self._database, objects, await asyncio.to_thread(self._embedder))

    def _embedder(self) -> "Embedder":
        # Imported with memory, not with the API.
        from brainops.memory.ranking.embedding import HttpEmbedder, WordLlamaEmbedder  # noqa: PLC0415

        url = self._environment.get("BRAINOPS_EMBEDDINGS_URL")
        if not url:
            return WordLlamaEmbedder()
        dimensions = self._environment.get("BRAINOPS_EMBEDDINGS_DIMENSIONS") or str(DEFAULT_DIMENSIONS)
        if not (dimensions.isascii() and dimensions.isdigit()):
            raise BadInputError(f"BRAINOPS_EMBEDDINGS_DIMENSIONS is {dimensions!r}; give a number such as 1536")
        return HttpEmbedder(
            url,
            self._environment.get("BRAINOPS_EMBEDDINGS_MODEL") or "default",
            int(dimensions),
            key_variable=self._environment.get("BRAINOPS_EMBEDDINGS_KEY_ENV") or "",
        )
