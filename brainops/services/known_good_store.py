"""The good versions of declared files as rows; their contents stand in object storage."""

from datetime import datetime

from sqlalchemy import RowMapping, Select, select, text

from brainops.contracts.base import Contract
from brainops.database.engine import Database
from brainops.services.tables import known_good_files

VERSIONS_KEPT = 3
"""Good versions that are kept of each file."""

_SAVE = text("""
    INSERT INTO brainops.known_good_files
        (service, path, sha256, object_key, mode, size, kept_at, process_started_at)
    VALUES (:service, :path, :sha256, :object_key, :mode, :size, :kept_at, :process_started_at)
    ON CONFLICT (tenant_id, service, path, sha256) DO UPDATE
    SET object_key = excluded.object_key, mode = excluded.mode, kept_at = excluded.kept_at,
        process_started_at = excluded.process_started_at
""")

_PRUNE = text("""
    WITH forgotten AS (
        DELETE FROM brainops.known_good_files WHERE service = :service AND path = :path AND sha256 NOT IN (
            SELECT sha256 FROM brainops.known_good_files
            WHERE service = :service AND path = :path ORDER BY kept_at DESC LIMIT :keep
        )
        RETURNING object_key
    )
    SELECT object_key FROM forgotten
""")


class KnownGoodFile(Contract):
    """One version of a declared file that a healthy process has read."""

    service: str
    path: str
    """As declared."""
    sha256: str
    """Of the content, in hexadecimal digits."""
    object_key: str
    mode: int
    """Permission bits."""
    size: int
    """In bytes."""
    kept_at: datetime
    process_started_at: datetime | None = None
    """Start of the process that proved it."""


class KnownGoodStore:
    """Reads and writes `known_good_files`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, version: KnownGoodFile) -> None:
        """Keep a version; a content that is kept already becomes the newest again."""
        async with self._database.transaction() as connection:
            await connection.execute(_SAVE, version.model_dump())

    async def newest(self, service: str, path: str) -> KnownGoodFile | None:
        """The last version that was good; None when none was kept."""
        rows = await self._database.read(_versions(service, path).limit(1))
        return _version(rows[0]) if rows else None

    async def versions(self, service: str, path: str) -> list[KnownGoodFile]:
        """All that are kept, newest first."""
        return [_version(row) for row in await self._database.read(_versions(service, path))]

    async def prune(self, service: str, path: str, keep: int = VERSIONS_KEPT) -> list[str]:
        """Forget all but the newest `keep` versions. Returns the object keys that nobody needs any more."""
        async with self._database.transaction() as connection:
            found = await connection.execute(_PRUNE, {"service": service, "path": path, "keep": keep})
            return list(found.scalars())


def _versions(service: str, path: str) -> Select[*tuple[object, ...]]:
    return (
        select(known_good_files)
        .where(known_good_files.c.service == service, known_good_files.c.path == path)
        .order_by(known_good_files.c.kept_at.desc())
    )


def _version(row: RowMapping) -> KnownGoodFile:
    return KnownGoodFile.model_validate(dict(row))
