"""Sessions and their messages, on a real Postgres."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from brainops.contracts import memory as m
from brainops.contracts.message import (
    ArtifactRefPart,
    ErrorPart,
    MessageStatus,
    Part,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from brainops.database.engine import Database
from brainops.errors import BadInputError, ConflictError, NotFoundError, UnavailableError
from brainops.memory.artifacts import ArtifactStore
from brainops.memory.sessions import SessionStore
from brainops.storage.objects import ObjectStore

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "objects")


@pytest.fixture
def artifacts(database: Database, objects: ObjectStore) -> ArtifactStore:
    return ArtifactStore(database, objects)


@pytest.fixture
def store(database: Database, artifacts: ArtifactStore) -> SessionStore:
    return SessionStore(database, artifacts)


def _said(words: str, *, id_: UUID | None = None, role: Role = Role.USER, from_memory: bool = False) -> m.NewMessage:
    return m.NewMessage(role=role, parts=(TextPart(text=words),), id=id_, from_memory=from_memory)


async def _begin(store: SessionStore, *sessions: str) -> None:
    for session_id in sessions or ("s",):
        await store.start(m.SessionStart(session_id=session_id))


async def _append(store: SessionStore, *messages: m.NewMessage, session_id: str = "s") -> m.Appended:
    return await store.append(m.Append(session_id=session_id, messages=messages))


async def _texts(store: SessionStore, session_id: str = "s") -> list[str]:
    return [message.text async for message in store.events(session_id)]


async def _count(database: Database, statement: str) -> int:
    return (await database.read(text(statement)))[0]["count"]


# ---- sessions


async def test_a_session_that_is_begun_again_keeps_what_it_has_and_gets_what_was_empty(store: SessionStore) -> None:
    await store.start(m.SessionStart(session_id="s", agent="coder", metadata={"a": 1}, at=NOON))
    again = m.SessionStart(session_id="s", agent="other", scope="project:shop", title="Cart", metadata={"a": 2, "b": 3})
    info = await store.start(again)
    assert (info.agent, info.scope, info.title, info.metadata) == ("coder", "project:shop", "Cart", {"a": 1, "b": 3})
    assert info.started_at == NOON
    assert info == await store.get("s")


async def test_a_session_in_which_something_was_said_keeps_its_scope(store: SessionStore) -> None:
    await _begin(store)
    await _append(store, _said("one"))
    assert (await store.start(m.SessionStart(session_id="s", scope="project:shop"))).scope == m.DEFAULT_SCOPE


async def test_what_everybody_has_seen_does_not_become_somebodys_own(store: SessionStore) -> None:
    await _begin(store, "begun", "said")
    await _append(store, _said("one"), session_id="said")
    owners = [(await store.start(m.SessionStart(session_id=name, owner="ada"))).owner for name in ("begun", "said")]
    assert owners == ["ada", ""]


async def test_an_ended_session_is_open_again_once_something_is_said(store: SessionStore) -> None:
    await _begin(store)
    await store.end(m.SessionEnd(session_id="s", at=NOON))
    await store.end(m.SessionEnd(session_id="s", at=NOON + timedelta(hours=1)))
    assert (await store.get("s")).ended_at == NOON
    await _append(store, _said("I am back"))
    assert (await store.get("s")).ended_at is None


async def test_a_session_that_was_never_begun_is_named_with_the_remedy(store: SessionStore) -> None:
    for call in (
        _append(store, _said("one"), session_id="nobody"),
        store.get("nobody"),
        store.end(m.SessionEnd(session_id="nobody")),
        store.messages(m.Messages(session_id="nobody")),
        store.mark_understood("nobody", 1),
        store.stream(m.StreamText(session_id="nobody", message_id=uuid4())),
    ):
        with pytest.raises(NotFoundError, match="'nobody'; begin it with session_start"):
            await call


async def test_sessions_are_listed_in_pages_the_last_used_first(store: SessionStore) -> None:
    for hour in range(5):
        at = NOON + timedelta(hours=hour // 2)  # some at the same moment
        await store.start(m.SessionStart(session_id=f"s{hour}", scope="project:shop", agent="coder", at=at))
    await store.start(m.SessionStart(session_id="other", scope="project:blog"))
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await store.list(m.ListSessions(scope="project:shop", agent="coder", limit=2, before=cursor))
        seen += [session.id for session in page.sessions]
        cursor = page.before
        if cursor is None:
            break
    assert seen == ["s4", "s3", "s2", "s1", "s0"]


async def test_what_was_understood_only_grows_and_never_past_the_end(store: SessionStore) -> None:
    await _begin(store)
    await _append(store, _said("one"), _said("two"))
    for seq, understood in ((1, 1), (9, 2), (1, 2)):
        await store.mark_understood("s", seq)
        assert (await store.get("s")).understood == understood


# ---- append


async def test_messages_come_back_as_they_were_told(store: SessionStore) -> None:
    await _begin(store)
    parts: tuple[Part, ...] = (
        TextPart(text="Zwölf Würfel 🎲"),
        ToolCallPart(id="c1", name="read", arguments={"path": "a.py", "deep": {"n": [1, 2.5, None]}}),
        ToolResultPart(call_id="c1", name="read", text="x = 1"),
        ErrorPart(message="it failed", code="E1"),
    )
    appended = await _append(store, m.NewMessage(role=Role.ASSISTANT, parts=parts, author="coder", at=NOON))
    (message,) = (await store.messages(m.Messages(session_id="s"))).messages
    assert (message.parts, message.author, message.at, message.seq) == (parts, "coder", NOON, 1)
    assert (message.id, message.role, message.status) == (appended.ids[0], Role.ASSISTANT, MessageStatus.COMPLETE)
    assert appended.tokens_before == appended.tokens_after > 0


async def test_the_session_counts_messages_tokens_and_secrets(store: SessionStore, database: Database) -> None:
    await _begin(store)
    appended = await _append(store, _said(f"the token is {TOKEN}"), _said("fine"))
    row = (await database.read(text("SELECT last_seq, redacted, tokens_before, tokens_after FROM brainops.sessions")))[
        0
    ]
    assert tuple(row.values()) == (2, 1, appended.tokens_before, appended.tokens_after)
    assert (await store.get("s")).messages == 2


async def test_no_secret_enters_any_part(store: SessionStore, database: Database) -> None:
    await _begin(store)
    parts: tuple[Part, ...] = (
        TextPart(text=f"use {TOKEN}"),
        ToolCallPart(id="c", name="login", arguments={"token": TOKEN}),
        ToolResultPart(call_id="c", name="login", text=f"{TOKEN} accepted"),
        ErrorPart(message=f"{TOKEN} refused"),
    )
    appended = await _append(store, m.NewMessage(role=Role.ASSISTANT, parts=parts))
    assert appended.redacted == 4
    assert await _count(database, f"SELECT count(*) FROM brainops.messages WHERE parts::text LIKE '%{TOKEN}%'") == 0


async def test_a_message_is_stored_once_however_often_it_is_told(store: SessionStore) -> None:
    await _begin(store)
    first, second = uuid4(), uuid4()
    assert (await _append(store, _said("one", id_=first))).seqs == (1,)
    half = await _append(store, _said("one", id_=first), _said("two", id_=second), _said("one", id_=first))
    assert (half.seqs, half.ids) == ((1, 2, 1), (first, second, first))
    assert (await _append(store, _said("two", id_=second))).tokens_before == 0
    assert await _texts(store) == ["one", "two"]


async def test_an_id_of_another_session_is_refused_and_nothing_of_the_append_is_stored(store: SessionStore) -> None:
    await _begin(store, "s", "t")
    taken = uuid4()
    await _append(store, _said("one", id_=taken))
    with pytest.raises(ConflictError, match=str(taken)):
        await _append(store, _said("before"), _said("one", id_=taken), session_id="t")
    assert await _texts(store, "t") == []


async def test_concurrent_writers_leave_no_gap_and_keep_their_order(store: SessionStore) -> None:
    sessions = ("a", "b", "c")
    await _begin(store, *sessions)

    async def write(writer: int) -> None:
        for number in range(50):
            await _append(store, _said(f"{writer} {number}"), session_id=sessions[(writer + number) % 3])

    await asyncio.gather(*(write(writer) for writer in range(20)))
    for session_id in sessions:
        told = [(message.seq, *map(int, message.text.split())) async for message in store.events(session_id)]
        assert [seq for seq, _, _ in told] == list(range(1, len(told) + 1))
        for writer in range(20):
            numbers = [number for _, by, number in told if by == writer]
            assert numbers == [number for number in range(50) if sessions[(writer + number) % 3] == session_id]


async def test_two_processes_write_the_same_messages_once(database: Database, app_url: str, tmp_path: Path) -> None:
    other = Database(app_url)
    stores = [SessionStore(one, ArtifactStore(one, ObjectStore(tmp_path))) for one in (database, other)]
    await _begin(stores[0])
    ids = [uuid4() for _ in range(30)]
    answers = await asyncio.gather(
        *(_append(store, _said(str(id_), id_=id_), _said("again", id_=ids[0])) for id_ in ids for store in stores)
    )
    assert {answer.seqs[1] for answer in answers} == {answers[0].seqs[1]}
    stored = [message async for message in stores[0].events("s")]
    assert [message.seq for message in stored] == list(range(1, 31))
    assert {message.id for message in stored} == set(ids)
    await other.close()


async def test_the_same_id_in_two_sessions_at_once_is_stored_in_one(
    database: Database, app_url: str, tmp_path: Path
) -> None:
    other = Database(app_url)
    stores = [SessionStore(one, ArtifactStore(one, ObjectStore(tmp_path))) for one in (database, other)]
    await _begin(stores[0], "a", "b")
    for _ in range(10):
        id_ = uuid4()
        outcomes = await asyncio.gather(
            *(_append(store, _said("x", id_=id_), session_id=name) for store, name in zip(stores, "ab", strict=True)),
            return_exceptions=True,
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Appended", "ConflictError"]
    await other.close()


async def test_a_refused_append_does_not_harm_those_that_came_with_it(store: SessionStore) -> None:
    await _begin(store)
    outcomes = await asyncio.gather(
        _append(store, _said("before")),
        _append(store, _said("one"), session_id="nobody"),
        _append(store, _said("\ud800")),
        _append(store, _said("with \x00")),
        _append(store, _said("")),
        _append(store, _said("x" * 2_000_000)),
        _append(store, _said("after")),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes[1:-1]] == [NotFoundError, *[BadInputError] * 4]
    assert all(str(outcome).startswith("messages[0]") for outcome in outcomes[2:-1])
    assert await _texts(store) == ["before", "after"]


async def test_a_call_that_is_too_long_as_a_whole_is_refused(store: SessionStore) -> None:
    await _begin(store)
    with pytest.raises(BadInputError, match="characters together; at most 16,777,216"):
        await _append(store, *[_said("x" * 1_000_000)] * 17)
    assert await _texts(store) == []


async def test_what_postgres_refuses_of_one_does_not_stop_the_others(store: SessionStore) -> None:
    await _begin(store)
    # 20 hours ahead of Greenwich: more than Postgres knows.
    refused = _said("nowhere").model_copy(update={"at": NOON.replace(tzinfo=timezone(timedelta(hours=20)))})
    outcomes = await asyncio.gather(
        *(_append(store, message) for message in (_said("one"), refused, _said("two"))), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [m.Appended, BadInputError, m.Appended]
    assert "cannot be stored" in str(outcomes[1])
    assert await _texts(store) == ["one", "two"]


async def test_only_what_was_said_goes_to_the_index(store: SessionStore, database: Database) -> None:
    await _begin(store)
    result = m.NewMessage(role=Role.TOOL, parts=(ToolResultPart(call_id="c", text="3 tests failed"),))
    call = m.NewMessage(role=Role.ASSISTANT, parts=(ToolCallPart(id="c", name="run"),))
    said = await _append(store, _said("question"), _said("answer", role=Role.ASSISTANT), result)
    await _append(store, call, _said("rules", role=Role.SYSTEM), _said("what was known", from_memory=True))
    rows = await database.read(text("SELECT source, source_id FROM brainops.memory_outbox ORDER BY id"))
    assert [(row["source"], row["source_id"]) for row in rows] == [("message", id_) for id_ in said.ids]


async def test_an_append_while_postgres_is_away_is_unavailable(tmp_path: Path) -> None:
    away = Database(f"postgresql://app@/brainops?host={tmp_path}")
    store = SessionStore(away, ArtifactStore(away, ObjectStore(tmp_path / "objects")))
    outcomes = await asyncio.gather(*(_append(store, _said("one")) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 3
    await away.close()


async def test_a_caller_that_gives_up_neither_harms_the_others_nor_takes_its_message_back(store: SessionStore) -> None:
    await _begin(store)
    id_ = uuid4()
    leaving = asyncio.create_task(_append(store, _said("left", id_=id_)))
    staying = asyncio.create_task(_append(store, _said("stayed")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    leaving.cancel()
    await staying
    await store.close()
    assert await _texts(store) == ["left", "stayed"]


# ---- pruning


def _listing(lines: int) -> m.NewMessage:
    return m.NewMessage(
        role=Role.TOOL,
        parts=(
            ToolCallPart(id="c", name="read", arguments={"path": "table.py"}),
            ToolResultPart(call_id="c", name="read", text="\n".join(f"row {n} = {n * n}" for n in range(lines))),
        ),
    )


async def test_a_long_tool_result_is_pruned_and_its_whole_can_be_fetched(
    store: SessionStore, artifacts: ArtifactStore
) -> None:
    await _begin(store)
    appended = await _append(store, _listing(1_000))
    (message,) = (await store.messages(m.Messages(session_id="s"))).messages
    reference = message.parts[-1]
    assert isinstance(reference, ArtifactRefPart)
    (whole,) = await artifacts.fetch_many([reference.key])
    assert whole.text == _listing(1_000).text
    assert len(message.text) < 4_000
    assert appended.tokens_after < appended.tokens_before / 3


async def test_secrets_do_not_reach_object_storage(store: SessionStore, artifacts: ArtifactStore) -> None:
    await _begin(store)
    lines = [f"row {n} = {n * n}" for n in range(1_000)]
    lines[500] = f"token = {TOKEN}"
    result = ToolResultPart(call_id="c", name="read", text="\n".join(lines))
    appended = await _append(store, m.NewMessage(role=Role.TOOL, parts=(result,)))
    assert appended.redacted == 1
    (message,) = (await store.messages(m.Messages(session_id="s"))).messages
    reference = message.parts[-1]
    assert isinstance(reference, ArtifactRefPart)
    (whole,) = await artifacts.fetch_many([reference.key])
    assert TOKEN not in str(whole.text)
    assert "row 501" in str(whole.text)


async def test_while_object_storage_is_away_a_tool_result_is_kept_whole(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "objects"
    objects = ObjectStore(folder)
    folder.rmdir()
    folder.write_text("a file in the place of the folder")
    store = SessionStore(database, ArtifactStore(database, objects))
    await _begin(store)
    appended = await _append(store, _listing(1_000))
    assert await _texts(store) == [_listing(1_000).text]
    assert appended.tokens_before == appended.tokens_after


# ---- reading


async def _pages(store: SessionStore, first: m.Messages) -> Sequence[list[int]]:
    found: list[list[int]] = []
    page = await store.messages(first)
    while page.messages:
        found.append([message.seq for message in page.messages])
        if page.before is None:
            break
        page = await store.messages(first.model_copy(update={"before": page.before}))
    return found


async def test_pages_go_back_from_the_last_twenty(store: SessionStore) -> None:
    await _begin(store)
    await _append(store, *(_said(str(number)) for number in range(1, 46)))
    pages = await _pages(store, m.Messages(session_id="s"))
    assert pages == [list(range(26, 46)), list(range(6, 26)), list(range(1, 6))]


async def test_pages_go_forward_again(store: SessionStore) -> None:
    await _begin(store)
    await _append(store, *(_said(str(number)) for number in range(1, 8)))
    last = await store.messages(m.Messages(session_id="s", limit=2))
    middle = await store.messages(m.Messages(session_id="s", limit=3, before=last.before))
    assert last.after is None
    assert [message.seq for message in middle.messages] == [3, 4, 5]
    on = await store.messages(m.Messages(session_id="s", limit=5, after=middle.after))
    assert ([message.seq for message in on.messages], on.after) == ([6, 7], None)


async def test_a_cursor_of_something_else_is_refused(store: SessionStore) -> None:
    await _begin(store, "s", "t")
    await _append(store, *(_said(str(number)) for number in range(3)))
    await _append(store, _said("x"), session_id="t")
    cursor = (await store.messages(m.Messages(session_id="s", limit=1))).before
    assert cursor is not None
    for wrong in (m.Messages(session_id="t", before=cursor), m.Messages(session_id="s", after="half")):
        with pytest.raises(BadInputError, match="no cursor of a page of session"):
            await store.messages(wrong)
    with pytest.raises(BadInputError, match="no cursor of a page of sessions"):
        await store.list(m.ListSessions(before=cursor))
    with pytest.raises(BadInputError, match="give one of them"):
        await store.messages(m.Messages(session_id="s", before=cursor, after=cursor))


async def test_what_came_from_memory_is_in_the_transcript_and_marked(store: SessionStore) -> None:
    await _begin(store)
    await _append(store, _said("what was known", from_memory=True), _said("new"))
    assert [(message.text, message.from_memory) async for message in store.events("s")] == [
        ("what was known", True),
        ("new", False),
    ]


async def test_messages_are_found_by_their_ids(store: SessionStore) -> None:
    await _begin(store)
    ids = (await _append(store, *(_said(str(number)) for number in range(3)))).ids
    found = await store.get_messages([ids[2], uuid4(), ids[0]])
    assert [message.text for message in found] == ["2", "0"]


async def test_another_tenant_sees_nothing(store: SessionStore, app_url: str, tmp_path: Path) -> None:
    await _begin(store)
    ids = (await _append(store, _said("ours"))).ids
    theirs = Database(app_url, tenant_id="acme")
    other = SessionStore(theirs, ArtifactStore(theirs, ObjectStore(tmp_path / "objects")))
    assert (await other.list(m.ListSessions())).sessions == ()
    assert await other.get_messages(ids) == []
    assert [message async for message in other.events("s")] == []
    with pytest.raises(NotFoundError):
        await _append(other, _said("theirs"))
    await other.start(m.SessionStart(session_id="s"))
    assert (await _append(other, _said("theirs", id_=ids[0]))).seqs == (1,)
    assert await _texts(store) == ["ours"]
    await theirs.close()
