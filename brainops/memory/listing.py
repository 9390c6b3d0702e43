"""Looking through persistent memory by what it is, not by what it says: lists, and ids by their first characters."""

import re
from typing import Annotated
from uuid import UUID

from pydantic import Field
from sqlalchemy import text

from brainops.contracts.base import Contract
from brainops.contracts.memory import Memory, MemoryKind, Scope
from brainops.database.engine import Database
from brainops.errors import BadInputError, NotFoundError
from brainops.memory.memory_rows import as_memory

SHORTEST_PREFIX = 4

_MOST_NAMED = 5
"""Ids that are named when the first characters fit several."""

_LIST = text("""
    SELECT * FROM brainops.persistent_memory
    WHERE (CAST(:scope AS text) IS NULL OR scopes @> ARRAY[CAST(:scope AS text)])
        AND (CAST(:kinds AS text[]) = '{}' OR kind = ANY(:kinds))
        AND (CAST(:types AS text[]) = '{}' OR type = ANY(:types))
        AND tags @> CAST(:tags AS text[])
        AND (:past OR (valid_to IS NULL OR valid_to > now()) AND (expires_at IS NULL OR expires_at > now()))
    ORDER BY at DESC, id DESC LIMIT :limit
""")

_WITH_PREFIX = text("""
    (SELECT id FROM brainops.persistent_memory WHERE id BETWEEN :first AND :last LIMIT :limit)
    UNION (SELECT id FROM brainops.messages WHERE id BETWEEN :first AND :last LIMIT :limit)
    LIMIT :limit
""")


class ListMemories(Contract):
    """Memories, the newest first."""

    scope: Scope | None = None
    """Default: of every scope."""
    kinds: tuple[MemoryKind, ...] = ()
    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    """All of them."""
    past: bool = False
    """Those that hold no longer, too."""
    limit: Annotated[int, Field(ge=1, le=1000)] = 20


class MemoryList(Contract):
    """The answer."""

    memories: tuple[Memory, ...]
    more: bool = False
    """There are older ones."""


async def list_memories(database: Database, request: ListMemories) -> MemoryList:
    """What is kept, the newest first; everybody's, whoever owns it."""
    values = request.model_dump(mode="json") | {"limit": request.limit + 1}
    found = [as_memory(row) for row in await database.read(_LIST, values)]
    return MemoryList(memories=tuple(found[: request.limit]), more=len(found) > request.limit)


async def find_id(database: Database, prefix: str) -> UUID:
    """The id of the memory or message that begins with `prefix`; a whole id is given back unseen.

    Raises BadInputError for what is no id, is too short or fits several, and NotFoundError.
    """
    digits = prefix.strip().lower().replace("-", "")
    if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST_PREFIX},32}}", digits):
        raise BadInputError(
            f"{prefix!r} is no id; give its first {SHORTEST_PREFIX} to 32 characters (0-9, a-f), as they are listed"
        )
    first, last = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
    if first == last:
        return first
    values = {"first": first, "last": last, "limit": _MOST_NAMED}
    found = [row["id"] for row in await database.read(_WITH_PREFIX, values)]
    if not found:
        raise NotFoundError(f"nothing that is kept has an id that begins with {prefix}; recall and list give ids")
    if len(found) > 1:
        raise BadInputError(f"{prefix} could be {', '.join(map(str, sorted(found)))}; give more characters")
    return found[0]
