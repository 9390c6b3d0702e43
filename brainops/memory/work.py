"""Work claims, so that the same work is not done twice: not by two agents at once, nor under another name."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

from sqlalchemy import RowMapping, insert, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from brainops.contracts import memory as m
from brainops.database.engine import Database
from brainops.errors import BadInputError, ConflictError, NotFoundError
from brainops.memory import work_states
from brainops.memory.ranking.embedding import Embedder, WordLlamaEmbedder
from brainops.memory.redaction import redact
from brainops.memory.tier_tables import work_items as table
from brainops.memory.validation import MAX_NAME_LENGTH, checked_text
from brainops.memory.work_likeness import WordVectors, WorkItem, same_work

MOST_NAMED, MOST_TOLD = 300, 700
"""Of a scope, the last ones that are compared: claims, and sentences of sessions. Talk must not crowd claims out."""

MOST_TEXT = 8_000
"""Bytes of a description, and of an outcome."""

TOLD_LEASE = timedelta(hours=24)
"""Who only said in a session that they are at it is believed for so long."""

_SAME_WORDS = "the same words"

_IDS = UUID("6a0ad4b2-6f0f-5c43-9b5d-0d8a4f6c1e27")

_LOCK = text("""
    SELECT pg_advisory_xact_lock(
        hashtext('brainops work'), hashtext(current_setting('brainops.tenant_id') || ' ' || :scope)
    )
""")

_EXPIRE = text("""
    UPDATE brainops.work_items SET state = 'released'
    WHERE scope = :scope AND state = 'claimed' AND lease_until <= :now
""")

# What is given up says nothing of the work, and a claim that ran out no longer stands. What people's own sessions say
# of work is theirs.
_KNOWN = text("""
    (
        SELECT * FROM brainops.work_items
        WHERE scope = :scope AND NOT told AND state IN ('claimed', 'done')
            AND (state <> 'claimed' OR lease_until IS NULL OR lease_until > :now)
        ORDER BY updated_at DESC LIMIT :most_named
    ) UNION ALL (
        SELECT * FROM brainops.work_items
        WHERE scope = :scope AND told AND (state <> 'claimed' OR lease_until > :now) AND NOT EXISTS (
            SELECT FROM brainops.sessions WHERE id = work_items.session_id AND owner NOT IN ('', :owner)
        )
        ORDER BY updated_at DESC LIMIT :most_told
    )
""")

_RENEW = text("""
    UPDATE brainops.work_items SET
        claimed_at = :now, lease_until = :lease_until, session_id = coalesce(nullif(:session_id, ''), session_id),
        updated_at = :now
    WHERE id = :id RETURNING *
""")

_FINISH = text("""
    UPDATE brainops.work_items SET state = :state, done_at = :at, outcome = :outcome, lease_until = NULL, updated_at = :at
    WHERE id = :id RETURNING *
""")

_ADD_DONE = text("""
    INSERT INTO brainops.work_items
        (id, scope, description, state, claimed_by, claimed_at, done_at, outcome, session_id, updated_at)
    VALUES (:id, :scope, :description, :state, :claimed_by, :at, :at, :outcome, :session_id, :at)
    ON CONFLICT (tenant_id, id) DO UPDATE SET
        state = excluded.state,
        done_at = CASE WHEN work_items.state = excluded.state THEN work_items.done_at ELSE excluded.done_at END,
        outcome = coalesce(nullif(excluded.outcome, ''), work_items.outcome)
    RETURNING *
