"""ContextKeeper's daily round where memory runs alone: there is no Temporal that would run its workflows.

It merges what certainly says the same, archives and purges. Proposals are made by the workflows only.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import structlog
from sqlalchemy import text

from agents.context_keeper import Sameness, sameness
from brainops.contracts.agent import AgentName
from brainops.contracts.base import Actor, ActorKind
from brainops.contracts.recording import WorkRecord
from brainops.database.engine import Database
from brainops.memory.deeds import DeedStore
from brainops.memory.persistent import PersistentStore
from brainops.memory.proposals import merge
from brainops.memory.repeats import RepeatStore
from brainops.memory.upkeep import archive_quiet, purge_old
from brainops.storage.objects import ObjectStore

EVERY = timedelta(days=1)
MEMORIES_AT_ONCE = 100
MOST_COMPARED = 20_000
"""New memories of one round: more come at the first one only, and what is left over waits for the next import."""

_KEEPER = AgentName.CONTEXT_KEEPER
_ACTION = "memory_upkeep"

_logger = structlog.get_logger("memory")

# Held by a transaction that does nothing else: it hinders nobody, and ends with the process.
_ALONE = text(
    "SELECT pg_try_advisory_xact_lock(hashtext('brainops.memory_upkeep'), hashtext(current_setting('brainops.tenant_id')))"
)
_LAST = text("""
    SELECT max(started_at) AS at FROM brainops.work_history
    WHERE agent = 'context_keeper' AND action = 'memory_upkeep' AND success
""")


async def daily_upkeep(
    database: Database, objects: ObjectStore, archive_after: timedelta, purge_after: timedelta
) -> bool:
    """One round, where the last one was a day ago and no other process is at it. False: it is not the time.

    Raises UnavailableError; the next call goes on.
    """
    async with database.transaction() as connection:
        if not (await connection.execute(_ALONE)).scalar_one():
            return False
        now = datetime.now(UTC)
        (last,) = await database.read(_LAST)
        if last["at"] is not None and now - last["at"] < EVERY:
            return False
        merged = await _merge_same(database, now)
        archived = await archive_quiet(database, objects, now - archive_after, purge_after)
        purged = await purge_old(database, objects, now - purge_after, now)
        output = {"sessions": archived.sessions, "messages": archived.messages, "failed": archived.failed} | {
            f"purged_{kind}": count for kind, count in purged.items() if count
        }
        await DeedStore(database).record_work(_deed(_ACTION, now, output | {"merged": merged}))
    _logger.info("memory was looked after", merged=merged, **output)
    return True


async def _merge_same(database: Database, now: datetime) -> int:
    """Merge what was written since the last round with what certainly says the same. Returns how many."""
    repeats, persistent = RepeatStore(database), PersistentStore(database)
    place, merged = await repeats.compared_until(), set[UUID]()
    for _ in range(0, MOST_COMPARED, MEMORIES_AT_ONCE):
        pairs, following = await repeats.near_pairs(place, MEMORIES_AT_ONCE)
        if following is None:
            break
        for pair in pairs:
            if pair.newer.id in merged or sameness(pair.newer, pair.older, pair.cosine) is not Sameness.SAME:
                continue
            if await merge(persistent, pair.older.id, [pair.newer.id], datetime.now(UTC)):
                merged.add(pair.newer.id)
        place = following
    # By which the next round knows from where on to compare.
    await DeedStore(database).record_work(_deed("merge_memories", now, {"merged": len(merged)}))
    return len(merged)


def _deed(action: str, began: datetime, output: dict[str, int]) -> WorkRecord:
    return WorkRecord(
        key=f"{action}/{uuid4()}",
        task_id=action,
        agent=_KEEPER,
        actor=Actor(kind=ActorKind.AGENT, name=_KEEPER),
        action=action,
        output=output,
        success=True,
        duration_ms=(datetime.now(UTC) - began).total_seconds() * 1000,
        workflow_id="",
        run_id="",
        started_at=began,
    )
