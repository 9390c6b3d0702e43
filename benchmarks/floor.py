"""The bare floor: what one update with one activity costs on a server, with nothing of ours around it.

`python -m benchmarks.floor ADDRESS` is its worker: a process of its own, as every worker of ours is, because a worker
that shares the caller's process is spared two hand-overs between processes in each step.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

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


@asynccontextmanager
async def running_floor(address: str) -> AsyncGenerator[None]:
    """The floor's worker, in a process of its own, until the block ends."""
    root = Path(__file__).resolve().parent.parent
    worker = await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.floor", address, cwd=root)
    try:
        yield
    finally:
        worker.terminate()
        await worker.wait()


async def serve(address: str) -> None:
    """Serve the floor's queue until terminated."""
    client = await Client.connect(address)
    async with Worker(client, task_queue=FLOOR_QUEUE, workflows=[FloorWorkflow], activities=[nothing]):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
