"""From what was written to what can be found: passages with their words at once, with their vectors soon.

The consumer of the outbox. Words are made in the same breath as the row that a recall needs; vectors wait for an
embedder that may be slow or away, and `embedding IS NULL` is their queue. One process at a time indexes a tenant, so
that a recall which waits for its turn finds everything that was written before it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from brainops.contracts.memory import SessionInfo
from brainops.contracts.message import Role, StoredMessage
from brainops.database.engine import Database
from brainops.database.values import to_json
from brainops.errors import BadInputError, BrainOpsError, UnavailableError
from brainops.memory.passages import memory_document, message_document
from brainops.memory.ranking import words
from brainops.memory.ranking.embedding import Embedder

if TYPE_CHECKING:
    from brainops.memory.ranking.embedding import Vectors

MOST_ATTEMPTS = 3
"""Tries of an outbox row; then it stays, with its problem, and is not in anybody's way."""

IDLE_SECONDS = 1.0
"""Between two looks at an empty outbox."""

_BUSY_SECONDS = 0.02
_REFUSALS = 3
"""Texts in a row that the embedder refuses alone, from which on it and not they is at fault."""

_logger = logging.getLogger(__name__)

LOCK_INDEX = text(
    "SELECT pg_advisory_xact_lock(hashtext('brainops.memory_index'), hashtext(current_setting('brainops.tenant_id')))"
)
"""One at a time changes the chunks of a tenant."""

_PARTITION = text("SELECT brainops.make_memory_partition()")

_PENDING = text(f"""
    SELECT EXISTS (SELECT FROM brainops.memory_outbox WHERE source <> 'embedder' AND attempts < {MOST_ATTEMPTS}) AS words,
        EXISTS (SELECT FROM brainops.memory_chunks
            WHERE embedding IS NULL AND NOT removed AND embedding_model <> :model) AS vectors
""")  # noqa: S608 - made of constants

_WAITING = f"""
    SELECT id, source, source_id FROM brainops.memory_outbox
    WHERE source <> 'embedder' AND attempts < {MOST_ATTEMPTS} ORDER BY id
"""  # noqa: S608 - made of constants
_OLDEST = text(_WAITING + "LIMIT :limit")
_NEWEST = text(_WAITING + "DESC LIMIT :limit")

_MESSAGES = """
    SELECT messages.id, session_id, seq, author, parts, at, agent, scope, owner, metadata
    FROM brainops.messages JOIN brainops.sessions ON sessions.id = session_id
    WHERE messages.id = ANY(:ids)
"""
_INDEXED_MESSAGES = text(_MESSAGES + " AND NOT from_memory AND status <> 'streaming'")

_MEMORIES = text("SELECT * FROM brainops.persistent_memory WHERE id = ANY(:ids)")

_COLUMNS = (
    "source, kind, scopes, owner, session_id, seq, at, valid_from, valid_to, asks, importance, first, last, terms, "
    "agent, task_type, outcome, provider, cost"
)

_WRITE = text(f"""
    INSERT INTO brainops.memory_chunks AS known (source_id, position, {_COLUMNS})
    SELECT source_id, position, {_COLUMNS} FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(
        source_id uuid, position smallint, source text, kind text, scopes text[], owner text, session_id text, seq int,
        at timestamptz, valid_from timestamptz, valid_to timestamptz, asks boolean, importance float8, first int,
        last int, terms text, agent text, task_type text, outcome text, provider text, cost float8)
    ON CONFLICT (tenant_id, source_id, position) DO UPDATE
    SET ({_COLUMNS}) = ROW ({", ".join(f"excluded.{name.strip()}" for name in _COLUMNS.split(","))}),
        embedding = CASE WHEN (known.terms, known.first, known.last) = (excluded.terms, excluded.first, excluded.last)
            THEN known.embedding END,
        embedding_model = CASE WHEN (known.terms, known.first, known.last) = (excluded.terms, excluded.first, excluded.last)
            THEN known.embedding_model ELSE '' END,
        removed = false, changed = (pg_current_xact_id()::text)::bigint
""")  # noqa: S608 - made of constants

# Tombstones keep nothing of the text: every index drops the row when it sees them.
_WITHDRAW = text("""
    UPDATE brainops.memory_chunks AS known
    SET removed = true, terms = '', embedding = NULL, changed = (pg_current_xact_id()::text)::bigint
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS kept(source_id uuid, chunks int)
    WHERE known.source_id = kept.source_id AND known.position >= kept.chunks AND NOT known.removed
""")

_DONE = text("DELETE FROM brainops.memory_outbox WHERE id = ANY(:ids)")

