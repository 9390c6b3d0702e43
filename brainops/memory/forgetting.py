"""Forgetting: rows, passages with their vectors, artifacts and episodes go, and a second look proves it.

One transaction, and the objects go inside it, before it is committed: what fails in between leaves rows that name
lost objects, and the same call again finishes it. Content that nobody knows of is never left. What carries the tag
`legal-hold`, and a session whose metadata has it among its `tags`, stays and is counted.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brainops.contracts.memory import Forget, Forgotten
from brainops.database.engine import Database
from brainops.errors import BadInputError, NotFoundError, UnavailableError
from brainops.memory.episodic import LEGAL_HOLD
from brainops.memory.indexing import LOCK_INDEX
from brainops.memory.learning import FORGOTTEN
from brainops.memory.memory_rows import prepared_reason
from brainops.memory.receipts import ReceiptAction, receipt
from brainops.storage.objects import ObjectStore

REMOVAL_SECONDS = 20.0
"""For all objects of one removal."""

_AT_ONCE = 16
"""Objects that are removed or looked for at the same time."""

_HELD = "coalesce(metadata->'tags' ? :hold, false)"

# The row first: who appends waits for it, and finds no session afterwards.
_SESSIONS_NAMED = text(f"""
    SELECT id, {_HELD} AS held, last_seq FROM brainops.sessions WHERE id = :session FOR UPDATE
""")  # noqa: S608 - made of constants
_SESSIONS_OF_SCOPE = text(f"""
    SELECT id, {_HELD} AS held, last_seq FROM brainops.sessions WHERE scope = :scope ORDER BY id FOR UPDATE
""")  # noqa: S608 - made of constants

# Of a purged session its episodes or what it left behind may still be there.
_LEFT_BEHIND = text("""
    SELECT session_id FROM brainops.episodes WHERE session_id = :session
    UNION SELECT source_session FROM brainops.persistent_memory WHERE source_session = :session
    UNION SELECT session_id FROM brainops.context_snapshots WHERE session_id = :session
""")
_EPISODES_OF_SCOPE = text("SELECT DISTINCT session_id FROM brainops.episodes WHERE scope = :scope")
_HELD_EPISODES = text("""
    SELECT DISTINCT session_id FROM brainops.episodes WHERE session_id = ANY(:sessions) AND tags @> ARRAY[CAST(:hold AS text)]
""")

_MEMORIES = """
    SELECT id, tags @> ARRAY[CAST(:hold AS text)] AS held FROM brainops.persistent_memory
    WHERE {which} ORDER BY id FOR UPDATE
"""
# The same text with the end of its validity goes, too.
_MEMORIES_NAMED = text(
    _MEMORIES.format(
        which="""id = ANY(:ids) OR (owner, scopes, content_hash) IN (
            SELECT owner, scopes, content_hash FROM brainops.persistent_memory WHERE id = ANY(:ids)
        )"""
    )
)

# Their sessions stay, and are read again when they go on.
_NOT_AGAIN = text("""
    UPDATE brainops.sessions SET metadata = jsonb_set(
        metadata, ARRAY[CAST(:field AS text)], coalesce(metadata->CAST(:field AS text), '[]'::jsonb) || gone.ids
    )
    FROM (
        SELECT source_session, jsonb_agg(id ORDER BY id) AS ids FROM brainops.persistent_memory
        WHERE id = ANY(:ids) AND data ? 'statement' GROUP BY source_session
    ) AS gone
    WHERE sessions.id = gone.source_session
""")
_MEMORIES_TO_GO = text(
    _MEMORIES.format(which="source_session = ANY(:sessions) OR scopes = ARRAY[CAST(:scope AS text)]")
)

# A memory that belongs elsewhere, too, stays there, unless the same is current there already.
_ELSEWHERE = text("""
    UPDATE brainops.persistent_memory AS known
    SET scopes = array_remove(known.scopes, :scope), updated_at = clock_timestamp()
    WHERE known.scopes @> ARRAY[CAST(:scope AS text)] AND cardinality(known.scopes) > 1
        AND NOT known.tags @> ARRAY[CAST(:hold AS text)]
        AND NOT EXISTS (
            SELECT FROM brainops.persistent_memory AS other
            WHERE other.content_hash = known.content_hash AND other.owner = known.owner AND other.id <> known.id
                AND other.scopes = array_remove(known.scopes, :scope)
        )
    RETURNING id
