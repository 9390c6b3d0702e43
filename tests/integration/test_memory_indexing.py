"""From the outbox to passages that can be found, on a real server."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from brainops.contracts.memory import Append, NewMemory, NewMessage, Resolve, SessionStart
from brainops.contracts.message import Role, TextPart
from brainops.database.engine import Database
from brainops.errors import BadInputError, UnavailableError
from brainops.memory.artifacts import ArtifactStore
from brainops.memory.episodic import EpisodeStore
from brainops.memory.indexing import MOST_ATTEMPTS, Indexer
from brainops.memory.persistent import PersistentStore
from brainops.memory.ranking.embedding import WordLlamaEmbedder
from brainops.memory.sessions import SessionStore
from brainops.storage.objects import ObjectStore

if TYPE_CHECKING:
    from brainops.memory.ranking.embedding import Vectors

MODEL = WordLlamaEmbedder()


class Fussy:
    """An embedder that can be away, and that refuses texts with a certain word."""

    dimensions = 256

    def __init__(self, model: str = "fussy", refuses: str = "") -> None:
        self.model = model
        self.refuses = refuses
        self.away = False

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        if self.away:
            raise UnavailableError("nobody answers")
        if self.refuses and any(self.refuses in one for one in texts):
            raise BadInputError("not this text")
        return await MODEL.embed(texts)


def fact(content: str) -> NewMemory:
    return NewMemory(content=content, scopes=("shop",))


async def chunks(database: Database, what: str = "*") -> list[dict[str, object]]:
    query = text(f"SELECT {what} FROM brainops.memory_chunks ORDER BY source_id, position")
    return [dict(row) for row in await database.read(query)]


async def outbox(database: Database) -> list[dict[str, object]]:
    query = text("SELECT source, source_id, attempts, problem FROM brainops.memory_outbox ORDER BY id")
    return [dict(row) for row in await database.read(query)]


async def test_messages_and_memories_become_passages_with_their_terms(database: Database, tmp_path: Path) -> None:
    sessions = SessionStore(database, ArtifactStore(database, ObjectStore(tmp_path)))
    await sessions.start(
        SessionStart(session_id="s1", scope="shop", agent="coder", metadata={"outcome": "merged", "cost": 0.5})
    )
    said = NewMessage(role=Role.USER, author="Ada", parts=(TextPart(text="Where does the parser fail?"),))
    injected = NewMessage(role=Role.SYSTEM, parts=(TextPart(text="from memory"),), from_memory=True)
    appended = await sessions.append(Append(session_id="s1", messages=(said, injected)))
    await PersistentStore(database).remember(fact("The parser lives in parse.py."))

    assert await Indexer(database).run_once() == 2
    assert await outbox(database) == []
    found = {row["source"]: row for row in await chunks(database)}
    assert set(found) == {"message", "memory"}
    message = found["message"]
    assert message["source_id"] == appended.ids[0]
    assert (message["session_id"], message["seq"], message["asks"]) == ("s1", 1, True)
    assert (message["agent"], message["outcome"], message["cost"]) == ("coder", "merged", 0.5)
    assert str(message["terms"]).split() == ["ada", "parser", "fail"]
    assert "parse.py" in str(found["memory"]["terms"]).split()


async def test_a_long_text_is_cut_and_what_became_short_leaves_nothing(database: Database) -> None:
    store, indexer = PersistentStore(database), Indexer(database)
    answer = await store.remember(fact("some words of a sentence. " * 300))
    await indexer.run_once()
    count = len(await chunks(database))
    assert count > 2
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE brainops.persistent_memory SET content = 'short'"))
    await store.resolve(Resolve(id=answer.id))
    await indexer.run_once()
    rows = await chunks(database, "position, removed, terms, valid_to")
    assert [row["removed"] for row in rows] == [False] + [True] * (count - 1)
    assert [row["terms"] for row in rows] == ["short"] + [""] * (count - 1)
    assert rows[0]["valid_to"] is not None


async def test_vectors_come_after_and_anew_when_the_model_changes(database: Database) -> None:
    await PersistentStore(database).remember_many([fact(f"fact number {number}") for number in range(5)])
    first = Indexer(database, Fussy("one"))
    await first.run_once()
    assert [await first.embed_once(2) for _ in range(4)] == [2, 2, 1, 0]
    second = Indexer(database, Fussy("two"))
    assert await second.embed_once(3) == 3
    assert (
        sorted(str(row["embedding_model"]) for row in await chunks(database, "embedding_model"))
        == ["one"] * 2 + ["two"] * 3
    )
    resumed = Indexer(database, Fussy("two"))
    assert [await resumed.embed_once(3), await resumed.embed_once(3)] == [2, 0]


async def test_an_embedder_that_is_away_stops_no_words_and_is_noted(database: Database) -> None:
    embedder = Fussy()
    indexer = Indexer(database, embedder)
    await PersistentStore(database).remember(fact("a fact"))
    embedder.away = True
    await indexer.run_once()
    for _ in range(2):
        assert await indexer.embed_once() == 0
    (note,) = await outbox(database)
    assert (note["source"], note["attempts"]) == ("embedder", 2)
    assert "nobody answers" in str(note["problem"])
    embedder.away = False
    assert await indexer.embed_once() == 1
    assert await outbox(database) == []


async def test_a_text_that_the_embedder_refuses_does_not_block_the_others(database: Database) -> None:
    indexer = Indexer(database, Fussy(refuses="poison"))
    await PersistentStore(database).remember_many([fact("good"), fact("poison"), fact("better")])
    await indexer.run_once()
    assert await indexer.embed_once() == 3
    rows = await chunks(database, "terms, embedding IS NULL AS bare")
    assert [row["terms"] for row in rows if row["bare"]] == ["poison"]
    assert await indexer.embed_once() == 0


async def test_a_row_that_cannot_be_indexed_is_marked_and_the_others_go_on(database: Database) -> None:
    store, indexer = PersistentStore(database), Indexer(database)
    bad = await store.remember(fact("bad"))
    async with database.transaction() as connection:
        # what no store of ours writes: a provenance of another shape
        await connection.execute(text("UPDATE brainops.persistent_memory SET provenance = '[]'::jsonb"))
    await store.remember(fact("good"))
    for _ in range(MOST_ATTEMPTS):
        await indexer.run_once()
    assert await indexer.run_once() == 0
    (left,) = await outbox(database)
    assert (left["source_id"], left["attempts"]) == (bad.id, MOST_ATTEMPTS)
    assert "AttributeError" in str(left["problem"])
    assert [row["terms"] for row in await chunks(database, "terms")] == ["good"]


async def test_many_indexers_at_once_do_each_row_once(app_url: str, database: Database) -> None:
    await PersistentStore(database).remember_many([fact(f"fact {number}") for number in range(100)])
    others = [Database(app_url) for _ in range(3)]
    counts = await asyncio.gather(*(Indexer(one).run_once(40) for one in others), Indexer(database).run_once(40))
    assert sum(counts) == 100
    for one in others:
        await one.close()
    assert len(await chunks(database, "source_id")) == 100


async def test_what_is_gone_is_withdrawn(database: Database) -> None:
    indexer = Indexer(database)
    await PersistentStore(database).remember(fact("a fact"))
    await indexer.run_once()
    async with database.transaction() as connection:
        gone: UUID = (
            await connection.execute(text("DELETE FROM brainops.persistent_memory RETURNING id"))
        ).scalar_one()
        for source_id in (gone, uuid4()):
            await connection.execute(
                text("INSERT INTO brainops.memory_outbox (source, source_id) VALUES ('memory', :id)"), {"id": source_id}
            )
    assert await indexer.run_once() == 2
    assert [(row["removed"], row["terms"]) for row in await chunks(database)] == [(True, "")]


async def test_the_loop_indexes_what_comes_until_it_is_stopped(database: Database) -> None:
    indexer, stop = Indexer(database, Fussy()), asyncio.Event()
    running = asyncio.create_task(indexer.run(stop))
    await PersistentStore(database).remember(fact("a fact"))

    async def embedded() -> bool:
        return [row["done"] for row in await chunks(database, "embedding IS NOT NULL AS done")] == [True]

    async with asyncio.timeout(30):
        while not await embedded():
            await asyncio.sleep(0.05)
        stop.set()
        await running


@pytest.mark.parametrize("content", ["\N{GREEK SMALL LETTER PI}", "?!", "x" * 60_000, "a b " * 9_000])
async def test_any_text_is_indexed(database: Database, content: str) -> None:
    indexer = Indexer(database, Fussy())
    await PersistentStore(database).remember(fact(content))
    assert await indexer.run_once() == 1
    assert await outbox(database) == []
    assert await indexer.embed_once() == len(await chunks(database))


async def test_a_cost_that_is_no_number_of_money_holds_up_nobody(database: Database, tmp_path: Path) -> None:
    sessions = SessionStore(database, ArtifactStore(database, ObjectStore(tmp_path)))
    await sessions.start(SessionStart(session_id="s", metadata={"cost": 10**400, "outcome": "x" * 5_000}))
    said = NewMessage(role=Role.USER, parts=(TextPart(text="the parser fails"),))
    await sessions.append(Append(session_id="s", messages=(said,)))
    assert await Indexer(database).run_once() == 1
    (row,) = await chunks(database, "cost, length(outcome) AS length")
    assert row == {"cost": None, "length": 200}


async def test_archived_messages_get_the_vectors_of_another_model(database: Database, tmp_path: Path) -> None:
    objects = ObjectStore(tmp_path)
    episodes = EpisodeStore(database, objects)
    sessions = SessionStore(database, ArtifactStore(database, objects))
    long_ago = datetime.now(UTC) - timedelta(days=40)
    for name in ("kept", "lost"):
        await sessions.start(SessionStart(session_id=name, at=long_ago))
        said = NewMessage(role=Role.USER, parts=(TextPart(text=f"the parser of {name} fails"),), at=long_ago)
        await sessions.append(Append(session_id=name, messages=(said,)))
    await Indexer(database).run_once()
    for name in ("kept", "lost"):
        await episodes.archive(name, datetime.now(UTC) - timedelta(days=30), timedelta(days=90))
    (lost,) = [key for key in await objects.list("episodes") if "lost" in key]
    await objects.delete(lost)

    class Heard(Fussy):
        """Remembers what it was given."""

        heard: ClassVar[list[str]] = []

        async def embed(self, texts: Sequence[str]) -> "Vectors":
            self.heard.extend(texts)
            return await super().embed(texts)

    assert await Indexer(database, Heard("another"), episodes.find).embed_once() == 2
    assert sorted(Heard.heard) == ["", "the parser of kept fails"]
