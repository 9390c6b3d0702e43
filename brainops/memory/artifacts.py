"""Artifacts: content that is too big for a row lies in object storage, and a reference stays in its place."""

import asyncio
import base64
import gzip
import hashlib
import zlib
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from sqlalchemy import RowMapping, select, text

from brainops.contracts.memory import Artifact
from brainops.contracts.message import ArtifactRefPart
from brainops.database.engine import Database
from brainops.errors import BadInputError, BrainOpsError, NotFoundError, UnavailableError
from brainops.memory.redaction import redact
from brainops.memory.tier_tables import artifacts
from brainops.storage.objects import ObjectStore

MOST_BYTES = 16 * 1024 * 1024
"""Of one artifact."""

MOST_FETCHED = 32 * 1024 * 1024
"""Of all that one call fetches."""

STORAGE_TIMEOUT_SECONDS = 5.0

_GZIP = 16 + zlib.MAX_WBITS

_KEEP = text("""
    INSERT INTO brainops.artifacts (key, sha256, bytes, media_type, session_id, message_id)
    VALUES (:key, :sha256, :bytes, :media_type, :session_id, :message_id)
    ON CONFLICT (tenant_id, key) DO NOTHING
""")


class ArtifactStore:
    """Keeps content under the hash of itself, compressed, and gives it back only when the hash is still right."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects

    async def put(
        self, content: bytes, media_type: str, session_id: str = "", message_id: UUID | None = None
    ) -> ArtifactRefPart:
        """Keep content without its secrets, and say where; the same content again is kept once.

        Its row names the session and message that brought it first. Raises BadInputError when it is too big, and
        UnavailableError when object storage does not answer within 5 s.
        """
        if len(content) > MOST_BYTES:
            raise BadInputError(f"artifact: {len(content):,} bytes; at most {MOST_BYTES:,}; split it")
        content, sha256, packed = await asyncio.to_thread(_packed, content)
        key = f"artifacts/{self._database.tenant_id}/{sha256[:2]}/{sha256}"
        try:
            async with asyncio.timeout(STORAGE_TIMEOUT_SECONDS):
                await self._objects.put(key, packed)
        except TimeoutError as error:
            raise UnavailableError(
                f"object storage did not take {key!r} within {STORAGE_TIMEOUT_SECONDS:g} s"
            ) from error
        values = {
            "key": key,
            "sha256": sha256,
            "bytes": len(content),
            "media_type": media_type,
            "session_id": session_id,
            "message_id": message_id,
        }
        await self._database.write(_KEEP, values)
        return ArtifactRefPart(key=key, bytes=len(content), media_type=media_type, sha256=sha256)

    async def fetch_many(self, keys: Sequence[str]) -> list[Artifact]:
        """The artifacts of this tenant among `keys`, in their order; others are left out.

        Raises BadInputError when they are more than 32 MB together, NotFoundError when object storage has lost one,
        BrainOpsError when what it has is not what was kept, and UnavailableError.
        """
        if not keys:
            return []
        found = await self._database.read(select(artifacts).where(artifacts.c.key.in_(keys)))
        rows = {row["key"]: row for row in found}
        total = sum(row["bytes"] for row in rows.values())
        if total > MOST_FETCHED:
            raise BadInputError(
                f"artifact_keys: {total:,} bytes together; at most {MOST_FETCHED:,}; fetch fewer at once"
            )
        return [await self._fetch(rows[key]) for key in dict.fromkeys(keys) if key in rows]

    async def _fetch(self, row: RowMapping) -> Artifact:
        try:
            packed = await self._objects.get(row["key"])
        except NotFoundError as error:
            raise NotFoundError(
                f"artifact {row['key']!r} is no longer in object storage; `brainops memory verify` lists all that are lost"
            ) from error
        return await asyncio.to_thread(_unpacked, packed, row)


def _packed(content: bytes) -> tuple[bytes, str, bytes]:
    """Content without secrets, its hash, and it compressed; the same for the same content."""
    with suppress(UnicodeDecodeError):  # not text: it has no words by which to find a secret
        content = redact(content.decode()).text.encode()
    return content, hashlib.sha256(content).hexdigest(), gzip.compress(content, mtime=0)


def _unpacked(packed: bytes, row: RowMapping) -> Artifact:
    # No further than it should be: what was put in its place may be made to fill the memory.
    unpacker = zlib.decompressobj(_GZIP)
    try:
        content = unpacker.decompress(packed, row["bytes"] + 1)
    except zlib.error:
        content = b""
    if hashlib.sha256(content).hexdigest() != row["sha256"]:
        raise BrainOpsError(
            f"artifact {row['key']!r} is not what was kept: its sha256 is another; restore the object from a backup"
        )
    try:
        words, encoded = content.decode(), None
    except UnicodeDecodeError:
        words, encoded = None, base64.b64encode(content).decode()
    return Artifact(
        key=row["key"],
        media_type=row["media_type"],
        bytes=row["bytes"],
        sha256=row["sha256"],
        text=words,
        base64=encoded,
    )
