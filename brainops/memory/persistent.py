"""Persistent memory: what is known, told once, with the time during which it holds.

What is told again is only reinforced, also by many at once: the hash of the text is unique among the current rows of
a tenant, owner and scopes, inside the transaction. What is replaced stays, with the end of its validity. No model and
no index is on the way of a write: an outbox row says what the index has still to read.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

from sqlalchemy import RowMapping, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from brainops.contracts.base import Contract
from brainops.contracts.memory import Decide, Memory, MemoryKind, NewMemory, Remembered, Resolve, Supersede
from brainops.database.engine import Database
from brainops.database.values import to_json
from brainops.errors import BadInputError, ConflictError, NotFoundError
from brainops.memory.memory_rows import DECISION, Kept, as_memory, prepared, prepared_reason

MOST_AT_ONCE = 5_000
"""Memories in one transaction."""

# A row that is closed as it is written (`valid_to`) meets no other: only current rows are unique.
_REMEMBER = text("""
    WITH given AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(
            id uuid, kind text, type text, scopes text[], owner text, name text, aliases text[], content text, why text,
            data jsonb, importance float8, confidence float8, tags text[], pinned boolean, content_hash text,
            at timestamptz, valid_from timestamptz, valid_to timestamptz, expires_at timestamptz,
            resolved_at timestamptz, provenance jsonb, source_session text)
    ), kept AS (
        INSERT INTO brainops.persistent_memory AS known
            (id, kind, type, scopes, owner, name, aliases, content, why, data, importance, confidence, tags, pinned,
             content_hash, at, valid_from, valid_to, expires_at, resolved_at, provenance, source_session)
        SELECT id, kind, type, scopes, owner, name, aliases, content, why, data, importance, confidence, tags, pinned,
            decode(content_hash, 'hex'), at, valid_from, valid_to, expires_at, resolved_at, provenance, source_session
        FROM given WHERE NOT EXISTS (SELECT FROM brainops.persistent_memory AS same WHERE same.id = given.id)
        ORDER BY owner, scopes, content_hash
        ON CONFLICT (tenant_id, owner, scopes, content_hash) WHERE valid_to IS NULL DO UPDATE
        SET reinforced = known.reinforced + 1, updated_at = clock_timestamp(),
            importance = greatest(known.importance, excluded.importance),
            confidence = greatest(known.confidence, excluded.confidence),
            pinned = known.pinned OR excluded.pinned,
            expires_at = CASE WHEN excluded.expires_at IS NULL THEN NULL
                ELSE greatest(known.expires_at, excluded.expires_at) END,
            name = CASE WHEN known.name = '' THEN excluded.name ELSE known.name END,
            aliases = ARRAY(SELECT DISTINCT unnest(known.aliases || excluded.aliases) ORDER BY 1),
            tags = ARRAY(SELECT DISTINCT unnest(known.tags || excluded.tags) ORDER BY 1)
        RETURNING id, owner, scopes, encode(content_hash, 'hex') AS content_hash, valid_to, xmax = 0 AS created
    ), queued AS (
        INSERT INTO brainops.memory_outbox (source, source_id) SELECT 'memory', kept.id FROM kept JOIN given
            USING (owner, scopes, content_hash)
        WHERE kept.created OR given.name <> '' OR cardinality(given.aliases) > 0
    )
    SELECT id, owner, scopes, content_hash, valid_to IS NULL AS current, created FROM kept
""")

# One that expired holds no longer: what is told anew is a new row, beside the old with its own time.
_END_EXPIRED = text("""
    UPDATE brainops.persistent_memory AS known
    SET valid_to = greatest(known.valid_from, known.expires_at), updated_at = clock_timestamp()
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(owner text, scopes text[], content_hash text, at timestamptz)
    WHERE known.owner = given.owner AND known.scopes = given.scopes
        AND known.content_hash = decode(given.content_hash, 'hex')
        AND known.valid_to IS NULL AND known.expires_at <= given.at
""")

_CLOSE = text("""
    WITH closing AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
            AS closing(id uuid, at timestamptz, resolved boolean, reason text)
    ), locked AS (
        SELECT id FROM brainops.persistent_memory
        WHERE id IN (SELECT id FROM closing) AND valid_to IS NULL ORDER BY id FOR UPDATE
    ), closed AS (
        UPDATE brainops.persistent_memory AS known
        SET valid_to = greatest(known.valid_from, closing.at), updated_at = clock_timestamp(),
            resolved_at = CASE WHEN closing.resolved THEN greatest(known.valid_from, closing.at) END,
            data = CASE WHEN closing.reason = '' THEN known.data
                ELSE known.data || jsonb_build_object('resolution', closing.reason) END
        FROM closing JOIN locked USING (id) WHERE known.id = closing.id
        RETURNING known.id
    )
    INSERT INTO brainops.memory_outbox (source, source_id) SELECT 'memory', id FROM closed RETURNING source_id
