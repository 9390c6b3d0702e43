"""Services of low priority on the same machine: how much of it they use now."""

import asyncio
import os
import time
from collections.abc import Mapping

from brainops.config.models import Service
from brainops.contracts.check import Reason
from brainops.contracts.incident import NeighbourFacts
from brainops.contracts.service import ServiceStatus
from brainops.services import procfs
from brainops.services.host import HostServices

OF_INTEREST = frozenset({Reason.CPU, Reason.LOAD, Reason.MEMORY, Reason.SWAP, Reason.SLOW, Reason.TIMEOUT})
"""Failures that a neighbour can be the cause of."""

SAMPLE_SECONDS = 0.1
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def is_neighbour(name: str, service: Service, other_name: str, other: Service) -> bool:
    """Whether `other` runs on the same machine and has to give way to `service`."""
    return (
        name != other_name
        and other.priority == "low"
        and service.priority != "low"
        and other.host == service.host
        and other.may_be_started
    )


async def neighbours(name: str, services: Mapping[str, Service], host: HostServices) -> tuple[NeighbourFacts, ...]:
    """What each running neighbour of a service uses: memory, and the processors over a tenth of a second."""
    own = services[name]
    near = {other: service for other, service in services.items() if is_neighbour(name, own, other, service)}
    if not near:
        return ()
    states = await asyncio.gather(*(host.state(other, service) for other, service in near.items()))
    pids = {
        state.service: state.run.pid
        for state in states
        if state.status is ServiceStatus.RUNNING and state.run is not None and state.run.pid is not None
    }
    began, before = time.monotonic(), await asyncio.to_thread(_ticks_of, pids)
    await asyncio.sleep(SAMPLE_SECONDS)
    after, elapsed = await asyncio.to_thread(_ticks_of, pids), time.monotonic() - began
    capacity = elapsed * _TICKS_PER_SECOND * (os.cpu_count() or 1)
    return tuple(
        NeighbourFacts(
            service=state.service,
            cpu_share=min(1.0, max(0, after[state.service] - before[state.service]) / capacity),
            rss_bytes=state.rss_bytes or 0,
            reniced=_is_reniced(pids[state.service]),
        )
        for state in states
        if state.service in pids
    )


def family(pid: int, processes: Mapping[int, procfs.ProcessStat] | None = None) -> list[int]:
    """A process, its descendants, and the other members of its session if it leads one."""
    known = dict(processes if processes is not None else procfs.everything())
    if pid not in known:
        return []
    members = {pid, *(child.pid for child in procfs.descendants(pid, known))}
    members |= {process.pid for process in known.values() if process.session == pid}
    return sorted(members)


def _ticks_of(pids: Mapping[str, int]) -> dict[str, int]:
    processes = procfs.everything()
    return {
        service: sum(processes[member].cpu_ticks for member in family(pid, processes)) for service, pid in pids.items()
    }


def _is_reniced(pid: int) -> bool:
    try:
        return os.getpriority(os.PRIO_PROCESS, pid) > 0
    except OSError:  # gone meanwhile
        return False
