"""Working memory, on a real Postgres."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from brainops.contracts import memory as m
from brainops.database.engine import Database
from brainops.errors import BadInputError
from brainops.memory.working import MOST_BYTES, WorkingStore

EXPIRE = text("UPDATE brainops.working_memory SET expires_at = now() - interval '1 second' WHERE key = :key")


@pytest.fixture
def store(database: Database) -> WorkingStore:
    return WorkingStore(database)


async def _set(
    store: WorkingStore, key: str, value: object, agent: str = "coder", session_id: str = ""
) -> m.WorkingValue:
    return await store.set(
        m.SetWorking.model_validate({"agent": agent, "key": key, "value": value, "session_id": session_id})
    )


async def _keys(store: WorkingStore, agent: str = "coder", session_id: str = "") -> list[str]:
    found = await store.get(m.GetWorking(agent=agent, session_id=session_id))
    return [value.key for value in found.values]


async def test_a_value_is_kept_an_hour_unless_it_is_told_otherwise(store: WorkingStore) -> None:
    kept = await _set(store, "plan", {"steps": [1, None, "Zürich"]})
    assert (await store.get(m.GetWorking(agent="coder", key="plan"))).values == (kept,)
    assert kept.bytes == len('{"steps":[1,null,"Zürich"]}'.encode())
    left = kept.expires_at - datetime.now(UTC)
    assert timedelta(minutes=50) < left <= timedelta(hours=1)
    day = await store.set(m.SetWorking(agent="coder", key="day", value=1, ttl_seconds=24 * 3600))
    assert day.expires_at - datetime.now(UTC) > timedelta(hours=23)


@pytest.mark.parametrize("seconds", [0, 3599, 24 * 3600 + 1])
def test_a_time_outside_of_1_to_24_hours_is_refused(seconds: int) -> None:
    with pytest.raises(ValidationError, match="ttl_seconds"):
        m.SetWorking(agent="coder", key="x", value=1, ttl_seconds=seconds)


async def test_a_key_belongs_to_its_agent_and_session(store: WorkingStore) -> None:
    await _set(store, "x", 1)
    await _set(store, "x", 2, session_id="s")
    await _set(store, "x", 3, agent="other")
    assert (await store.get(m.GetWorking(agent="coder", session_id="s", key="x"))).values[0].value == 2
    await _set(store, "x", 4)
    assert (await store.get(m.GetWorking(agent="coder"))).values[0].value == 4


async def test_what_is_over_its_time_is_gone_at_once_and_swept_later(store: WorkingStore, database: Database) -> None:
    for key in ("old", "older", "new"):
        await _set(store, key, "x")
    for key in ("old", "older"):
        await database.write(EXPIRE, {"key": key})
    found = await store.get(m.GetWorking(agent="coder"))
    assert ([value.key for value in found.values], found.bytes) == (["new"], 3)
    assert [await store.sweep(limit=1) for _ in range(3)] == [1, 1, 0]
    assert await _keys(store) == ["new"]


async def test_more_than_a_megabyte_of_an_agent_is_refused_and_what_was_there_stays(store: WorkingStore) -> None:
    quarter = "x" * (MOST_BYTES // 4 - 2)  # and its quotes
    for number in range(4):
        await _set(store, f"k{number}", quarter, session_id=f"s{number}")
    with pytest.raises(BadInputError, match="value: 1 bytes beside the 1,048,576 that agent 'coder' keeps already"):
        await _set(store, "one", 1)
    with pytest.raises(BadInputError, match="value: 262,145 bytes"):
        await _set(store, "k0", f"{quarter}y", session_id="s0")
    await _set(store, "k0", quarter, session_id="s0")
    await _set(store, "one", 1, agent="other")
    assert (await store.get(m.GetWorking(agent="coder"))).bytes == MOST_BYTES


async def test_what_is_over_its_time_makes_room(store: WorkingStore, database: Database) -> None:
    quarter = "x" * (MOST_BYTES // 4 - 2)
    for number in range(4):
        await _set(store, f"k{number}", quarter)
    await database.write(EXPIRE, {"key": "k1"})
    await _set(store, "k4", quarter)
    assert await _keys(store) == ["k0", "k2", "k3", "k4"]


async def test_writers_at_once_do_not_pass_the_limit_together(store: WorkingStore) -> None:
    fifth = "x" * (MOST_BYTES // 5 - 2)
    outcomes = await asyncio.gather(*(_set(store, f"k{n}", fifth) for n in range(6)), return_exceptions=True)
    assert sum(isinstance(outcome, m.WorkingValue) for outcome in outcomes) == 5
    assert sum(isinstance(outcome, BadInputError) for outcome in outcomes) == 1


async def test_a_value_is_given_up(store: WorkingStore) -> None:
    await _set(store, "a", 1)
    await _set(store, "b", 22)
    for _ in range(2):
        left = await store.delete(m.DeleteWorking(agent="coder", key="a"))
        assert ([value.key for value in left.values], left.bytes) == (["b"], 2)


async def test_no_secret_is_kept(store: WorkingStore, database: Database) -> None:
    token = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    kept = await _set(store, "login", {"note": f"use {token}"})
    assert token not in str(kept.value)
    rows = await database.read(text("SELECT value::text FROM brainops.working_memory"))
    assert token not in rows[0]["value"]


@pytest.mark.parametrize(
    ("key", "value"), [("", 1), ("x" * 801, 1), ("a\x00", 1), ("a", "\ud800"), ("a", float("nan"))]
)
async def test_wrong_keys_and_values_are_refused(store: WorkingStore, key: str, value: object) -> None:
    with pytest.raises(BadInputError):
        await store.set(
            m.SetWorking.model_construct(agent="coder", key=key, value=value, session_id="", ttl_seconds=3600)
        )
    assert await _keys(store) == []


async def test_another_tenant_sees_nothing(store: WorkingStore, app_url: str) -> None:
    theirs = Database(app_url, tenant_id="acme")
    await _set(store, "x", "ours")
    other = WorkingStore(theirs)
    assert await other.get(m.GetWorking(agent="coder")) == m.WorkingValues(values=(), bytes=0)
    await other.delete(m.DeleteWorking(agent="coder", key="x"))
    assert await _keys(store) == ["x"]
    await theirs.close()
