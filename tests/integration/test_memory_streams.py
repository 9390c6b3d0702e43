"""Messages in the making, on a real Postgres."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from sqlalchemy import text

from brainops.contracts import memory as m
from brainops.contracts.message import MessageStatus, Role, StoredMessage, TextPart, ToolCallPart
from brainops.database.engine import Database
from brainops.errors import BadInputError, ConflictError, NotFoundError
from brainops.memory import streams
from brainops.memory.artifacts import ArtifactStore
from brainops.memory.sessions import SessionStore
from brainops.storage.objects import ObjectStore

NEVER = timedelta(hours=1)
AT_ONCE = timedelta(0)
TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"

MakeStore = Callable[[timedelta], SessionStore]


@pytest.fixture
def make_store(database: Database, tmp_path: Path) -> MakeStore:
    """A process's own view of the sessions, which saves no oftener than it is told."""

    def make(save_every: timedelta) -> SessionStore:
        return SessionStore(database, ArtifactStore(database, ObjectStore(tmp_path)), save_every=save_every)

    return make


@pytest_asyncio.fixture
async def store(make_store: MakeStore) -> AsyncGenerator[SessionStore]:
    """One that saves only the beginning and the end."""
    made = make_store(NEVER)
    await made.start(m.SessionStart(session_id="s"))
    yield made
    await made.close()


async def _tell(
    store: SessionStore, id_: UUID, words: str, offset: int | None = None, session_id: str = "s"
) -> m.Appended:
    return await store.stream(m.StreamText(session_id=session_id, message_id=id_, text=words, offset=offset))


async def _end(store: SessionStore, id_: UUID) -> m.Appended:
    return await store.end_stream(m.StreamEnd(session_id="s", message_id=id_))


async def _only(store: SessionStore) -> StoredMessage:
    (message,) = (await store.messages(m.Messages(session_id="s"))).messages
    return message


async def _deltas(database: Database) -> list[str]:
    rows = await database.read(text("SELECT text FROM brainops.message_deltas ORDER BY characters"))
    return [row["text"] for row in rows]


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + 20
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_the_first_words_are_there_at_once_and_later_ones_after_the_pause(
    store: SessionStore, database: Database
) -> None:
    id_ = uuid4()
    await _tell(store, id_, "Let me")
    await _tell(store, id_, " look")
    shown = await _only(store)
    assert (shown.text, shown.status, shown.role) == ("Let me", MessageStatus.STREAMING, Role.ASSISTANT)
    assert await _deltas(database) == ["Let me"]


async def test_words_are_saved_although_their_writer_falls_silent(make_store: MakeStore, store: SessionStore) -> None:
    hasty = make_store(timedelta(milliseconds=100))
    id_ = uuid4()
    await _tell(hasty, id_, "Let me")
    await _tell(hasty, id_, " look")

    async def saved() -> bool:
        return (await _only(store)).text == "Let me look"

    await _until(saved)
    await hasty.close()


async def test_a_message_in_the_making_keeps_its_place(store: SessionStore) -> None:
    id_ = uuid4()
    assert (await _tell(store, id_, "first")).seqs == (1,)
    said = m.NewMessage(role=Role.USER, parts=(TextPart(text="second"),))
    assert (await store.append(m.Append(session_id="s", messages=(said,)))).seqs == (2,)
    assert (await _end(store, id_)).seqs == (1,)
    assert [message.text async for message in store.events("s")] == ["first", "second"]


async def test_the_end_puts_all_of_it_into_the_message_and_to_the_index(
    store: SessionStore, database: Database
) -> None:
    id_ = uuid4()
    await _tell(store, id_, "Let me")
    await _tell(store, id_, " look")
    waiting = await database.read(text("SELECT source_id FROM brainops.memory_outbox"))
    call = ToolCallPart(id="c", name="read", arguments={"path": "a.py"})
    ended = await store.end_stream(m.StreamEnd(session_id="s", message_id=id_, parts=(call,)))
    message = await _only(store)
    assert message.parts == (TextPart(text="Let me look"), call)
    assert message.status is MessageStatus.COMPLETE
    assert await _deltas(database) == []
    assert waiting == []
    assert [row["source_id"] for row in await database.read(text("SELECT source_id FROM brainops.memory_outbox"))] == [
        id_
    ]
    kept = (await database.read(text("SELECT tokens_before FROM brainops.sessions")))[0]["tokens_before"]
    assert kept == ended.tokens_before > 0


async def test_ending_again_changes_nothing(store: SessionStore, database: Database) -> None:
    id_ = uuid4()
    await _tell(store, id_, "done")
    first = await _end(store, id_)
    again = await _end(store, id_)
    assert (again.seqs, again.ids, again.tokens_before) == (first.seqs, first.ids, 0)
    assert len(await database.read(text("SELECT id FROM brainops.memory_outbox"))) == 1
    with pytest.raises(ConflictError, match="finished already"):
        await _tell(store, id_, " more")


async def test_what_was_told_already_is_not_told_again(store: SessionStore) -> None:
    id_ = uuid4()
    for offset, words in ((0, "one "), (0, "one "), (4, "two "), (2, "e two three"), (0, "one")):
        await _tell(store, id_, words, offset)
    await _end(store, id_)
    assert (await _only(store)).text == "one two three"