_FAILED = text("UPDATE brainops.memory_outbox SET attempts = attempts + 1, problem = :problem WHERE id = :id")

_UNEMBEDDED = text("""
    SELECT source_id, position, source, first, last, changed FROM brainops.memory_chunks
    WHERE embedding IS NULL AND NOT removed AND embedding_model <> :model
    ORDER BY changed DESC, source_id, position LIMIT :limit
""")

_OF_ANOTHER_MODEL = text("""
    SELECT source_id, position, source, first, last, changed FROM brainops.memory_chunks
    WHERE embedding_model <> :model AND NOT removed AND embedding IS NOT NULL
    ORDER BY changed DESC, source_id, position LIMIT :limit
""")

_EMBEDDED = text("""
    UPDATE brainops.memory_chunks AS known
    SET embedding = CAST(given.embedding AS public.halfvec), embedding_model = :model,
        changed = (pg_current_xact_id()::text)::bigint
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS given(source_id uuid, position smallint, changed bigint, embedding text)
    WHERE known.source_id = given.source_id AND known.position = given.position AND known.changed = given.changed
        AND NOT known.removed
""")

_EMBEDDER_FAILED = text("""
    WITH noted AS (
        UPDATE brainops.memory_outbox SET attempts = attempts + 1, problem = :problem
        WHERE source = 'embedder' RETURNING id
    )
    INSERT INTO brainops.memory_outbox (source, source_id, attempts, problem)
    SELECT 'embedder', '00000000-0000-0000-0000-000000000000', 1, :problem WHERE NOT EXISTS (SELECT FROM noted)
""")
_EMBEDDER_WORKS = text("DELETE FROM brainops.memory_outbox WHERE source = 'embedder'")


Archived = Callable[[Sequence[UUID]], Awaitable[Sequence[StoredMessage]]]
"""Messages by their ids that lie in object storage, as `EpisodeStore.find`."""


