"""Episodes: messages of sessions that have been quiet for long, as gzip JSON in object storage.

An episode is written in full, and read back, before the rows go: the object first, then in one transaction its row, the
receipt and the removal of the messages. A crash before that transaction leaves an object that the next round writes
again under the same key; a crash after it leaves nothing to do. A long session, and one that was taken up again, has
several episodes, each from where the one before it ended.
"""

import asyncio
import gzip
import hashlib
import re
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from pydantic import ValidationError
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brainops.contracts.base import DEFAULT_TENANT, Contract
from brainops.contracts.memory import SessionInfo
from brainops.contracts.message import ArtifactRefPart, StoredMessage
from brainops.database.engine import Database
from brainops.database.values import to_json
from brainops.errors import BrainOpsError, NotFoundError
from brainops.memory.indexing import MOST_ATTEMPTS
from brainops.memory.receipts import ReceiptAction, receipt
from brainops.storage.objects import ObjectStore

LEGAL_HOLD = "legal-hold"
"""The tag that keeps a memory, and a session by its metadata's `tags`, from being archived or purged."""

MOST_MESSAGES = 1_000
"""Of one episode."""

MOST_CHARACTERS = 16_000_000
"""Of the parts of one episode as JSON; the first message is taken whatever its size."""

MOST_BYTES = 256_000_000
"""Of an episode that is read back, unpacked: what is larger was not written here."""

_GZIP = 16 + zlib.MAX_WBITS
_OTHERS = re.compile(r"[^A-Za-z0-9_-]")

_SESSION = text("""
    SELECT id, agent, scope, owner, title, metadata, last_seq AS messages, understood, started_at, last_at, ended_at,
        archived_at
    FROM brainops.sessions WHERE id = :session
""")

# Sessions whose words the index has not read yet, or that are still being told, wait.
_QUIET = text("""
    SELECT id FROM brainops.sessions AS quiet
    WHERE last_at < :before AND id > :after
        AND NOT coalesce(metadata->'tags' ? :hold, false)
        AND EXISTS (SELECT FROM brainops.messages WHERE session_id = quiet.id)
        AND NOT EXISTS (SELECT FROM brainops.messages WHERE session_id = quiet.id AND status = 'streaming')
        AND NOT EXISTS (
            SELECT FROM brainops.memory_outbox JOIN brainops.messages ON messages.id = source_id
            WHERE source = 'message' AND attempts < :tries AND session_id = quiet.id
        )
    ORDER BY id LIMIT :limit
""")

_NEXT = text("""
    SELECT id, session_id, seq, role, author, parts, status, from_memory, at, created_at FROM (
        SELECT *, sum(octet_length(parts::text)) OVER (ORDER BY seq) AS told, row_number() OVER (ORDER BY seq) AS nth
        FROM (
            SELECT * FROM brainops.messages WHERE session_id = :session ORDER BY seq LIMIT :most
        ) AS first
    ) AS counted WHERE told <= :characters OR nth = 1 ORDER BY seq
""")

_ALONE = text("SELECT pg_try_advisory_xact_lock(hashtext('brainops.archive'), hashtext(:session))")

_LOCK = text("SELECT FROM brainops.sessions WHERE id = :session AND last_at < :before FOR UPDATE")

_KEEP = text("""
    INSERT INTO brainops.episodes
        (id, agent, day, session_id, scope, key, sha256, bytes, first_seq, messages, tags, artifacts, ids, first_at,
         last_at, expires_at)
    VALUES (:id, :agent, :day, :session_id, :scope, :key, :sha256, :bytes, :first_seq, :messages, :tags, :artifacts, :ids,
        :first_at, :last_at, :expires_at)
""")

_REMOVE = text("""
    WITH gone AS (
        DELETE FROM brainops.messages WHERE session_id = :session AND seq BETWEEN :first AND :last RETURNING id
    ), partial AS (
        DELETE FROM brainops.message_deltas WHERE message_id IN (SELECT id FROM gone)
    )
    SELECT count(*) FROM gone
""")