""")

_REPLACED = text("""
    UPDATE brainops.persistent_memory AS known SET superseded_by = pairs.successor
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS pairs(id uuid, successor uuid)
    WHERE known.id = pairs.id AND known.superseded_by IS NULL AND pairs.successor <> pairs.id
""")

_LOCKED = text("SELECT * FROM brainops.persistent_memory WHERE id = :id FOR UPDATE")

_SUCCESSOR = text("""
    WITH RECURSIVE chain AS (
        SELECT id, superseded_by, 1 AS step FROM brainops.persistent_memory WHERE id = :id
        UNION ALL
        SELECT later.id, later.superseded_by, chain.step + 1 FROM chain
        JOIN brainops.persistent_memory AS later ON later.id = chain.superseded_by WHERE chain.step < 1000
    )
    SELECT id FROM chain ORDER BY step DESC LIMIT 1
""")

_MANY = text("SELECT * FROM brainops.persistent_memory WHERE id = ANY(:ids)")

_PRESENT = text("SELECT id FROM brainops.persistent_memory WHERE id = ANY(:ids)")

_HOLDING = """
    scopes && CAST(:scopes AS text[]) AND owner = ANY(:owners)
        AND valid_from <= :now AND (valid_to IS NULL OR valid_to > :now) AND (expires_at IS NULL OR expires_at > :now)
    ORDER BY valid_from DESC, id LIMIT :limit
"""
_CURRENT = text(f"""
    SELECT * FROM brainops.persistent_memory WHERE (CAST(:types AS text[]) = '{{}}' OR type = ANY(:types)) AND {_HOLDING}
""")  # noqa: S608 - made of constants

_TAKEN_BACK = text("""
    SELECT * FROM brainops.persistent_memory
    WHERE scopes && CAST(:scopes AS text[]) AND owner = ANY(:owners) AND valid_to > :since AND NOT data ? 'statement'
    ORDER BY valid_to DESC, id LIMIT :limit
""")

# Of a statement its JSON alone: a restore reads hundreds of them, and needs nothing else of their rows. What has expired
# is among them: that it holds no longer is worth a word, too.
_STATEMENTS = text("""
    SELECT data->>'statement' AS statement FROM brainops.persistent_memory
    WHERE data ? 'statement' AND scopes && CAST(:scopes AS text[]) AND owner = ANY(:owners)
        AND valid_from <= :now AND (valid_to IS NULL OR valid_to > :now)
    ORDER BY valid_from DESC, id LIMIT :limit
""")
_TOLD = text(f"""
    SELECT * FROM brainops.persistent_memory WHERE NOT data ? 'statement' AND {_HOLDING}
""")  # noqa: S608 - made of constants

_NAME_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('brainops.decision'), hashtext(:name))")

_CURRENT_DECISION = text("""
    SELECT * FROM brainops.persistent_memory
    WHERE scopes @> CAST(:scopes AS text[]) AND owner = '' AND type = 'decision' AND lower(name) = lower(:name)
        AND valid_to IS NULL AND id <> :id
    ORDER BY valid_from DESC, id LIMIT 1 FOR UPDATE
