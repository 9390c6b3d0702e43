"""Sessions: what was said, in order, and nothing of it is ever lost or changed."""

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from pydantic import JsonValue
from sqlalchemy import RowMapping, Select, case, func, select, text, tuple_

from brainops.contracts import memory as m
from brainops.contracts.message import MessageStatus, StoredMessage, TextPart
from brainops.database.engine import Database
from brainops.database.values import to_json
from brainops.errors import BadInputError
from brainops.memory.artifacts import ArtifactStore
from brainops.memory.cursors import message_cursor, message_place, session_cursor, session_place
from brainops.memory.episodic import EpisodeStore
from brainops.memory.intake import Intake, value_without_secrets
from brainops.memory.message_log import MessageLog, no_session
from brainops.memory.redaction import redact
from brainops.memory.streams import SAVE_EVERY, StreamLog
from brainops.memory.tier_tables import message_deltas, messages, sessions
from brainops.memory.validation import MAX_NAME_LENGTH, checked_text, checked_value

PAGE = 500
"""Messages that are read at once."""

# A session that is begun again keeps what it has. Its scope counts as empty while it is the default and nothing was
# said in it; its owner likewise: what everybody has seen does not become somebody's own.
_START = text("""
    INSERT INTO brainops.sessions (id, agent, scope, owner, title, metadata, started_at, last_at)
    VALUES (:id, :agent, :scope, :owner, :title, CAST(:metadata AS jsonb), :at, :at)
    ON CONFLICT (tenant_id, id) DO UPDATE SET
        agent = coalesce(nullif(sessions.agent, ''), excluded.agent),
        scope = CASE
            WHEN sessions.scope = :default_scope AND sessions.last_seq = 0 THEN excluded.scope ELSE sessions.scope
        END,
        owner = CASE WHEN sessions.owner = '' AND sessions.last_seq = 0 THEN excluded.owner ELSE sessions.owner END,
        title = coalesce(nullif(sessions.title, ''), excluded.title),
        metadata = excluded.metadata || sessions.metadata,
        ended_at = NULL,
        updated_at = clock_timestamp()
    RETURNING *
""")

_END = text("""
    UPDATE brainops.sessions SET ended_at = coalesce(ended_at, :at), updated_at = clock_timestamp() WHERE id = :id
    RETURNING id
""")

_UNREAD = text("""
    SELECT id FROM brainops.sessions
    WHERE last_seq > understood AND archived_at IS NULL AND last_at < :before AND id <> ALL(CAST(:but AS text[]))
    ORDER BY last_at LIMIT :limit
""")

_UNDERSTOOD = text("""
    UPDATE brainops.sessions SET understood = greatest(understood, least(:seq, last_seq)), updated_at = clock_timestamp()
    WHERE id = :id
    RETURNING id
""")

_PUT_OFF = text("UPDATE brainops.sessions SET updated_at = clock_timestamp() WHERE id = :id")