""")


class WorkStore:
    """Reads and writes `work_items`. Belongs to the event loop that first uses it.

    Without an embedder, and with one that asks an endpoint, other words are known by stems and tables alone: how near
    two words are is measured for the static vectors of the default embedder only.
    """

    def __init__(self, database: Database, embedder: Embedder | None) -> None:
        self._database = database
        self._vectors = WordVectors(embedder.embed_now) if isinstance(embedder, WordLlamaEmbedder) else None
        self._comparing = asyncio.Lock()

    async def check(self, request: m.WorkCheck) -> m.WorkChecked:
        """Whether the work is done, or somebody is at it, perhaps in other words. Nothing is written."""
        description = _text(request.description, "description")
        now = request.at or datetime.now(UTC)
        async with self._database.transaction() as connection:
            rows = await _known(connection, request.scope, now, request.owner)
        match = await self._match(description, rows)
        return m.WorkChecked(duplicate=match is not None, match=match)

    async def claim(self, request: m.WorkClaim) -> m.WorkClaimed:
        """Say that one is at it. Granted to one, also when two ask at once in other words.

        The owner of a claim renews it by claiming again. `again` claims what was done before, but not what somebody
        else is at.
        """
        description = _text(request.description, "description")
        claimed_by = checked_text(request.claimed_by, "claimed_by", 4 * MAX_NAME_LENGTH)
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK, {"scope": request.scope})
            now = datetime.now(UTC)
            lease_until = now + timedelta(minutes=request.lease_minutes)
            await connection.execute(_EXPIRE, {"scope": request.scope, "now": now})
            rows = await _known(connection, request.scope, now)
            if request.again:
                rows = [row for row in rows if row["state"] != m.WorkState.DONE]
            match = await self._match(description, rows)
            if match is None:
                values = {
                    "id": uuid4(),
                    "scope": request.scope,
                    "description": description,
                    "state": m.WorkState.CLAIMED.value,
                    "claimed_by": claimed_by,
                    "claimed_at": now,
                    "lease_until": lease_until,
                    "session_id": _session(request.session_id),
                }
                await connection.execute(insert(table), values)
                return m.WorkClaimed(granted=True, item=m.WorkItem.model_validate(values))
            if match.item.state is m.WorkState.CLAIMED and match.item.claimed_by == claimed_by:
                values = {
                    "id": match.item.id,
                    "now": now,
                    "lease_until": lease_until,
                    "session_id": _session(request.session_id),
                }
                return m.WorkClaimed(
                    granted=True, item=_item((await connection.execute(_RENEW, values)).mappings().one())
                )
        return m.WorkClaimed(granted=False, item=match.item, match=match)

    async def done(self, request: m.WorkDone) -> m.WorkItem:
        """A piece of work is done, or given up; saying so again changes nothing.

        By `id`, or by its description: then one's own claim of it, if there is one, has come to its end. Raises
        NotFoundError for no such claim, and ConflictError when it is somebody else's.
        """
        values: dict[str, Any] = {
            "at": request.at or datetime.now(UTC),
            "outcome": _text(request.outcome, "outcome", may_be_blank=True),
            "state": (m.WorkState.RELEASED if request.released else m.WorkState.DONE).value,
            "claimed_by": checked_text(request.claimed_by, "claimed_by", 4 * MAX_NAME_LENGTH, may_be_blank=True),
        }
        if request.id is None:
            return await self._done_by_description(request, values)
        async with self._database.transaction() as connection:
            query = select(table).where(table.c.id == request.id).with_for_update()
            row = (await connection.execute(query)).mappings().one_or_none()
            if row is None:
                raise NotFoundError(f"there is no work {request.id}; work_check finds work by its description")
            if request.claimed_by and row["claimed_by"] not in ("", request.claimed_by):
                raise ConflictError(
                    f"work {request.id} is claimed by {row['claimed_by']!r}, not by {request.claimed_by!r}; leave"
                    " claimed_by out to end it in their place"
                )
            return await _finish(connection, row, values)

    async def note(self, scope: str, reported: Sequence[WorkItem], session_id: str) -> None:
        """Keep what a session said of work, with its state. The same report again changes nothing."""
        rows = [_told(scope, item, session_id) for item in reported]
        if not rows:
            return
        unique = list({row["id"]: row for row in rows}.values())
        async with self._database.transaction() as connection:
            await connection.execute(postgresql.insert(table).on_conflict_do_nothing(), unique)

    async def _done_by_description(self, request: m.WorkDone, values: dict[str, Any]) -> m.WorkItem:
        if not request.description:
            raise BadInputError("id, description: neither is given; name the claim by its id, or the work in words")
        description = _text(request.description, "description")
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK, {"scope": request.scope})
            rows = await _known(connection, request.scope, values["at"])
            own = [
                row
                for row in rows
                if row["state"] == m.WorkState.CLAIMED and not row["told"] and row["claimed_by"] == request.claimed_by
            ]
            match = await self._match(description, own)
            if match is not None:
                return await _finish(connection, next(row for row in own if row["id"] == match.item.id), values)
            values |= {
                "id": uuid5(_IDS, f"{request.scope}\x1f{request.claimed_by}\x1f{_normal(description)}"),
                "scope": request.scope,
                "description": description,
                "session_id": _session(request.session_id),
            }
            return _item((await connection.execute(_ADD_DONE, values)).mappings().one())

    async def _match(self, description: str, rows: Sequence[RowMapping]) -> m.WorkMatch | None:
        if not rows:
            return None
        wanted = _normal(description)
        taken = (m.WorkState.CLAIMED, m.WorkState.DONE)
        same = (row for row in rows if row["state"] in taken and not row["told"])
        if row := next((row for row in same if _normal(row["description"]) == wanted), None):
            return m.WorkMatch(item=_item(row), likeness=1.0, why=_SAME_WORDS)
        async with self._comparing:  # the vectors that it keeps are no matter for two threads
            match = await asyncio.to_thread(same_work, description, [_known_item(row) for row in rows], self._vectors)
        if match is None:
            return None
        row = next(row for row in rows if str(row["id"]) == match.item.key)
        return m.WorkMatch(item=_item(row), likeness=min(1.0, match.score), why=match.why)


async def _known(connection: AsyncConnection, scope: str, now: datetime, owner: str = "") -> Sequence[RowMapping]:
    values = {"scope": scope, "now": now, "owner": owner, "most_named": MOST_NAMED, "most_told": MOST_TOLD}
    return (await connection.execute(_KNOWN, values)).mappings().all()


async def _finish(connection: AsyncConnection, row: RowMapping, values: Mapping[str, object]) -> m.WorkItem:
    if row["state"] == values["state"]:
        return _item(row)
    return _item((await connection.execute(_FINISH, {**values, "id": row["id"]})).mappings().one())


def _item(row: RowMapping) -> m.WorkItem:
    return m.WorkItem.model_validate({**row})


def _known_item(row: RowMapping) -> WorkItem:
    done = row["state"] == m.WorkState.DONE
    return WorkItem(
        key=str(row["id"]),
        text=row["description"],
        state=work_states.WorkState(row["state"]),
        at=row["claimed_at"] if row["told"] else row["done_at"] if done else None,
        context=row["context"],
        told=row["told"],
        sure=row["sure"],
    )


def _told(scope: str, item: WorkItem, session_id: str) -> dict[str, Any]:
    at = item.at or datetime.now(UTC)
    when = item.at.isoformat() if item.at else ""
    claimed = item.state is work_states.WorkState.CLAIMED
    return {
        "id": uuid5(_IDS, f"{scope}\x1f{session_id}\x1f{when}\x1f{item.state.value}\x1f{item.text}"),
        "scope": scope,
        "description": item.text,
        "state": item.state.value,
        "claimed_at": at,
        "lease_until": at + TOLD_LEASE if claimed else None,
        "done_at": at if item.state is work_states.WorkState.DONE else None,
        "session_id": session_id,
        "told": True,
        "context": item.context,
        "sure": item.sure,
        "updated_at": at,
    }


def _text(given: str, field: str, *, may_be_blank: bool = False) -> str:
    return redact(checked_text(given, field, MOST_TEXT, may_be_blank=may_be_blank)).text.strip()


def _session(session_id: str) -> str:
    return checked_text(session_id, "session_id", 4 * MAX_NAME_LENGTH, may_be_blank=True)


def _normal(description: str) -> str:
    return " ".join(description.casefold().split()).rstrip(".!")
