"""The index of a tenant in this process, which follows the chunks in the database.

Loaded once in bulk, then caught up before each search by what transactions wrote since. A transaction that commits
late has an early number, so what is asked for begins at the oldest that was still running at the last look
(`pg_snapshot_xmin`), less those that were seen already: nothing is missed, and little is read twice.
"""

import asyncio
import gc
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow
from sqlalchemy import text

from brainops.database.engine import Database
from brainops.memory.indexing import MOST_ATTEMPTS, Indexer
from brainops.memory.ranking.embedding import Embedder
from brainops.memory.ranking.index import TenantIndex
from brainops.memory.ranking.rows import IndexRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_INDEXED_AT_ONCE = 1_000
"""Outbox rows, the newest, that a recall makes findable itself before it answers; the others are left to the indexer."""

_TRUSTED_SECONDS = 24 * 3600.0
"""An index that did not look for longer is loaded anew: removals are told for a week (`retention.py`), not for ever."""

_PAGE = 2_000
"""Rows that are loaded together: some 8 MB on their way, and no more than some 20 ms in which nothing else is done."""

_BINARY_HEADER = 4
"""Bytes before the numbers of a halfvec on the wire: dimensions and a spare, two bytes each."""

_COLUMNS = """
    source_id, position, kind, scopes, owner, session_id, seq, at, valid_from, valid_to, asks, importance, terms, agent,
    task_type, outcome, provider, cost, removed, changed, embedding_model, public.halfvec_send(embedding) AS embedding
"""

_ALL = f"SELECT {_COLUMNS} FROM brainops.memory_chunks WHERE NOT removed"  # noqa: S608 - made of constants

_XMIN = text("SELECT (pg_snapshot_xmin(pg_current_snapshot())::text)::bigint")

_SINCE = text(f"""
    SELECT snapshot.xmin, snapshot.pending, chunk.*
    FROM (
        SELECT (pg_snapshot_xmin(pg_current_snapshot())::text)::bigint AS xmin, EXISTS (
            SELECT FROM brainops.memory_outbox WHERE source <> 'embedder' AND attempts < {MOST_ATTEMPTS}
        ) AS pending
    ) AS snapshot
    LEFT JOIN (
        SELECT {_COLUMNS} FROM brainops.memory_chunks WHERE changed >= :seen AND changed <> ALL(:known)
    ) AS chunk ON true
""")  # noqa: S608 - made of constants


class Chunk(NamedTuple):
    """A row of `memory_chunks`, as it is read here."""

    source_id: UUID
    position: int
    kind: str
    scopes: Sequence[str]
    owner: str
    session_id: str
    seq: int
    at: datetime
    valid_from: datetime | None
    valid_to: datetime | None
    asks: bool
    importance: float
    terms: str
    agent: str
    task_type: str
    outcome: str
    provider: str
    cost: float | None
    removed: bool
    changed: int
    embedding_model: str
    embedding: bytes | None


