"""A host's watch, for ever: one long heartbeating activity, so that probing costs no history."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

from activities.monitoring import Watch
from brainops.contracts.monitoring import WatchRequest
from brainops.contracts.names import host_queue

_LONGEST_WATCH = timedelta(hours=24)
"""After this the activity is begun anew; its retries add nothing to the history."""


@workflow.defn
class MonitoringWorkflow:
    """The watch over one host's services."""

    @workflow.run
    async def run(self, request: WatchRequest) -> None:
        """Keep the watch running on whichever worker serves the host, until the workflow is cancelled."""
        workflow.set_current_details(f"Watches the services of host `{request.host}`.")
        await workflow.execute_activity_method(
            Watch.watch_services,
            request,
            task_queue=host_queue(request.host),
            start_to_close_timeout=_LONGEST_WATCH,
            heartbeat_timeout=timedelta(seconds=3),
            retry_policy=RetryPolicy(
                initial_interval=timedelta(milliseconds=200),
                backoff_coefficient=1.5,
                maximum_interval=timedelta(seconds=2),
            ),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=f"watch {request.host}",
        )
