"""What is forgotten is gone from every table, every index and every object; what is held stays."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text

from brainops.contracts.memory import (
    Append,
    Forget,
    Forgotten,
    NewMemory,
    NewMessage,
    Provenance,
    Recall,
    SessionSave,
    SessionStart,
    SetWorking,
    StreamText,
    Supersede,
    TodoAdd,
    WorkClaim,
)
from brainops.contracts.message import ArtifactRefPart, Role, TextPart
from brainops.database.engine import Database
from brainops.database.urls import connection_string
from brainops.errors import BadInputError, NotFoundError
from brainops.memory.artifacts import ArtifactStore
from brainops.memory.episodic import EpisodeStore
from brainops.memory.forgetting import Forgetter
from brainops.memory.indexing import Indexer
from brainops.memory.learning import SessionLearner
from brainops.memory.persistent import PersistentStore
from brainops.memory.recall import Recaller
from brainops.memory.receipts import digest, receipts
from brainops.memory.sessions import SessionStore
from brainops.memory.snapshots import SnapshotStore
from brainops.memory.todos import TodoStore
from brainops.memory.work import WorkStore
from brainops.memory.working import WorkingStore
from brainops.storage.objects import ObjectStore

MARKER = "xylophonequartz"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class House:
    """The stores of one tenant."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.objects = ObjectStore(folder)
        self.artifacts = ArtifactStore(database, self.objects)
        self.sessions = SessionStore(database, self.artifacts)
        self.persistent = PersistentStore(database)
        self.indexer = Indexer(database)
        self.recaller = Recaller(database, None, self.indexer)
        self.forgetter = Forgetter(database, self.objects)

    async def session(self, name: str, scope: str = "shop", tags: Sequence[str] = ()) -> list[UUID]:
        """A session with everything that can come of one, all with the marker."""
        at = LONG_AGO
        await self.sessions.start(
            SessionStart(session_id=name, scope=scope, title=f"{MARKER} title", metadata={"tags": list(tags)}, at=at)
        )
        reference = await self.artifacts.put(f"{MARKER} content".encode(), "text/plain", name)
        said = [NewMessage(role=Role.USER, parts=(TextPart(text=f"{MARKER} {n} of {name}"),), at=at) for n in range(3)]
        said.append(NewMessage(role=Role.TOOL, parts=(reference,), at=at))
        ids = (await self.sessions.append(Append(session_id=name, messages=tuple(said)))).ids
        memory = NewMemory(
            content=f"{MARKER} learned in {name}", scopes=(scope,), provenance=Provenance(session_id=name)
        )
        await self.persistent.remember(memory)
        await self.indexer.run_once()
        await self.persistent.remember(memory.model_copy(update={"content": f"{MARKER} waits in the outbox, {name}"}))
        await SnapshotStore(self.database).save(SessionSave(session_id=name, context={"goal": MARKER}), scope)
        await TodoStore(self.database).add(TodoAdd(title=f"{MARKER} todo", scope=scope, session_id=name))
        await WorkStore(self.database, None).claim(
            WorkClaim(description=f"{MARKER} work of {name}", scope=scope, claimed_by="ada", session_id=name)
        )
        await WorkingStore(self.database).set(SetWorking(agent="coder", key="k", value=MARKER, session_id=name))
        return list(ids)

    async def forget(self, **named: object) -> Forgotten:
        return await self.forgetter.forget(Forget.model_validate(named))

    async def found(self, query: str = MARKER) -> list[str]:
        answer = await self.recaller.recall(Recall(query=query, scopes=("shop", "other"), k=100))
        return [result.text for result in answer.results]


@pytest.fixture
def house(database: Database, tmp_path: Path) -> House:
    return House(database, tmp_path)