""")
_DOUBLE = text(_MEMORIES.format(which="scopes @> ARRAY[CAST(:scope AS text)] AND cardinality(scopes) > 1"))
_QUEUE = text("INSERT INTO brainops.memory_outbox (source, source_id) SELECT 'memory', unnest(CAST(:ids AS uuid[]))")

_MESSAGES = text("SELECT id FROM brainops.messages WHERE session_id = ANY(:sessions)")

_EPISODES = text("SELECT key, messages FROM brainops.episodes WHERE session_id = ANY(:sessions)")

# An artifact is kept once for all who have the same content: it goes with the last who refers to it.
_ARTIFACTS = text("""
    WITH brought AS (
        SELECT key FROM brainops.artifacts WHERE session_id = ANY(:sessions)
        UNION SELECT unnest(artifacts) FROM brainops.episodes WHERE session_id = ANY(:sessions)
        UNION SELECT part->>'key' FROM brainops.messages CROSS JOIN LATERAL jsonb_array_elements(parts) AS part
            WHERE session_id = ANY(:sessions) AND part->>'type' = 'artifact_ref'
    ), used AS (
        SELECT unnest(artifacts) AS key FROM brainops.episodes WHERE NOT session_id = ANY(:sessions)
        UNION SELECT part->>'key' FROM brainops.messages CROSS JOIN LATERAL jsonb_array_elements(parts) AS part
            WHERE NOT session_id = ANY(:sessions) AND part->>'type' = 'artifact_ref' AND EXISTS (SELECT FROM brought)
    )
    SELECT key FROM brainops.artifacts WHERE key IN (SELECT key FROM brought) AND key NOT IN (SELECT key FROM used)
""")

_OF_SESSIONS = "session_id = ANY(:sessions)"
_OF_SCOPE = "scope = :scope AND NOT session_id = ANY(:held)"
_NOT_HELD = "NOT tags @> ARRAY[CAST(:hold AS text)]"

_WITHDRAW = text("""
    UPDATE brainops.memory_chunks
    SET removed = true, terms = '', embedding = NULL, scopes = '{}', owner = '', session_id = '', agent = '', task_type = '',
        outcome = '', provider = '', cost = NULL, changed = (pg_current_xact_id()::text)::bigint
    WHERE NOT removed AND (source = 'message' AND session_id = ANY(:sessions) OR source_id = ANY(:ids))
""")

_ROWS: tuple[tuple[str, TextClause], ...] = (
    ("memories", text("DELETE FROM brainops.persistent_memory WHERE id = ANY(:memories)")),
    ("chunks", _WITHDRAW),
    ("others", text("DELETE FROM brainops.memory_outbox WHERE source_id = ANY(:ids)")),
    ("others", text("DELETE FROM brainops.message_deltas WHERE message_id = ANY(:messages)")),
    ("messages", text("DELETE FROM brainops.messages WHERE session_id = ANY(:sessions)")),
    (
        "others",
        text(f"DELETE FROM brainops.context_snapshots WHERE ({_OF_SESSIONS} OR {_OF_SCOPE}) AND {_NOT_HELD}"),  # noqa: S608
    ),
    ("others", text(f"DELETE FROM brainops.todos WHERE {_OF_SESSIONS} OR {_OF_SCOPE}")),  # noqa: S608
    ("others", text(f"DELETE FROM brainops.work_items WHERE {_OF_SESSIONS} OR {_OF_SCOPE}")),  # noqa: S608
    ("others", text("DELETE FROM brainops.working_memory WHERE session_id = ANY(:sessions)")),
    # What repeats was written down with where it was seen.
    (
        "others",
        text("""
            UPDATE brainops.proposals SET what = '', why = '', evidence = '{}', change = '{}', expected_effect = '',
                updated_at = clock_timestamp()
            WHERE what <> '' AND EXISTS (
                SELECT FROM regexp_matches(evidence::text || change::text, '"([^"]+)"', 'g') AS names
                WHERE names[1] = ANY(CAST(:sessions AS text[]) || CAST(:ids AS text[]))
            )
        """),
    ),
    ("artifacts", text("DELETE FROM brainops.artifacts WHERE key = ANY(:artifacts)")),
    ("episodes", text("DELETE FROM brainops.episodes WHERE session_id = ANY(:sessions)")),
    ("sessions", text("DELETE FROM brainops.sessions WHERE id = ANY(:sessions)")),
)

_LEFT = text(f"""
    SELECT (SELECT count(*) FROM brainops.persistent_memory WHERE id = ANY(:memories) OR source_session = ANY(:sessions)
            AND {_NOT_HELD})
        + (SELECT count(*) FROM brainops.memory_chunks
            WHERE NOT removed AND (source_id = ANY(:ids) OR source = 'message' AND session_id = ANY(:sessions)))
        + (SELECT count(*) FROM brainops.memory_outbox WHERE source_id = ANY(:ids))
        + (SELECT count(*) FROM brainops.message_deltas WHERE message_id = ANY(:messages))
        + (SELECT count(*) FROM brainops.messages WHERE id = ANY(:messages) OR {_OF_SESSIONS})
        + (SELECT count(*) FROM brainops.context_snapshots WHERE ({_OF_SESSIONS} OR {_OF_SCOPE}) AND {_NOT_HELD})
        + (SELECT count(*) FROM brainops.todos WHERE {_OF_SESSIONS} OR {_OF_SCOPE})
        + (SELECT count(*) FROM brainops.work_items WHERE {_OF_SESSIONS} OR {_OF_SCOPE})
        + (SELECT count(*) FROM brainops.working_memory WHERE {_OF_SESSIONS})
        + (SELECT count(*) FROM brainops.artifacts WHERE key = ANY(:artifacts))
        + (SELECT count(*) FROM brainops.episodes WHERE {_OF_SESSIONS})
        + (SELECT count(*) FROM brainops.sessions WHERE id = ANY(:sessions))
