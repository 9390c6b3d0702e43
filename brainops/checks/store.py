"""What the checks saw: the state of each, samples that get coarser with age, and heartbeats of people's jobs."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Boolean, Date, DateTime, Double, Text, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from brainops.checks.tables import check_states, heartbeats
from brainops.config.models import Retention
from brainops.contracts.base import Contract
from brainops.contracts.check import CheckState, Sample
from brainops.database.engine import Database
from brainops.database.values import to_json

_LATE_SAMPLES = timedelta(minutes=30)
"""How much later than its time a sample may arrive and still enter its minute: an outage's backlog."""

_SAVE_STATE = text("""
    INSERT INTO brainops.check_states AS kept
        (service, check_name, host, status, seq, reason, detail, since, latency_ms, updated_at)
    VALUES (:service, :check, :host, :status, :seq, :reason, :detail, :since, :latency_ms, clock_timestamp())
    ON CONFLICT (tenant_id, service, check_name) DO UPDATE
    SET host = excluded.host, status = excluded.status, seq = excluded.seq, reason = excluded.reason,
        detail = excluded.detail, since = excluded.since, latency_ms = excluded.latency_ms,
        updated_at = excluded.updated_at
    WHERE kept.seq <= excluded.seq
""")

_MAKE_PARTITIONS = text("SELECT brainops.make_sample_partitions(:days)").bindparams(
    bindparam("days", type_=ARRAY(Date))
)
_DROP_PARTITIONS = text("SELECT brainops.drop_empty_sample_partitions()")

# The same bounds as those of the function that makes partitions: a clock that is years off must not stop the rest.
_ADD_SAMPLES = text("""
    INSERT INTO brainops.samples (service, check_name, at, ok, latency_ms)
    SELECT service, check_name, at, ok, latency_ms
    FROM unnest(:services, :checks, :ats, :oks, :latencies) AS seen (service, check_name, at, ok, latency_ms)
    WHERE (at AT TIME ZONE 'UTC')::date BETWEEN (now() AT TIME ZONE 'UTC')::date - 400
        AND (now() AT TIME ZONE 'UTC')::date + 2
    ON CONFLICT (tenant_id, service, check_name, at) DO NOTHING
""").bindparams(
    bindparam("services", type_=ARRAY(Text)),
    bindparam("checks", type_=ARRAY(Text)),
    bindparam("ats", type_=ARRAY(DateTime(timezone=True))),
    bindparam("oks", type_=ARRAY(Boolean)),
    bindparam("latencies", type_=ARRAY(Double)),
)

_WRITE_MINUTES = text("""
    WITH written AS (
        INSERT INTO brainops.sample_minutes AS kept
            (service, check_name, at, probes, passed, latency_ms_mean, latency_ms_max)
        SELECT service, check_name, date_bin('1 minute', at, '2000-01-01 00:00:00Z') AS minute, count(*),
            count(*) FILTER (WHERE ok), coalesce(avg(latency_ms) FILTER (WHERE ok), 0),
            coalesce(max(latency_ms) FILTER (WHERE ok), 0)
        FROM brainops.samples
        WHERE at < date_bin('1 minute', :now, '2000-01-01 00:00:00Z') AND at >= coalesce(
            (SELECT max(at) FROM brainops.sample_minutes) - CAST(:late AS interval), '-infinity')
        GROUP BY service, check_name, minute
        ON CONFLICT (tenant_id, service, check_name, at) DO UPDATE
        SET probes = excluded.probes, passed = excluded.passed, latency_ms_mean = excluded.latency_ms_mean,
            latency_ms_max = excluded.latency_ms_max
        WHERE kept.probes < excluded.probes
        RETURNING 1
    )
    SELECT count(*) FROM written
""")

_WRITE_HOURS = text("""
    WITH written AS (
        INSERT INTO brainops.sample_hours AS kept
            (service, check_name, at, probes, passed, latency_ms_mean, latency_ms_max)
        SELECT service, check_name, date_bin('1 hour', at, '2000-01-01 00:00:00Z') AS hour, sum(probes), sum(passed),
            coalesce(sum(latency_ms_mean * passed) / nullif(sum(passed), 0), 0), max(latency_ms_max)
        FROM brainops.sample_minutes
        WHERE at < date_bin('1 hour', :now, '2000-01-01 00:00:00Z') AND at >= coalesce(
            (SELECT max(at) FROM brainops.sample_hours) - interval '1 hour', '-infinity')
        GROUP BY service, check_name, hour
        ON CONFLICT (tenant_id, service, check_name, at) DO UPDATE
        SET probes = excluded.probes, passed = excluded.passed, latency_ms_mean = excluded.latency_ms_mean,
            latency_ms_max = excluded.latency_ms_max
        WHERE kept.probes < excluded.probes
        RETURNING 1
    )
    SELECT count(*) FROM written
""")

# Whole minutes and hours only: what is half removed could not be written anew.
_REMOVE_RAW = text("DELETE FROM brainops.samples WHERE at < date_bin('1 minute', :before, '2000-01-01 00:00:00Z')")
_REMOVE_MINUTES = text(
    "DELETE FROM brainops.sample_minutes WHERE at < date_bin('1 hour', :before, '2000-01-01 00:00:00Z')"
)