def places_of(owner_url: str, marker: str) -> set[str]:
    """Every column of every table of the schema in which `marker` still stands, as the owner sees them."""
    places: set[str] = set()
    with psycopg.connect(connection_string(owner_url)) as connection:
        columns = connection.execute(
            """
            SELECT table_name, column_name FROM information_schema.columns JOIN information_schema.tables
                USING (table_schema, table_name)
            WHERE table_schema = 'brainops' AND table_type = 'BASE TABLE'
            """
        ).fetchall()
        assert len(columns) > 200
        for table, column in columns:
            query = sql.SQL("SELECT count(*) FROM brainops.{} WHERE position({} IN {}::text) > 0").format(
                sql.Identifier(table), sql.Literal(marker), sql.Identifier(column)
            )
            (count,) = connection.execute(query).fetchone() or (0,)
            if count:
                places.add(f"{table}.{column}")
    return places


async def test_nothing_of_a_forgotten_session_is_left_anywhere(house: House, owner_url: str) -> None:
    ids = await house.session("s1")
    partial = uuid4()
    await house.sessions.stream(StreamText(session_id="s1", message_id=partial, text=f"{MARKER} so far"))
    await house.sessions.close()
    await house.found()
    before = {place.split(".")[0] for place in places_of(owner_url, MARKER)}
    kept = {"sessions", "messages", "message_deltas", "persistent_memory", "context_snapshots", "todos", "work_items"}
    assert kept | {"working_memory"} <= before
    assert any(table.startswith("memory_chunks") for table in before)
    receipt = await house.forget(session_id="s1", reason="asked for")
    assert (receipt.left, receipt.held) == (0, 0)
    assert (receipt.memories, receipt.messages, receipt.artifacts) == (2, 5, 1)
    assert receipt.chunks >= 5
    assert receipt.others >= 4
    assert places_of(owner_url, MARKER) == set()
    assert await house.objects.list() == []
    assert await house.found() == []
    (written,) = await receipts(house.database)
    assert (written.id, written.reason) == (receipt.receipt, "asked for")
    assert written.counts["messages"] == 5
    assert str(ids[0]) not in json.dumps(written.model_dump(mode="json"))
    with pytest.raises(NotFoundError):
        await house.forget(session_id="s1")
    with pytest.raises(NotFoundError):
        await house.sessions.append(
            Append(session_id="s1", messages=(NewMessage(role=Role.USER, parts=(TextPart(text="x"),)),))
        )


async def test_the_next_session_is_untouched_and_shared_content_stays_until_its_last_user_goes(house: House) -> None:
    await house.session("s1")
    await house.session("s2")
    assert (await house.forget(session_id="s1")).artifacts == 0
    left = await house.found()
    assert left
    assert not any("s1" in one for one in left)
    page = [message async for message in house.sessions.events("s2")]
    (reference,) = [part for message in page for part in message.parts if isinstance(part, ArtifactRefPart)]
    (artifact,) = await house.artifacts.fetch_many([reference.key])
    assert artifact.text == f"{MARKER} content"
    assert (await house.forget(session_id="s2")).artifacts == 1
    assert await house.objects.list() == []


async def test_archived_messages_are_forgotten_too(house: House, owner_url: str) -> None:
    await house.session("s1")
    await house.indexer.run_once()
    moved = await EpisodeStore(house.database, house.objects).archive("s1", datetime.now(UTC), timedelta(days=90))
    assert moved == 4
    assert any(key.startswith("episodes/") for key in await house.objects.list())
    receipt = await house.forget(session_id="s1")
    assert (receipt.episodes, receipt.messages, receipt.artifacts, receipt.left) == (1, 4, 1, 0)
    assert await house.objects.list() == []
    assert places_of(owner_url, MARKER) == set()


async def test_memories_are_forgotten_by_their_ids_all_or_none(house: House) -> None:
    answers = await house.persistent.remember_many(
        [NewMemory(content=f"{MARKER} {number}", scopes=("shop",)) for number in range(3)]
    )
    ids = [answer.id for answer in answers]
    assert len(await house.found()) == 3
    with pytest.raises(NotFoundError, match="nothing was forgotten"):
        await house.forget(memory_ids=(ids[0], uuid4()))
    assert len(await house.found()) == 3
    receipt = await house.forget(memory_ids=tuple(ids[:2]))
    assert (receipt.memories, receipt.chunks, receipt.left) == (2, 2, 0)
    assert await house.found() == [f"{MARKER} 2"]
    (written,) = await receipts(house.database)
    assert written.sha256 == digest([str(one) for one in ids[:2]])


