"""ContextKeeper's nightly round: sessions nobody read are read, what says the same is merged, what repeats is proposed."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

from activities.consolidation import Consolidation
from brainops.contracts.keeping import ConsolidationRequest, ConsolidationResult, ReadSession
from workflows.keeping import at_work

_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1), maximum_attempts=5)
_BRIEF = timedelta(minutes=1)
_LONG = timedelta(minutes=30)
_BEAT = timedelta(seconds=20)


@workflow.defn
class ConsolidationWorkflow:
    """One round of consolidation."""

    @workflow.run
    async def run(self, request: ConsolidationRequest) -> ConsolidationResult:
        """Read, merge, propose, aggregate, measure."""
        if not await workflow.execute_activity_method(
            Consolidation.keeper_may_work, start_to_close_timeout=_BRIEF, retry_policy=_RETRY, summary="may it work"
        ):
            return ConsolidationResult(skipped=True)
        async with at_work("reads sessions, merges, proposes"):
            return await self._round(request)

    async def _round(self, request: ConsolidationRequest) -> ConsolidationResult:
        read, failed = await self._read_sessions(request)
        merged = await workflow.execute_activity_method(
            Consolidation.merge_memories,
            request,
            start_to_close_timeout=_LONG,
            heartbeat_timeout=_BEAT,
            retry_policy=_RETRY,
            summary="merge memories that say the same",
        )
        found = await workflow.execute_activity_method(
            Consolidation.propose_repeats,
            request,
            start_to_close_timeout=_LONG,
            heartbeat_timeout=_BEAT,
            retry_policy=_RETRY,
            summary="propose what repeats",
        )
        agents = await workflow.execute_activity_method(
            Consolidation.aggregate_agents,
            request,
            start_to_close_timeout=_LONG,
            heartbeat_timeout=_BEAT,
            retry_policy=_RETRY,
            summary="aggregate",
        )
        measured = await workflow.execute_activity_method(
            Consolidation.measure_proposals,
            request,
            start_to_close_timeout=_LONG,
            heartbeat_timeout=_BEAT,
            retry_policy=_RETRY,
            summary="measure accepted proposals",
        )
        return ConsolidationResult(
            sessions_read=read,
            sessions_failed=failed,
            merged=merged.merged,
            proposed=merged.proposed + found.proposed,
            agents=agents,
            measured=measured,
        )

    async def _read_sessions(self, request: ConsolidationRequest) -> tuple[int, int]:
        """Each alone: one that cannot be read does not stop the round, and is tried again in the next."""
        unread = await workflow.execute_activity_method(
            Consolidation.unread_sessions,
            request,
            start_to_close_timeout=_BRIEF,
            retry_policy=_RETRY,
            summary="which sessions",
        )
        failed = 0
        for session_id in unread.session_ids:
            try:
                await workflow.execute_activity_method(
                    Consolidation.read_session,
                    ReadSession(tenant_id=request.tenant_id, session_id=session_id),
                    start_to_close_timeout=timedelta(minutes=5),
                    heartbeat_timeout=_BEAT,
                    retry_policy=_RETRY,
                    summary="read a session",
                )
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                failed += 1
        return len(unread.session_ids) - failed, failed