_ARCHIVED = text("""
    UPDATE brainops.sessions SET archived_at = clock_timestamp(), updated_at = clock_timestamp()
    WHERE id = :session AND NOT EXISTS (SELECT FROM brainops.messages WHERE session_id = :session)
""")

_EPISODES = text("""
    SELECT * FROM brainops.episodes
    WHERE session_id = :session AND first_seq <= :last AND first_seq + messages > :first ORDER BY first_seq
""")

_PLACES = text("""
    SELECT DISTINCT source_id, session_id, seq FROM brainops.memory_chunks
    WHERE source_id = ANY(:ids) AND source = 'message' AND position = 0
""")

_END = 2_147_483_647


class Episode(Contract):
    """What stands in the object of an episode."""

    session: SessionInfo
    """As it was when this was written."""
    messages: tuple[StoredMessage, ...]


class EpisodeStore:
    """Writes and reads `episodes` and their objects."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects

    async def quiet(self, before: datetime, *, after: str = "", limit: int = 100) -> list[str]:
        """Sessions with messages in rows and none newer than `before`, by id from `after` on; held ones are left out."""
        values = {"before": before, "after": after, "hold": LEGAL_HOLD, "tries": MOST_ATTEMPTS, "limit": limit}
        return [row["id"] for row in await self._database.read(_QUIET, values)]

    async def archive(self, session_id: str, before: datetime, keep_for: timedelta) -> int:
        """Move the messages of a session that was quiet since `before` to object storage. Returns how many.

        `keep_for`: after its last message an episode may be purged. A session that was taken up again meanwhile is left
        as it is. Raises UnavailableError; what was moved by then stays moved, and the same call goes on.
        """
        moved = 0
        while count := await self._archive_next(session_id, before, keep_for):
            moved += count
        return moved

    async def read(self, session_id: str, *, first: int = 1, last: int = _END) -> list[StoredMessage]:
        """The archived messages of a session with places from `first` to `last`, in order; none: an empty list.

        Raises NotFoundError when an object is lost, BrainOpsError when it is not what was kept, and UnavailableError.
        """
        values = {"session": session_id, "first": first, "last": last}
        found: list[StoredMessage] = []
        for row in await self._database.read(_EPISODES, values):
            episode = await self._open(row)
            found += [message for message in episode.messages if first <= message.seq <= last]
        return found

    async def find(self, ids: Sequence[UUID]) -> list[StoredMessage]:
        """The archived messages among `ids` that the index knows, in the order of `ids`. Raises as `read`."""
        if not ids:
            return []
        places = await self._database.read(_PLACES, {"ids": list(ids)})
        wanted: dict[str, list[int]] = {}
        for place in places:
            wanted.setdefault(place["session_id"], []).append(place["seq"])
        found: dict[UUID, StoredMessage] = {}
        for session_id, seqs in wanted.items():
            read = await self.read(session_id, first=min(seqs), last=max(seqs))
            found |= {message.id: message for message in read}
        return [found[one] for one in dict.fromkeys(ids) if one in found]

    async def _archive_next(self, session_id: str, before: datetime, keep_for: timedelta) -> int:
        """The next episode of a session, or nothing while another process archives it."""
        values = {"session": session_id, "most": MOST_MESSAGES, "characters": MOST_CHARACTERS, "before": before}
        async with self._database.transaction() as connection:
            if not (await connection.execute(_ALONE, values)).scalar_one():
                return 0
            info = (await connection.execute(_SESSION, values)).mappings().first()
            rows = (await connection.execute(_NEXT, values)).mappings().all()
            if info is None or not rows:
                return 0
            messages = tuple(StoredMessage.model_validate(dict(row)) for row in rows)
            episode = Episode(session=SessionInfo.model_validate(dict(info)), messages=messages)
            packed = await asyncio.to_thread(_packed, episode)
            key = _key(self._database.tenant_id, episode)
            await self._objects.put(key, packed)
            if await self._objects.get(key) != packed:
                raise BrainOpsError(
                    f"object storage gives back something else than was put under {key!r}; look after it"
                )
            if (await connection.execute(_LOCK, values)).first() is None:
                return 0
            await connection.execute(_KEEP, _row(episode, key, packed, keep_for))
            await self._remove(connection, episode)
        return len(messages)

    async def _remove(self, connection: AsyncConnection, episode: Episode) -> None:
        kept = episode.messages
        values = {"session": episode.session.id, "first": kept[0].seq, "last": kept[-1].seq}
        gone = (await connection.execute(_REMOVE, values)).scalar_one()
        if gone != len(kept):
            raise BrainOpsError(
                f"session {episode.session.id!r} changed while it was archived: {gone} messages instead of {len(kept)}; "
                "nothing was removed, and the next round tries again"
            )
        await connection.execute(_ARCHIVED, {"session": episode.session.id})
        counts = {"episodes": 1, "messages": len(kept)}
        await receipt(connection, ReceiptAction.ARCHIVE, "quiet", counts, [str(message.id) for message in kept])

    async def _open(self, row: RowMapping) -> Episode:
        try:
            packed = await self._objects.get(row["key"])
        except NotFoundError as error:
            raise NotFoundError(
                f"episode {row['key']!r} is no longer in object storage; `brainops memory verify` lists all that are lost"
            ) from error
        if hashlib.sha256(packed).hexdigest() != row["sha256"]:
            raise BrainOpsError(
                f"episode {row['key']!r} is not what was kept: its sha256 is another; restore the object from a backup"
            )
        return await asyncio.to_thread(_unpacked, packed, row["key"])


def _row(episode: Episode, key: str, packed: bytes, keep_for: timedelta) -> dict[str, object]:
    kept = episode.messages
    last_at = max(message.at for message in kept)
    return {
        "id": uuid4(),
        "agent": episode.session.agent,
        "day": last_at.date(),
        "session_id": episode.session.id,
        "scope": episode.session.scope,
        "key": key,
        "sha256": hashlib.sha256(packed).hexdigest(),
        "bytes": len(packed),
        "first_seq": kept[0].seq,
        "messages": len(kept),
        "tags": tags_of(episode.session),
        "artifacts": sorted(
            {part.key for message in kept for part in message.parts if isinstance(part, ArtifactRefPart)}
        ),
        "ids": [message.id for message in kept],
        "first_at": min(message.at for message in kept),
        "last_at": last_at,
        "expires_at": max(last_at, episode.session.last_at) + keep_for,
    }


def tags_of(session: SessionInfo) -> list[str]:
    """The tags in a session's metadata; anything but a list of texts is none."""
    tags = session.metadata.get("tags")
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []


