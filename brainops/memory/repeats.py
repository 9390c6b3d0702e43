"""What of the past repeats: the rows from which ContextKeeper decides what to merge and what to propose."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import RowMapping, text

from brainops.contracts.incident import EvidenceSummary
from brainops.contracts.keeping import (
    AskedQuestion,
    FinishedWork,
    MemoryText,
    RecurringFault,
    Repeated,
    SettledFault,
)
from brainops.database.engine import Database
from brainops.database.values import to_json
from brainops.memory.episodic import LEGAL_HOLD

MOST_QUESTIONS = 3_000
MOST_ROWS = 2_000
"""That are looked at in one round: the newest."""

NEAREST = 3
"""Memories with which a new one is compared: those with the nearest vectors, and any with the same words."""

LEAST_COSINE = 0.85
"""Below this two memories are not even looked at. Of word vectors' means; what is decided asks for more."""

MOST_SHOWN = 2_000
"""Characters of a question or an answer."""

_UNREAD = text("""
    SELECT id FROM brainops.sessions
    WHERE understood < last_seq AND (ended_at IS NOT NULL OR last_at < :quiet_since)
    ORDER BY updated_at, id LIMIT :limit
""")

_FRESH = text("""
    SELECT id, created_at FROM brainops.persistent_memory
    WHERE valid_to IS NULL AND (created_at, id) > (:after, CAST(:after_id AS uuid))
    ORDER BY created_at, id LIMIT :limit
""")

# Passages that are the whole of a memory; one that expires says something of a time and is left alone. Vectors come
# from the index: nothing is embedded here.
_PAIRS = text("""
    SELECT own.id, own.content, own.scopes, own.created_at, passage.terms, near.*
    FROM brainops.persistent_memory AS own
    JOIN brainops.memory_chunks AS passage ON passage.source_id = own.id AND passage.position = 0 AND NOT passage.removed
    CROSS JOIN LATERAL (
        SELECT other.id AS other_id, other.content AS other_content, other.created_at AS other_created_at,
            chunk.terms AS other_terms,
            CASE WHEN chunk.embedding_model = passage.embedding_model
                THEN 1 - (chunk.embedding OPERATOR(public.<=>) passage.embedding) END AS cosine
        FROM brainops.persistent_memory AS other
        JOIN brainops.memory_chunks AS chunk ON chunk.source_id = other.id AND chunk.position = 0 AND NOT chunk.removed
        WHERE (other.owner, other.scopes, other.kind, other.type, other.name)
            = (own.owner, own.scopes, own.kind, own.type, own.name)
            AND (other.created_at, other.id) < (own.created_at, own.id)
            AND other.valid_to IS NULL AND other.expires_at IS NULL AND NOT other.tags @> ARRAY[CAST(:hold AS text)]
            AND NOT EXISTS (SELECT FROM brainops.memory_chunks WHERE source_id = other.id AND position = 1 AND NOT removed)
        ORDER BY chunk.terms = passage.terms DESC, cosine DESC NULLS LAST, other.created_at LIMIT :nearest
    ) AS near
    WHERE own.id = ANY(:ids) AND own.valid_to IS NULL AND own.expires_at IS NULL
        AND NOT own.tags @> ARRAY[CAST(:hold AS text)]
        AND NOT EXISTS (SELECT FROM brainops.memory_chunks WHERE source_id = own.id AND position = 1 AND NOT removed)
        AND (near.cosine >= :least OR near.other_terms = passage.terms)
    ORDER BY own.created_at, own.id, near.cosine DESC NULLS LAST
""")

_QUESTIONS = text("""
    SELECT chunk.source_id AS message_id, chunk.session_id, chunk.seq, chunk.scopes[1] AS scope, chunk.owner, chunk.at,
        chunk.terms, left(said.text, :most_shown) AS text
    FROM brainops.memory_chunks AS chunk
    JOIN brainops.messages ON messages.id = chunk.source_id AND role = 'user' AND NOT from_memory
    CROSS JOIN LATERAL (
        SELECT string_agg(part->>'text', E'\\n') AS text FROM jsonb_array_elements(parts) AS part WHERE part->>'type' = 'text'
    ) AS said
    WHERE chunk.asks AND chunk.position = 0 AND NOT chunk.removed AND chunk.at >= :since
    ORDER BY chunk.at DESC, chunk.source_id LIMIT :most
""")

