"""`verify` finds what does not belong together, and `stats` says how much there is."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sqlalchemy import text

from brainops.contracts.memory import Append, NewMemory, NewMessage, SessionStart, TodoAdd
from brainops.contracts.message import Role, TextPart
from brainops.database.engine import Database
from brainops.errors import UnavailableError
from brainops.memory.artifacts import ArtifactStore
from brainops.memory.indexing import Indexer
from brainops.memory.persistent import PersistentStore
from brainops.memory.sessions import SessionStore
from brainops.memory.statistics import read_stats
from brainops.memory.todos import TodoStore
from brainops.memory.verification import verify
from brainops.storage.objects import ObjectStore

if TYPE_CHECKING:
    from brainops.memory.ranking.embedding import Vectors


class Meanings:
    """Vectors of two numbers, under any name of a model."""

    dimensions = 2

    def __init__(self, model: str = "one") -> None:
        self.model = model
        self.away = False

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        if self.away:
            raise UnavailableError("nobody answers")
        return np.ones((len(texts), 2), dtype=np.float32)


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path)


async def fill(database: Database, objects: ObjectStore) -> str:
    """A session of three messages, two memories and an artifact, all indexed; the artifact's key."""
    artifacts = ArtifactStore(database, objects)
    sessions = SessionStore(database, artifacts)
    await sessions.start(SessionStart(session_id="s1"))
    reference = await artifacts.put(b"content", "text/plain", "s1")
    said = [NewMessage(role=Role.USER, parts=(TextPart(text=f"words {n}"),)) for n in range(2)]
    said.append(NewMessage(role=Role.TOOL, parts=(reference,)))
    await sessions.append(Append(session_id="s1", messages=tuple(said)))
    await PersistentStore(database).remember_many([NewMemory(content="one"), NewMemory(content="two")])
    indexer = Indexer(database, Meanings())
    await indexer.run_once()
    await indexer.embed_once()
    return reference.key


async def change(database: Database, statement: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(text(statement))


async def problems(database: Database, objects: ObjectStore) -> list[str]:
    verified = await verify(database, objects)
    assert verified.count == len(verified.problems)
    return [problem.kind for problem in verified.problems]


async def test_where_all_is_well_nothing_is_found(database: Database, objects: ObjectStore) -> None:
    assert (await verify(database, objects)).looked_at == 0
    await fill(database, objects)
    verified = await verify(database, objects)
    assert verified.problems == ()
    assert verified.looked_at >= 10


async def test_what_waits_is_late_and_not_missing(database: Database, objects: ObjectStore) -> None:
    await PersistentStore(database).remember(NewMemory(content="one"))
    assert await problems(database, objects) == []
    await Indexer(database).run_once()
    assert await problems(database, objects) == []


@pytest.mark.parametrize(
    ("statement", "kinds"),
    [
        ("DELETE FROM brainops.memory_chunks WHERE source = 'memory'", ["row_without_postings"] * 2),
        ("DELETE FROM brainops.memory_chunks WHERE source = 'message'", ["row_without_postings"] * 2),
        ("UPDATE brainops.memory_chunks SET embedding = NULL WHERE terms = 'one'", ["row_without_vector"]),
        ("DELETE FROM brainops.persistent_memory WHERE content = 'one'", ["vector_without_row"]),
        ("DELETE FROM brainops.messages WHERE seq = 2", ["vector_without_row", "gap_in_session"]),
        ("DELETE FROM brainops.messages WHERE seq = 3", ["gap_in_session"]),
        ("UPDATE brainops.persistent_memory SET content = 'other' WHERE content = 'one'", ["wrong_hash"]),
        ("UPDATE brainops.memory_chunks SET embedding_model = 'old' WHERE source = 'message'", ["stale_model"]),
    ],
)
async def test_what_is_broken_is_found(
    database: Database, objects: ObjectStore, statement: str, kinds: list[str]
) -> None:
    await fill(database, objects)
    await change(database, "UPDATE brainops.memory_chunks SET changed = changed + 1 WHERE source = 'memory'")
    await change(database, statement)
    assert await problems(database, objects) == kinds


async def test_a_lost_object_is_found(database: Database, objects: ObjectStore) -> None:
    key = await fill(database, objects)
    await objects.delete(key)
    await change(
        database,
        """
        INSERT INTO brainops.episodes (id, day, session_id, key, sha256, bytes, messages, first_at, last_at, expires_at)
        VALUES (gen_random_uuid(), now(), 'gone', 'episodes/a/b.json.gz', '', 1, 1, now(), now(), now())
        """,
    )
    verified = await verify(database, objects)
    assert [(problem.kind, problem.what) for problem in verified.problems] == [
        ("artifact_without_object", key),
        ("episode_without_object", "episodes/a/b.json.gz"),
    ]


async def test_a_poison_row_is_named(database: Database, objects: ObjectStore) -> None:
    await PersistentStore(database).remember(NewMemory(content="one"))
    await change(database, "UPDATE brainops.persistent_memory SET provenance = '[]'::jsonb")
    indexer = Indexer(database)
    while await indexer.run_once():
        pass
    assert await problems(database, objects) == ["row_without_postings"]
    stats = await read_stats(database)
    assert stats.outbox == 1


async def test_stats_count_everything_and_the_lag(database: Database, objects: ObjectStore) -> None:
    empty = await read_stats(database)
    assert set(empty.model_dump().values()) == {0, ""}
    await fill(database, objects)
    await TodoStore(database).add(TodoAdd(title="a todo"))
    store, embedder = PersistentStore(database), Meanings()
    await store.remember(NewMemory(content="three"))
    stats = await read_stats(database)
    assert (stats.sessions, stats.messages, stats.memories, stats.current) == (1, 3, 3, 3)
    assert (stats.chunks, stats.embedded, stats.outbox) == (4, 4, 1)
    assert (stats.artifacts, stats.artifact_bytes, stats.todos_open, stats.embedding_model) == (1, 7, 1, "one")
    assert stats.outbox_seconds > 0
    indexer = Indexer(database, embedder)
    await indexer.run_once()
    embedder.away = True
    await indexer.embed_once()
    stats = await read_stats(database)
    assert (stats.chunks, stats.embedded, stats.outbox) == (5, 4, 1)
    assert stats.outbox_seconds > 0
    embedder.away = False
    await indexer.embed_once()
    stats = await read_stats(database)
    assert (stats.outbox, stats.outbox_seconds) == (0, 0.0)
