"""What is purged when it is old: archived sessions, and whatever no longer holds or is finished.

Each batch is one transaction with its receipt; the same call again takes the next ones. What carries the tag
`legal-hold` stays. Objects go before the rows that name them: a crash in between leaves rows by which the next round
finds what is left to do, never content that nobody knows of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brainops.database.engine import Database
from brainops.memory.episodic import LEGAL_HOLD
from brainops.memory.indexing import LOCK_INDEX
from brainops.memory.receipts import ReceiptAction, receipt
from brainops.storage.objects import ObjectStore

TOMBSTONES_KEPT = timedelta(days=7)
"""Every process has looked at the index by then, or was started anew and never knew what was removed."""


class Purged(StrEnum):
    """What is purged, in this order."""

    SESSIONS = "sessions"
    MEMORIES = "memories"
    SNAPSHOTS = "snapshots"
    TODOS = "todos"
    WORK = "work"
    PROPOSALS = "proposals"
    """Their words; the row stays, without them."""
    PERFORMANCE = "performance"
    TOMBSTONES = "tombstones"


_OLD_SESSIONS = text("""
    SELECT session_id, coalesce(kept.keys, '{}') AS keys, coalesce(kept.messages, 0)::int AS messages, kept.episodes::int
    FROM (
        SELECT id AS session_id FROM brainops.sessions
        WHERE last_at < :before AND NOT coalesce(metadata->'tags' ? :hold, false)
            AND NOT EXISTS (SELECT FROM brainops.messages WHERE messages.session_id = sessions.id)
        UNION
        SELECT session_id FROM brainops.episodes
        WHERE last_at < :before AND NOT EXISTS (SELECT FROM brainops.sessions WHERE sessions.id = session_id)
    ) AS old
    CROSS JOIN LATERAL (
        SELECT array_agg(key) AS keys, sum(messages) AS messages, count(*) AS episodes, max(last_at) AS last_at,
            bool_or(tags @> ARRAY[CAST(:hold AS text)]) AS held
        FROM brainops.episodes WHERE episodes.session_id = old.session_id
    ) AS kept
    WHERE kept.episodes = 0 OR NOT kept.held AND kept.last_at < :before
    ORDER BY session_id LIMIT :limit
""")

# First of all: who takes the session up again from now on begins a new one. One that was taken up before stays.
_DROP_SESSIONS = text("""
    WITH old AS (
        SELECT id FROM brainops.sessions WHERE id = ANY(:sessions) ORDER BY id FOR UPDATE
    ), gone AS (
        DELETE FROM brainops.sessions WHERE id IN (SELECT id FROM old) AND last_at < :before
            AND NOT coalesce(metadata->'tags' ? :hold, false)
            AND NOT EXISTS (SELECT FROM brainops.messages WHERE messages.session_id = sessions.id)
        RETURNING id
    )
    SELECT unnest(CAST(:sessions AS text[])) AS id EXCEPT SELECT id FROM old WHERE id NOT IN (SELECT id FROM gone)
""")

_ARTIFACTS = text("""
    WITH brought AS (
        SELECT key FROM brainops.artifacts WHERE session_id = ANY(:sessions)
        UNION
        SELECT unnest(artifacts) FROM brainops.episodes WHERE session_id = ANY(:sessions)
    ), used AS (
        SELECT unnest(artifacts) AS key FROM brainops.episodes WHERE NOT session_id = ANY(:sessions)
        UNION
        SELECT part->>'key' FROM brainops.messages CROSS JOIN LATERAL jsonb_array_elements(parts) AS part
        WHERE EXISTS (SELECT FROM brought) AND part->>'type' = 'artifact_ref'
    )
    SELECT key FROM brainops.artifacts WHERE key IN (SELECT key FROM brought) AND key NOT IN (SELECT key FROM used)