# What was said next by the assistant that is no mere call of a tool.
_ANSWERS = text("""
    SELECT asked.message_id, left(answer.text, :most_shown) AS text
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS asked(message_id uuid, session_id text, seq int)
    CROSS JOIN LATERAL (
        SELECT string_agg(part->>'text', E'\\n') AS text
        FROM (
            SELECT parts FROM brainops.messages
            WHERE session_id = asked.session_id AND seq BETWEEN asked.seq + 1 AND asked.seq + 20
                AND role = 'assistant' AND status = 'complete' AND parts @> '[{"type": "text"}]'
                AND NOT parts @> '[{"type": "tool_call"}]'
            ORDER BY seq LIMIT 1
        ) AS next CROSS JOIN LATERAL jsonb_array_elements(parts) AS part WHERE part->>'type' = 'text'
    ) AS answer
    WHERE answer.text <> ''
""")

_FAULTS = text("""
    SELECT service, signature, max(signature_description) AS description, count(*)::int AS count,
        (count(*) FILTER (WHERE status = 'resolved'))::int AS resolved,
        coalesce(mode() WITHIN GROUP (ORDER BY remedy) FILTER (WHERE status = 'resolved' AND remedy <> ''), '') AS remedy,
        (array_agg(plan_id ORDER BY opened_at DESC))[1:50] AS plans
    FROM brainops.incidents
    WHERE opened_at >= :since AND signature <> '' AND root_plan = plan_id AND status <> 'dismissed'
    GROUP BY service, signature HAVING count(*) >= :least ORDER BY count(*) DESC, service LIMIT 50
""")

_SETTLED = text("""
    SELECT incidents.plan_id, summary, substring(note FROM '^dismissed by person:[^:]*: (.*)$') AS reason
    FROM brainops.incidents JOIN brainops.incident_events USING (tenant_id, plan_id)
    WHERE closed_at >= :since AND incidents.status = 'dismissed' AND signature <> '' AND summary IS NOT NULL
        AND note LIKE 'dismissed by person:%' AND root_plan = plan_id
    ORDER BY closed_at DESC LIMIT :most
""")

_WORK = text("""
    SELECT id, scope, description, outcome, done_at FROM brainops.work_items
    WHERE state = 'done' AND NOT told AND done_at >= :since ORDER BY done_at DESC LIMIT :most
""")

_COUNT_INCIDENTS = text("""
    SELECT count(*) AS count FROM brainops.incidents
    WHERE opened_at >= :since AND opened_at < :until AND signature = :signature AND (:service = '' OR service = :service)
        AND root_plan = plan_id
""")

# What was merged into the memory that was kept: told once more in other words, each time.
_COUNT_DUPLICATES = text("""
    SELECT count(*) AS count FROM brainops.persistent_memory
    WHERE superseded_by = :keep AND created_at >= :since AND created_at < :until
""")

_LAST_ROUND = text("""
    SELECT max(started_at) AS at FROM brainops.work_history
    WHERE agent = 'context_keeper' AND action = 'merge_memories' AND success
""")

_OVERLAP = timedelta(days=1)
"""What a round looks at again of the one before it: its vectors may have come later than it."""

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class Pair(NamedTuple):
    """A new memory and an older one that is near it."""

    newer: MemoryText
    older: MemoryText
    cosine: float | None
    """None: one of them has no vector yet."""


class Place(NamedTuple):
    """How far the newest memories were compared."""

    created_at: datetime
    id: UUID


