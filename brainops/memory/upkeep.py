"""One round of archiving and purging, in batches: whoever runs it next goes on with what is left."""

from datetime import datetime, timedelta

import structlog

from brainops.contracts.keeping import MemoryArchived
from brainops.database.engine import Database
from brainops.errors import BrainOpsError
from brainops.memory.episodic import EpisodeStore
from brainops.memory.retention import MemoryRetention, Purged
from brainops.storage.objects import ObjectStore

SESSIONS_AT_ONCE = 50
MOST_SESSIONS = 5_000
"""That are archived in one round; the next round takes the rest."""

ROWS_AT_ONCE = 500
MOST_BATCHES = 100
"""Of each kind that are purged in one round."""

_log = structlog.get_logger("memory_retention")


async def archive_quiet(
    database: Database, objects: ObjectStore, before: datetime, keep_for: timedelta
) -> MemoryArchived:
    """Move sessions that were quiet since `before` to object storage. One that cannot be moved does not stop the others.

    Raises UnavailableError.
    """
    episodes = EpisodeStore(database, objects)
    done, after = MemoryArchived(), ""
    while done.sessions + done.failed < MOST_SESSIONS:
        ids = await episodes.quiet(before, after=after, limit=SESSIONS_AT_ONCE)
        for session_id in ids:
            try:
                moved = await episodes.archive(session_id, before, keep_for)
            except BrainOpsError as error:
                if error.retryable:
                    raise
                _log.error("a session cannot be archived", session=session_id, reason=str(error))
                done = done.model_copy(update={"failed": done.failed + 1})
            else:
                done = done.model_copy(
                    update={"sessions": done.sessions + (moved > 0), "messages": done.messages + moved}
                )
        if len(ids) < SESSIONS_AT_ONCE:
            break
        after = ids[-1]
    return done


async def purge_old(database: Database, objects: ObjectStore, before: datetime, now: datetime) -> dict[str, int]:
    """Remove what ended before `before`. Returns how many of which kind. Raises UnavailableError."""
    retention = MemoryRetention(database, objects)
    purged: dict[str, int] = {}
    for kind in Purged:
        for _ in range(MOST_BATCHES):
            batch = await retention.purge(kind, before, now, ROWS_AT_ONCE)
            purged[kind.value] = purged.get(kind.value, 0) + batch.removed
            if not batch.more:
                break
    return purged