class Indexer:
    """Reads the outbox of one tenant. `embedder`: None leaves recall to words. `archived`: without it archived messages
    that have no vector of the present model get an empty one."""

    def __init__(
        self, database: Database, embedder: Embedder | None = None, archived: "Archived | None" = None
    ) -> None:
        self._database = database
        self._embedder = embedder
        self._archived = archived
        self._partitioned = False
        self._all_of_this_model = False
        self._embedder_failed = False

    async def run(self, stop: asyncio.Event) -> None:
        """Index until `stop`: at once while there is something to do, else with a look each second."""
        pause = _BUSY_SECONDS
        while not stop.is_set():
            try:
                busy = await self._step()
            except BrainOpsError as error:
                _logger.warning("memory is not indexed now: %s", error)
                busy = False
            pause = _BUSY_SECONDS if busy else min(pause * 2, IDLE_SECONDS)
            try:
                async with asyncio.timeout(pause):
                    await stop.wait()
            except TimeoutError:
                continue

    async def _step(self) -> bool:
        model = self._embedder.model if self._embedder else ""
        (pending,) = await self._database.read(_PENDING, {"model": model})
        busy = pending["words"] and await self.run_once(100) > 0
        if self._embedder is not None and (pending["vectors"] or not self._all_of_this_model or self._embedder_failed):
            busy = await self.embed_once(128) > 0 or busy
        return busy

    async def prepare(self) -> None:
        """Make the tenant's partition, once."""
        if not self._partitioned:
            async with self._database.transaction() as connection:
                await connection.execute(_PARTITION)
            self._partitioned = True

    async def run_once(self, limit: int = 200, *, newest: bool = False) -> int:
        """Make at most `limit` outbox rows findable by their words, the oldest or the newest ones; how many were read.

        Waits while another process does the same. A row that cannot be indexed is marked with its problem and left.
        """
        await self.prepare()
        try:
            async with self._database.transaction() as connection:
                return await self._index(connection, limit, newest)
        except (DataError, IntegrityError):
            async with self._database.transaction() as connection:
                return await self._index_singly(connection, limit, newest)

    async def _index(self, connection: AsyncConnection, limit: int, newest: bool) -> int:
        taken = await _take(connection, limit, newest)
        if taken:
            failed = await _read_and_write(connection, taken)
            for row, problem in failed:
                await connection.execute(_FAILED, {"id": row["id"], "problem": problem})
            left = {row["id"] for row, _ in failed}
            await connection.execute(_DONE, {"ids": [row["id"] for row in taken if row["id"] not in left]})
        return len(taken)

    async def _index_singly(self, connection: AsyncConnection, limit: int, newest: bool) -> int:
        """As `_index`, each row for itself: one that Postgres refuses does not take the others with it."""
        taken = await _take(connection, limit, newest)
        for row in taken:
            try:
                async with connection.begin_nested():
                    failed = await _read_and_write(connection, [row])
            except (DataError, IntegrityError) as error:
                failed = [(row, _problem(error.orig or error))]
            if failed:
                await connection.execute(_FAILED, {"id": row["id"], "problem": failed[0][1]})
            else:
                await connection.execute(_DONE, {"ids": [row["id"]]})
        return len(taken)

    async def embed_once(self, limit: int = 200) -> int:
        """Give at most `limit` passages their vectors, the newest first; how many were tried.

        First those without one, then those of another model. Where the embedder fails they stay as they are, and its
        problem is noted in the outbox.
        """
        if self._embedder is None:
            return 0
        rows = await self._without_vector(self._embedder.model, limit)
        if not rows:
            return 0
        texts = await self._texts(rows)
        try:
            vectors = await _embedded(self._embedder, texts)
        except BrainOpsError as error:
            _logger.warning("memory is found by its words only: %s", error)
            await self._database.write(_EMBEDDER_FAILED, {"problem": _problem(error)})
            self._embedder_failed = True
            return 0
        told = [
            {key: row[key] if key != "source_id" else str(row[key]) for key in ("source_id", "position", "changed")}
            | {"embedding": vector}
            for row, vector in zip(rows, vectors, strict=True)
        ]
        async with self._database.transaction() as connection:
            # Whoever writes many passages holds it: two that met them in another order would wait for each other.
            await connection.execute(LOCK_INDEX)
            await connection.execute(_EMBEDDED, {"rows": to_json(told), "model": self._embedder.model})
            if self._embedder_failed:
                await connection.execute(_EMBEDDER_WORKS)
        self._embedder_failed = False
        return len(rows)

    async def _without_vector(self, model: str, limit: int) -> Sequence[RowMapping]:
        rows = await self._database.read(_UNEMBEDDED, {"model": model, "limit": limit})
        if not rows and not self._all_of_this_model:
            rows = await self._database.read(_OF_ANOTHER_MODEL, {"model": model, "limit": limit})
            self._all_of_this_model = not rows
        return rows

    async def _texts(self, rows: Sequence[RowMapping]) -> list[str]:
        """The passages of chunks; empty where their source is gone meanwhile."""
        documents: dict[UUID, str] = {}
        ids = [row["source_id"] for row in rows if row["source"] == "message"]
        if ids:
            for message in await self._database.read(text(_MESSAGES), {"ids": ids}):
                documents[message["id"]] = message_document(message["author"], message["parts"])
            for archived in await self._from_episodes([one for one in dict.fromkeys(ids) if one not in documents]):
                parts = [part.model_dump() for part in archived.parts]
                documents[archived.id] = message_document(archived.author, parts)
        ids = [row["source_id"] for row in rows if row["source"] == "memory"]
        if ids:
            for memory in await self._database.read(_MEMORIES, {"ids": ids}):
                documents[memory["id"]] = memory_document(dict(memory))
        return [documents.get(row["source_id"], "")[row["first"] : row["last"]] for row in rows]

    async def _from_episodes(self, ids: Sequence[UUID]) -> Sequence[StoredMessage]:
        """Archived messages; those of an episode that is lost are left out. Raises UnavailableError."""
        if not ids or self._archived is None:
            return []
        try:
            return await self._archived(ids)
        except UnavailableError:
            raise
        except BrainOpsError as error:
            if len(ids) == 1:
                _logger.warning("message %s cannot be embedded: %s", ids[0], error)
                return []
        return [message for one in ids for message in await self._from_episodes([one])]


async def index_archived(connection: AsyncConnection, session: SessionInfo, messages: Sequence[StoredMessage]) -> None:
    """Make archived messages findable by their words where they are not, as an import brings them. Hold `LOCK_INDEX`."""
    about = {"scope": session.scope, "owner": session.owner, "agent": session.agent, "metadata": session.metadata}
    chunks = [
        chunk
        for message in messages
        if message.role is not Role.SYSTEM and message.text.strip()
        for chunk in _message_chunks(
            {**about, **message.model_dump(include={"id", "session_id", "seq", "author", "parts", "at"})}
        )
    ]
    if chunks:
        await connection.execute(_WRITE, {"rows": to_json(chunks)})


async def _take(connection: AsyncConnection, limit: int, newest: bool) -> Sequence[RowMapping]:
    await connection.execute(LOCK_INDEX)
    return (await connection.execute(_NEWEST if newest else _OLDEST, {"limit": limit})).mappings().all()


