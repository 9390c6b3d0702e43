"""The stack that a command talks to: found by its state folder, else by the environment.

Nothing is opened before it is needed, so that `status` works without Temporal and `logs` without a database.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from brainops.config.models import LOCAL_HOST
from brainops.config.paths import StatePaths
from brainops.database.engine import Database
from brainops.errors import BadInputError, BrainOpsError, NotAllowedError, UnavailableError
from workers.reach import listens, temporal_address
from workers.stack.state import StackInfo

if TYPE_CHECKING:
    from temporalio.client import Client

CONNECT_SECONDS = 5.0


@dataclass
class Connections:
    """The parts of one stack. Made by `connect`, which closes what was opened."""

    paths: StatePaths
    info: StackInfo | None
    """None: addresses came from the environment."""
    database: Database
    host: str = LOCAL_HOST
    _client: "Client | None" = None

    async def temporal(self, timeout_seconds: float = CONNECT_SECONDS) -> "Client":
        """A client of the stack's Temporal server, acting for the person at the keyboard.

        Raises UnavailableError when the server does not answer in time.
        """
        if self._client is None:
            if self.info is not None and self.info.memory_only:
                raise UnavailableError(
                    "memory runs alone here, without Temporal; stop it, and start all: `brainops up`"
                )
            if self.info is not None:
                os.environ["TEMPORAL_ADDRESS"] = self.info.temporal_address
            address = temporal_address()
            if not await listens(address, timeout_seconds):
                raise UnavailableError(
                    f"no Temporal server answers at {address}; start one with `brainops up` or correct TEMPORAL_ADDRESS"
                )
            # Imported here: it costs half a second, and most commands read the database alone.
            from workers.runtime import connect_temporal  # noqa: PLC0415

            try:
                self._client = await connect_temporal(timeout=timedelta(seconds=timeout_seconds))
            except ValueError as error:
                # BRAINOPS_ACTOR, or a variable or profile of Temporal's own.
                raise BadInputError(f"the settings for Temporal or BRAINOPS_ACTOR cannot be used: {error}") from error
        return self._client

    async def temporal_answers(self, timeout_seconds: float = 1.5) -> bool:
        """Whether the Temporal server can be reached now."""
        try:
            client = await self.temporal(timeout_seconds)
            async with asyncio.timeout(timeout_seconds):
                return await client.service_client.check_health()
        except (TimeoutError, OSError, RuntimeError, BrainOpsError):
            return False


@contextlib.asynccontextmanager
async def connect() -> AsyncGenerator[Connections]:
    """The stack of the state folder, else the one that BRAINOPS_DATABASE_URL and TEMPORAL_ADDRESS name.

    Raises UnavailableError when there is neither.
    """
    paths = StatePaths.default()
    info = _running_stack(paths)
    url = info.database_url if info is not None else os.environ.get("BRAINOPS_DATABASE_URL")
    if not url:
        raise UnavailableError(
            f"no stack runs in {paths.root}; start it with `brainops up`, or name another with --state-dir"
        )
    database = Database(url, pool_size=2)
    try:
        yield Connections(paths, info, database, os.environ.get("BRAINOPS_HOST") or LOCAL_HOST)
    finally:
        await database.close()


def _running_stack(paths: StatePaths) -> StackInfo | None:
    try:
        return StackInfo.read(paths)
    except PermissionError as error:
        raise NotAllowedError(
            f"the stack in {paths.root} belongs to another user; be that user (sudo -u …), or name another --state-dir"
        ) from error
    except OSError as error:
        raise BadInputError(f"{paths.root} cannot be read as a state folder: {error.strerror}") from error


def complete(work: Coroutine[None, None, None]) -> None:
    """Run a command's work to its end."""
    asyncio.run(work)