# Each moment is counted once, in the finest form that is left of it.
_UPTIME = text("""
    WITH kept AS (
        SELECT coalesce(min(at), 'infinity') AS first_minute,
            coalesce(max(at) + interval '1 minute', '-infinity') AS after_minutes
        FROM brainops.sample_minutes
    ), counted AS (
        SELECT probes, passed FROM brainops.sample_hours, kept
        WHERE service = :service AND at >= :since AND at < date_bin('1 hour', first_minute, '2000-01-01 00:00:00Z')
        UNION ALL
        SELECT probes, passed FROM brainops.sample_minutes WHERE service = :service AND at >= :since
        UNION ALL
        SELECT 1, ok::int FROM brainops.samples, kept
        WHERE service = :service AND at >= :since AND at >= after_minutes
    )
    SELECT sum(passed)::float8 / nullif(sum(probes), 0) AS share FROM counted
""")

_RECORD_HEARTBEAT = text("""
    INSERT INTO brainops.heartbeats AS kept (name, at, body, received_at)
    VALUES (:name, :at, CAST(:body AS jsonb), clock_timestamp())
    ON CONFLICT (tenant_id, name) DO UPDATE
    SET at = excluded.at, body = excluded.body, received_at = excluded.received_at
    WHERE kept.at <= excluded.at
""")


class DownsampleCounts(Contract):
    """What one round of thinning did."""

    minutes_written: int
    hours_written: int
    rows_removed: int


class HeartbeatRow(Contract):
    """The last report of one job."""

    name: str
    at: datetime
    body: Any
    """JSON, as the job sent it."""


_HEARTBEAT_TIMES = text("SELECT name, at FROM brainops.heartbeats")


class CheckStore:
    """Reads and writes `check_states`, `samples` with its coarser forms, and `heartbeats`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save_state(self, host: str, state: CheckState) -> None:
        """Keep the state of a check. One with a lower `seq` than what is kept is late and changes nothing."""
        values = {
            "service": state.service,
            "check": state.check,
            "host": host,
            "status": state.status.value,
            "seq": state.seq,
            "reason": state.reason.value,
            "detail": state.detail,
            "since": state.since,
            "latency_ms": state.latency_ms,
        }
        async with self._database.transaction() as connection:
            await connection.execute(_SAVE_STATE, values)

    async def states(self, host: str | None) -> list[CheckState]:
        """The state of every check of `host`; None: of all hosts."""
        query = select(check_states).order_by(check_states.c.service, check_states.c.check_name)
        if host is not None:
            query = query.where(check_states.c.host == host)
        rows = await self._database.read(query)
        return [CheckState.model_validate({**row, "check": row["check_name"]}) for row in rows]

    async def add_samples(self, samples: Iterable[Sample]) -> None:
        """Keep probe results, all or none; one that is kept already (service, check, time) is passed over."""
        seen = list(samples)
        if not seen:
            return
        days = sorted({sample.at.astimezone(UTC).date() for sample in seen})
        values = {
            "services": [sample.service for sample in seen],
            "checks": [sample.check for sample in seen],
            "ats": [sample.at for sample in seen],
            "oks": [sample.ok for sample in seen],
            "latencies": [sample.latency_ms for sample in seen],
        }
        async with self._database.transaction() as connection:
            await connection.execute(_MAKE_PARTITIONS, {"days": days})
            await connection.execute(_ADD_SAMPLES, values)

    async def downsample(self, now: datetime, retention: Retention) -> DownsampleCounts:
        """Write complete minutes from raw samples and hours from minutes, then remove what is past its retention."""
        async with self._database.transaction() as connection:
            minutes = await connection.execute(_WRITE_MINUTES, {"now": now, "late": _LATE_SAMPLES})
            hours = await connection.execute(_WRITE_HOURS, {"now": now})
            raw = await connection.execute(_REMOVE_RAW, {"before": now - retention.raw_samples})
            old = await connection.execute(_REMOVE_MINUTES, {"before": now - retention.minute_samples})
            counts = DownsampleCounts(
                minutes_written=minutes.scalar_one(),
                hours_written=hours.scalar_one(),
                rows_removed=raw.rowcount + old.rowcount,
            )
        async with self._database.transaction() as connection:  # locks the whole table: as briefly as can be
            await connection.execute(_DROP_PARTITIONS)
        return counts

    async def uptime(self, service: str, since: datetime) -> float | None:
        """Share of good probes of all checks of `service` since then, 0 to 1; None without a probe.

        What is older than the raw samples counts by whole minutes, later by whole hours.
        """
        return (await self._database.read(_UPTIME, {"service": service, "since": since}))[0]["share"]

    async def record_heartbeat(self, name: str, at: datetime, body: object) -> None:
        """Keep the last report of a job. `body`: anything that JSON can say."""
        values = {"name": name, "at": at, "body": to_json(body)}
        async with self._database.transaction() as connection:
            await connection.execute(_RECORD_HEARTBEAT, values)

    async def heartbeat_times(self) -> dict[str, datetime]:
        """When each job last reported."""
        return {row["name"]: row["at"] for row in await self._database.read(_HEARTBEAT_TIMES)}

    async def heartbeats(self) -> list[HeartbeatRow]:
        """The last report of every job, by name."""
        rows = await self._database.read(select(heartbeats).order_by(heartbeats.c.name))
        return [HeartbeatRow.model_validate(dict(row)) for row in rows]
