"""The append path of messages: one statement, one round trip, and one commit for all who wait at the same time.

A session counts its own messages, so a message costs the same in a session of a hundred thousand as in an empty one.
What takes its time is the commit, and while one is under way others come in: they go with the next, together. Nobody
waits when nobody else is writing.
"""

import asyncio
import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import psycopg
from pydantic import JsonValue
from sqlalchemy import text

from brainops.database.engine import Database
from brainops.errors import BadInputError, BrainOpsError, ConflictError, NotFoundError, UnavailableError

MOST_WAITING = 1_000
"""Appends that may wait for the next commit; further ones wait to be let in."""

MOST_ROWS = 500
"""Messages of one commit; an append is never cut in two."""

MOST_CHARACTERS = 4_000_000
"""Of the messages of one commit, as JSON."""

# Plans are kept, and one that was made while a table was small must not read all of it when it is big.
_BY_INDEX = text("SELECT set_config('enable_seqscan', 'off', true)")

# A statement of its own, so that the next one sees what was committed while this one waited: sequence numbers have no
# gap, and the same id is found. In the order of the ids, so that nobody waits in a circle.
LOCK_SESSIONS = text("SELECT FROM brainops.sessions WHERE id = ANY(:sessions) ORDER BY id FOR UPDATE")

# An append of which one id belongs to another session is left out whole. What a session has in object storage is known
# by the ids of its episodes, which are in the order of their places.
_STORE = text("""
    WITH offered AS MATERIALIZED (
        SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS offered (
            append int, place int, session_id text, id uuid, role text, author text, parts jsonb, status text,
            from_memory boolean, indexed boolean, at timestamptz, redacted int, tokens_before int, tokens_after int
        )
    ), known AS MATERIALIZED (
        SELECT append, id, seq, stored.session_id = offered.session_id AS here
        FROM offered JOIN (
            SELECT id, seq, session_id FROM brainops.messages WHERE id = ANY(CAST(:ids AS uuid[]))
            UNION ALL
            SELECT archived.id, first_seq + archived.nth::int - 1, session_id
            FROM brainops.episodes CROSS JOIN LATERAL unnest(ids) WITH ORDINALITY AS archived (id, nth)
            WHERE session_id = ANY(:sessions) AND archived.id = ANY(CAST(:ids AS uuid[]))
        ) AS stored USING (id)
    ), fresh AS MATERIALIZED (
        SELECT offered.*, row_number() OVER (PARTITION BY session_id ORDER BY append, place)::int AS nth
        FROM offered
        WHERE id NOT IN (SELECT id FROM known) AND append NOT IN (SELECT append FROM known WHERE NOT here)
    ), counted AS (
        UPDATE brainops.sessions SET
            last_seq = last_seq + added.messages,
            last_at = greatest(last_at, added.at),
            redacted = sessions.redacted + added.redacted,
            tokens_before = sessions.tokens_before + added.tokens_before,
            tokens_after = sessions.tokens_after + added.tokens_after,
            ended_at = NULL,
            archived_at = NULL,
            updated_at = clock_timestamp()
        FROM (
            SELECT session_id, count(*)::int AS messages, max(at) AS at, sum(redacted)::int AS redacted,
                sum(tokens_before) AS tokens_before, sum(tokens_after) AS tokens_after
            FROM fresh GROUP BY session_id
        ) AS added
        WHERE sessions.id = added.session_id AND sessions.id = ANY(:sessions)
        RETURNING sessions.id AS session_id, sessions.last_seq - added.messages AS before
    ), stored AS (
        INSERT INTO brainops.messages (session_id, seq, id, role, author, parts, status, from_memory, at)
        SELECT session_id, before + nth, id, role, author, parts, status, from_memory, at
        FROM fresh JOIN counted USING (session_id) ORDER BY session_id, nth
        RETURNING id, seq
    ), queued AS (
        INSERT INTO brainops.memory_outbox (source, source_id)
        SELECT 'message', id FROM fresh JOIN counted USING (session_id) WHERE indexed ORDER BY append, place
    )
    SELECT id, seq, true, true FROM stored UNION ALL SELECT id, seq, here, false FROM known
""")
_APPEND = (_BY_INDEX, LOCK_SESSIONS, _STORE)


@dataclass(frozen=True)
class MessageRow:
    """A message as it is stored: without secrets, and pruned."""

    id: UUID
    role: str
    author: str
    parts: JsonValue
    at: datetime
    status: str = "complete"
    from_memory: bool = False
    indexed: bool = True
    """Whether it goes to the index of words and meanings."""
    redacted: int = 0
    tokens_before: int = 0
    tokens_after: int = 0


class Place(NamedTuple):
    """Where a message stands."""

    seq: int
    fresh: bool
    """False: it had been stored before."""


@dataclass(frozen=True)
class _Append:
    session_id: str
    rows: tuple[MessageRow, ...]
    ids: frozenset[UUID]
    characters: int
    json_rows: tuple[str, ...]
    stored: asyncio.Future[dict[UUID, Place]]