async def _read_and_write(connection: AsyncConnection, taken: Sequence[RowMapping]) -> list[tuple[RowMapping, str]]:
    """Chunks of what `taken` names; rows that could not be read, with why."""
    sources: dict[UUID, Mapping[str, Any]] = {}
    for source, query in (("message", _INDEXED_MESSAGES), ("memory", _MEMORIES)):
        ids = list({row["source_id"] for row in taken if row["source"] == source})
        if ids:
            sources |= {row["id"]: row for row in (await connection.execute(query, {"ids": ids})).mappings()}
    chunks, failed = await asyncio.to_thread(_all_chunks, taken, sources)
    if chunks:
        await connection.execute(_WRITE, {"rows": to_json(chunks)})
    counts = {str(row["source_id"]): 0 for row in taken}
    for chunk in chunks:
        counts[chunk["source_id"]] += 1
    kept = [{"source_id": source_id, "chunks": count} for source_id, count in counts.items()]
    await connection.execute(_WITHDRAW, {"rows": to_json(kept)})
    return failed


def _all_chunks(
    taken: Sequence[RowMapping], sources: Mapping[UUID, Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[tuple[RowMapping, str]]]:
    chunks: list[dict[str, Any]] = []
    failed: list[tuple[RowMapping, str]] = []
    done: set[UUID] = set()
    for row in taken:
        source = sources.get(row["source_id"])
        if source is None or row["source_id"] in done:
            continue
        done.add(row["source_id"])
        try:
            made = _message_chunks(source) if row["source"] == "message" else _memory_chunks(source)
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
            failed.append((row, _problem(error)))
            continue
        chunks += made
    return chunks, failed


def _message_chunks(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    about = row["metadata"]
    values = {
        "source": "message",
        "kind": "message",
        "scopes": [row["scope"]],
        "owner": row["owner"],
        "session_id": row["session_id"],
        "seq": row["seq"],
        "at": row["at"].isoformat(),
        "valid_from": None,
        "valid_to": None,
        "importance": 0.5,
        "agent": row["agent"],
    }
    return _chunks(row["id"], message_document(row["author"], row["parts"]), values | _attributes(about))


def _memory_chunks(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    ends = [end for end in (row["valid_to"], row["expires_at"]) if end is not None]
    values = {
        "source": "memory",
        "kind": row["kind"],
        "scopes": row["scopes"],
        "owner": row["owner"],
        "session_id": "",
        "seq": 0,
        "at": row["at"].isoformat(),
        "valid_from": row["valid_from"].isoformat(),
        "valid_to": min(ends).isoformat() if ends else None,
        "importance": row["importance"],
        "agent": str(row["provenance"].get("agent", "")),
    }
    return _chunks(row["id"], memory_document(row), values | _attributes(row["data"]))


_LONGEST_ATTRIBUTE = 200
_MOST_COST = 1e15


def _attributes(about: Mapping[str, Any]) -> dict[str, Any]:
    """What a session's metadata or a memory's data say of the work."""
    cost = about.get("cost")
    return {name: str(about.get(name) or "")[:_LONGEST_ATTRIBUTE] for name in ("task_type", "outcome", "provider")} | {
        "cost": float(cost)
        if isinstance(cost, int | float) and not isinstance(cost, bool) and abs(cost) <= _MOST_COST
        else None
    }


def _chunks(source_id: UUID, document: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    pieces = words.chunks(document)
    return [
        {
            **values,
            "source_id": str(source_id),
            "position": position,
            "first": piece.start,
            "last": piece.end,
            "terms": " ".join(words.terms(piece.text)),
            "asks": position == len(pieces) - 1 and words.asks(document),
        }
        for position, piece in enumerate(pieces)
    ]


async def _embedded(embedder: Embedder, texts: Sequence[str]) -> list[str | None]:
    """Vectors as Postgres reads them; None for a text that the embedder refuses, alone, for good.

    Raises what the embedder raises where it and not a text is at fault.
    """
    try:
        return _written(await embedder.embed(texts))
    except BadInputError:
        if len(texts) == 1:
            raise
    vectors: list[str | None] = []
    for one in texts:
        try:
            vectors += _written(await embedder.embed([one]))
        except BadInputError:
            vectors.append(None)
            if len(vectors) in (_REFUSALS, len(texts)) and not any(vectors):
                raise
    return vectors


def _written(vectors: "Vectors") -> list[str | None]:
    return [f"[{','.join(f'{number:.5g}' for number in row)}]" for row in vectors.tolist()]


def _problem(error: BaseException) -> str:
    """Its kind and first line, without what it was about."""
    line = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {line}"[:300]
