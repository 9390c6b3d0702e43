"""Upkeep on a schedule: samples are thinned with age, histories of finished plans are kept with their rows."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

from activities.retention import Upkeep
from brainops.contracts.monitoring import RetentionRequest, RetentionResult

_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=5)


@workflow.defn
class RetentionWorkflow:
    """One round of upkeep."""

    @workflow.run
    async def run(self, request: RetentionRequest) -> RetentionResult:
        """Thin the samples, then archive."""
        thinned = await workflow.execute_activity_method(
            Upkeep.thin_samples,
            request,
            start_to_close_timeout=timedelta(minutes=5),
            heartbeat_timeout=timedelta(seconds=10),
            retry_policy=_RETRY,
            summary="thin samples",
        )
        archived = await workflow.execute_activity_method(
            Upkeep.archive_histories,
            request,
            start_to_close_timeout=timedelta(minutes=5),
            heartbeat_timeout=timedelta(seconds=10),
            retry_policy=_RETRY,
            summary="keep histories of finished incidents",
        )
        return thinned.model_copy(update={"histories_archived": archived})
