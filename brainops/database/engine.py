"""The run-time connection to Postgres: transactions of one tenant, and one error for every way to lose the server."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Executable, RowMapping, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from brainops.contracts.base import DEFAULT_TENANT
from brainops.database.urls import parse_url
from brainops.errors import UnavailableError

CONNECT_TIMEOUT_SECONDS = 5
POOL_TIMEOUT_SECONDS = 5.0
READY_TIMEOUT_SECONDS = 2.0

_SET_TENANT = text("SELECT set_config('brainops.tenant_id', :tenant, true)")


class Database:
    """A small pool of connections that act for one tenant.

    Belongs to the event loop that first uses it. `url` should be the run-time login's (`brainops_app`): an owner
    that is a superuser sees every tenant.
    """

    def __init__(self, url: str, *, tenant_id: str = DEFAULT_TENANT, pool_size: int = 5) -> None:
        self.tenant_id = tenant_id
        self._engine = create_async_engine(
            parse_url(url),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=POOL_TIMEOUT_SECONDS,
            pool_use_lifo=True,
            connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS, "application_name": "brainops"},
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncConnection]:
        """One transaction: committed at the end of the block, rolled back when it raises.

        A pooled connection that died since its last use (Postgres was restarted) is replaced unnoticed. Raises
        UnavailableError when the server cannot be reached, is lost midway, or no connection gets free in time;
        a commit that was lost midway may have happened all the same.
        """
        try:
            connection = await self._begin()
        except (DBAPIError, PoolTimeoutError) as error:
            raise _translated(error) from error
        try:
            yield connection
            await connection.commit()
        except DBAPIError as error:
            raise _translated(error) from error
        finally:
            await self._give_back(connection)

    async def read(self, query: Executable, values: Mapping[str, Any] | None = None) -> Sequence[RowMapping]:
        """All rows of one query, in a transaction of its own. Raises as `transaction`."""
        async with self.transaction() as connection:
            return (await connection.execute(query, values)).mappings().all()

    async def ready(self) -> bool:
        """Whether the server answers within 2 s. Never raises for a server that is down."""
        try:
            async with asyncio.timeout(READY_TIMEOUT_SECONDS), self.transaction():
                return True
        except (UnavailableError, TimeoutError):
            return False

    async def close(self) -> None:
        """Close the pooled connections. The database may be used again afterwards."""
        await self._engine.dispose()

    async def _begin(self) -> AsyncConnection:
        # Setting the tenant is the first statement anyway, so it doubles as the test of a pooled connection: nothing
        # has been done yet, and a lost connection empties the pool, so that the second try connects anew.
        try:
            return await self._connect()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            return await self._connect()

    async def _connect(self) -> AsyncConnection:
        connection = await self._engine.connect()
        try:
            await connection.execute(_SET_TENANT, {"tenant": self.tenant_id})
        except BaseException:
            await self._give_back(connection)
            raise
        return connection

    @staticmethod
    async def _give_back(connection: AsyncConnection) -> None:
        # Shielded: a cancelled activity must not leave a connection checked out for ever.
        await asyncio.shield(asyncio.ensure_future(connection.close()))


def _translated(error: DBAPIError | PoolTimeoutError) -> Exception:
    if isinstance(error, PoolTimeoutError):
        return UnavailableError(f"no database connection became free within {POOL_TIMEOUT_SECONDS:g} s")
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
        first_line = (str(error.orig).strip().splitlines() or ["no reason given"])[0]
        return UnavailableError(f"Postgres does not answer: {first_line}")
    return error
