"""What is remembered, replaced and ended, on a real server."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from brainops.contracts.memory import Decide, MemoryKind, NewMemory, Resolve, Supersede
from brainops.database.engine import Database
from brainops.errors import BadInputError, ConflictError, NotFoundError
from brainops.memory.persistent import Closing, PersistentStore

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SCOPE = "project:shop"


@pytest.fixture
def store(database: Database) -> PersistentStore:
    return PersistentStore(database)


def fact(content: str, **values: object) -> NewMemory:
    return NewMemory.model_validate({"content": content, "scopes": (SCOPE,), **values})


async def contents(store: PersistentStore, now: datetime | None = None, owner: str = "") -> list[str]:
    return sorted(memory.content for memory in await store.current((SCOPE,), now=now, owner=owner))


async def outbox(database: Database) -> list[UUID]:
    return [
        row["source_id"]
        for row in await database.read(text("SELECT source_id FROM brainops.memory_outbox ORDER BY id"))
    ]


async def test_what_is_told_again_is_reinforced_and_not_kept_twice(database: Database, store: PersistentStore) -> None:
    first = await store.remember(fact("The shop listens on 8080.", tags=("net",)))
    again = await store.remember(fact("The  shop listens\non 8080.", tags=("ports",), importance=0.9))
    assert (first.created, again.created, again.id) == (True, False, first.id)
    (memory,) = await store.get_many([first.id])
    assert (memory.reinforced, memory.tags, memory.importance) == (1, ("net", "ports"), 0.9)
    assert await outbox(database) == [first.id]


async def test_owner_and_scopes_part_what_says_the_same(store: PersistentStore) -> None:
    told = [
        fact("tabs"),
        fact("tabs", owner="ada"),
        fact("tabs", scopes=("project:other",)),
        fact("tabs", scopes=("project:other", SCOPE)),
        fact("tabs", scopes=(SCOPE, "project:other")),
    ]
    answers = await store.remember_many(told)
    assert [answer.created for answer in answers] == [True, True, True, True, False]
    assert answers[4].id == answers[3].id


async def test_a_secret_is_taken_out_and_counted(store: PersistentStore) -> None:
    answer = await store.remember(
        fact("the password is hunter2hunter2 <private>and my salary</private>", why="token=abcd1234efgh5678")
    )
    (memory,) = await store.get_many([answer.id])
    assert "hunter2hunter2" not in memory.content
    assert "salary" not in memory.content
    assert "abcd1234efgh5678" not in memory.why
    assert answer.redacted == 3


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"content": "  "}, "content"),
        ({"content": "a\0b"}, "content"),
        ({"content": "a\ud800"}, "content"),
        ({"content": "x" * 100_000}, "content"),
        ({"content": "x", "name": "n" * 201}, "name"),
        ({"content": "x", "aliases": ("a",) * 51}, "aliases"),
        ({"content": "x", "data": {"a": "\0"}}, "data"),
        ({"content": "x", "tags": tuple(f"t{number}" for number in range(51))}, "tags"),
    ],
)
async def test_bad_input_is_refused_by_its_field_and_spoils_nothing(
    store: PersistentStore, values: dict[str, object], field: str
) -> None:
    bad = fact("x").model_copy(update=values)
    await store.remember(fact("before"))
    with pytest.raises(BadInputError, match=field):
        await store.remember_many([fact("beside"), bad])
    await store.remember(fact("after"))
    assert await contents(store) == ["after", "before"]


async def test_the_same_id_again_changes_nothing(store: PersistentStore) -> None:
    memory = fact("one", id=uuid4())
    first, other = await asyncio.gather(
        store.remember(memory), store.remember(memory.model_copy(update={"content": "two"}))
    )
    assert {first.created, other.created} == {True, False}
    assert len(await contents(store)) == 1


async def test_what_is_superseded_stays_with_the_end_of_its_validity(
    database: Database, store: PersistentStore
) -> None:
    old = await store.remember(fact("port 8080", name="port", at=NOON))
    new = await store.supersede(
        Supersede(id=old.id, memory=NewMemory(content="port 9090"), at=NOON + timedelta(days=2))
    )
    before, after = await store.get_many([old.id, new.id])
    assert (before.valid_to, before.superseded_by) == (NOON + timedelta(days=2), new.id)
    assert (after.valid_from, after.valid_to) == (NOON + timedelta(days=2), None)
    assert (after.scopes, after.name) == ((SCOPE,), "port"), "what is not said stays as it was"
    assert await contents(store) == ["port 9090"]
    assert await contents(store, now=NOON + timedelta(days=1)) == ["port 8080"]
    assert await contents(store, now=NOON - timedelta(days=1)) == []
    assert (await outbox(database)).count(old.id) == 2


async def test_superseding_what_was_superseded_names_the_current_one(store: PersistentStore) -> None:
    ids = [(await store.remember(fact("a", at=NOON))).id]
    for content in "bc":
        ids.append((await store.supersede(Supersede(id=ids[-1], memory=fact(content), at=NOON))).id)
    with pytest.raises(ConflictError, match=str(ids[2])):
        await store.supersede(Supersede(id=ids[0], memory=fact("d")))
    with pytest.raises(BadInputError, match="before"):
        await store.supersede(Supersede(id=ids[2], memory=fact("d"), at=NOON - timedelta(days=1)))
    with pytest.raises(NotFoundError):
        await store.supersede(Supersede(id=uuid4(), memory=fact("d")))
    assert await contents(store) == ["c"]


async def test_of_two_that_supersede_the_same_at_once_one_wins(store: PersistentStore) -> None:
    old = await store.remember(fact("a"))
    answers = await asyncio.gather(
        *(store.supersede(Supersede(id=old.id, memory=fact(content))) for content in "bc"), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["ConflictError", "Remembered"]
    assert len(await contents(store)) == 1


async def test_a_fact_that_returns_holds_anew(store: PersistentStore) -> None:
    first = await store.remember(fact("tabs"))
    second = await store.supersede(Supersede(id=first.id, memory=fact("spaces")))
    third = await store.supersede(Supersede(id=second.id, memory=fact("tabs")))
    assert third.created
    assert await contents(store) == ["tabs"]


async def test_what_is_resolved_holds_no_longer(store: PersistentStore) -> None:
    question = await store.remember(fact("which queue?", type="open_question"))
    await store.resolve(Resolve(id=question.id, reason="we took none"))
    await store.resolve(Resolve(id=question.id))
    (memory,) = await store.get_many([question.id])
    assert memory.resolved_at == memory.valid_to is not None
    assert memory.data == {"resolution": "we took none"}
    assert await contents(store) == []
    with pytest.raises(ConflictError):
        await store.supersede(Supersede(id=question.id, memory=fact("x")))


async def test_what_expired_is_told_anew_as_another(store: PersistentStore) -> None:
    old = await store.remember(fact("frozen", at=NOON, expires_at=NOON + timedelta(hours=1)))
    assert await contents(store) == []
    assert await contents(store, now=NOON) == ["frozen"]
    new = await store.remember(fact("frozen"))
    assert new.created
    assert new.id != old.id
    assert await contents(store) == ["frozen"]


async def test_a_decision_takes_the_place_of_the_earlier_of_its_name(store: PersistentStore) -> None:
    await store.decide(Decide(decision="SQLite", name="database", scope=SCOPE, alternatives=("Postgres",)))
    await store.decide(Decide(decision="SQLite", name="cache", scope=SCOPE))
    await store.decide(Decide(decision="Postgres", name="Database", scope=SCOPE, reason="writers"))
    again = await store.decide(Decide(decision="Postgres", name="Database", scope=SCOPE))
    assert not again.created
    (memory,) = await store.get_many([again.id])
    assert (memory.kind, memory.type, memory.why) == (MemoryKind.KNOWLEDGE, "decision", "writers")
    assert await contents(store) == ["Postgres", "SQLite"]
    await asyncio.gather(*(store.decide(Decide(decision=f"choice {n}", name="queue", scope=SCOPE)) for n in range(4)))
    assert len(await contents(store)) == 3


async def test_a_reading_is_written_whole_with_what_it_ends(store: PersistentStore) -> None:
    known = await store.remember(fact("uses npm", at=NOON))
    brief, lasting = uuid4(), uuid4()
    closed = [
        Closing(id=known.id, at=NOON + timedelta(hours=1), superseded_by=brief),
        Closing(id=brief, at=NOON + timedelta(hours=2), superseded_by=lasting),
        Closing(id=uuid4(), at=NOON, resolved=True),
    ]
    new = [fact("uses yarn", id=brief, at=NOON + timedelta(hours=1)), fact("uses pnpm", id=lasting, at=NOON)]
    await store.apply(new, closed)
    await store.apply(new, closed)
    assert await contents(store) == ["uses pnpm"]
    first, second = await store.get_many([known.id, brief])
    assert (first.superseded_by, second.superseded_by) == (brief, lasting)
    assert second.valid_to == NOON + timedelta(hours=2)


async def test_an_end_names_what_was_there_already_in_place_of_the_new_one(store: PersistentStore) -> None:
    there = await store.remember(fact("uses pnpm"))
    old = await store.remember(fact("uses npm"))
    asked = uuid4()
    (answer,) = await store.apply(
        [fact("uses pnpm", id=asked)], [Closing(id=old.id, at=datetime.now(UTC), superseded_by=asked)]
    )
    assert answer.id == there.id
    (ended,) = await store.get_many([old.id])
    assert ended.superseded_by == there.id


async def test_an_owner_is_given_everybodys_and_their_own(store: PersistentStore) -> None:
    await store.remember_many([fact("all"), fact("ada's", owner="ada"), fact("bob's", owner="bob")])
    assert await contents(store, owner="ada") == ["ada's", "all"]
    assert await contents(store) == ["all"]


_WRITER = """
import asyncio, os, sys
from datetime import UTC, datetime
from brainops.contracts.memory import NewMemory
from brainops.database.engine import Database
from brainops.memory.memory_rows import prepared
from brainops.memory.persistent import PersistentStore

memory = NewMemory(content="the one fact", scopes=("a", "b"))
prepared(memory, datetime.now(UTC))
database = Database(sys.argv[1], pool_size=1)

async def main() -> None:
    store = PersistentStore(database)
    for _ in range(50):
        await store.remember(memory)
    await database.close()

children = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        asyncio.run(main())
        os._exit(0)
    children.append(child)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""
"""Imports and reads its rules once, connects to nothing, and is then twenty processes."""


async def test_one_thousand_identical_calls_from_twenty_processes_leave_one_row(
    app_url: str, database: Database, store: PersistentStore
) -> None:
    writers = [sys.executable, "-c", _WRITER, app_url]
    await asyncio.to_thread(subprocess.run, writers, check=True, timeout=120)
    (memory,) = await store.current(("a",))
    assert memory.reinforced == 999
    assert await outbox(database) == [memory.id]