async def test_a_scope_goes_whole_and_what_belongs_elsewhere_stays_there(house: House, owner_url: str) -> None:
    await house.session("s1")
    await house.session("s2", scope="other")
    both = await house.persistent.remember(NewMemory(content="shared gadget", scopes=("shop", "other")))
    twice = await house.persistent.remember_many(
        [NewMemory(content="twice", scopes=("shop", "other")), NewMemory(content="twice", scopes=("other",))]
    )
    receipt = await house.forget(scope="shop")
    assert receipt.left == 0
    assert not any("s1" in one for one in await house.found())
    (memory,) = await house.persistent.get_many([both.id])
    assert memory.scopes == ("other",)
    assert [one.id for one in await house.persistent.get_many([one.id for one in twice])] == [twice[1].id]
    answer = await house.recaller.recall(Recall(query="gadget twice", scopes=("shop",)))
    assert answer.results == ()
    answer = await house.recaller.recall(Recall(query="gadget twice", scopes=("other",)))
    assert sorted(result.text for result in answer.results) == ["shared gadget", "twice"]
    assert places_of(owner_url, "s2") != set()
    with psycopg.connect(connection_string(owner_url)) as connection:
        for table in ("sessions", "todos", "work_items", "context_snapshots"):
            query = sql.SQL("SELECT count(*) FROM brainops.{} WHERE scope = 'shop'").format(sql.Identifier(table))
            assert connection.execute(query).fetchone() == (0,), table


async def test_what_is_held_stays_and_is_counted(house: House) -> None:
    await house.session("s1", tags=("legal-hold",))
    held = await house.persistent.remember(NewMemory(content=f"{MARKER} held", scopes=("shop",), tags=("legal-hold",)))
    count = len(await house.found())
    receipt = await house.forget(session_id="s1")
    assert (receipt.memories, receipt.messages, receipt.chunks) == (0, 0, 0)
    assert receipt.held == 4
    assert (await house.forget(memory_ids=(held.id,))).held == 1
    assert len(await house.found()) == count


@pytest.mark.parametrize("named", [{}, {"scope": "a", "session_id": "b"}, {"memory_ids": (uuid4(),), "scope": "a"}])
async def test_exactly_one_thing_is_named(house: House, named: dict[str, object]) -> None:
    with pytest.raises(BadInputError, match="exactly one"):
        await house.forget(**named)


async def test_a_finding_that_names_a_forgotten_session_loses_its_words(house: House, owner_url: str) -> None:
    await house.session("s1")
    async with house.database.transaction() as connection:
        await connection.execute(
            text("""
                INSERT INTO brainops.proposals (id, key, kind, what, why, evidence, expected_effect, status)
                VALUES (gen_random_uuid(), 'k', 'rule', :what, '', '{"sessions": ["s1"]}', '', 'open')
            """),
            {"what": f"{MARKER} repeats"},
        )
    await house.forget(session_id="s1")
    assert places_of(owner_url, MARKER) == set()


async def test_what_was_learned_and_forgotten_is_not_learned_again(house: House) -> None:
    learner = SessionLearner(house.sessions, house.persistent, WorkStore(house.database, None))
    await house.sessions.start(SessionStart(session_id="s", scope="shop"))
    words = "We decided to use Postgres for the ledger because it is transactional."
    for said in (words, "Thanks."):
        message = NewMessage(role=Role.USER, parts=(TextPart(text=said),))
        await house.sessions.append(Append(session_id="s", messages=(message,)))
        await learner.learn("s")
        learned = await house.persistent.current(("shop",))
        if learned:
            await house.forget(memory_ids=[one.id for one in learned])
        assert bool(learned) == (said == words)


async def test_the_same_text_that_held_before_goes_with_it(house: House) -> None:
    told = NewMemory(content=f"the port is {MARKER}", scopes=("shop",))
    first = await house.persistent.remember(told)
    await house.persistent.supersede(Supersede(id=first.id, memory=NewMemory(content="the port is 1")))
    second = await house.persistent.remember(told)
    assert first.id != second.id
    assert (await house.forget(memory_ids=[second.id])).memories == 2
    assert await house.persistent.get_many([first.id, second.id]) == []
