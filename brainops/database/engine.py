"""The run-time connection to Postgres: transactions of one tenant, and one error for every way to lose the server."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from time import monotonic
from typing import Any, TypeVar, cast

import psycopg
from psycopg.rows import DictRow, TupleRow, dict_row
from sqlalchemy import Executable, RowMapping, TextClause
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import QueuePool
from sqlalchemy.util import greenlet_spawn

from brainops.contracts.base import DEFAULT_TENANT
from brainops.database.urls import parse_url
from brainops.errors import BadInputError, UnavailableError

CONNECT_TIMEOUT_SECONDS = 5
POOL_TIMEOUT_SECONDS = 5.0
READY_TIMEOUT_SECONDS = 2.0
SPARE_SECONDS = 30.0
"""Connections that were not needed for this long are closed."""

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

_Driver = psycopg.AsyncConnection[TupleRow]
_Answer = TypeVar("_Answer")


class Database:
    """A small pool of connections that act for one tenant.

    Of the connections that a burst opened, each a process of the server with some 15 MB, no more are kept than were
    in use at once during the last half minute or so.

    Belongs to the event loop that first uses it. `url` should be the run-time login's (`brainops_app`): an owner
    that is a superuser sees every tenant.
    """

    def __init__(self, url: str, *, tenant_id: str = DEFAULT_TENANT, pool_size: int = 5) -> None:
        if not _TENANT.fullmatch(tenant_id):
            raise BadInputError(f"{tenant_id!r} is no tenant id; use letters, digits, `_`, `.` and `-`, at most 63")
        self.tenant_id = tenant_id
        # One round trip instead of two: with parameters it could not be sent together with BEGIN.
        self._set_tenant = f"SELECT set_config('brainops.tenant_id', '{tenant_id}', true)".encode()
        self._begin_as_tenant = f"BEGIN; {self._set_tenant.decode()}"
        self._engine = create_async_engine(
            parse_url(url),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=POOL_TIMEOUT_SECONDS,
            pool_use_lifo=True,
            hide_parameters=True,  # they hold what people said, and errors go to the log
            isolation_level="AUTOCOMMIT",  # of the driver, which would otherwise send a BEGIN of its own
            connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS, "application_name": "brainops"},
        )
        self._in_use = 0
        self._most_in_use = 0
        self._counted_since = monotonic()

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

    async def write(self, statement: TextClause, values: Mapping[str, object]) -> None:
        """One statement as a transaction of its own, in one round trip. Raises as `transaction`.

        For statements that may be repeated (upserts, inserts that skip what is there): when the connection is lost
        before the answer, the statement is sent once more. Parameters are put in by psycopg's client-side cursor,
        since one message of several statements cannot carry them. What Postgres refuses is raised as psycopg's error.
        """
        message = f"{self._begin_as_tenant}; {_compiled(statement)}; COMMIT".encode()

        async def send(driver: _Driver) -> list[TupleRow]:
            await psycopg.AsyncClientCursor(driver).execute(message, values)
            return []

        await self._sent_twice_at_most(send)

    async def write_rows(self, statements: Sequence[TextClause], values: Mapping[str, object]) -> list[TupleRow]:
        """Statements as one transaction, in one round trip, and the rows of the last one. Raises as `write`.

        For what runs often: the server keeps their plans. Each sees what was committed before it began, so a first
        one can wait for a lock. They must bear repetition, as in `write`.
        """

        async def send(driver: _Driver) -> list[TupleRow]:
            async with driver.pipeline():
                await driver.execute(b"BEGIN")
                await driver.execute(self._set_tenant, prepare=True)
                answer = [await driver.execute(_compiled(one).encode(), values, prepare=True) for one in statements][-1]
                await driver.execute(b"COMMIT")
            return await answer.fetchall()

        return await self._sent_twice_at_most(send)

    async def read_together(self, queries: Sequence[tuple[TextClause, Mapping[str, object]]]) -> list[list[DictRow]]:
        """The rows of each query, all in one round trip. Raises as `write`. For what runs often, as `write_rows`."""

        async def send(driver: _Driver) -> list[list[DictRow]]:
            async with driver.pipeline():
                await driver.execute(b"BEGIN")
                await driver.execute(self._set_tenant, prepare=True)
                answers = [
                    await driver.cursor(row_factory=dict_row).execute(_compiled(query).encode(), values, prepare=True)
                    for query, values in queries
                ]
                await driver.execute(b"COMMIT")
            return [await answer.fetchall() for answer in answers]

        return await self._sent_twice_at_most(send)

    async def _sent_twice_at_most(self, send: Callable[[_Driver], Awaitable[_Answer]]) -> _Answer:
        try:
            answer = await self._sent(send)
            if answer is None:
                answer = await self._sent(send)
        except (DBAPIError, PoolTimeoutError) as error:
            raise _translated(error) from error
        except psycopg.OperationalError as error:
            raise UnavailableError(f"Postgres does not answer: {_first_line(error)}") from error
        if answer is None:
            raise UnavailableError("Postgres does not answer: the connection was lost twice")
        return answer

    async def _sent(self, send: Callable[[_Driver], Awaitable[_Answer]]) -> _Answer | None:
        """Send one whole transaction. None: the connection was lost on the way."""
        connection = await self._take()
        try:
            driver: object = (await connection.get_raw_connection()).driver_connection
            if not isinstance(driver, psycopg.AsyncConnection):
                raise TypeError(f"psycopg's connection was expected, not {driver!r}")
            try:
                return await send(cast("_Driver", driver))
            except psycopg.Error:  # of whatever kind: an answer that was cut off may look like a wrong one
                if not driver.broken:
                    raise
                await connection.invalidate()
                return None
        finally:
            await self._give_back(connection)

    async def ready(self) -> bool:
        """Whether the server answers within 2 s. Never raises for a server that is down."""
        try:
            async with asyncio.timeout(READY_TIMEOUT_SECONDS), self.transaction():
                return True
        except (UnavailableError, TimeoutError):
            return False

    async def close_spare(self) -> None:
        """Where more connections are open than were needed lately, close all; the next use opens what it needs.

        Every use looks after it; who uses the database seldom calls this now and then.

        Only while none is in use: one that comes back to a pool that was replaced would not be closed.
        """
        if self._in_use or monotonic() - self._counted_since < SPARE_SECONDS:
            return
        needed, self._most_in_use, self._counted_since = self._most_in_use, 0, monotonic()
        pool = self._engine.pool
        if isinstance(pool, QueuePool) and pool.checkedin() > needed:
            self._engine.sync_engine.dispose(close=False)  # without a pause: nobody can take one of the old ones
            await greenlet_spawn(pool.dispose)

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
        connection = await self._take()
        try:
            await connection.exec_driver_sql(self._begin_as_tenant, execution_options={"no_parameters": True})
        except BaseException:
            await self._give_back(connection)
            raise
        return connection

    async def _take(self) -> AsyncConnection:
        self._in_use += 1
        self._most_in_use = max(self._most_in_use, self._in_use)
        try:
            return await self._engine.connect()
        except BaseException:
            self._in_use -= 1
            raise

    async def _give_back(self, connection: AsyncConnection) -> None:
        # Shielded: a cancelled activity must not leave a connection checked out for ever.
        await asyncio.shield(asyncio.ensure_future(self._returned(connection)))

    async def _returned(self, connection: AsyncConnection) -> None:
        try:
            await connection.close()
        finally:
            self._in_use -= 1
        await self.close_spare()


@cache
def _compiled(statement: TextClause) -> str:
    """The statement in psycopg's own style of parameters."""
    return str(statement.compile(dialect=postgresql.psycopg.dialect()))


def _first_line(error: BaseException | None) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0]


def _translated(error: DBAPIError | PoolTimeoutError) -> Exception:
    if isinstance(error, PoolTimeoutError):
        return UnavailableError(f"no database connection became free within {POOL_TIMEOUT_SECONDS:g} s")
    if isinstance(error.orig, psycopg.errors.DeadlockDetected):
        return UnavailableError(
            "two transactions waited for each other and this one gave way; nothing was changed by it"
        )
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
        return UnavailableError(f"Postgres does not answer: {_first_line(error.orig)}")
    return error
