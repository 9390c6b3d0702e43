"""Waiting for processes and signalling them by pidfd: no polling, and never the wrong process.

A pidfd is opened first and the process identified after: from then on the descriptor means that process, even if
its pid is used again.
"""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager

from brainops.errors import ActionError
from brainops.services import procfs


def open_exact(pid: int, start_ticks: int) -> int | None:
    """A pidfd of exactly this process, to be closed by the caller; None when it is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if procfs.find(pid, start_ticks) is None:
        os.close(descriptor)
        return None
    return descriptor


async def wait_ended(descriptors: Collection[int], timeout: float | None = None) -> bool:
    """Wait until all these processes have ended; False when they have not within `timeout` seconds. Zombies have."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    pending = set(descriptors)

    def ended(descriptor: int) -> None:
        loop.remove_reader(descriptor)
        pending.discard(descriptor)
        if not pending:
            done.set()

    if not pending:
        return True
    for descriptor in descriptors:
        loop.add_reader(descriptor, ended, descriptor)
    try:
        async with asyncio.timeout(timeout):
            await done.wait()
    except TimeoutError:
        return False
    finally:
        for descriptor in pending:
            loop.remove_reader(descriptor)
    return True


async def wait_exact(pid: int, start_ticks: int, timeout: float | None = None) -> bool:
    """Wait for the end of one process. True at once when it is gone already."""
    descriptor = open_exact(pid, start_ticks)
    if descriptor is None:
        return True
    try:
        return await wait_ended([descriptor], timeout)
    finally:
        os.close(descriptor)


@asynccontextmanager
async def opened(processes: Collection[procfs.ProcessStat]) -> AsyncGenerator[dict[int, procfs.ProcessStat]]:
    """Pidfds of those processes that still run, closed at the end."""
    found: dict[int, procfs.ProcessStat] = {}
    try:
        for process in processes:
            descriptor = open_exact(process.pid, process.start_ticks)
            if descriptor is not None:
                found[descriptor] = process
        yield found
    finally:
        for descriptor in found:
            os.close(descriptor)


def send(descriptor: int, process: procfs.ProcessStat, number: signal.Signals) -> None:
    """Signal a process, if it has not ended. Raises ActionError when that is forbidden."""
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return
    except PermissionError:
        raise ActionError(
            f"may not send {number.name} to process {process.pid} ({procfs.command_line(process.pid)[:200]}): "
            "it belongs to another user; end it yourself or run BrainOps as that user"
        ) from None