class RepeatStore:
    """Reads what repeats."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unread(self, quiet_since: datetime, limit: int) -> list[str]:
        """Sessions that are over, or quiet since then, and were not read to their end; the longest untouched first."""
        return [row["id"] for row in await self._database.read(_UNREAD, {"quiet_since": quiet_since, "limit": limit})]

    async def near_pairs(self, after: Place, limit: int) -> tuple[list[Pair], Place | None]:
        """Of the next `limit` current memories after a place, those that have a near one; and the place reached.

        None: there are no more. Near is what has the same owner, scopes, kind, type and name, and nearly the same vector
        or the very same words.
        """
        values = {"after": after.created_at, "after_id": after.id, "limit": limit}
        fresh = await self._database.read(_FRESH, values)
        if not fresh:
            return [], None
        ids = [row["id"] for row in fresh]
        values = {"ids": ids, "hold": LEGAL_HOLD, "nearest": NEAREST, "least": LEAST_COSINE}
        pairs = [_pair(row) for row in await self._database.read(_PAIRS, values)]
        return pairs, Place(fresh[-1]["created_at"], fresh[-1]["id"])

    async def questions(self, since: datetime) -> list[AskedQuestion]:
        """What people asked since then, as far as it stands in rows and in the index; the newest."""
        values = {"since": since, "most": MOST_QUESTIONS, "most_shown": MOST_SHOWN}
        return [
            AskedQuestion.model_validate({**row, "terms": tuple(row["terms"].split())})
            for row in await self._database.read(_QUESTIONS, values)
            if row["text"]
        ]

    async def answers(self, questions: Sequence[AskedQuestion]) -> dict[UUID, str]:
        """What was answered to each of `questions`, by its message; one without an answer is left out."""
        if not questions:
            return {}
        asked = [{"message_id": str(one.message_id), "session_id": one.session_id, "seq": one.seq} for one in questions]
        rows = await self._database.read(_ANSWERS, {"rows": to_json(asked), "most_shown": MOST_SHOWN})
        return {row["message_id"]: row["text"] for row in rows}

    async def faults(self, since: datetime, least: int) -> list[RecurringFault]:
        """Faults that opened `least` incidents of one service or more since then."""
        rows = await self._database.read(_FAULTS, {"since": since, "least": least})
        return [RecurringFault.model_validate(dict(row)) for row in rows]

    async def settled(self, since: datetime) -> list[SettledFault]:
        """Incidents that people dismissed since then with a reason, the oldest first."""
        rows = await self._database.read(_SETTLED, {"since": since, "most": MOST_ROWS})
        return [
            SettledFault(
                plan_id=row["plan_id"],
                signature=EvidenceSummary.model_validate(row["summary"]).signature,
                reason=row["reason"],
            )
            for row in reversed(rows)
            if row["reason"]
        ]

    async def finished_work(self, since: datetime) -> list[FinishedWork]:
        """Work that was claimed, and done since then; the newest."""
        rows = await self._database.read(_WORK, {"since": since, "most": MOST_ROWS})
        return [FinishedWork.model_validate(dict(row)) for row in rows]

    async def count(self, repeated: Repeated, since: datetime, until: datetime) -> int:
        """Incidents, or memories that were merged into the one that was kept, in a span of time."""
        values: dict[str, Any] = {"since": since, "until": until}
        if repeated.of == "incidents":
            values |= {"signature": repeated.signature, "service": repeated.service}
            rows = await self._database.read(_COUNT_INCIDENTS, values)
        else:
            rows = await self._database.read(_COUNT_DUPLICATES, values | {"keep": repeated.keep})
        return rows[0]["count"]

    async def compared_until(self) -> Place:
        """From where on memories are still to be compared."""
        (row,) = await self._database.read(_LAST_ROUND)
        return Place(_BEGINNING if row["at"] is None else row["at"] - _OVERLAP, UUID(int=0))


def _pair(row: RowMapping) -> Pair:
    scopes = tuple(row["scopes"])
    return Pair(
        newer=MemoryText(
            id=row["id"],
            content=row["content"],
            terms=tuple(row["terms"].split()),
            scopes=scopes,
            created_at=row["created_at"],
        ),
        older=MemoryText(
            id=row["other_id"],
            content=row["other_content"],
            terms=tuple(row["other_terms"].split()),
            scopes=scopes,
            created_at=row["other_created_at"],
        ),
        cosine=row["cosine"],
    )
