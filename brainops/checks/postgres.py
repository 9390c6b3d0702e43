"""Postgres: one's own query, connections, transactions, replication and size of a server, over one kept connection."""

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, LiteralString, cast

import psycopg

from brainops.checks.base import CheckProbe, ProbeTools, Subject
from brainops.checks.conditions import Value, judge
from brainops.config.checks import PostgresCheck
from brainops.config.quantities import format_duration, format_size
from brainops.contracts.check import ProbeResult, Reason
from brainops.errors import ConfigError
from brainops.services.postgres import Connection, Login
from brainops.telemetry.redaction import clean

RESULT_LIMIT = 64 * 1024
"""Characters of the query's first value; a longer one is cut and is then a text."""

_CLOSE_SECONDS = 1.0

Verdict = tuple[Reason, str]
_GOOD: Verdict = (Reason.NONE, "")

_SEES_ALL: LiteralString = "SELECT pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all"
_CONNECTIONS: LiteralString = """
    SELECT 100.0::float8 * sum(numbackends) / current_setting('max_connections')::int AS used FROM pg_stat_database
"""
_OLDEST: LiteralString = """
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 AS seconds
    FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
# A standby that has replayed all that it received is not behind, however quiet its primary; unless nothing is received.
_LAG: LiteralString = """
    SELECT pg_is_in_recovery() AS standby,
        CASE WHEN NOT pg_is_in_recovery()
            THEN (SELECT max(coalesce(extract(epoch FROM replay_lag), 0))::float8 FROM pg_stat_replication)
            WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver)
            THEN 0::float8
            ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8
        END AS seconds
"""
_SIZE: LiteralString = "SELECT pg_database_size(current_database()) AS bytes"

# As JSON, so that one value of any type is read, and no more of it than is wanted.
_FIRST_VALUE = """
    SELECT left(first.value::text, %d) AS value
    FROM (SELECT row_to_json(answer) AS row FROM (%s
    ) AS answer LIMIT 1) AS rows, LATERAL (SELECT value FROM json_each(rows.row) LIMIT 1) AS first
"""


class _DecidedError(Exception):
    """A look is over: what was seen decides it."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.verdict: Verdict = (reason, detail)


@dataclass(slots=True)
class _Held:
    """The connection of one check."""

    connection: Connection | None = None
    url: str = ""
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


class PostgresProbe(CheckProbe[PostgresCheck]):
    """Logs in once for each check, and looks around in transactions that can write nothing."""

    check = PostgresCheck

    def __init__(self, tools: ProbeTools) -> None:
        super().__init__(tools)
        self._held: dict[tuple[str, str], _Held] = {}

    async def look(self, subject: Subject, check: PostgresCheck, /) -> ProbeResult:
        begun = time.perf_counter()
        held = self._held.setdefault(subject.key, _Held())
        try:
            login = Login.of(check, self._tools.environment)
            async with asyncio.timeout(check.timeout.total_seconds()), held.busy:
                reason, detail = await self._look(held, login, check, begun)
        except TimeoutError:
            reason, detail = Reason.TIMEOUT, f"no whole answer within {format_duration(check.timeout)}"
        except ConfigError as error:
            reason, detail = Reason.ERROR, str(error)
        latency_ms = (time.perf_counter() - begun) * 1000
        return ProbeResult(ok=reason is Reason.NONE, reason=reason, latency_ms=latency_ms, detail=detail[:500])

    async def close(self) -> None:
        for held in self._held.values():
            await _drop(held)

    async def _look(self, held: _Held, login: Login, check: PostgresCheck, begun: float) -> Verdict:
        if held.url != login.url:
            await _drop(held)
        kept = held.connection is not None and not held.connection.closed
        try:
            return await self._asked(held, login, check, begun)
        except psycopg.OperationalError as error:
            # a connection that was kept may have been ended with the server it led to; that says nothing of now
            if not (kept and (held.connection is None or held.connection.closed)):
                return login.words(error)
        except psycopg.Error as error:
            return login.words(error)
        try:
            return await self._asked(held, login, check, begun)
        except psycopg.Error as error:
            return login.words(error)

    async def _asked(self, held: _Held, login: Login, check: PostgresCheck, begun: float) -> Verdict:
        done = False
        try:
            if held.connection is None or held.connection.closed:
                held.connection, held.url = await login.connect(), login.url
            connection = held.connection
            await connection.execute("BEGIN TRANSACTION READ ONLY")
            limit = f"{max(1, int(check.timeout.total_seconds() * 1000))}ms"
            await connection.execute("SELECT set_config('statement_timeout', %s, true)", (limit,))
            try:
                verdict = await _examined(connection, check, begun)
            except _DecidedError as over:
                verdict = over.verdict
            await connection.execute("ROLLBACK")
            done = True
        finally:
            if not done:  # in the middle of something, or cancelled: nobody knows what it would answer next
                await _drop(held)
        return verdict


