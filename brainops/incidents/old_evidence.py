"""Evidence of incidents that closed long ago is removed; the incident, its timeline and what helped stay."""

from datetime import datetime

from sqlalchemy import text

from brainops.database.engine import Database
from brainops.memory.receipts import ReceiptAction, receipt
from brainops.storage.objects import ObjectStore

_OLD = text("""
    SELECT plan_id, evidence #>> '{log,tail_key}' AS tail FROM brainops.incidents
    WHERE closed_at < :before AND evidence IS NOT NULL ORDER BY closed_at LIMIT :limit
""")

_EMPTY = text("UPDATE brainops.incidents SET evidence = NULL WHERE plan_id = ANY(:plans) AND closed_at < :before")


async def purge_evidence(database: Database, objects: ObjectStore, before: datetime, limit: int = 200) -> int:
    """Remove what was captured for incidents closed before `before`, log tails too, with a receipt. Returns of how many.

    Fewer than `limit`: there is no more. Raises UnavailableError; the same call goes on.
    """
    rows = await database.read(_OLD, {"before": before, "limit": limit})
    for row in rows:
        if row["tail"]:
            await objects.delete(row["tail"])
    if rows:
        plans = [row["plan_id"] for row in rows]
        async with database.transaction() as connection:
            await connection.execute(_EMPTY, {"plans": plans, "before": before})
            ids = [str(plan) for plan in plans]
            await receipt(connection, ReceiptAction.PURGE, "evidence", {"evidence": len(ids)}, ids)
    return len(rows)
