"""A session of which a part lies in object storage is read as if it did not."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from brainops.contracts.memory import Append, Messages, NewMessage, SessionStart, StreamText
from brainops.contracts.message import Role, TextPart
from brainops.database.engine import Database
from brainops.errors import ConflictError
from brainops.memory import episodic
from brainops.memory import sessions as sessions_module
from brainops.memory.artifacts import ArtifactStore
from brainops.memory.episodic import EpisodeStore
from brainops.memory.sessions import SessionStore
from brainops.storage.objects import ObjectStore

NOW = datetime.now(UTC)
EVERYTHING = [str(number) for number in range(1, 13)]


@pytest.fixture
def episodes(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EpisodeStore:
    monkeypatch.setattr(episodic, "MOST_MESSAGES", 4)
    return EpisodeStore(database, ObjectStore(tmp_path))


@pytest.fixture
async def store(database: Database, tmp_path: Path, episodes: EpisodeStore) -> SessionStore:
    """Nine messages of a session are archived, three are rows."""
    store = SessionStore(database, ArtifactStore(database, ObjectStore(tmp_path)), episodes=episodes)
    await said(store, EVERYTHING[:9], NOW - timedelta(days=40))
    await database.write(text("DELETE FROM brainops.memory_outbox"), {})
    assert await episodes.archive("s", NOW - timedelta(days=30), timedelta(days=90)) == 9
    await said(store, EVERYTHING[9:], NOW - timedelta(days=1))
    return store


async def said(store: SessionStore, words: list[str], at: datetime) -> None:
    await store.start(SessionStart(session_id="s", at=at))
    messages = tuple(NewMessage(role=Role.USER, parts=(TextPart(text=word),), at=at) for word in words)
    await store.append(Append(session_id="s", messages=messages))


async def backwards(store: SessionStore, limit: int) -> tuple[list[str], str | None]:
    """All pages from the end to the beginning, and the cursor after the first page of the session."""
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await store.messages(Messages(session_id="s", limit=limit, before=cursor))
        seen = [message.text for message in page.messages] + seen
        cursor = page.before
        if cursor is None:
            return seen, page.after


async def forwards(store: SessionStore, limit: int, cursor: str | None) -> list[str]:
    seen: list[str] = []
    while cursor is not None:
        page = await store.messages(Messages(session_id="s", limit=limit, after=cursor))
        seen += [message.text for message in page.messages]
        cursor = page.after
    return seen


@pytest.mark.parametrize("limit", [1, 2, 5, 12, 20])
async def test_pages_go_through_rows_and_episodes_both_ways(store: SessionStore, limit: int) -> None:
    seen, cursor = await backwards(store, limit)
    assert seen == EVERYTHING
    last = await forwards(store, limit, cursor)
    assert last == EVERYTHING[len(EVERYTHING) - len(last) :]


@pytest.mark.parametrize("size", [3, 500])
async def test_events_are_read_from_both(store: SessionStore, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "PAGE", size)
    assert [message.text async for message in store.events("s")] == EVERYTHING
    assert [message.text async for message in store.events("s", 7)] == EVERYTHING[7:]


async def test_an_archived_message_that_comes_again_is_known(store: SessionStore, episodes: EpisodeStore) -> None:
    archived = (await episodes.read("s", first=6, last=6))[0]
    again = NewMessage(role=Role.USER, parts=archived.parts, id=archived.id)
    new = NewMessage(role=Role.USER, parts=(TextPart(text="new"),))
    appended = await store.append(Append(session_id="s", messages=(again, new)))
    assert appended.seqs == (6, 13)
    assert [message.text async for message in store.events("s")] == [*EVERYTHING, "new"]
    with pytest.raises(ConflictError, match="finished already"):
        await store.stream(StreamText(session_id="s", message_id=archived.id, text="more"))


async def test_a_session_that_was_archived_whole_and_goes_on_is_read_again(
    store: SessionStore, episodes: EpisodeStore
) -> None:
    await store.mark_understood("s", 12)
    assert await episodes.archive("s", NOW + timedelta(days=1), timedelta(days=90)) == 3
    assert (await store.get("s")).archived_at is not None
    await said(store, ["I am back"], NOW)
    assert (await store.get("s")).archived_at is None
    assert await store.unread(NOW + timedelta(days=1), limit=5) == ["s"]
