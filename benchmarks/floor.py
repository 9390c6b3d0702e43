"""The bare floor: what one update with one activity costs on a server, with nothing of ours around it."""

from datetime import timedelta

from temporalio import activity, workflow

FLOOR_QUEUE = "benchmark-floor"


@activity.defn
async def nothing() -> None:
    """An empty activity."""


@workflow.defn
class FloorWorkflow:
    """An empty workflow with an update that runs one empty activity."""

    def __init__(self) -> None:
        self._ended = False

    @workflow.run
    async def run(self) -> None:
        """Stay until told to end."""
        await workflow.wait_condition(lambda: self._ended)

    @workflow.update
    async def step(self) -> None:
        """One step."""
        await workflow.execute_activity(nothing, start_to_close_timeout=timedelta(seconds=5))

    @workflow.signal
    def end(self) -> None:
        """Let the workflow complete."""
        self._ended = True
