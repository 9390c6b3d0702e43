"""Messages to people, for ever: one long heartbeating activity, so that waiting costs no history."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

from activities.notification import Notifications
from brainops.contracts.names import CONTROL_QUEUE

_LONGEST_DELIVERY = timedelta(hours=24)
"""After this the activity is begun anew; its retries add nothing to the history."""


@workflow.defn
class NotificationWorkflow:
    """Delivers what stands in the outbox, one worker at a time."""

    @workflow.run
    async def run(self) -> None:
        """Keep delivering on whichever worker serves the control queue, until the workflow is cancelled."""
        workflow.set_current_details("Delivers messages to people, and BrainOps' own heartbeat.")
        await workflow.execute_activity_method(
            Notifications.deliver_notifications,
            task_queue=CONTROL_QUEUE,
            start_to_close_timeout=_LONGEST_DELIVERY,
            heartbeat_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(
                initial_interval=timedelta(milliseconds=500),
                backoff_coefficient=1.5,
                maximum_interval=timedelta(seconds=5),
            ),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary="deliver messages",
        )
