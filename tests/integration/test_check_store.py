"""Check states, samples that get coarser with age, and heartbeats, on a real server."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from brainops.checks.store import CheckStore
from brainops.config.models import Retention
from brainops.contracts.check import CheckState, CheckStatus, Sample
from brainops.database.engine import Database

HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
"""The beginning of a complete hour."""


@pytest.fixture
def store(database: Database) -> CheckStore:
    return CheckStore(database)


def sample(at: datetime, *, ok: bool = True, latency_ms: float = 2, service: str = "api") -> Sample:
    return Sample(service=service, check="http", at=at, ok=ok, latency_ms=latency_ms)


def minutes(count: int, *, start: datetime = HOUR, per_minute: int = 2) -> list[Sample]:
    """Samples of which the first in each minute is bad."""
    return [
        sample(start + timedelta(minutes=minute, seconds=10 * number), ok=number > 0, latency_ms=number)
        for minute in range(count)
        for number in range(per_minute)
    ]


async def count(database: Database, table: str) -> int:
    return (await database.read(text(f"SELECT count(*) AS rows FROM brainops.{table}")))[0]["rows"]


async def partitions(database: Database) -> int:
    query = text("SELECT count(*) AS rows FROM pg_inherits WHERE inhparent = 'brainops.samples'::regclass")
    return (await database.read(query))[0]["rows"]


async def test_a_late_state_does_not_overwrite_a_newer_one(store: CheckStore) -> None:
    newer = CheckState(service="api", check="http", status=CheckStatus.PASSING, seq=2, since=HOUR, latency_ms=1.5)
    await store.save_state("local", newer)
    await store.save_state("local", newer.model_copy(update={"status": CheckStatus.FAILING, "seq": 1}))
    assert await store.states("local") == [newer]
    assert await store.states("other") == []
    assert await store.states(None) == [newer]


async def test_a_sample_that_is_written_twice_is_kept_once(store: CheckStore, database: Database) -> None:
    seen = minutes(5)
    await asyncio.gather(*(store.add_samples(seen) for _ in range(4)))
    await store.add_samples([])
    assert await count(database, "samples") == 10


async def test_samples_of_several_days_each_find_their_partition(store: CheckStore, database: Database) -> None:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    await store.add_samples([sample(midnight - timedelta(days=days, microseconds=1)) for days in range(3)])
    assert await count(database, "samples") == 3
    assert await partitions(database) == 3


async def test_samples_with_a_clock_that_is_years_off_do_not_stop_the_rest(
    store: CheckStore, database: Database
) -> None:
    wrong = [sample(datetime(1990, 1, 1, tzinfo=UTC)), sample(datetime(2090, 1, 1, tzinfo=UTC))]
    await store.add_samples([*wrong, sample(datetime.now(UTC))])
    await store.add_samples(wrong)
    assert await count(database, "samples") == 1


async def test_raw_samples_become_minutes_and_hours(store: CheckStore, database: Database) -> None:
    await store.add_samples(minutes(120, per_minute=3))
    done = await store.downsample(HOUR + timedelta(minutes=90, seconds=30), Retention())
    assert (done.minutes_written, done.hours_written, done.rows_removed) == (90, 1, 0)
    row = (await database.read(text("SELECT * FROM brainops.sample_hours")))[0]
    assert (row["at"], row["probes"], row["passed"]) == (HOUR, 180, 120)
    assert (row["latency_ms_mean"], row["latency_ms_max"]) == (1.5, 2)


async def test_downsampling_again_writes_nothing(store: CheckStore) -> None:
    now = HOUR + timedelta(hours=2)
    await store.add_samples(minutes(90))
    await store.downsample(now, Retention())
    again = await store.downsample(now, Retention())
    assert (again.minutes_written, again.hours_written, again.rows_removed) == (0, 0, 0)


async def test_samples_that_arrive_late_enter_their_minute_and_hour(store: CheckStore, database: Database) -> None:
    await store.add_samples(minutes(60))
    now = HOUR + timedelta(minutes=70)
    await store.downsample(now, Retention())
    await store.add_samples([sample(HOUR + timedelta(minutes=55, seconds=5))])
    done = await store.downsample(now, Retention())
    assert (done.minutes_written, done.hours_written) == (1, 1)
    assert (await database.read(text("SELECT probes FROM brainops.sample_hours")))[0]["probes"] == 121


async def test_what_is_past_its_retention_is_removed_with_its_partition(store: CheckStore, database: Database) -> None:
    old = datetime.now(UTC) - timedelta(days=4)
    await store.add_samples([*minutes(3, start=old), sample(datetime.now(UTC) - timedelta(minutes=5))])
    before = await partitions(database)
    retention = Retention(raw_samples=timedelta(days=1), minute_samples=timedelta(days=2))
    done = await store.downsample(datetime.now(UTC), retention)
    assert done.rows_removed == 6 + await _minutes_of(old)
    assert await count(database, "samples") == 1
    assert await partitions(database) == before - 1
    assert await count(database, "sample_hours") >= 1


async def _minutes_of(start: datetime) -> int:
    """How many clock minutes the three minutes of samples from `start` touch."""
    return len({seen.at.replace(second=0, microsecond=0) for seen in minutes(3, start=start)})


async def test_a_partition_with_rows_of_another_tenant_stays(app_url: str, database: Database) -> None:
    old = datetime.now(UTC) - timedelta(days=4)
    other = Database(app_url, tenant_id="other")
    await CheckStore(database).add_samples([sample(old)])
    await CheckStore(other).add_samples([sample(old)])
    await CheckStore(database).downsample(datetime.now(UTC), Retention())
    assert await count(database, "samples") == 0
    assert await count(other, "samples") == 1
    await other.close()


async def test_uptime_counts_each_moment_once_at_every_age(store: CheckStore) -> None:
    await store.add_samples(minutes(180))
    since = HOUR - timedelta(hours=1)
    assert await store.uptime("api", since) == 0.5
    await store.downsample(HOUR + timedelta(minutes=150), Retention())
    assert await store.uptime("api", since) == 0.5
    await store.add_samples([sample(HOUR + timedelta(minutes=170, seconds=5 + second)) for second in range(4)])
    assert await store.uptime("api", since) == pytest.approx(184 / 364)
    assert await store.uptime("unknown", since) is None


async def test_uptime_goes_on_when_only_hours_are_left(store: CheckStore) -> None:
    old = HOUR - timedelta(days=3)
    await store.add_samples(minutes(60, start=old))
    retention = Retention(raw_samples=timedelta(days=1), minute_samples=timedelta(days=1))
    await store.downsample(datetime.now(UTC), retention)
    assert await store.uptime("api", old - timedelta(hours=1)) == 0.5


async def test_the_last_heartbeat_of_a_job_is_kept(store: CheckStore) -> None:
    await store.record_heartbeat("backup", HOUR, {"rows": 7})
    await store.record_heartbeat("backup", HOUR + timedelta(hours=1), None)
    await store.record_heartbeat("backup", HOUR, "late")
    await store.record_heartbeat("audit", HOUR, "nul \x00 text")
    assert [(beat.name, beat.at, beat.body) for beat in await store.heartbeats()] == [
        ("audit", HOUR, "nul \ufffd text"),
        ("backup", HOUR + timedelta(hours=1), None),
    ]