""")


class Closing(Contract):
    """A memory holds no longer."""

    id: UUID
    at: datetime
    """Since when; not before it began to hold."""
    superseded_by: UUID | None = None
    """What took its place; also one that is written in the same call."""
    resolved: bool = False
    """It was answered or done."""
    reason: str = ""


class PersistentStore:
    """Reads and writes `persistent_memory`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def remember(self, memory: NewMemory) -> Remembered:
        """Keep one memory, or reinforce the current one that says the same; redacted on the way in."""
        return (await self.remember_many([memory]))[0]

    async def remember_many(self, memories: Sequence[NewMemory]) -> list[Remembered]:
        """Keep all of `memories` in one transaction, in their order; answers as `remember`. At most `MOST_AT_ONCE`."""
        return await self.apply(memories, ())

    async def apply(self, new: Sequence[NewMemory], closed: Sequence[Closing]) -> list[Remembered]:
        """Keep `new` and end `closed` in one transaction; what is closed already stays as it is.

        One of `new` may be closed in the same call: it is then kept as something that held for a while.
        """
        if len(new) + len(closed) > MOST_AT_ONCE:
            raise BadInputError(f"{len(new) + len(closed)} memories at once; give at most {MOST_AT_ONCE:,}")
        if not new and not closed:
            return []
        now = datetime.now(UTC)
        endings = {ending.id: ending for ending in closed}
        rows = [_ended(row, endings.get(row.id)) for row in (prepared(memory, now) for memory in new)]
        try:
            async with self._database.transaction() as connection:
                return await _apply(connection, rows, closed)
        except IntegrityError:
            # Another call wrote the same id between our look and our insert: now it is there to be seen.
            async with self._database.transaction() as connection:
                return await _apply(connection, rows, closed)

    async def supersede(self, request: Supersede) -> Remembered:
        """Put `request.memory` in the place of another; what it leaves unsaid (scopes, name, kind …) stays the old's.

        Raises NotFoundError, ConflictError when the other does not hold any more (naming the one that does), and
        BadInputError for a time before the other began to hold. The same call with the id of the new memory again
        changes nothing.
        """
        async with self._database.transaction() as connection:
            old = await _locked(connection, request.id)
            if request.memory.id is not None and old["superseded_by"] == request.memory.id:
                return Remembered(id=request.memory.id, created=False)
            return await _replace(connection, old, request.memory, await _end(connection, old, request.at))

    async def resolve(self, request: Resolve) -> Remembered:
        """End what a memory says; nothing takes its place. One that is resolved already stays as it is.

        Raises NotFoundError, ConflictError when it was superseded, BadInputError for a time before it began to hold.
        """
        async with self._database.transaction() as connection:
            old = await _locked(connection, request.id)
            if old["resolved_at"] is None:
                at = await _end(connection, old, request.at)
                reason, redacted = prepared_reason(request.reason)
                await _close(connection, [Closing(id=request.id, at=at, resolved=True, reason=reason)])
                return Remembered(id=request.id, created=False, redacted=redacted)
        return Remembered(id=request.id, created=False)

    async def decide(self, request: Decide) -> Remembered:
        """Keep a decision; an earlier current one of the same `name` and scope is superseded by it.

        Raises as `supersede`, where `supersedes` is named or the earlier one was made later than `at`.
        """
        memory = NewMemory(
            content=request.decision,
            kind=MemoryKind.KNOWLEDGE,
            type=DECISION,
            scopes=(request.scope,),
            name=request.name,
            why=request.reason,
            importance=request.importance,
            provenance=request.provenance,
            data={"alternatives": list(request.alternatives)} if request.alternatives else {},
            at=request.at,
        )
        if request.supersedes is not None:
            return await self.supersede(Supersede(id=request.supersedes, memory=memory, at=request.at))
        if not request.name.strip():
            return await self.remember(memory)
        row = prepared(memory, datetime.now(UTC))
        values = {"scopes": [request.scope], "name": row.values["name"], "id": row.id}
        async with self._database.transaction() as connection:
            await connection.execute(_NAME_LOCK, {"name": f"{request.scope}\x1f{row.values['name'].lower()}"})
            old = (await connection.execute(_CURRENT_DECISION, values)).mappings().first()
            if old is None or old["content_hash"].hex() == row.values["content_hash"]:
                return (await _apply(connection, [row], ()))[0]
            return await _replace(connection, old, memory, await _end(connection, old, request.at))

    async def get_many(self, ids: Sequence[UUID]) -> list[Memory]:
        """The memories of `ids` that exist, in that order."""
        if not ids:
            return []
        rows = await self._database.read(_MANY, {"ids": list(ids)})
        found = {row["id"]: as_memory(row) for row in rows}
        return [found[one] for one in dict.fromkeys(ids) if one in found]

    async def current(
        self,
        scopes: Sequence[str],
        *,
        owner: str = "",
        types: Sequence[str] = (),
        now: datetime | None = None,
        limit: int = 200,
    ) -> list[Memory]:
        """What held in `scopes` at `now`, the newest first: everybody's, and the owner's. Default: of every type, now."""
        values = {
            "scopes": list(scopes),
            "owners": ["", owner],
            "types": list(types),
            "now": now or datetime.now(UTC),
            "limit": limit,
        }
        return [as_memory(row) for row in await self._database.read(_CURRENT, values)]

    async def statements(self, scopes: Sequence[str], *, owner: str, now: datetime, limit: int) -> list[str]:
        """Of what held or had expired by then and came from sessions, the statements as JSON, the newest first."""
        values = {"scopes": list(scopes), "owners": ["", owner], "now": now, "limit": limit}
        return [row["statement"] for row in await self._database.read(_STATEMENTS, values)]

    async def told(self, scopes: Sequence[str], *, owner: str, now: datetime, limit: int) -> list[Memory]:
        """What held then and was told on purpose, the newest first."""
        values = {"scopes": list(scopes), "owners": ["", owner], "now": now, "limit": limit}
        return [as_memory(row) for row in await self._database.read(_TOLD, values)]

    async def taken_back(
        self, scopes: Sequence[str], *, owner: str = "", since: datetime, limit: int = 200
    ) -> list[Memory]:
        """What was told on purpose and has been superseded or resolved after `since`, the latest first."""
        values = {"scopes": list(scopes), "owners": ["", owner], "since": since, "limit": limit}
        return [as_memory(row) for row in await self._database.read(_TAKEN_BACK, values)]


