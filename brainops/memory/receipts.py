"""Receipts of what was archived or purged: how many of what, and the hash of which; nothing of the content."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brainops.contracts.base import Contract
from brainops.database.engine import Database
from brainops.database.values import to_json
from brainops.memory.tier_tables import retention_receipts

_WRITE = text("""
    INSERT INTO brainops.retention_receipts (id, action, reason, counts, sha256)
    VALUES (:id, :action, :reason, CAST(:counts AS jsonb), :sha256)
""")


class ReceiptAction(StrEnum):
    """What a receipt is for."""

    ARCHIVE = "archive"
    PURGE = "purge"
    FORGET = "forget"


class Receipt(Contract):
    """One receipt."""

    id: UUID
    action: ReceiptAction
    reason: str
    counts: dict[str, int]
    sha256: str
    """Of the sorted ids, each followed by a line feed."""
    created_at: datetime


def digest(ids: Sequence[str]) -> str:
    """The hash by which somebody who has the ids can prove that these were meant."""
    return hashlib.sha256("".join(f"{one}\n" for one in sorted(ids)).encode()).hexdigest()


async def receipt(
    connection: AsyncConnection, action: ReceiptAction, reason: str, counts: Mapping[str, int], ids: Sequence[str]
) -> UUID:
    """Write a receipt in the transaction that does what it says."""
    key = uuid4()
    values = {
        "id": key,
        "action": action.value,
        "reason": reason,
        "counts": to_json(dict(counts)),
        "sha256": digest(ids),
    }
    await connection.execute(_WRITE, values)
    return key


async def receipts(database: Database, limit: int = 50) -> list[Receipt]:
    """The newest receipts, newest first."""
    query = select(retention_receipts).order_by(retention_receipts.c.created_at.desc()).limit(limit)
    return [Receipt.model_validate(dict(row)) for row in await database.read(query)]
