"""API keys: shown once, kept as a hash, limited by scopes.

A secret is `bok_<id>_<random>`: the id finds the row, the hash of the whole is compared in constant time. The random
part has 256 bits, so a plain SHA-256 is enough: there is nothing to guess from a dictionary.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from datetime import datetime
from enum import StrEnum

from sqlalchemy import RowMapping, func, insert, or_, select, update
from sqlalchemy import text as sql

from brainops.access.tables import api_keys
from brainops.contracts.base import Contract
from brainops.database.engine import Database
from brainops.errors import BadInputError, NotFoundError

_SECRET = re.compile(r"bok_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_LONGEST_NAME = 100


class Scope(StrEnum):
    """What a key may do. Explicit sets: only `admin` includes the others."""

    READ = "read"
    OPERATE = "operate"
    APPROVE = "approve"
    ADMIN = "admin"


class ApiKey(Contract):
    """A key without its secret."""

    id: str
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    """To the minute."""
    revoked_at: datetime | None = None


class KeyStore:
    """Reads and writes `api_keys`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, name: str, scopes: Collection[Scope], expires_at: datetime | None = None
    ) -> tuple[ApiKey, str]:
        """Make a key; the secret is told here and never again. `expires_at`: default never.

        Raises BadInputError for an empty or overlong name and for no scopes.
        """
        if not name.strip() or len(name) > _LONGEST_NAME:
            raise BadInputError(
                f"a key's name has 1 to {_LONGEST_NAME} characters, not {len(name)}; say what it is for"
            )
        if not scopes:
            raise BadInputError(f"the key {name!r} has no scope; give one or more of {', '.join(Scope)}")
        key_id = secrets.token_hex(6)
        secret = f"bok_{key_id}_{secrets.token_urlsafe(32)}"
        values = {
            "id": key_id,
            "name": name.strip(),
            "scopes": sorted(scope.value for scope in scopes),
            "secret_sha256": _digest(secret),
            "expires_at": expires_at,
        }
        async with self._database.transaction() as connection:
            row = (await connection.execute(insert(api_keys).values(values).returning(api_keys))).mappings().one()
        return _key(row), secret

    async def verify(self, secret: str) -> ApiKey | None:
        """The key of a secret; None when it is unknown, expired or revoked. Notes its use at most once a minute."""
        match = _SECRET.fullmatch(secret)
        if match is None:
            return None
        valid = (
            api_keys.c.revoked_at.is_(None),
            or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.clock_timestamp()),
        )
        stale = or_(
            api_keys.c.last_used_at.is_(None),
            api_keys.c.last_used_at < func.clock_timestamp() - sql("interval '1 minute'"),
        )
        async with self._database.transaction() as connection:
            query = select(api_keys, stale.label("stale")).where(api_keys.c.id == match[1], *valid)
            row = (await connection.execute(query)).mappings().first()
            if row is None or not hmac.compare_digest(row["secret_sha256"], _digest(secret)):
                return None
            if row["stale"]:
                await connection.execute(
                    update(api_keys).where(api_keys.c.id == match[1]).values(last_used_at=func.clock_timestamp())
                )
        return _key(row)

    async def revoke(self, key_id: str) -> None:
        """End a key at once; again changes nothing. Raises NotFoundError."""
        statement = (
            update(api_keys)
            .where(api_keys.c.id == key_id)
            .values(revoked_at=func.coalesce(api_keys.c.revoked_at, func.clock_timestamp()))
        )
        async with self._database.transaction() as connection:
            if (await connection.execute(statement)).rowcount == 0:
                raise NotFoundError(f"there is no API key {key_id!r}; `brainops keys list` lists them")

    async def list(self) -> list[ApiKey]:
        """All keys, newest first, revoked and expired ones too."""
        rows = await self._database.read(select(api_keys).order_by(api_keys.c.created_at.desc()))
        return [_key(row) for row in rows]


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _key(row: RowMapping) -> ApiKey:
    return ApiKey.model_validate(dict(row))
