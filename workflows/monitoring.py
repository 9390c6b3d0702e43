"""A host's watch, for ever: one long heartbeating activity, so that probing costs no history."""

from datetime import timedelta

from temporalio import exceptions, workflow
from temporalio.common import RetryPolicy

from activities.monitoring import Watch
from brainops.contracts.monitoring import WatchRequest
from brainops.contracts.names import host_queue

_LONGEST_WATCH = timedelta(hours=24)
"""After this the activity is begun anew, and with it the workflow's run."""


@workflow.defn
class MonitoringWorkflow:
    """The watch over one host's services."""

    def __init__(self) -> None:
        self._reload = False

    @workflow.signal
    def reload(self) -> None:
        """The configuration has changed: watch by the new one."""
        self._reload = True

    @workflow.run
    async def run(self, request: WatchRequest) -> None:
        """Keep the watch running on whichever worker serves the host."""
        workflow.set_current_details(f"Watches the services of host `{request.host}`.")
        watch = workflow.start_activity_method(
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
        await workflow.wait_condition(lambda: self._reload or watch.done())
        if self._reload:
            watch.cancel()
        try:
            await watch
        except exceptions.ActivityError as error:
            cause = error.cause
            over = isinstance(cause, exceptions.TimeoutError) and cause.type is exceptions.TimeoutType.START_TO_CLOSE
            if not (over or self._reload):
                raise
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(request)
