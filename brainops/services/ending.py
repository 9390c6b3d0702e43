"""Ending processes: all of them, gently first, and nobody else's."""

import asyncio
import os
import signal
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta

from brainops.errors import ActionError
from brainops.services import pidfds, procfs
from brainops.services.records import Ending, Run

KILL_TIMEOUT_SECONDS = 5.0
"""From SIGKILL to giving up: a process that does not end by then hangs in the kernel."""

Find = Callable[[], list[procfs.ProcessStat]]


@dataclass(frozen=True)
class Ended:
    """How many processes ended, and how many of them had to be killed."""

    count: int
    killed: int


async def end_all(find: Find, stop_timeout: timedelta) -> Ended:
    """End every process that `find` finds, again and again until it finds none.

    SIGTERM first, with SIGCONT so that a suspended process can obey, SIGKILL after `stop_timeout`. Waits for each
    end. Raises ActionError when processes may not be signalled, or outlive SIGKILL.
    """
    loop = asyncio.get_running_loop()
    asked: set[tuple[int, int]] = set()
    killed: set[tuple[int, int]] = set()
    kill_at = loop.time() + stop_timeout.total_seconds()
    give_up_at = kill_at + KILL_TIMEOUT_SECONDS
    while found := find():
        now = loop.time()
        if now >= give_up_at:
            names = ", ".join(f"{process.pid} ({procfs.command_line(process.pid)[:80]})" for process in found[:5])
            raise ActionError(f"still there {KILL_TIMEOUT_SECONDS:.0f} s after SIGKILL: process {names}")
        killing = now >= kill_at
        async with pidfds.opened(found) as targets:
            for descriptor, process in targets.items():
                for number in (signal.SIGKILL,) if killing else (signal.SIGTERM, signal.SIGCONT):
                    pidfds.send(descriptor, process, number)
                (killed if killing else asked).add((process.pid, process.start_ticks))
            await pidfds.wait_ended(targets, (give_up_at if killing else kill_at) - now)
    return Ended(len(asked | killed), len(killed))


def belongings(service: str, run: Run | None, ending: Ending | None, effect_keys: Collection[str]) -> Find:
    """A search for what is left of a service: the process of `run`, its family, and what was ever started as it.

    Family is: descendants, members of its session, and whoever carries one of `effect_keys` in its environment, in
    whatever session. Where the process is gone, its pid may lead another session by now: only members that are
    older than its end are then taken by session.
    """

    def find() -> list[procfs.ProcessStat]:
        processes = procfs.everything()
        found: dict[int, procfs.ProcessStat] = {}
        if run is not None:
            leader = run.find()
            if leader is not None:
                family = [leader, *procfs.descendants(run.pid, processes)]
                family += [process for process in processes.values() if process.session == run.pid]
                found |= {process.pid: process for process in family}
            elif run.boot_id == procfs.boot_id() and ending is not None:
                found |= {
                    process.pid: process
                    for process in processes.values()
                    if process.session == run.pid and process.start_ticks <= ending.ended_ticks
                }
        for process in processes.values():
            mark = procfs.marks(process.pid)
            if mark is not None and mark[0] == service and mark[1] in effect_keys:
                found[process.pid] = process
        found.pop(os.getpid(), None)
        return [process for process in found.values() if not process.ended]

    return find
