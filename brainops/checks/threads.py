"""Calls that may never come back: a hung network file system holds its caller in the kernel, beyond every signal.

Each place gets a thread of its own, and no second one before the first has come back: however long a file system
hangs and however many looks it takes, one thread hangs with it, and no other check waits.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class StuckError(Exception):
    """The call has not come back; the message says since when."""


class PatientThreads:
    """Runs blocking calls, one at a time for each place."""

    def __init__(self) -> None:
        # Any: calls of each place answer with their own type
        self._running: dict[str, tuple[float, Future[Any]]] = {}

    async def call(self, place: str, function: Callable[[], T], timeout_seconds: float) -> T:
        """What `function` answers, or raises. Raises StuckError when it, or the call before, does not come back."""
        deadline = time.monotonic() + timeout_seconds
        while (before := self._running.get(place)) is not None and not before[1].done():
            if not await _ended(before[1], deadline - time.monotonic()):
                raise StuckError(f"has not answered for {time.monotonic() - before[0]:.0f} s")
        future: Future[T] = Future()
        self._running[place] = (time.monotonic(), future)
        threading.Thread(target=_run, args=(function, future), name=f"probe {place}", daemon=True).start()
        if not await _ended(future, deadline - time.monotonic()):
            raise StuckError(f"has not answered for {timeout_seconds:g} s")
        return future.result()


async def _ended(future: Future[Any], seconds: float) -> bool:
    """Wait for the end of a call, and leave it alone when it does not come."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    future.add_done_callback(lambda _: None if loop.is_closed() else loop.call_soon_threadsafe(ended.set))
    try:
        async with asyncio.timeout(seconds):
            await ended.wait()
    except TimeoutError:
        return future.done()
    return True


def _run(function: Callable[[], T], future: Future[T]) -> None:
    try:
        future.set_result(function())
    except BaseException as error:  # noqa: BLE001 - it is raised where the answer is waited for
        future.set_exception(error)