async def _apply(connection: AsyncConnection, rows: Sequence[Kept], closed: Sequence[Closing]) -> list[Remembered]:
    own = {row.id for row in rows}
    await _close(connection, [ending for ending in closed if ending.id not in own])
    remembered = await _insert(connection, rows)
    became = {row.id: answer.id for row, answer in zip(rows, remembered, strict=True)}
    pairs = [
        (ending.id, became.get(ending.superseded_by, ending.superseded_by)) for ending in closed if ending.superseded_by
    ]
    if pairs:
        told = [{"id": str(old), "successor": str(successor)} for old, successor in pairs]
        await connection.execute(_REPLACED, {"rows": to_json(told)})
    return remembered


async def _insert(connection: AsyncConnection, rows: Sequence[Kept]) -> list[Remembered]:
    if not rows:
        return []
    ids = {"ids": [row.id for row in rows]}
    there = {row["id"] for row in (await connection.execute(_PRESENT, ids)).mappings()}
    wanted: dict[object, Kept] = {}
    for row in rows:
        if row.id not in there:
            wanted.setdefault(row.key, row)
    values = {"rows": to_json([row.values for row in wanted.values()])}
    await connection.execute(_END_EXPIRED, values)
    kept = (await connection.execute(_REMEMBER, values)).mappings().all()
    created = {row["id"] for row in kept if row["created"]}
    current: dict[object, UUID] = {
        (row["owner"], tuple(row["scopes"]), row["content_hash"]): row["id"] for row in kept if row["current"]
    }
    # Neither created, present nor equal: another call has written this id in between.
    return [
        Remembered(
            id=row.id if row.id in created or row.id in there else current.get(row.key, row.id),
            created=row.id in created,
            redacted=row.redacted,
        )
        for row in rows
    ]


async def _close(connection: AsyncConnection, closed: Sequence[Closing]) -> None:
    if closed:
        await connection.execute(_CLOSE, {"rows": to_json(list({ending.id: ending for ending in closed}.values()))})


async def _replace(connection: AsyncConnection, old: RowMapping, memory: NewMemory, at: datetime) -> Remembered:
    """Close `old`, which is locked and holds, and put `memory` in its place."""
    unsaid = {name: old[name] for name in _INHERITED if name not in memory.model_fields_set}
    said = memory.model_dump(exclude_unset=True)
    successor = NewMemory.model_validate({**unsaid, **said, "valid_from": at, "id": memory.id or uuid4()})
    row = prepared(successor, datetime.now(UTC))
    ending = Closing(id=old["id"], at=at, superseded_by=row.id)
    return (await _apply(connection, [row], [ending]))[0]


_INHERITED = ("kind", "type", "scopes", "owner", "name", "aliases", "importance", "tags", "pinned")
"""What a new memory takes from the one whose place it takes, where it says nothing itself."""


async def _locked(connection: AsyncConnection, memory_id: UUID) -> RowMapping:
    row = (await connection.execute(_LOCKED, {"id": memory_id})).mappings().first()
    if row is None:
        raise NotFoundError(f"there is no memory {memory_id}; recall gives the ids of those that there are")
    return row


async def _end(connection: AsyncConnection, old: RowMapping, asked: datetime | None) -> datetime:
    """When a row that is locked and must hold comes to its end: as asked, else now."""
    if old["valid_to"] is not None:
        if old["superseded_by"] is None:
            raise ConflictError(f"memory {old['id']} holds no longer since {old['valid_to']:%Y-%m-%d %H:%M}")
        current = (await connection.execute(_SUCCESSOR, {"id": old["id"]})).scalar_one()
        raise ConflictError(f"memory {old['id']} was superseded; the current one is {current}: supersede that")
    began: datetime = old["valid_from"]
    if asked is None:
        return max(datetime.now(UTC), began)
    if asked < began:
        raise BadInputError(f"at: {asked.isoformat()} is before {began.isoformat()}, when {old['id']} began to hold")
    return asked


def _ended(row: Kept, ending: Closing | None) -> Kept:
    return row if ending is None else row.ended(ending.at, resolved=ending.resolved)