""")  # noqa: S608 - made of constants


@dataclass
class _Doomed:
    """What goes."""

    scope: str = ""
    """Empty: no whole scope goes."""
    sessions: list[str] = field(default_factory=list[str])
    held_sessions: list[str] = field(default_factory=list[str])
    memories: list[UUID] = field(default_factory=list[UUID])
    messages: list[UUID] = field(default_factory=list[UUID])
    archived: int = 0
    """Messages in episodes."""
    artifacts: list[str] = field(default_factory=list[str])
    episodes: list[str] = field(default_factory=list[str])
    held: int = 0

    @property
    def values(self) -> dict[str, object]:
        return {
            "scope": self.scope,
            "sessions": self.sessions,
            "held": self.held_sessions,
            "memories": self.memories,
            "messages": self.messages,
            "ids": [*self.memories, *self.messages],
            "artifacts": self.artifacts,
            "hold": LEGAL_HOLD,
        }


class Forgetter:
    """Removes for good."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects

    async def forget(self, request: Forget) -> Forgotten:
        """Remove memories, a session with all that came of it, or a scope, and leave a receipt without content.

        Raises BadInputError unless exactly one of the three is named, NotFoundError for ids and sessions that there are
        not (then nothing is removed), and UnavailableError: then the same call may be repeated.
        """
        named = (bool(request.memory_ids), request.session_id is not None, request.scope is not None)
        if sum(named) != 1:
            raise BadInputError("memory_ids, session_id, scope: name exactly one of them")
        reason, _ = prepared_reason(request.reason)
        async with self._database.transaction() as connection:
            doomed = await _doomed(connection, request)
            counts = await _remove_rows(connection, doomed)
            await self._remove_objects([*doomed.artifacts, *doomed.episodes])
            ids = [*(str(one) for one in (*doomed.memories, *doomed.messages)), *doomed.sessions]
            key = await receipt(connection, ReceiptAction.FORGET, reason, counts | {"held": doomed.held}, ids)
        left = await self._left(doomed)
        told = {name: counts[name] for name in ("memories", "messages", "chunks", "artifacts", "episodes", "others")}
        return Forgotten(receipt=key, held=doomed.held, left=left, **told)

    async def _remove_objects(self, keys: Sequence[str]) -> None:
        """Raises UnavailableError after a while: who writes to these sessions, or indexes, waits for it meanwhile."""
        try:
            async with asyncio.timeout(REMOVAL_SECONDS):
                for first in range(0, len(keys), _AT_ONCE):
                    await asyncio.gather(*(self._objects.delete(key) for key in keys[first : first + _AT_ONCE]))
        except TimeoutError as error:
            raise UnavailableError(
                f"object storage did not remove {len(keys)} objects within {REMOVAL_SECONDS:g} s; forget again to go on"
            ) from error

    async def _left(self, doomed: _Doomed) -> int:
        """What a second look, after the commit, still finds."""
        rows = await self._database.read(_LEFT, {name: doomed.values[name] for name in _LEFT.compile().params})
        left: int = next(iter(rows[0].values()))
        keys = [*doomed.artifacts, *doomed.episodes]
        for first in range(0, len(keys), _AT_ONCE):
            left += sum(await asyncio.gather(*(self._objects.exists(key) for key in keys[first : first + _AT_ONCE])))
        return left