""")

_WITHDRAWN = (
    "UPDATE brainops.memory_chunks SET removed = true, terms = '', embedding = NULL, "
    "changed = (pg_current_xact_id()::text)::bigint WHERE NOT removed AND "
)

_GONE_WITH_A_SESSION = tuple(
    text(statement)
    for statement in (
        _WITHDRAWN + "source = 'message' AND session_id = ANY(:sessions)",
        "DELETE FROM brainops.context_snapshots WHERE session_id = ANY(:sessions) AND NOT tags @> ARRAY[CAST(:hold AS text)]",
        "DELETE FROM brainops.work_items WHERE session_id = ANY(:sessions) AND told",
        "DELETE FROM brainops.artifacts WHERE key = ANY(:artifacts)",
        "DELETE FROM brainops.episodes WHERE session_id = ANY(:sessions)",
    )
)

# Picked first and for all: a subquery with LIMIT may be run anew for each row.
_MEMORIES = text("""
    WITH old AS MATERIALIZED (
        SELECT id FROM brainops.persistent_memory
        WHERE (valid_to < :before OR valid_to IS NULL AND expires_at < :before) AND NOT tags @> ARRAY[CAST(:hold AS text)]
        ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    DELETE FROM brainops.persistent_memory AS known USING old WHERE known.id = old.id RETURNING known.id::text
""")
_CHUNKS_OF_MEMORIES = text(_WITHDRAWN + "source = 'memory' AND source_id = ANY(CAST(:ids AS uuid[]))")


def _finished(table: str, condition: str) -> TextClause:
    return text(f"""
        WITH old AS MATERIALIZED (
            SELECT id FROM brainops.{table} WHERE {condition} ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
        )
        DELETE FROM brainops.{table} AS known USING old WHERE known.id = old.id RETURNING known.id::text
    """)  # noqa: S608 - made of constants


_SIMPLE: Mapping[Purged, TextClause] = {
    Purged.SNAPSHOTS: _finished(
        "context_snapshots", "expires_at < clock_timestamp() AND NOT tags @> ARRAY[CAST(:hold AS text)]"
    ),
    Purged.TODOS: _finished("todos", "done_at < :before"),
    Purged.WORK: _finished(
        "work_items",
        "updated_at < :before AND (state IN ('done', 'released', 'reverted') OR state = 'claimed' AND lease_until < :before)",
    ),
    # A rejected one keeps its key, and what it was about, so that it is not made again; of the others the key is free.
    Purged.PROPOSALS: text("""
        WITH old AS MATERIALIZED (
            SELECT id FROM brainops.proposals WHERE status <> 'open' AND decided_at < :before AND what <> ''
            ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
        )
        UPDATE brainops.proposals AS known
        SET what = '', why = '', expected_effect = '', reason = '', change = '{}', updated_at = clock_timestamp(),
            evidence = CASE WHEN status = 'rejected' THEN evidence - 'ids' ELSE '{}' END,
            key = CASE WHEN status = 'rejected' THEN key ELSE 'purged/' || known.id END
        FROM old WHERE known.id = old.id RETURNING known.id::text
    """),
}

# What was counted of rows that go is kept in `folded`: totals never shrink.
_PERFORMANCE = text("""
    WITH old AS MATERIALIZED (
        SELECT id FROM brainops.agent_performance WHERE at < :before ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM brainops.agent_performance AS known USING old WHERE known.id = old.id
        RETURNING known.id, agent, success, cost
    ), counted AS (
        SELECT agent, count(*) AS interactions, count(*) FILTER (WHERE success) AS successes, count(cost) AS costed,
            coalesce(sum(cost), 0) AS cost
        FROM gone GROUP BY agent
    ), folded AS (
        INSERT INTO brainops.agent_memory AS known (agent, folded)
        SELECT agent, jsonb_build_object(
            'interactions', interactions, 'successes', successes, 'costed', costed, 'cost', cost) FROM counted
        ON CONFLICT (tenant_id, agent) DO UPDATE SET updated_at = clock_timestamp(), folded = (
            SELECT jsonb_object_agg(key, coalesce((known.folded->>key)::numeric, 0) + value::numeric)
            FROM jsonb_each_text(excluded.folded)
        )
    )
    SELECT id::text FROM gone
""")

_HORIZON = text("SELECT (pg_snapshot_xmin(pg_current_snapshot())::text)::bigint")
_SEEN_TO = text("""
    SELECT max((counts->>'horizon')::bigint) FROM brainops.retention_receipts
    WHERE action = 'purge' AND reason = 'tombstones' AND created_at < :before
""")
_TOMBSTONES = text("""
    WITH old AS MATERIALIZED (
        SELECT source_id, position FROM brainops.memory_chunks WHERE removed AND changed < :seen_to LIMIT :limit
    )
    DELETE FROM brainops.memory_chunks AS known USING old
    WHERE known.source_id = old.source_id AND known.position = old.position
    RETURNING known.source_id::text || '/' || known.position
""")


@dataclass(frozen=True)
class Batch:
    """What one call removed."""

    removed: int
    more: bool
    """Perhaps there is more of the kind."""


class MemoryRetention:
    """Purges what is old, batch by batch."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects

    async def purge(self, kind: Purged, before: datetime, now: datetime, limit: int = 500) -> Batch:
        """Remove at most `limit` of a kind that ended before `before`, with a receipt; nothing to remove leaves none.

        Raises UnavailableError; what was removed by then stays removed.
        """
        match kind:
            case Purged.SESSIONS:
                return await self._purge_sessions(before, min(limit, 50))
            case Purged.TOMBSTONES:
                return await self._purge_tombstones(now, limit)
            case Purged.MEMORIES:
                ids = await self._purge_memories(before, limit)
            case Purged.PERFORMANCE:
                ids = await self._purge_rows(_PERFORMANCE, kind, before, limit)
            case _:
                ids = await self._purge_rows(_SIMPLE[kind], kind, before, limit)
        return Batch(removed=len(ids), more=len(ids) == limit)

    async def _purge_rows(self, statement: TextClause, kind: Purged, before: datetime, limit: int) -> Sequence[str]:
        values = {"before": before, "limit": limit} | _hold(statement)
        async with self._database.transaction() as connection:
            ids = (await connection.execute(statement, values)).scalars().all()
            await _account(connection, kind, {kind.value: len(ids)}, ids)
        return ids

    async def _purge_memories(self, before: datetime, limit: int) -> Sequence[str]:
        async with self._database.transaction() as connection:
            await connection.execute(LOCK_INDEX)
            values = {"before": before, "limit": limit, "hold": LEGAL_HOLD}
            ids = (await connection.execute(_MEMORIES, values)).scalars().all()
            if ids:
                await connection.execute(_CHUNKS_OF_MEMORIES, {"ids": list(ids)})
            await _account(connection, Purged.MEMORIES, {"memories": len(ids)}, ids)
        return ids

    async def _purge_sessions(self, before: datetime, limit: int) -> Batch:
        values: dict[str, object] = {"before": before, "limit": limit, "hold": LEGAL_HOLD}
        found = {row["session_id"]: row for row in await self._database.read(_OLD_SESSIONS, values)}
        if not found:
            return Batch(removed=0, more=False)
        async with self._database.transaction() as connection:
            values = {"sessions": list(found), "before": before, "hold": LEGAL_HOLD}
            old: list[str] = list((await connection.execute(_DROP_SESSIONS, values)).scalars())
        artifacts: list[str] = [row["key"] for row in await self._database.read(_ARTIFACTS, {"sessions": old})]
        for key in (*(key for one in old for key in found[one]["keys"]), *artifacts):
            await self._objects.delete(key)
        values = {"sessions": old, "artifacts": artifacts, "hold": LEGAL_HOLD}
        async with self._database.transaction() as connection:
            await connection.execute(LOCK_INDEX)
            for statement in _GONE_WITH_A_SESSION:
                await connection.execute(statement, {name: values[name] for name in statement.compile().params})
            counts = {
                "sessions": len(old),
                "episodes": sum(found[one]["episodes"] for one in old),
                "messages": sum(found[one]["messages"] for one in old),
                "artifacts": len(artifacts),
            }
            await _account(connection, Purged.SESSIONS, counts, old)
        return Batch(removed=len(old), more=len(found) == limit and bool(old))

    async def _purge_tombstones(self, now: datetime, limit: int) -> Batch:
        """Remove tombstones that are older than a receipt of `TOMBSTONES_KEPT` ago says that everybody has seen."""
        async with self._database.transaction() as connection:
            await connection.execute(LOCK_INDEX)
            horizon = (await connection.execute(_HORIZON)).scalar_one()
            seen_to = (await connection.execute(_SEEN_TO, {"before": now - TOMBSTONES_KEPT})).scalar_one()
            values = {"seen_to": seen_to or 0, "limit": limit}
            ids = (await connection.execute(_TOMBSTONES, values)).scalars().all()
            counts = {"tombstones": len(ids), "horizon": horizon}
            await receipt(connection, ReceiptAction.PURGE, Purged.TOMBSTONES.value, counts, ids)
        return Batch(removed=len(ids), more=len(ids) == limit)


def _hold(statement: TextClause) -> dict[str, str]:
    return {"hold": LEGAL_HOLD} if "hold" in statement.compile().params else {}


async def _account(connection: AsyncConnection, kind: Purged, counts: Mapping[str, int], ids: Sequence[str]) -> None:
    if ids:
        await receipt(connection, ReceiptAction.PURGE, kind.value, counts, ids)