async def _examined(connection: Connection, check: PostgresCheck, begun: float) -> Verdict:
    """Everything that is asked for, in an order in which the first failure is the most telling."""
    asked = "\n".join(check.conditions)
    values: dict[str, Value] = {}
    if check.max_connections_used is not None or "[CONNECTIONS_USED]" in asked:
        used = values["CONNECTIONS_USED"] = float((await _row(connection, _CONNECTIONS))["used"])
        if check.max_connections_used is not None and used > check.max_connections_used:
            limit = f"more than {check.max_connections_used:g} %"
            return Reason.CONNECTIONS, f"{used:.0f} % of max_connections are used, {limit}"
    if check.max_transaction_age is not None or "[TRANSACTION_AGE]" in asked:
        await _refuse_blindness(connection, "the transactions of other users")
        age = timedelta(seconds=(await _row(connection, _OLDEST))["seconds"])
        values["TRANSACTION_AGE"] = age
        if check.max_transaction_age is not None and age > check.max_transaction_age:
            allowed = format_duration(check.max_transaction_age)
            return Reason.OLD_TRANSACTION, f"a transaction is open for {_rounded(age)}, longer than {allowed}"
    if check.max_lag is not None or "[LAG]" in asked:
        values["LAG"] = lag = await _lag(connection)
        if check.max_lag is not None and lag > check.max_lag:
            allowed = format_duration(check.max_lag)
            return Reason.LAG, f"the standby is {_rounded(lag)} behind, more than {allowed}"
    if check.max_size is not None or "[SIZE]" in asked:
        size = values["SIZE"] = int((await _row(connection, _SIZE))["bytes"])
        if check.max_size is not None and size > check.max_size:
            return Reason.DISK, f"the database has {format_size(size)}, more than {format_size(check.max_size)}"
    if check.query is not None:
        values["RESULT"] = await _result(connection, check.query)
    values["RESPONSE_TIME"] = timedelta(seconds=time.perf_counter() - begun)
    return judge(check.conditions, values)


async def _row(connection: Connection, query: LiteralString) -> dict[str, Any]:
    """The one row of a query of ours. Any: columns of all types."""
    row = await (await connection.execute(query)).fetchone()
    return row or {}


async def _refuse_blindness(connection: Connection, what: str) -> None:
    if not (await _row(connection, _SEES_ALL))["sees_all"]:
        user = clean(connection.info.user, 63)
        raise _DecidedError(Reason.ERROR, f"{user} may not see {what}; GRANT pg_read_all_stats TO {user}")


async def _lag(connection: Connection) -> timedelta:
    found = await _row(connection, _LAG)
    if not found["standby"]:
        await _refuse_blindness(connection, "how far the standbys are")
    if found["seconds"] is None:
        missing = "the standby has replayed nothing yet" if found["standby"] else "no standby is connected"
        raise _DecidedError(Reason.LAG, f"how far the standby is behind is not known: {missing}")
    return timedelta(seconds=found["seconds"])


async def _result(connection: Connection, query: str) -> Value:
    """The first value of the first row; None where there is none."""
    text = _FIRST_VALUE % (RESULT_LIMIT + 1, query.strip().rstrip(";"))
    try:
        # binary: asked for in a way that lets nothing follow the one statement
        cursor = await connection.execute(cast("LiteralString", text), binary=True)
    except psycopg.errors.QueryCanceled:
        raise
    except psycopg.Error as error:
        if error.sqlstate is None or connection.closed:
            raise
        words = clean(" ".join((error.diag.message_primary or str(error)).split()), 300)
        raise _DecidedError(Reason.QUERY, f"the query fails: {words}") from error
    row = await cursor.fetchone()
    if row is None or row["value"] is None:
        return None
    value = cast("str", row["value"])
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value[:RESULT_LIMIT]


async def _drop(held: _Held) -> None:
    connection, held.connection = held.connection, None
    if connection is not None:
        with suppress(psycopg.Error, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await connection.close()


def _rounded(value: timedelta) -> str:
    """To the second where it is longer than ten."""
    seconds = value.total_seconds()
    return format_duration(timedelta(seconds=round(seconds))) if seconds > 10 else format_duration(value)