async def test_a_gap_is_refused_with_the_place_to_go_on_from(store: SessionStore) -> None:
    id_ = uuid4()
    await _tell(store, id_, "four")
    with pytest.raises(ConflictError, match="tell again from 4 on"):
        await _tell(store, id_, "x", offset=9)
    with pytest.raises(BadInputError, match="offset: -1"):
        await _tell(store, id_, "x", offset=-1)


async def test_another_process_goes_on_from_what_was_saved(make_store: MakeStore, store: SessionStore) -> None:
    id_ = uuid4()
    await _tell(store, id_, "saved,")
    await _tell(store, id_, " lost with its process,")
    other = make_store(NEVER)
    with pytest.raises(ConflictError, match="tell again from 6 on"):
        await _tell(other, id_, " and", offset=29)
    await _tell(other, id_, " told again", offset=6)
    await _end(other, id_)
    assert (await _only(store)).text == "saved, told again"


async def test_a_message_of_which_a_crash_took_something_is_not_ended_unnoticed(
    make_store: MakeStore, store: SessionStore
) -> None:
    id_ = uuid4()
    await _tell(store, id_, "saved,")
    await _tell(store, id_, " lost")
    other = make_store(NEVER)
    end = m.StreamEnd(session_id="s", message_id=id_, offset=11)
    with pytest.raises(ConflictError, match="tell again from 6 on"):
        await other.end_stream(end)
    await _tell(other, id_, " lost", offset=6)
    await other.end_stream(end)
    await other.end_stream(end)
    assert (await _only(other)).text == "saved, lost"


async def test_a_store_that_is_closed_leaves_nothing_unsaved(make_store: MakeStore, store: SessionStore) -> None:
    id_ = uuid4()
    await _tell(store, id_, "one")
    await _tell(store, id_, " two")
    await store.close()
    other = make_store(NEVER)
    await _end(other, id_)
    assert (await _only(other)).text == "one two"


async def test_a_secret_in_two_halves_is_found_before_and_after_the_end(
    make_store: MakeStore, store: SessionStore, database: Database
) -> None:
    hasty = make_store(AT_ONCE)
    id_ = uuid4()
    await _tell(hasty, id_, f"Here: the token {TOKEN[:20]}")
    await _tell(hasty, id_, f"{TOKEN[20:]} works")
    await _tell(hasty, id_, " well")
    partial = (await _only(store)).text
    assert TOKEN[:20] not in "".join(await _deltas(database))
    assert "works" in partial
    assert (await _end(hasty, id_)).redacted == 1
    ended = (await _only(store)).text
    assert ended == partial
    assert ended.endswith("works well")


async def test_a_message_whose_writer_went_away_is_interrupted_with_its_text(
    make_store: MakeStore, store: SessionStore, database: Database
) -> None:
    gone, silent = uuid4(), uuid4()
    await _tell(store, gone, "I was about")
    await _tell(store, silent, "")
    assert await store.interrupt_stale(timedelta(minutes=5)) == 0
    assert await store.interrupt_stale(AT_ONCE) == 2
    page = (await store.messages(m.Messages(session_id="s"))).messages
    assert [(message.text, message.status) for message in page] == [
        ("I was about", MessageStatus.INTERRUPTED),
        ("", MessageStatus.INTERRUPTED),
    ]
    assert await _deltas(database) == []
    assert [row["source_id"] for row in await database.read(text("SELECT source_id FROM brainops.memory_outbox"))] == [
        gone
    ]
    for writer in (store, make_store(NEVER)):
        with pytest.raises(ConflictError, match="finished already"):
            await _tell(writer, gone, " to say")


async def test_a_writer_can_say_itself_that_it_was_cut_off(store: SessionStore) -> None:
    id_ = uuid4()
    await _tell(store, id_, "half")
    await store.end_stream(m.StreamEnd(session_id="s", message_id=id_, interrupted=True))
    assert (await _only(store)).status is MessageStatus.INTERRUPTED


async def test_wrong_streams_are_refused(store: SessionStore) -> None:
    id_ = uuid4()
    with pytest.raises(NotFoundError, match="begin it with session_stream"):
        await _end(store, id_)
    await _tell(store, id_, "mine")
    await store.start(m.SessionStart(session_id="t"))
    with pytest.raises(ConflictError, match="belongs to session 's'"):
        await _tell(store, id_, "yours", session_id="t")
    for words, problem in (("\ud83d", "half of a surrogate"), ("\x00", "NUL"), ("x" * 1_048_573, "end this message")):
        with pytest.raises(BadInputError, match=problem):
            await _tell(store, id_, words)
    await _end(store, id_)
    assert (await _only(store)).text == "mine"


async def test_many_messages_at_once_are_held_in_bounds(store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_STREAMS", 3)
    ids = [uuid4() for _ in range(8)]
    for words in ("one", " two", " three"):
        await asyncio.gather(*(_tell(store, id_, words) for id_ in ids))
    await asyncio.gather(*(_end(store, id_) for id_ in ids))
    assert [message.text async for message in store.events("s")] == ["one two three"] * 8
