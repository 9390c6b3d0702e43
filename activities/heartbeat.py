"""The one way in which long activities heartbeat."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NoReturn

from temporalio import activity
from temporalio.exceptions import ApplicationError

BEATS_IN_A_TIMEOUT = 4
"""Heartbeats within one heartbeat timeout: a late one or two does not lose the activity."""


@asynccontextmanager
async def heartbeating(details: Callable[[], object] | None = None) -> AsyncGenerator[Callable[[], None]]:
    """Heartbeat in the background for as long as the block runs; yields a function that beats at once.

    `details` gives what another worker needs to go on, fresh at each beat. Without a `heartbeat_timeout` the
    activity could not be cancelled and its loss would not be seen, so that is refused.
    """
    timeout = activity.info().heartbeat_timeout
    if timeout is None or not timeout:
        raise ApplicationError(
            f"activity {activity.info().activity_type} runs long and was called without a heartbeat_timeout; set one",
            type="InternalError",
            non_retryable=True,
        )

    def beat() -> None:
        if details is None:
            activity.heartbeat()
        else:
            activity.heartbeat(details())

    async def keep_beating(interval: float) -> None:
        while True:
            beat()
            await asyncio.sleep(interval)

    beating = asyncio.create_task(keep_beating(timeout.total_seconds() / BEATS_IN_A_TIMEOUT))
    try:
        yield beat
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


async def work_until_worker_stops(*works: Coroutine[Any, Any, None]) -> NoReturn:
    """Do all of `works` at once until the activity is cancelled or the worker stops; another worker then goes on.

    Raises what one of them raises, ApplicationError `WorkerStopped` when the worker stops.
    """
    running = [asyncio.create_task(work) for work in (*works, activity.wait_for_worker_shutdown())]
    try:
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            if task.done() and not task.cancelled():
                task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    raise ApplicationError("the worker stops; another one goes on", type="WorkerStopped")