async def _doomed(connection: AsyncConnection, request: Forget) -> _Doomed:
    """What is named, locked, so that nothing is added to it meanwhile."""
    doomed = _Doomed(scope=request.scope or "")
    if request.memory_ids:
        await connection.execute(_NOT_AGAIN, {"ids": list(request.memory_ids), "field": FORGOTTEN})
        await connection.execute(LOCK_INDEX)
        found = await _choose_memories(connection, _MEMORIES_NAMED, {"ids": list(request.memory_ids)}, doomed)
        if missing := set(request.memory_ids) - found:
            raise NotFoundError(f"there is no memory {', '.join(sorted(map(str, missing)))}; nothing was forgotten")
        return doomed
    await _choose_sessions(connection, request, doomed)
    await connection.execute(LOCK_INDEX)
    values = {"sessions": doomed.sessions, "scope": doomed.scope}
    await _choose_memories(connection, _MEMORIES_TO_GO, values, doomed)
    if doomed.scope:
        moved = (await connection.execute(_ELSEWHERE, {"scope": doomed.scope, "hold": LEGAL_HOLD})).scalars().all()
        await connection.execute(_QUEUE, {"ids": list(moved)})
        await _choose_memories(connection, _DOUBLE, {"scope": doomed.scope}, doomed)
    doomed.messages = list((await connection.execute(_MESSAGES, {"sessions": doomed.sessions})).scalars())
    episodes = (await connection.execute(_EPISODES, {"sessions": doomed.sessions})).mappings().all()
    doomed.episodes = [row["key"] for row in episodes]
    doomed.archived = sum(row["messages"] for row in episodes)
    doomed.artifacts = list((await connection.execute(_ARTIFACTS, {"sessions": doomed.sessions})).scalars())
    return doomed


async def _choose_sessions(connection: AsyncConnection, request: Forget, doomed: _Doomed) -> None:
    if request.session_id is not None:
        values = {"session": request.session_id}
        rows = (await connection.execute(_SESSIONS_NAMED, values | {"hold": LEGAL_HOLD})).mappings().all()
        others: set[str] = set((await connection.execute(_LEFT_BEHIND, values)).scalars())
        if not rows and not others:
            raise NotFoundError(f"there is no session {request.session_id!r}; session_list shows those that there are")
    else:
        values = {"scope": doomed.scope}
        rows = (await connection.execute(_SESSIONS_OF_SCOPE, values | {"hold": LEGAL_HOLD})).mappings().all()
        others = set((await connection.execute(_EPISODES_OF_SCOPE, values)).scalars())
    names = others | {row["id"] for row in rows}
    held_values = {"sessions": list(names), "hold": LEGAL_HOLD}
    held: set[str] = set((await connection.execute(_HELD_EPISODES, held_values)).scalars())
    held |= {row["id"] for row in rows if row["held"]}
    doomed.sessions = sorted(names - held)
    doomed.held_sessions = sorted(held)
    doomed.held += sum(row["last_seq"] for row in rows if row["id"] in held)


async def _choose_memories(
    connection: AsyncConnection, query: TextClause, values: Mapping[str, object], doomed: _Doomed
) -> set[UUID]:
    """Take over what `query` finds, less what is held; all that it finds."""
    names = query.compile().params
    known = {name: value for name, value in {**values, "hold": LEGAL_HOLD}.items() if name in names}
    rows = (await connection.execute(query, known)).mappings().all()
    doomed.memories = list(dict.fromkeys([*doomed.memories, *(row["id"] for row in rows if not row["held"])]))
    doomed.held += sum(row["held"] for row in rows)
    return {row["id"] for row in rows}


async def _remove_rows(connection: AsyncConnection, doomed: _Doomed) -> dict[str, int]:
    counts: dict[str, int] = dict.fromkeys(
        ("memories", "messages", "chunks", "artifacts", "episodes", "sessions", "others"), 0
    )
    for name, statement in _ROWS:
        values = {key: doomed.values[key] for key in statement.compile().params}
        counts[name] += (await connection.execute(statement, values)).rowcount
    counts["messages"] += doomed.archived
    return counts
