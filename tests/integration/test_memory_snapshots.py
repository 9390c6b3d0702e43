"""Snapshots, on a real Postgres."""

from datetime import UTC, datetime, timedelta

import pytest

from brainops.contracts import memory as m
from brainops.database.engine import Database
from brainops.errors import BadInputError
from brainops.memory.snapshots import SnapshotStore

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def store(database: Database) -> SnapshotStore:
    return SnapshotStore(database)


async def _save(store: SnapshotStore, step: str, at: datetime, **others: object) -> m.Snapshot:
    request = {"session_id": "s", "context": {"next": step}, "at": at} | others
    return await store.save(m.SessionSave.model_validate(request), "project:shop")


async def test_the_last_snapshot_of_a_scope_comes_back_as_it_was_saved(store: SnapshotStore) -> None:
    await _save(store, "first", NOON)
    saved = await _save(store, "second", NOON + HOUR, tags=("cart", "cart"), importance=0.9, context_type="decision")
    assert saved.tags == ("cart",)
    assert await store.latest("project:shop") == [saved]
    assert [each.context_data["next"] for each in await store.latest("project:shop", limit=5)] == ["second", "first"]


async def test_a_snapshot_belongs_to_the_scope_that_it_names_and_to_its_session(store: SnapshotStore) -> None:
    await _save(store, "here", NOON)
    await _save(store, "elsewhere", NOON + HOUR, scope="project:blog")
    await _save(store, "other session", NOON + HOUR, session_id="t")
    assert [each.context_data["next"] for each in await store.latest("project:shop", "s", limit=5)] == ["here"]
    assert [each.context_data["next"] for each in await store.latest("project:blog", limit=5)] == ["elsewhere"]


async def test_the_past_knows_nothing_of_later_ones_and_expired_ones_are_left_out(store: SnapshotStore) -> None:
    await _save(store, "lasting", NOON)
    await _save(store, "passing", NOON + HOUR, expires_at=NOON + 2 * HOUR)

    async def known(at: datetime) -> list[object]:
        return [each.context_data["next"] for each in await store.latest("project:shop", now=at, limit=5)]

    assert await known(NOON - HOUR) == []
    assert await known(NOON + HOUR) == ["passing", "lasting"]
    assert await known(NOON + 2 * HOUR) == ["lasting"]


async def test_a_snapshot_that_is_over_before_it_is_made_is_refused(store: SnapshotStore) -> None:
    with pytest.raises(BadInputError, match="expires_at: 2026-05-04T11:00:00"):
        await _save(store, "x", NOON, expires_at=NOON - HOUR)


async def test_a_context_that_cannot_be_kept_is_refused_with_its_size(store: SnapshotStore) -> None:
    with pytest.raises(BadInputError, match="bytes; at most 262,144"):
        await _save(store, "x" * 300_000, NOON)


async def test_no_secret_is_kept(store: SnapshotStore) -> None:
    token = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    await _save(store, f"push with {token}", NOON)
    (kept,) = await store.latest("project:shop")
    assert token not in str(kept.context_data)
    assert "push with" in str(kept.context_data)