class IndexMirror:
    """A `TenantIndex` that is up to date when `caught_up` returns.

    Memory: about 1.4 KB a row of chat length with a vector of 256 numbers, what loading takes for a moment included
    [measured at 100,000 rows].
    """

    def __init__(self, database: Database, embedder: Embedder | None, indexer: Indexer) -> None:
        self._database = database
        self._model = embedder.model if embedder else ""
        self._dimensions = embedder.dimensions if embedder else 1
        self._indexer = indexer
        self._index: TenantIndex | None = None
        self._seen = 0
        self._followed = 0.0
        self._known: set[int] = set()
        self._spread: dict[bytes, int] = {}
        self._bare: set[bytes] = set()
        self.load_seconds = 0.0
        """What the first load took."""

    def __len__(self) -> int:
        return 0 if self._index is None else len(self._index)

    @property
    def behind(self) -> int:
        """Passages that have no vector yet."""
        return len(self._bare) if self._model else 0

    async def caught_up(self) -> TenantIndex:
        """The index, with everything that was committed before this call, or all but the newest of a long outbox.

        One call at a time: the caller holds a lock.
        """
        if self._index is None or monotonic() - self._followed > _TRUSTED_SECONDS:
            return await self._loaded()
        if await self._follow(self._index):
            await self._indexer.run_once(MOST_INDEXED_AT_ONCE, newest=True)
            await self._follow(self._index)
        return self._index

    async def _follow(self, index: TenantIndex) -> bool:
        """Take over what changed; whether the outbox has more."""
        values = {"seen": self._seen, "known": list(self._known)}
        (rows,) = await self._database.read_together([(_SINCE, values)])
        changes = [tuple(row.values())[2:] for row in rows if row["source_id"] is not None]
        if len(changes) > _PAGE:
            await asyncio.to_thread(self._take_over, index, changes)
        else:
            self._take_over(index, changes)
        self._seen, self._followed = rows[0]["xmin"], monotonic()
        seen_now = {row["changed"] for row in rows if row["source_id"] is not None}
        self._known = {number for number in self._known | seen_now if number >= self._seen}
        return rows[0]["pending"]

    async def _loaded(self) -> TenantIndex:
        started = monotonic()
        await self._indexer.prepare()
        await self._indexer.run_once(MOST_INDEXED_AT_ONCE, newest=True)
        index = await asyncio.to_thread(TenantIndex, self._dimensions)  # the first one imports numpy
        self._spread.clear()
        self._bare.clear()
        with _uncollected():
            seen = await self._read_all(index)
        self._seen, self._known, self._index = seen, set(), index
        self.load_seconds = monotonic() - started
        await self._follow(index)
        return index

    async def _read_all(self, index: TenantIndex) -> int:
        """Every chunk; the oldest transaction that was still running before."""
        async with self._database.transaction() as connection:
            seen = (await connection.execute(_XMIN)).scalar_one()
            raw = (await connection.get_raw_connection()).driver_connection
            driver = cast("psycopg.AsyncConnection[TupleRow]", raw)
            async with driver.cursor("memory_index", binary=True) as cursor:
                await cursor.execute(_ALL)
                while page := await cursor.fetchmany(_PAGE):
                    await asyncio.to_thread(self._take_over, index, page)
        return seen

    def _take_over(self, index: TenantIndex, changes: Sequence[tuple[Any, ...]]) -> None:
        """`changes`: rows of `_COLUMNS`, in this order."""
        fresh: list[IndexRow] = []
        chunks = [Chunk(*row) for row in changes]
        for chunk, vector in zip(chunks, self._vectors(chunks), strict=True):
            key = chunk.source_id.bytes + chunk.position.to_bytes(2, "big")
            rows = [] if chunk.removed else list(_rows(chunk, key, vector))
            for number in range(len(rows), self._spread.get(key, 1)):
                index.remove(_part_of(key, number))
            self._note(key, rows)
            fresh += rows
        index.load(fresh)

    def _note(self, key: bytes, rows: Sequence[IndexRow]) -> None:
        if len(rows) > 1:
            self._spread[key] = len(rows)
        else:
            self._spread.pop(key, None)
        if rows and rows[0].vector is None:
            self._bare.add(key)
        else:
            self._bare.discard(key)

    def _vectors(self, chunks: Sequence[Chunk]) -> "list[NDArray[np.float32] | None]":
        """The vector of each chunk, where it has one of this model; all are read as one."""
        import numpy as np  # noqa: PLC0415 - idle processes do without

        size = _BINARY_HEADER + 2 * self._dimensions
        having = [
            place
            for place, chunk in enumerate(chunks)
            if chunk.embedding is not None and chunk.embedding_model == self._model and len(chunk.embedding) == size
        ]
        numbers = np.frombuffer(b"".join(chunks[place].embedding or b"" for place in having), ">f2")
        vectors = numbers.reshape(len(having), size // 2)[:, _BINARY_HEADER // 2 :].astype(np.float32)
        found: list[NDArray[np.float32] | None] = [None] * len(chunks)
        for place, vector in zip(having, vectors, strict=True):
            found[place] = vector
        return found


def _rows(chunk: Chunk, key: bytes, vector: "NDArray[np.float32] | None") -> Iterable[IndexRow]:
    """One row for each scope."""
    terms = Counter(chunk.terms.split())
    attributes = _attributes(chunk.agent, chunk.task_type, chunk.outcome, chunk.provider)
    for number, scope in enumerate(chunk.scopes):
        yield IndexRow(
            key=_part_of(key, number),
            scope=scope_name(chunk.owner, scope),
            kind=chunk.kind,
            terms=terms,
            at=chunk.at.timestamp(),
            source=chunk.source_id.bytes,
            session=chunk.session_id or None,
            seq=chunk.seq,
            part=chunk.position,
            valid_from=chunk.valid_from.timestamp() if chunk.valid_from else None,
            valid_to=chunk.valid_to.timestamp() if chunk.valid_to else None,
            question=chunk.asks,
            importance=chunk.importance,
            cost=chunk.cost,
            attributes=attributes,
            vector=vector,
        )


@lru_cache(maxsize=1_000)
def _attributes(agent: str, task_type: str, outcome: str, provider: str) -> Mapping[str, str]:
    """Of many rows the same."""
    named = {"agent": agent, "task_type": task_type, "outcome": outcome, "provider": provider}
    return {name: value for name, value in named.items() if value}


@contextmanager
def _uncollected() -> Generator[None]:
    """Without garbage collection for some seconds.

    The rows of a page live just long enough to set off passes over everything that the process has, each of which
    stops all of it for a tenth of a second; none of the rows is ever part of a cycle.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def scope_name(owner: str, scope: str) -> str:
    """A scope as the index knows it: a person's own memories are a scope of their own."""
    return f"{owner}\x1f{scope}"


def position_of(key: bytes) -> int:
    """The chunk's position in its source, from the key of an index row."""
    return int.from_bytes(key[16:18], "big")


def _part_of(key: bytes, number: int) -> bytes:
    return key if number == 0 else key + number.to_bytes(2, "big")
