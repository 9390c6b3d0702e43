"""What ContextKeeper archives and purges, in batches that another worker can go on with."""

from datetime import UTC, datetime

from temporalio import activity

from activities.heartbeat import heartbeating
from activities.recording import recorded
from brainops.config.memory import MemorySettings
from brainops.contracts.agent import AgentName
from brainops.contracts.keeping import MemoryArchived, MemoryPurged, MemoryRetentionRequest
from brainops.database.engine import Database
from brainops.incidents.old_evidence import purge_evidence
from brainops.storage.objects import ObjectStore

_KEEPER = AgentName.CONTEXT_KEEPER

ROWS_AT_ONCE = 500
MOST_BATCHES = 100
"""Of incidents whose evidence is purged in one round."""


class MemoryUpkeep:
    """What the schedule of memory's retention runs. `files`: where log tails lie, always in the state folder."""

    def __init__(self, settings: MemorySettings, database: Database, objects: ObjectStore, files: ObjectStore) -> None:
        self._settings = settings
        self._database = database
        self._objects = objects
        self._files = files

    @activity.defn
    @recorded("archive_sessions", _KEEPER)
    async def archive_sessions(self, _request: MemoryRetentionRequest) -> MemoryArchived:
        """Move sessions that were quiet for long to object storage. One that cannot be moved does not stop the others."""
        from brainops.memory.upkeep import archive_quiet  # noqa: PLC0415 - a worker at rest does without

        before = datetime.now(UTC) - self._settings.archive_after
        async with heartbeating():
            return await archive_quiet(self._database, self._objects, before, self._settings.purge_after)

    @activity.defn
    @recorded("purge_memory", _KEEPER)
    async def purge_memory(self, _request: MemoryRetentionRequest) -> MemoryPurged:
        """Remove what ended longer ago than it is to be kept."""
        from brainops.memory.upkeep import purge_old  # noqa: PLC0415

        now = datetime.now(UTC)
        before = now - self._settings.purge_after
        async with heartbeating():
            purged = await purge_old(self._database, self._objects, before, now)
            for _ in range(MOST_BATCHES):
                emptied = await purge_evidence(self._database, self._files, before, ROWS_AT_ONCE)
                purged["evidence"] = purged.get("evidence", 0) + emptied
                if emptied < ROWS_AT_ONCE:
                    break
        return MemoryPurged(purged={kind: count for kind, count in purged.items() if count})
