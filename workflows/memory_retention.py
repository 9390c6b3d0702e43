"""ContextKeeper's daily upkeep: sessions that were quiet for long are archived, what is old is purged, with receipts.

Apart from `RetentionWorkflow`, which thins samples every few minutes: another agent answers for it, and object storage
that is away must not hold the thinning up.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

from activities.consolidation import Consolidation
from activities.memory_retention import MemoryUpkeep
from brainops.contracts.keeping import MemoryRetentionRequest, MemoryRetentionResult
from workflows.keeping import at_work

_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1), maximum_attempts=10)


@workflow.defn
class MemoryRetentionWorkflow:
    """One round of archiving and purging."""

    @workflow.run
    async def run(self, request: MemoryRetentionRequest) -> MemoryRetentionResult:
        """Archive, then purge."""
        if not await workflow.execute_activity_method(
            Consolidation.keeper_may_work,
            start_to_close_timeout=timedelta(minutes=1),
            retry_policy=_RETRY,
            summary="may it work",
        ):
            return MemoryRetentionResult(skipped=True)
        async with at_work("archives and purges memory"):
            return await self._round(request)

    async def _round(self, request: MemoryRetentionRequest) -> MemoryRetentionResult:
        archived = await workflow.execute_activity_method(
            MemoryUpkeep.archive_sessions,
            request,
            start_to_close_timeout=timedelta(hours=2),
            heartbeat_timeout=timedelta(seconds=20),
            retry_policy=_RETRY,
            summary="archive quiet sessions",
        )
        purged = await workflow.execute_activity_method(
            MemoryUpkeep.purge_memory,
            request,
            start_to_close_timeout=timedelta(hours=2),
            heartbeat_timeout=timedelta(seconds=20),
            retry_policy=_RETRY,
            summary="purge what is old",
        )
        return MemoryRetentionResult(
            sessions_archived=archived.sessions,
            messages_archived=archived.messages,
            sessions_failed=archived.failed,
            purged=purged.purged,
        )