class MessageLog:
    """Appends messages to sessions. Belongs to the event loop that first uses it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Append] = deque()
        self._let_in = asyncio.Semaphore(MOST_WAITING)
        self._writer: asyncio.Task[None] | None = None

    async def append(self, session_id: str, rows: Sequence[MessageRow]) -> dict[UUID, Place]:
        """Store the messages in order, all or none, and say where each stands; an id that is there stays as it is.

        Raises NotFoundError for no such session, ConflictError for an id that another session has, and
        UnavailableError when Postgres does not answer; the messages may have been stored all the same, and sending
        them again with the same ids is safe. A caller that is cancelled does not take its messages back.
        """
        async with self._let_in:
            append = _offered(session_id, rows)
            self._waiting.append(append)
            if self._writer is None:
                self._writer = asyncio.create_task(self._write_all())
            return await asyncio.shield(append.stored)

    async def settle(self) -> None:
        """Return when nothing waits to be written."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def _write_all(self) -> None:
        batch: list[_Append] = []
        try:
            while self._waiting:
                batch = self._next()
                await self._write(batch)
        except BaseException as error:
            for append in (*batch, *self._waiting):
                if not append.stored.done():
                    append.stored.set_exception(UnavailableError(f"the writer of messages ended: {error!r}"))
            self._waiting.clear()
            raise
        finally:
            self._writer = None

    def _next(self) -> list[_Append]:
        """The appends of the next commit. One that names an id of another of them has to wait until that is stored."""
        batch = [self._waiting.popleft()]
        ids = set(batch[0].ids)
        rows, characters = len(batch[0].rows), batch[0].characters
        while self._waiting:
            append = self._waiting[0]
            rows, characters = rows + len(append.rows), characters + append.characters
            if rows > MOST_ROWS or characters > MOST_CHARACTERS or not ids.isdisjoint(append.ids):
                break
            ids |= append.ids
            batch.append(self._waiting.popleft())
        return batch

    async def _write(self, batch: Sequence[_Append]) -> None:
        try:
            found = await self._send(batch)
        except UnavailableError as error:
            for append in batch:
                append.stored.set_exception(UnavailableError(str(error)))
        except (psycopg.Error, BrainOpsError) as error:
            await self._write_each(batch, error)
        else:
            for append in batch:
                _answer(append, found)

    async def _write_each(self, batch: Sequence[_Append], error: Exception) -> None:
        """One of several is refused: each goes alone, so that the others are stored."""
        if len(batch) > 1:
            for append in batch:
                await self._write([append])
            return
        (append,) = batch
        if not isinstance(error, psycopg.errors.UniqueViolation):
            append.stored.set_exception(_refused(append, error))
            return
        # Another session stored one of the ids at the same moment: now it is found.
        try:
            _answer(append, await self._send(batch))
        except (psycopg.Error, BrainOpsError) as again:
            append.stored.set_exception(_refused(append, again))

    async def _send(self, batch: Sequence[_Append]) -> dict[UUID, tuple[int, bool, bool]]:
        rows = (
            f'{{"append": {number}, "place": {place}, {row[1:]}'
            for number, append in enumerate(batch)
            for place, row in enumerate(append.json_rows)
        )
        values: Mapping[str, object] = {
            "sessions": list({append.session_id for append in batch}),
            "ids": [row.id for append in batch for row in append.rows],
            "rows": f"[{', '.join(rows)}]",
        }
        answer = await self._database.write_rows(_APPEND, values)
        return {id_: (seq, here, fresh) for id_, seq, here, fresh in answer}


def _offered(session_id: str, rows: Sequence[MessageRow]) -> _Append:
    unique = {row.id: row for row in reversed(rows)}
    kept = tuple(row for row in rows if unique[row.id] is row)
    json_rows = tuple(_as_json(session_id, row) for row in kept)
    return _Append(
        session_id=session_id,
        rows=kept,
        ids=frozenset(unique),
        characters=sum(map(len, json_rows)),
        json_rows=json_rows,
        stored=asyncio.get_running_loop().create_future(),
    )


def _as_json(session_id: str, row: MessageRow) -> str:
    values = {
        "session_id": session_id,
        "id": str(row.id),
        "role": row.role,
        "author": row.author,
        "parts": row.parts,
        "status": row.status,
        "from_memory": row.from_memory,
        "indexed": row.indexed,
        "at": row.at.isoformat(),
        "redacted": row.redacted,
        "tokens_before": row.tokens_before,
        "tokens_after": row.tokens_after,
    }
    return json.dumps(values)


def _answer(append: _Append, found: Mapping[UUID, tuple[int, bool, bool]]) -> None:
    elsewhere = [str(id_) for id_ in append.ids if id_ in found and not found[id_][1]]
    if elsewhere:
        append.stored.set_exception(
            ConflictError(
                f"another session has a message with the id {elsewhere[0]}; give a new one an id of its own, or none"
            )
        )
    elif not append.ids <= found.keys():
        append.stored.set_exception(no_session(append.session_id))
    else:
        append.stored.set_result({id_: Place(found[id_][0], found[id_][2]) for id_ in append.ids})


def no_session(session_id: str) -> NotFoundError:
    """The error for a session that was never begun."""
    return NotFoundError(f"there is no session {session_id!r}; begin it with session_start")


def _refused(append: _Append, error: Exception) -> Exception:
    if isinstance(error, psycopg.DataError):
        first_line = str(error).strip().splitlines()[0]
        return BadInputError(f"a message for session {append.session_id!r} cannot be stored: {first_line}")
    return error
