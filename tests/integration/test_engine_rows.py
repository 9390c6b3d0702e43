"""Statements sent together, with rows given back."""

import asyncio

import psycopg
import pytest
from sqlalchemy import text

from brainops.database.engine import Database

_BEAT = text("""
    INSERT INTO brainops.heartbeats (name, at) VALUES (:name, now())
    ON CONFLICT (tenant_id, name) DO UPDATE SET at = now() RETURNING name
""")
_COUNT = text("SELECT count(*)::int FROM brainops.heartbeats")


async def test_the_rows_of_the_last_statement_come_back(database: Database) -> None:
    assert await database.write_rows((_BEAT, _COUNT), {"name": "x"}) == [(1,)]
    assert await database.write_rows((_COUNT, _BEAT), {"name": "y"}) == [("y",)]


async def test_a_refused_statement_takes_the_others_back_and_the_connection_goes_on(app_url: str) -> None:
    database = Database(app_url, pool_size=1)
    for _ in range(3):
        with pytest.raises(psycopg.errors.DivisionByZero):
            await database.write_rows((_BEAT, text("SELECT 1 / 0")), {"name": "x"})
    assert await database.write_rows((_COUNT,), {}) == [(0,)]
    await database.close()


async def test_a_statement_sees_what_was_committed_while_an_earlier_one_waited(database: Database) -> None:
    lock = text("SELECT pg_advisory_xact_lock(5, 5)")
    async with database.transaction() as holder:
        await holder.execute(lock)
        waiting = asyncio.create_task(database.write_rows((lock, _COUNT), {}))
        waits = text("SELECT count(*)::int AS waiting FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        while (await database.read(waits))[0]["waiting"] == 0:
            await asyncio.sleep(0.01)
        await holder.execute(_BEAT, {"name": "x"})
    assert await waiting == [(1,)]


async def test_a_lost_connection_is_unnoticed(database: Database, owner_url: str) -> None:
    owner = Database(owner_url)
    for _ in range(3):
        await database.write_rows((_BEAT,), {"name": "x"})
        await owner.read(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'brainops_app'"
                " AND datname = current_database()"
            )
        )
    assert await database.write_rows((_COUNT,), {}) == [(1,)]
    await owner.close()


async def test_rows_belong_to_the_tenant_of_the_database(database: Database, app_url: str) -> None:
    other = Database(app_url, tenant_id="acme")
    await database.write_rows((_BEAT,), {"name": "x"})
    assert await other.write_rows((_COUNT,), {}) == [(0,)]
    await other.close()


async def test_a_caller_that_gives_up_leaves_a_connection_that_can_be_used(app_url: str) -> None:
    database = Database(app_url, pool_size=1)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await database.write_rows((_BEAT, text("SELECT pg_sleep(30)")), {"name": "x"})
    assert await database.write_rows((_COUNT,), {}) == [(0,)]
    await database.close()


async def test_queries_are_read_together_each_with_its_values(database: Database) -> None:
    await database.write_rows((_BEAT,), {"name": "x"})
    named = text("SELECT name FROM brainops.heartbeats WHERE name = :name")
    for _ in range(2):
        rows = await database.read_together([(named, {"name": "x"}), (_COUNT, {}), (named, {"name": "y"})])
        assert rows == [[{"name": "x"}], [{"count": 1}], []]