class SessionStore:
    """Reads and writes `sessions`, `messages` and `message_deltas`. Belongs to the event loop that first uses it."""

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactStore,
        *,
        episodes: EpisodeStore | None = None,
        save_every: timedelta = SAVE_EVERY,
    ) -> None:
        self._database = database
        self._episodes = episodes
        self._intake = Intake(artifacts)
        self._log = MessageLog(database)
        self._streams = StreamLog(database, self._log, save_every=save_every)

    async def start(self, request: m.SessionStart) -> m.SessionInfo:
        """Begin a session, or take it up again: then only what was empty is added, and it is open again."""
        metadata = cast("JsonValue", request.metadata)
        size = len(checked_value(metadata, "metadata"))
        values = {
            "id": request.session_id,
            "agent": checked_text(request.agent, "agent", 4 * MAX_NAME_LENGTH, may_be_blank=True),
            "scope": request.scope,
            "default_scope": m.DEFAULT_SCOPE,
            "owner": checked_text(request.owner, "owner", 4 * MAX_NAME_LENGTH, may_be_blank=True),
            "title": redact(checked_text(request.title, "title", 4 * MAX_NAME_LENGTH, may_be_blank=True)).text,
            "metadata": to_json(await value_without_secrets(metadata, size)),
            "at": request.at or datetime.now(UTC),
        }
        async with self._database.transaction() as connection:
            return _info((await connection.execute(_START, values)).mappings().one())

    async def append(self, request: m.Append) -> m.Appended:
        """Append messages in order, all or none; an ended session is open again.

        An id that the session has already is stored once, as it was first, and answered with its place. Raises
        BadInputError, NotFoundError for no such session, ConflictError for an id of another session, and
        UnavailableError: then the same call with the same ids may be repeated.
        """
        rows = await self._intake.rows(request.session_id, request.messages)
        places = await self._log.append(request.session_id, rows)
        fresh = [row for row in {row.id: row for row in reversed(rows)}.values() if places[row.id].fresh]
        return m.Appended(
            seqs=tuple(places[row.id].seq for row in rows),
            ids=tuple(row.id for row in rows),
            redacted=sum(row.redacted for row in fresh),
            tokens_before=sum(row.tokens_before for row in fresh),
            tokens_after=sum(row.tokens_after for row in fresh),
        )

    async def stream(self, request: m.StreamText) -> m.Appended:
        """See `StreamLog.tell`."""
        return await self._streams.tell(request)

    async def end_stream(self, request: m.StreamEnd) -> m.Appended:
        """See `StreamLog.end`."""
        return await self._streams.end(request)

    async def interrupt_stale(self, older_than: timedelta) -> int:
        """See `StreamLog.interrupt_stale`."""
        return await self._streams.interrupt_stale(older_than)

    async def close(self) -> None:
        """Write what waits to be written. The store may be used again afterwards."""
        await self._streams.close()
        await self._log.settle()

    async def end(self, request: m.SessionEnd) -> None:
        """The session is over; ending it again changes nothing. Raises NotFoundError."""
        values = {"id": request.session_id, "at": request.at or datetime.now(UTC)}
        if not await self._database.write_rows((_END,), values):
            raise no_session(request.session_id)

    async def get(self, session_id: str) -> m.SessionInfo:
        """One session. Raises NotFoundError."""
        found = await self._database.read(select(sessions).where(sessions.c.id == session_id))
        if not found:
            raise no_session(session_id)
        return _info(found[0])

    async def unread(self, before: datetime, *, limit: int, but: Sequence[str] = ()) -> list[str]:
        """Sessions with messages that were not read for what to remember, quiet since `before`, the oldest first.

        `but`: those that are left out.
        """
        rows = await self._database.read(_UNREAD, {"before": before, "limit": limit, "but": list(but)})
        return [row["id"] for row in rows]

    async def list(self, request: m.ListSessions) -> m.SessionPage:
        """A page of sessions, the last used first."""
        query = select(sessions).order_by(sessions.c.last_at.desc(), sessions.c.id.desc()).limit(request.limit + 1)
        if request.scope is not None:
            query = query.where(sessions.c.scope == request.scope)
        if request.agent is not None:
            query = query.where(sessions.c.agent == request.agent)
        if request.before is not None:
            place = session_place(request.before, "before")
            query = query.where(tuple_(sessions.c.last_at, sessions.c.id) < place)
        found = [_info(row) for row in await self._database.read(query)]
        page = found[: request.limit]
        more = len(found) > len(page)
        return m.SessionPage(
            sessions=tuple(page), before=session_cursor(page[-1].last_at, page[-1].id) if more else None
        )

    async def messages(self, request: m.Messages) -> m.MessagePage:
        """A page of a session, oldest first; by default its last 20. Of a message in the making, what is saved.

        Raises BadInputError for a wrong cursor and for two of them, and NotFoundError for no such session.
        """
        if request.before is not None and request.after is not None:
            raise BadInputError("before, after: both are given; give one of them")
        session_id = request.session_id
        query = _messages().where(messages.c.session_id == session_id).limit(request.limit + 1)
        after = message_place(request.after, session_id, "after") if request.after is not None else None
        if after is not None:
            query = query.where(messages.c.seq > after).order_by(messages.c.seq)
        else:
            query = query.order_by(messages.c.seq.desc())
            if request.before is not None:
                query = query.where(messages.c.seq < message_place(request.before, session_id, "before"))
        found = [_message(row) for row in await self._database.read(query)]
        if after is not None:
            found = [*await self._archived_after(session_id, found, after, request.limit + 1), *found]
        else:
            found += await self._archived_before(session_id, found, request)
        page, more = found[: request.limit], len(found) > request.limit
        if not page:
            await self.get(session_id)
            return m.MessagePage(messages=())
        if after is not None:
            older, newer = True, more
        else:
            page.reverse()
            older, newer = more, request.before is not None
        return m.MessagePage(
            messages=tuple(page),
            before=message_cursor(session_id, page[0].seq) if older and page[0].seq > 1 else None,
            after=message_cursor(session_id, page[-1].seq) if newer else None,
        )

    async def get_messages(self, ids: Sequence[UUID]) -> Sequence[StoredMessage]:
        """The messages among `ids` that there are, in the order of `ids`."""
        if not ids:
            return []
        rows = await self._database.read(_messages().where(messages.c.id.in_(ids)))
        found = {row["id"]: _message(row) for row in rows}
        if self._episodes is not None and len(found) < len(set(ids)):
            archived = await self._episodes.find([id_ for id_ in ids if id_ not in found])
            found |= {message.id: message for message in archived}
        return [found[id_] for id_ in dict.fromkeys(ids) if id_ in found]

    async def events(self, session_id: str, after_seq: int = 0) -> AsyncGenerator[StoredMessage]:
        """The messages of a session after a place, in order, read in pages."""
        while True:
            query = (
                _messages()
                .where(messages.c.session_id == session_id, messages.c.seq > after_seq)
                .order_by(messages.c.seq)
                .limit(PAGE)
            )
            told = [_message(row) for row in await self._database.read(query)]
            archived = await self._archived_after(session_id, told, after_seq, PAGE)
            page = archived or told
            for message in page:
                yield message
            if not archived and len(told) < PAGE:
                return
            after_seq = page[-1].seq

    async def _archived_after(
        self, session_id: str, told: Sequence[StoredMessage], after: int, limit: int
    ) -> Sequence[StoredMessage]:
        """What comes between `after` and what was found in rows, at most `limit`: it lies in object storage."""
        if self._episodes is None or (told and told[0].seq <= after + 1):
            return []
        last = after + limit if not told else min(after + limit, told[0].seq - 1)
        return await self._episodes.read(session_id, first=after + 1, last=last)

    async def _archived_before(
        self, session_id: str, told: Sequence[StoredMessage], request: m.Messages
    ) -> Sequence[StoredMessage]:
        """What comes before what was found in rows, the newest first, as far as a page and one more are not full."""
        missing = request.limit + 1 - len(told)
        if self._episodes is None or missing <= 0 or (told and told[-1].seq == 1):
            return []
        if told:
            last = told[-1].seq - 1
        elif request.before is not None:
            last = message_place(request.before, session_id, "before") - 1
        else:
            last = (await self.get(session_id)).messages
        found = await self._episodes.read(session_id, first=max(1, last - missing + 1), last=last) if last else []
        return found[::-1]

    async def mark_understood(self, session_id: str, seq: int) -> None:
        """The session was read up to `seq` for what to remember; never back. Raises NotFoundError."""
        if not await self._database.write_rows((_UNDERSTOOD,), {"id": session_id, "seq": seq}):
            raise no_session(session_id)

    async def put_off(self, session_id: str) -> None:
        """The session could not be read for what to remember: others come first the next time."""
        await self._database.write(_PUT_OFF, {"id": session_id})


def _info(row: RowMapping) -> m.SessionInfo:
    return m.SessionInfo.model_validate({**row, "messages": row["last_seq"]})


def _messages() -> Select[*tuple[Any, ...]]:
    delta = message_deltas.c
    told = (
        select(func.string_agg(delta.text, text("'' ORDER BY characters")))
        .where(delta.message_id == messages.c.id)
        .scalar_subquery()
    )
    partial = case((messages.c.status == MessageStatus.STREAMING.value, told)).label("partial")
    return select(*messages.c, partial)


def _message(row: RowMapping) -> StoredMessage:
    message = StoredMessage.model_validate({**row})
    if row["partial"]:
        return message.model_copy(update={"parts": (TextPart(text=row["partial"]), *message.parts)})
    return message
