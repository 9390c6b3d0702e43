"""Sessions that were quiet for long move to object storage and can still be read; in time they go, unless they are held."""

import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from brainops.contracts.memory import Append, NewMessage, SessionStart
from brainops.contracts.message import ArtifactRefPart, Role, StoredMessage, TextPart
from brainops.database.engine import Database
from brainops.errors import BrainOpsError, NotFoundError, UnavailableError
from brainops.memory import episodic
from brainops.memory.artifacts import ArtifactStore
from brainops.memory.episodic import EpisodeStore
from brainops.memory.receipts import ReceiptAction, digest, receipts
from brainops.memory.retention import MemoryRetention, Purged
from brainops.memory.sessions import SessionStore
from brainops.storage.objects import ObjectStore

NOW = datetime.now(UTC)
MONTH_AGO, QUARTER_AGO = NOW - timedelta(days=30), NOW - timedelta(days=90)
KEEP = timedelta(days=90)


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "objects")


class Shelf:
    """Sessions of long ago, and what is done with them."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self.database = database
        self.objects = objects
        self.artifacts = ArtifactStore(database, objects)
        self.sessions = SessionStore(database, self.artifacts)
        self.episodes = EpisodeStore(database, objects)
        self.retention = MemoryRetention(database, objects)

    async def tell(self, session: str, said: Sequence[str], days_ago: float, **about: object) -> list[UUID]:
        at = NOW - timedelta(days=days_ago)
        start = {"session_id": session, "agent": "claude-code", "scope": "project:shop", "at": at, **about}
        await self.sessions.start(SessionStart.model_validate(start))
        messages = tuple(
            NewMessage(role=Role.USER, parts=(TextPart(text=words),), at=at + timedelta(seconds=place))
            for place, words in enumerate(said)
        )
        done = await self.sessions.append(Append(session_id=session, messages=messages))
        await self.database.write(text("DELETE FROM brainops.memory_outbox WHERE :all"), {"all": True})
        return list(done.ids)

    async def archive(self, session: str) -> int:
        return await self.episodes.archive(session, MONTH_AGO, KEEP)

    async def in_rows(self, session: str) -> list[StoredMessage]:
        return [message async for message in self.sessions.events(session)]

    async def count(self, table: str) -> int:
        (row,) = await self.database.read(text(f"SELECT count(*) AS count FROM brainops.{table}"))
        return row["count"]


@pytest.fixture
def shelf(database: Database, objects: ObjectStore) -> Shelf:
    return Shelf(database, objects)


async def test_a_quiet_session_is_read_back_word_for_word(shelf: Shelf) -> None:
    ids = await shelf.tell("a/b", ["one", "two", "three"], 40)
    await shelf.tell("fresh", ["hello"], 2)
    before = await shelf.in_rows("a/b")

    assert await shelf.episodes.quiet(MONTH_AGO) == ["a/b"]
    assert await shelf.archive("a/b") == 3

    assert await shelf.in_rows("a/b") == []
    assert await shelf.episodes.read("a/b") == before
    assert [message.text for message in await shelf.episodes.read("a/b", first=2, last=2)] == ["two"]
    assert (await shelf.sessions.get("a/b")).archived_at is not None
    assert await shelf.episodes.quiet(MONTH_AGO) == []
    (key,) = await shelf.objects.list("episodes")
    assert key.startswith(f"episodes/claude-code/{NOW - timedelta(days=40):%Y-%m-%d}/a_b")
    kept = json.loads(gzip.decompress(await shelf.objects.get(key)))
    assert [message["id"] for message in kept["messages"]] == [str(one) for one in ids]
    (proof,) = await receipts(shelf.database)
    assert (proof.action, proof.counts) == (ReceiptAction.ARCHIVE, {"episodes": 1, "messages": 3})
    assert proof.sha256 == digest([str(one) for one in ids])


async def test_a_session_that_is_taken_up_again_goes_on_in_a_further_episode(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(episodic, "MOST_MESSAGES", 2)
    await shelf.tell("long", ["one", "two", "three"], 40)
    assert await shelf.archive("long") == 3
    await shelf.tell("long", ["four"], 35)
    assert [message.seq for message in await shelf.in_rows("long")] == [4]
    assert await shelf.archive("long") == 1
    assert [message.text for message in await shelf.episodes.read("long")] == ["one", "two", "three", "four"]
    assert len(await shelf.objects.list("episodes")) == 3


async def test_names_that_look_alike_have_episodes_of_their_own(shelf: Shelf) -> None:
    for session in ("a/b", "a:b", "a_b"):
        await shelf.tell(session, [f"in {session}"], 40)
        await shelf.archive(session)
    assert [(await shelf.episodes.read(one))[0].text for one in ("a/b", "a:b", "a_b")] == ["in a/b", "in a:b", "in a_b"]


async def test_sessions_that_are_held_or_used_or_not_indexed_stay_where_they_are(shelf: Shelf) -> None:
    await shelf.tell("held", ["evidence"], 100, metadata={"tags": ["legal-hold"]})
    await shelf.tell("used", ["old"], 40)
    await shelf.tell("used", ["new"], 1)
    (waiting,) = await shelf.tell("waiting", ["not read by the index"], 40)
    await shelf.database.write(
        text("INSERT INTO brainops.memory_outbox (source, source_id) VALUES ('message', :id)"), {"id": waiting}
    )
    assert await shelf.episodes.quiet(MONTH_AGO) == []
    assert await shelf.archive("used") == 0
    assert len(await shelf.in_rows("used")) == 2


class Failing(ObjectStore):
    """A real store that goes away at one point."""

    def __init__(self, place: Path, *, before: str = "", after: str = "") -> None:
        super().__init__(place)
        self._before, self._after = before, after

    async def put(self, key: str, content: bytes) -> None:
        await self._do("put", super().put(key, content))

    async def delete(self, key: str) -> None:
        await self._do("delete", super().delete(key))

    async def _do(self, what: str, work: object) -> None:
        if what == self._before:
            work.close()  # type: ignore[attr-defined]
            raise UnavailableError("gone")
        await work  # type: ignore[misc]
        if what == self._after:
            raise UnavailableError("gone")


@pytest.mark.parametrize("point", [{"before": "put"}, {"after": "put"}])
async def test_a_crash_while_archiving_loses_nothing_and_repeats_nothing(
    shelf: Shelf, tmp_path: Path, point: dict[str, str]
) -> None:
    await shelf.tell("one", ["a", "b"], 40)
    told = await shelf.in_rows("one")
    broken = EpisodeStore(shelf.database, Failing(tmp_path / "objects", **point))
    with pytest.raises(UnavailableError):
        await broken.archive("one", MONTH_AGO, KEEP)
    assert await shelf.in_rows("one") == told
    assert await shelf.episodes.read("one") == []

    assert await shelf.archive("one") == 2
    assert await shelf.archive("one") == 0
    assert await shelf.episodes.read("one") == told
    assert len(await shelf.objects.list("episodes")) == 1


async def test_an_episode_that_was_changed_or_lost_is_not_served(shelf: Shelf) -> None:
    await shelf.tell("one", ["a"], 40)
    await shelf.archive("one")
    (key,) = await shelf.objects.list("episodes")
    await shelf.objects.put(key, gzip.compress(b"{}"))
    with pytest.raises(BrainOpsError, match="not what was kept"):
        await shelf.episodes.read("one")
    await shelf.objects.delete(key)
    with pytest.raises(NotFoundError, match="no longer in object storage"):
        await shelf.episodes.read("one")


async def test_an_old_session_is_purged_with_all_that_only_it_needs(shelf: Shelf) -> None:
    shared = await shelf.artifacts.put(b"a shared listing", "text/plain", "old")
    own = await shelf.artifacts.put(b"a listing of its own", "text/plain", "old")
    await shelf.tell("old", ["a"], 100)
    await shelf.tell("older-but-held", ["b"], 200)
    for session, part in (("old", own), ("old", shared), ("young", shared)):
        await shelf.tell(session, ["see"], 100 if session == "old" else 40)
        message = NewMessage(role=Role.TOOL, parts=(ArtifactRefPart.model_validate(part.model_dump()),))
        message = message.model_copy(update={"at": NOW - timedelta(days=100 if session == "old" else 40)})
        await shelf.sessions.append(Append(session_id=session, messages=(message,)))
    await shelf.database.write(text("DELETE FROM brainops.memory_outbox WHERE :all"), {"all": True})
    for session in await shelf.episodes.quiet(MONTH_AGO):
        await shelf.archive(session)
    hold = """UPDATE brainops.sessions SET metadata = '{"tags": ["legal-hold"]}' WHERE id = :id"""
    await shelf.database.write(text(hold), {"id": "older-but-held"})
    messages = len(await shelf.episodes.read("old"))

    batch = await shelf.retention.purge(Purged.SESSIONS, QUARTER_AGO, NOW)

    assert (batch.removed, batch.more) == (1, False)
    assert await shelf.episodes.read("old") == []
    assert [message.text for message in await shelf.episodes.read("older-but-held")] == ["b"]
    with pytest.raises(NotFoundError):
        await shelf.sessions.get("old")
    assert [one.key for one in await shelf.artifacts.fetch_many([own.key, shared.key])] == [shared.key]
    assert not await shelf.objects.exists(own.key)
    proof = (await receipts(shelf.database, 1))[0]
    assert proof.counts == {"sessions": 1, "episodes": 1, "messages": messages, "artifacts": 1}
    assert proof.sha256 == digest(["old"])
    assert (await shelf.retention.purge(Purged.SESSIONS, QUARTER_AGO, NOW)).removed == 0


@pytest.mark.parametrize("point", [{"before": "delete"}, {"after": "delete"}])
async def test_a_crash_while_purging_is_finished_by_the_next_round(
    shelf: Shelf, tmp_path: Path, point: dict[str, str]
) -> None:
    await shelf.tell("old", ["a"], 100)
    await shelf.archive("old")
    broken = MemoryRetention(shelf.database, Failing(tmp_path / "objects", **point))
    with pytest.raises(UnavailableError):
        await broken.purge(Purged.SESSIONS, QUARTER_AGO, NOW)
    assert (await shelf.retention.purge(Purged.SESSIONS, QUARTER_AGO, NOW)).removed == 1
    assert await shelf.objects.list("episodes") == []
    assert [await shelf.count(table) for table in ("episodes", "sessions", "messages")] == [0, 0, 0]
    purges = [one for one in await receipts(shelf.database) if one.action is ReceiptAction.PURGE]
    assert len(purges) == 1


async def test_archived_messages_are_found_by_their_ids(shelf: Shelf) -> None:
    first, second = await shelf.tell("one", ["a", "b"], 40)
    insert = """
        INSERT INTO brainops.memory_chunks (source_id, position, source, kind, scopes, session_id, seq, at, first, last, terms)
        VALUES (:id, 0, 'message', 'message', '{s}', 'one', :seq, now(), 0, 1, '')
    """
    async with shelf.database.transaction() as connection:
        await connection.execute(text("SELECT brainops.make_memory_partition()"))
        for seq, one in enumerate((first, second), 1):
            await connection.execute(text(insert), {"id": one, "seq": seq})
    await shelf.archive("one")
    assert [message.text for message in await shelf.episodes.find([second, uuid4(), first])] == ["b", "a"]
