"""Messages that are still being made: what was told is saved every 5 s, and survives a crash.

The row of such a message has its place in the session from the first call on. Its text lies beside it, in deltas, until
it is complete. Secrets are taken out of the text as a whole: where one comes in two halves, the deltas that hold the
first half are replaced.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.sql.elements import TextClause

from brainops.contracts.memory import Appended, StreamEnd, StreamText
from brainops.contracts.message import Message, MessageStatus, Part, Role, TextPart
from brainops.database.engine import Database
from brainops.database.values import to_json
from brainops.errors import BadInputError, ConflictError, NotFoundError, UnavailableError
from brainops.memory.intake import LONG_CHARACTERS, is_indexed, parts_as_json, parts_tokens, without_secrets
from brainops.memory.message_log import LOCK_SESSIONS, MessageLog, MessageRow
from brainops.memory.redaction import Redacted, redact
from brainops.memory.validation import MAX_MESSAGE_TEXT, checked_message, checked_text

SAVE_EVERY = timedelta(seconds=4.5)
"""What a crash takes is younger than 5 s: the rest is for the save itself."""

MOST_STREAMS = 1_000
"""Messages whose text is held between two calls; of the one that was silent longest, only what is saved is kept."""

MOST_INTERRUPTED = 500
"""That one sweep finishes."""

_STATE = text("""
    SELECT session_id, seq, role, status,
        coalesce((SELECT string_agg(text, '' ORDER BY characters) FROM brainops.message_deltas WHERE message_id = id), '') AS text,
        coalesce((SELECT max(characters) FROM brainops.message_deltas WHERE message_id = id), 0) AS told
    FROM brainops.messages WHERE id = :id
""")

# The session's lock comes first, as in every write to it.
_SAVE = text("""
    WITH message AS (
        SELECT id FROM brainops.messages WHERE id = :id AND status = 'streaming'
    ), replaced AS (
        DELETE FROM brainops.message_deltas
        WHERE CAST(:anew AS boolean) AND message_id IN (SELECT id FROM message) AND characters <> :told
    ), saved AS (
        INSERT INTO brainops.message_deltas (message_id, characters, text) SELECT id, :told, :text FROM message
        ON CONFLICT (tenant_id, message_id, characters) DO UPDATE
        SET text = excluded.text, created_at = clock_timestamp()
    )
    SELECT id FROM message
""")

_END = text("""
    WITH message AS (
        UPDATE brainops.messages SET parts = CAST(:parts AS jsonb), status = :status
        WHERE id = :id AND status = 'streaming'
        RETURNING id, session_id, seq
    ), told AS (
        DELETE FROM brainops.message_deltas WHERE message_id IN (SELECT id FROM message)
    ), counted AS (
        UPDATE brainops.sessions SET
            redacted = redacted + :redacted,
            tokens_before = tokens_before + :tokens_before,
            tokens_after = tokens_after + :tokens_after,
            updated_at = clock_timestamp()
        FROM message WHERE sessions.id = message.session_id
    ), queued AS (
        INSERT INTO brainops.memory_outbox (source, source_id) SELECT 'message', id FROM message WHERE CAST(:indexed AS boolean)
    )
    SELECT seq FROM message
""")

_LOCK_STREAMING = text("""
    SELECT FROM brainops.sessions
    WHERE id IN (SELECT session_id FROM brainops.messages WHERE status = 'streaming') ORDER BY id FOR UPDATE
""")
_INTERRUPT = text("""
    WITH silent AS (
        SELECT session_id, seq,
            (SELECT string_agg(text, '' ORDER BY characters) FROM brainops.message_deltas WHERE message_id = id) AS told
        FROM brainops.messages
        WHERE status = 'streaming' AND greatest(
            created_at, (SELECT max(created_at) FROM brainops.message_deltas WHERE message_id = id)
        ) < clock_timestamp() - make_interval(secs => :seconds)
        ORDER BY created_at LIMIT :most
    ), message AS (
        UPDATE brainops.messages SET status = 'interrupted', parts = CASE
            WHEN coalesce(told, '') = '' THEN '[]'::jsonb
            ELSE jsonb_build_array(jsonb_build_object('type', 'text', 'text', told))
        END
        FROM silent WHERE messages.session_id = silent.session_id AND messages.seq = silent.seq
        RETURNING messages.id, messages.session_id, messages.role, coalesce(told, '') AS told
    ), gone AS (
        DELETE FROM brainops.message_deltas WHERE message_id IN (SELECT id FROM message)
    ), counted AS (
        UPDATE brainops.sessions SET
            tokens_before = tokens_before + added.tokens,
            tokens_after = tokens_after + added.tokens,
            updated_at = clock_timestamp()
        FROM (SELECT session_id, sum((length(told) + 3) / 4) AS tokens FROM message GROUP BY session_id) AS added
        WHERE sessions.id = added.session_id
    ), queued AS (
        INSERT INTO brainops.memory_outbox (source, source_id)
        SELECT 'message', id FROM message WHERE role <> 'system' AND btrim(told) <> ''
    )
    SELECT id FROM message
