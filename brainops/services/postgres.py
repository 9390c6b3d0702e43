"""A PostgreSQL server of the user's: logging in, and the sessions that stand in the way of others."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from brainops.config.checks import PostgresCheck
from brainops.config.environment import expand
from brainops.contracts.check import Reason
from brainops.contracts.incident import SessionFacts
from brainops.telemetry.redaction import clean

APPLICATION = "brainops"
"""As the server lists our sessions."""

MOST_SESSIONS = 20

Connection = psycopg.AsyncConnection[dict[str, Any]]
"""Any: columns of all types."""

# Times are written in one form, whatever the time zone of the login: by pid and start a session is told apart for ever.
_START: LiteralString = "to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

_SESSIONS: LiteralString = f"""
    WITH waits AS (
        SELECT blocker AS pid, count(*) AS waiting
        FROM pg_stat_activity AS waiter, unnest(pg_blocking_pids(waiter.pid)) AS blocker
        WHERE waiter.wait_event_type = 'Lock'
        GROUP BY blocker
    )
    SELECT a.pid, {_START} AS backend_start, coalesce(a.usename, '') AS username, a.application_name,
        coalesce(a.state, '') AS state, coalesce(waits.waiting, 0) AS blocks,
        coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::float8 AS seconds,
        coalesce(role.rolsuper OR role.rolreplication, true) OR a.backend_type <> 'client backend' AS protected,
        a.application_name LIKE '{APPLICATION}%%' OR a.pid = pg_backend_pid() AS own
    FROM pg_stat_activity AS a
    LEFT JOIN waits USING (pid)
    LEFT JOIN pg_roles AS role ON role.oid = a.usesysid
    WHERE a.backend_start IS NOT NULL AND a.xact_start IS NOT NULL AND a.datname = current_database()
"""  # noqa: S608 - made of constants alone, as the next ones
_IN_THE_WAY: LiteralString = (
    _SESSIONS
    + """
        AND (a.state LIKE 'idle in transaction%%' OR waits.waiting > 0)
    ORDER BY a.xact_start, a.pid
    LIMIT %s
"""
)
_ONE: LiteralString = _SESSIONS + f" AND a.pid = %s AND {_START} = %s"
_THIS_ONE: LiteralString = f"FROM pg_stat_activity AS a WHERE a.pid = %s AND {_START} = %s"
_EXISTS: LiteralString = "SELECT 1 " + _THIS_ONE
_TERMINATE: LiteralString = "SELECT pg_terminate_backend(a.pid, %s) AS ended " + _THIS_ONE

_REASONS = {
    "53300": Reason.CONNECTIONS,  # too many connections
    "57014": Reason.TIMEOUT,  # cancelled by statement_timeout
    "55P03": Reason.TIMEOUT,  # lock_timeout
    "53100": Reason.DISK,
}


@dataclass(frozen=True, slots=True)
class Login:
    """How to log in. Not to be shown: the address holds a password."""

    url: str

    @classmethod
    def of(cls, check: PostgresCheck, environment: Mapping[str, str]) -> "Login":
        """That of a check. Raises ConfigError for a variable that is not set."""
        return cls(expand(check.url, environment))

    async def connect(self) -> Connection:
        """A new session. Raises psycopg.Error."""
        return await Connection.connect(
            self.url, autocommit=True, application_name=APPLICATION, row_factory=dict_row, prepare_threshold=None
        )

    def words(self, error: psycopg.Error) -> tuple[Reason, str]:
        """Reason and sentence for an error, without anything of the address that is secret."""
        text = error.diag.message_primary or str(error) or type(error).__name__
        if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
            return Reason.ERROR, "the url cannot be read; write postgresql://user:${PASSWORD}@host/database"
        reason = _REASONS.get(error.sqlstate or "", Reason.ERROR)
        if reason is Reason.ERROR and "refused" in text:
            reason = Reason.REFUSED
        elif reason is Reason.ERROR and error.sqlstate is None and "timeout" in text:
            reason = Reason.TIMEOUT
        return reason, clean(" ".join(text.split()), 300, (self.url, self.url.rpartition("@")[0]))


@asynccontextmanager
async def connected(login: Login) -> AsyncGenerator[Connection]:
    """A session for as long as the block lasts. Raises psycopg.Error."""
    connection = await login.connect()
    try:
        yield connection
    finally:
        await connection.close()


async def sessions_in_the_way(connection: Connection, check: str) -> tuple[SessionFacts, ...]:
    """Sessions of the database that are idle in a transaction or that others wait for, oldest transaction first."""
    rows = await (await connection.execute(_IN_THE_WAY, (MOST_SESSIONS,))).fetchall()
    return tuple(_facts(row, check) for row in rows)


async def session(connection: Connection, check: str, pid: int, backend_start: str) -> SessionFacts | None:
    """One session in its transaction; None when it is in none, or gone."""
    row = await (await connection.execute(_ONE, (pid, backend_start))).fetchone()
    return _facts(row, check) if row is not None else None


async def exists(connection: Connection, pid: int, backend_start: str) -> bool:
    """Whether a session is still there."""
    return await (await connection.execute(_EXISTS, (pid, backend_start))).fetchone() is not None


async def terminate(connection: Connection, pid: int, backend_start: str, wait_seconds: float) -> bool:
    """End a session; whether it is gone within that time. Raises psycopg.Error, for instance for a lack of permission."""
    row = await (await connection.execute(_TERMINATE, (int(wait_seconds * 1000), pid, backend_start))).fetchone()
    return row is None or bool(row["ended"])


def _facts(row: dict[str, Any], check: str) -> SessionFacts:
    return SessionFacts(
        check=check,
        pid=row["pid"],
        backend_start=row["backend_start"],
        user=clean(row["username"], 100),
        application=clean(row["application_name"] or "", 100),
        state=row["state"],
        seconds=row["seconds"],
        blocks=row["blocks"],
        own=row["own"],
        protected=row["protected"],
    )