def _key(tenant_id: str, episode: Episode) -> str:
    """`episodes/<agent>/<day>/<session>.json.gz`; of a later part, the session with the place where it begins."""
    first = episode.messages[0].seq
    day = max(message.at for message in episode.messages).date()
    session = _segment(episode.session.id) + ("" if first == 1 else f".{first}")
    folder = "episodes" if tenant_id == DEFAULT_TENANT else f"tenants/{_segment(tenant_id)}/episodes"
    return f"{folder}/{_segment(episode.session.agent or 'none')}/{day:%Y-%m-%d}/{session}.json.gz"


def _segment(name: str) -> str:
    """A name as one segment of a key. What had to be changed carries a hash, so that no two become the same."""
    plain = _OTHERS.sub("_", name)[:150]
    return plain if plain == name else f"{plain}.{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _packed(episode: Episode) -> bytes:
    return gzip.compress(to_json(episode).encode(), mtime=0)


def _unpacked(packed: bytes, key: str) -> Episode:
    unpacker = zlib.decompressobj(_GZIP)
    try:
        content = unpacker.decompress(packed, MOST_BYTES)
        return Episode.model_validate_json(content)
    except (zlib.error, ValidationError) as error:
        raise BrainOpsError(f"episode {key!r} cannot be read back: {type(error).__name__}") from error
