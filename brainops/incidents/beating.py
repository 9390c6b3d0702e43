"""Long work that shows that it lives."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Beat = Callable[[], None]
"""Called again and again while work goes on; an activity's heartbeat."""

ResultT = TypeVar("ResultT")

_EVERY_SECONDS = 0.5


async def beating(work: Coroutine[Any, Any, ResultT], beat: Beat) -> ResultT:
    """The result of `work`; `beat` is called at once and every half second until then.

    Cancelling this cancels the work, and so does an error of `beat`.
    """
    task = asyncio.ensure_future(work)
    try:
        while True:
            beat()
            done, _ = await asyncio.wait({task}, timeout=_EVERY_SECONDS)
            if done:
                return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