""")


@dataclass
class _Stream:
    """A message that is being made, as this process knows it."""

    id: UUID
    session_id: str
    seq: int
    role: Role
    pieces: list[str] = field(default_factory=list[str])
    """All that was told; of what an earlier process heard, what it saved."""
    size: int = 0
    """Of the pieces, in bytes."""
    told: int = 0
    """Characters that the writer told, in all."""
    saved: str | None = None
    """What the deltas say. None: not known, since the answer to the last save was lost."""
    saved_told: int = -1
    saved_at: float = 0.0
    timer: asyncio.TimerHandle | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def text(self) -> str:
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""


class StreamLog:
    """Keeps partial text. Belongs to the event loop that first uses it."""

    def __init__(self, database: Database, log: MessageLog, *, save_every: timedelta = SAVE_EVERY) -> None:
        self._database = database
        self._log = log
        self._save_every = save_every.total_seconds()
        self._streams: OrderedDict[UUID, _Stream] = OrderedDict()
        self._saving: set[asyncio.Task[None]] = set()

    async def tell(self, request: StreamText) -> Appended:
        """More text. The first call begins the message, and its text is saved at once.

        With `offset`, a repeated call changes nothing. Raises ConflictError when the message is finished, belongs to
        another session, or `offset` leaves a gap: then the error says from where to tell again. When it raises
        UnavailableError, the text was not taken.
        """
        checked_text(request.text, "text", MAX_MESSAGE_TEXT, may_be_blank=True)
        while True:
            stream = self._streams.get(request.message_id) or await self._begin(request)
            async with stream.lock:
                if self._streams.get(stream.id) is not stream:
                    continue  # ended, or put away, while this call waited
                self._streams.move_to_end(stream.id)
                _check_session(stream, request.session_id)
                await self._take(stream, _addition(stream, request))
            await self._put_oldest_away()
            return Appended(seqs=(stream.seq,), ids=(stream.id,))

    async def end(self, request: StreamEnd) -> Appended:
        """The message is complete, or cut off: its text goes into its row. Ending it again changes nothing.

        Raises NotFoundError for a message that was never begun, and ConflictError when less is there than `offset` says.
        """
        if request.parts:
            checked_message(Message(role=Role.ASSISTANT, parts=request.parts))
        stream, status = self._streams.get(request.message_id), MessageStatus.STREAMING
        if stream is None:
            stream, status = await self._known(request.message_id)
        async with stream.lock:
            _check_session(stream, request.session_id)
            if status is MessageStatus.STREAMING and request.offset is not None:
                _check_offset(stream, request.offset)
            appended = await self._end(stream, request)
            self._forget(stream)
        return appended

    async def interrupt_stale(self, older_than: timedelta) -> int:
        """Mark messages of which nothing was heard for so long as interrupted; what they had said is there.

        At most 500 at once; says how many.
        """
        values = {"seconds": older_than.total_seconds(), "most": MOST_INTERRUPTED}
        rows = await self._database.write_rows((_LOCK_STREAMING, _INTERRUPT), values)
        for (id_,) in rows:
            if stream := self._streams.get(id_):
                self._forget(stream)
        return len(rows)

    async def close(self) -> None:
        """Save what was told and not yet saved. The messages may be continued afterwards, also by another process.

        Raises UnavailableError when some could not be saved.
        """
        unsaved = 0
        for stream in list(self._streams.values()):
            async with stream.lock:
                unsaved += not await self._saved(stream)
                self._forget(stream)
        while self._saving:
            await asyncio.wait(self._saving)
        if unsaved:
            raise UnavailableError(f"the last words of {unsaved} messages were not saved: Postgres does not answer")

    async def _begin(self, request: StreamText) -> _Stream:
        row = MessageRow(
            id=request.message_id,
            role=request.role.value,
            author=checked_text(request.author, "author", 800, may_be_blank=True),
            parts=[],
            at=request.at or datetime.now(UTC),
            status=MessageStatus.STREAMING.value,
            indexed=False,
        )
        placed = (await self._log.append(request.session_id, [row]))[row.id]
        if placed.fresh:
            stream = _Stream(row.id, request.session_id, placed.seq, request.role)
        else:
            try:
                stream, status = await self._known(row.id)
            except NotFoundError:  # it lies in object storage
                raise _finished(row.id) from None
            if status is not MessageStatus.STREAMING:
                raise _finished(row.id)
        return self._streams.setdefault(row.id, stream)

    async def _known(self, id_: UUID) -> tuple[_Stream, MessageStatus]:
        """A message that was begun before, with what is saved of it."""
        rows = await self._database.read(_STATE, {"id": id_})
        if not rows:
            raise NotFoundError(f"there is no message {id_}; begin it with session_stream")
        row = rows[0]
        stream = _Stream(
            id_,
            row["session_id"],
            row["seq"],
            Role(row["role"]),
            pieces=[row["text"]],
            size=len(row["text"].encode()),
            told=row["told"],
            saved=row["text"],
            saved_told=row["told"],
        )
        return stream, MessageStatus(row["status"])

    async def _take(self, stream: _Stream, addition: str) -> None:
        size = len(addition.encode())
        if stream.size + size > MAX_MESSAGE_TEXT:
            raise BadInputError(
                f"text: {stream.size + size:,} bytes with what was told before; at most {MAX_MESSAGE_TEXT:,};"
                " end this message and begin another"
            )
        before = (list(stream.pieces), stream.size, stream.told)
        stream.pieces.append(addition)
        stream.size += size
        stream.told += len(addition)
        wait = stream.saved_at + self._save_every - monotonic()
        if stream.told == stream.saved_told:
            return
        if stream.saved_told >= 0 and wait > 0:
            self._save_later(stream, wait)
            return
        try:
            await self._save(stream)
        except UnavailableError:
            stream.pieces, stream.size, stream.told = before
            raise

    def _save_later(self, stream: _Stream, wait: float) -> None:
        """A writer that falls silent must not keep its last words unsaved."""
        if stream.timer is None:
            stream.timer = asyncio.get_running_loop().call_later(wait, self._start_saving, stream)

    def _start_saving(self, stream: _Stream) -> None:
        stream.timer = None
        task = asyncio.create_task(self._save_unsaved(stream))
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)

    async def _save_unsaved(self, stream: _Stream) -> None:
        async with stream.lock:
            if self._streams.get(stream.id) is stream and not await self._saved(stream):
                self._save_later(stream, self._save_every)

    async def _saved(self, stream: _Stream) -> bool:
        """Save what is unsaved, for nobody who waits for it. False: Postgres does not answer."""
        try:
            if stream.told != stream.saved_told:
                await self._save(stream)
        except UnavailableError:
            return False
        except ConflictError:
            self._forget(stream)  # its writer hears of it when it tells more
        return True

    async def _save(self, stream: _Stream) -> None:
        redacted = (await _redacted(stream.text())).text
        anew = stream.saved is None or not redacted.startswith(stream.saved)
        values = {
            "sessions": [stream.session_id],
            "id": stream.id,
            "anew": anew,
            "told": stream.told,
            "text": redacted if anew or stream.saved is None else redacted[len(stream.saved) :],
        }
        stream.saved = None
        if not await self._written(_SAVE, values):
            self._forget(stream)
            raise _finished(stream.id)
        stream.saved, stream.saved_told, stream.saved_at = redacted, stream.told, monotonic()

    async def _end(self, stream: _Stream, request: StreamEnd) -> Appended:
        said = await _redacted(stream.text())
        others = [without_secrets(part) for part in request.parts]
        parts: list[Part] = [TextPart(text=said.text)] if said.text.strip() else []
        parts += [part for part, _ in others]
        before = parts_tokens([TextPart(text=stream.text()), *request.parts])
        redacted = said.count + sum(count for _, count in others)
        values = {
            "sessions": [stream.session_id],
            "id": stream.id,
            "parts": to_json(parts_as_json(parts)),
            "status": (MessageStatus.INTERRUPTED if request.interrupted else MessageStatus.COMPLETE).value,
            "indexed": is_indexed(Message(role=stream.role, parts=tuple(parts))),
            "redacted": redacted,
            "tokens_before": before,
            "tokens_after": parts_tokens(parts),
        }
        if not await self._written(_END, values):
            return Appended(seqs=(stream.seq,), ids=(stream.id,))
        return Appended(
            seqs=(stream.seq,),
            ids=(stream.id,),
            redacted=redacted,
            tokens_before=before,
            tokens_after=parts_tokens(parts),
        )

    async def _written(self, statement: TextClause, values: Mapping[str, object]) -> bool:
        return bool(await self._database.write_rows((LOCK_SESSIONS, statement), values))

    async def _put_oldest_away(self) -> None:
        if len(self._streams) <= MOST_STREAMS:
            return
        stream = next(iter(self._streams.values()))
        async with stream.lock:
            if await self._saved(stream):
                self._forget(stream)

    def _forget(self, stream: _Stream) -> None:
        if stream.timer is not None:
            stream.timer.cancel()
            stream.timer = None
        if self._streams.get(stream.id) is stream:
            del self._streams[stream.id]


async def _redacted(text_: str) -> Redacted:
    return redact(text_) if len(text_) <= LONG_CHARACTERS else await asyncio.to_thread(redact, text_)


def _finished(id_: UUID) -> ConflictError:
    return ConflictError(f"message {id_} is finished already; begin a new one with an id of its own")


def _check_session(stream: _Stream, session_id: str) -> None:
    if stream.session_id != session_id:
        raise ConflictError(
            f"message {stream.id} belongs to session {stream.session_id!r}, not to {session_id!r};"
            " give a new one an id of its own"
        )


def _addition(stream: _Stream, request: StreamText) -> str:
    """What of the text is new."""
    if request.offset is None:
        return request.text
    _check_offset(stream, request.offset)
    return request.text[stream.told - request.offset :]


def _check_offset(stream: _Stream, offset: int) -> None:
    if offset > stream.told:
        raise ConflictError(
            f"offset: {offset} leaves a gap, {stream.told} characters of message {stream.id} are kept;"
            f" tell again from {stream.told} on"
        )
    if offset < 0:
        raise BadInputError(f"offset: {offset}; 0 or the characters that were told before")
