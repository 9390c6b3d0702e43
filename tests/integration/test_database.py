"""The run-time connection: transactions, tenants, and every way to lose the server."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from subprocess import Popen

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from brainops.config.paths import StatePaths
from brainops.database.embedded import EmbeddedPostgres, stop_server
from brainops.database.engine import Database
from brainops.database.migrate import upgrade
from brainops.errors import UnavailableError


async def _one(database: Database, statement: str) -> object:
    async with database.transaction() as connection:
        return (await connection.execute(text(statement))).scalar_one()


async def test_a_transaction_belongs_to_the_tenant_of_the_database(app_url: str) -> None:
    for tenant in ("default", "acme"):
        database = Database(app_url, tenant_id=tenant)
        assert await _one(database, "SELECT current_setting('brainops.tenant_id')") == tenant
        await database.close()


async def test_a_connection_in_the_pool_forgets_its_tenant(app_url: str) -> None:
    database = Database(app_url, pool_size=1)
    async with database.transaction() as connection:
        await connection.commit()
        left = (await connection.execute(text("SELECT current_setting('brainops.tenant_id', true)"))).scalar_one()
    assert left == ""
    await database.close()


async def test_a_block_that_raises_is_rolled_back(database: Database) -> None:
    insert = text("INSERT INTO brainops.heartbeats (name, at) VALUES ('x', now())")

    async def fail_midway() -> None:
        async with database.transaction() as connection:
            await connection.execute(insert)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_midway()
    assert await _one(database, "SELECT count(*) FROM brainops.heartbeats") == 0


async def test_a_mistake_in_a_statement_is_not_an_outage(database: Database) -> None:
    with pytest.raises(ProgrammingError):
        await _one(database, "SELECT nothing FROM nowhere")
    assert await database.ready()


async def test_a_cancelled_block_gives_its_connection_back(app_url: str) -> None:
    database = Database(app_url, pool_size=1)
    for _ in range(5):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await _one(database, "SELECT pg_sleep(30)")
    assert await database.ready()
    await database.close()


async def test_connections_that_postgres_closed_are_replaced_unnoticed(database: Database, owner_url: str) -> None:
    await asyncio.gather(*(_one(database, "SELECT pg_sleep(0.05)") for _ in range(3)))
    owner = Database(owner_url)
    await owner.read(
        text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'brainops_app'"
            " AND datname = current_database()"
        )
    )
    assert await _one(database, "SELECT 1") == 1
    await owner.close()


async def test_a_server_that_was_never_there_is_unavailable(state_paths: StatePaths) -> None:
    database = Database(f"postgresql://app@/brainops?host={state_paths.root}")
    assert not await database.ready()
    with pytest.raises(UnavailableError, match="Postgres does not answer"):
        await _one(database, "SELECT 1")
    await database.close()


@pytest_asyncio.fixture
async def own_server(state_paths: StatePaths) -> AsyncGenerator[EmbeddedPostgres]:
    server = EmbeddedPostgres(state_paths, settings={"fsync": "off"})
    await asyncio.to_thread(server.prepare)
    yield server


async def _start(server: EmbeddedPostgres) -> Popen[bytes]:
    with open(os.devnull, "wb") as output:
        process = server.start(output.fileno())
    deadline = time.monotonic() + 20
    while not await server.ready():
        assert time.monotonic() < deadline
        if process.poll() is not None:  # the children of a killed server still hold its memory for a moment
            return await _start(server)
        await asyncio.sleep(0.05)
    return process


async def test_a_killed_and_restarted_server_is_used_again_without_a_restart_of_ours(
    own_server: EmbeddedPostgres, state_paths: StatePaths
) -> None:
    process = await _start(own_server)
    database = Database(upgrade(own_server.owner_url, state_paths))

    async def lose_the_server_midway(server: Popen[bytes]) -> None:
        async with database.transaction() as connection:
            server.send_signal(signal.SIGKILL)
            server.wait()
            await connection.execute(text("SELECT pg_sleep(10)"))

    try:
        assert await _one(database, "SELECT 1") == 1
        with pytest.raises(UnavailableError):
            await lose_the_server_midway(process)
        assert not await database.ready()
        with pytest.raises(UnavailableError):
            await _one(database, "SELECT 1")

        process = await _start(own_server)
        assert await _one(database, "SELECT 1") == 1
        assert await database.ready()
    finally:
        await database.close()
        stop_server(process)


async def test_a_server_that_hangs_is_not_ready(own_server: EmbeddedPostgres, state_paths: StatePaths) -> None:
    process = await _start(own_server)
    database = Database(upgrade(own_server.owner_url, state_paths))
    try:
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        assert not await own_server.ready()
        assert not await database.ready()
        assert time.monotonic() - began < 6
    finally:
        process.send_signal(signal.SIGCONT)
        await database.close()
        stop_server(process)


async def test_connections_that_a_burst_opened_are_closed_when_they_are_not_needed(
    app_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bursting = Database(app_url, pool_size=3)
    session = text("SELECT pg_backend_pid() AS pid")
    opened: list[int] = []

    async def use_three() -> None:
        async with AsyncExitStack() as held:
            for _ in range(3):
                connection = await held.enter_async_context(bursting.transaction())
                opened.append((await connection.execute(session)).one().pid)

    async def still_open() -> int:
        known = {row["pid"] for row in await database.read(text("SELECT pid FROM pg_stat_activity"))}
        return len(known & set(opened))

    await use_three()
    assert await still_open() == 3, "another burst may follow"
    monkeypatch.setattr("brainops.database.engine.SPARE_SECONDS", 0.0)
    await _one(bursting, "SELECT 1")  # what was needed until now: three
    assert await still_open() == 3
    await _one(bursting, "SELECT 1")  # and since then: one
    while await still_open():  # a closed session may be seen for an instant
        await asyncio.sleep(0.01)
    await use_three()
    assert len(set(opened)) == 6
    await bursting.close()
