"""Process: it lives, is not suspended, and stays inside its limits."""

import asyncio
import os
import time
from dataclasses import dataclass
from datetime import timedelta

from brainops.checks.base import CheckProbe, ProbeTools, Subject
from brainops.checks.conditions import Value, judge
from brainops.config.checks import ProcessCheck
from brainops.config.models import Limits
from brainops.config.quantities import format_size
from brainops.contracts.check import ProbeResult, Reason
from brainops.contracts.service import ServiceState, ServiceStatus
from brainops.services import procfs

_CPU_WINDOW_SECONDS = 0.2
"""Looks that follow each other faster than this measure no share of their own."""


@dataclass(frozen=True, slots=True)
class _Spent:
    """Processor time at one look. Times are monotonic seconds."""

    run: str
    at: float
    seconds: float
    percent: float
    """Of all processors, between the look before and this one."""


class ProcessProbe(CheckProbe[ProcessCheck]):
    """Looks at the process, container or unit. Measures only what a limit or a condition asks for."""

    check = ProcessCheck

    def __init__(self, tools: ProbeTools) -> None:
        super().__init__(tools)
        self._spent: dict[tuple[str, str], _Spent] = {}

    async def look(self, subject: Subject, check: ProcessCheck, /) -> ProbeResult:
        if not subject.here:
            detail = "its processes cannot be seen from this host"
            return ProbeResult(ok=False, reason=Reason.ERROR, detail=detail)
        limits = subject.service.limits
        asked = "\n".join(check.conditions)
        memory = limits.memory is not None or "[MEMORY" in asked
        state = await self._tools.services.state(subject.service_name, subject.service, memory=memory)
        reason, detail = _standing(state)
        if reason is not Reason.NONE:
            return ProbeResult(ok=False, reason=reason, detail=detail)
        values = await self._measured(subject, state, asked)
        reason, detail = _over_limits(limits, values)
        if reason is Reason.NONE:
            reason, detail = judge(check.conditions, values)
        return ProbeResult(ok=reason is Reason.NONE, reason=reason, detail=detail)

    async def _measured(self, subject: Subject, state: ServiceState, asked: str) -> dict[str, Value]:
        """The values that are asked for, as far as the host can see them."""
        values: dict[str, Value] = {}
        if state.rss_bytes is not None:
            values["MEMORY"] = state.rss_bytes
        if state.run is not None:
            values["AGE"] = timedelta(seconds=state.run.age_seconds)
        if state.supervisor is not None:
            values["RESTARTS"] = state.supervisor.restarts
        limits = subject.service.limits
        pid = _main_pid(state)
        if pid is None:
            return values
        if limits.file_descriptors is not None or "[FILES" in asked:
            descriptors = await asyncio.to_thread(procfs.descriptor_count, pid)
            if descriptors is not None:
                values["FILES"] = descriptors
        process = procfs.stat(pid)
        family = limits.threads is not None or limits.children is not None or "[THREADS" in asked
        if process is not None and (family or "[CHILDREN" in asked or "[CPU" in asked):
            usage = procfs.usage(process, procfs.everything_lately())
            values |= {"THREADS": usage.threads, "CHILDREN": usage.children}
            run = f"{process.pid}.{process.start_ticks}"
            if "[CPU" in asked:
                age = procfs.age_seconds(process.start_ticks)
                values["CPU"] = self._cpu_percent(subject, run, usage.cpu_seconds, age)
        return values

    def _cpu_percent(self, subject: Subject, run: str, seconds: float, age: float) -> float:
        """Share of the machine's processors since the last look; at the first one of a run, since its start."""
        now = time.monotonic()
        before = self._spent.get(subject.key)
        if before is not None and before.run == run and now - before.at < _CPU_WINDOW_SECONDS:
            return before.percent
        if before is not None and before.run == run:
            spent, elapsed = seconds - before.seconds, now - before.at
        else:  # of its whole life, as long as nothing better is known
            spent, elapsed = seconds, max(age, _CPU_WINDOW_SECONDS)
        # what a child had used goes with it when it ends: never less than nothing
        percent = max(0.0, min(100.0, 100 * spent / (elapsed * (os.cpu_count() or 1))))
        self._spent[subject.key] = _Spent(run, now, seconds, percent)
        return percent


def _main_pid(state: ServiceState) -> int | None:
    if state.run is not None and state.run.pid is not None:
        return state.run.pid
    return state.process.pid if state.process is not None else None


def _standing(state: ServiceState) -> tuple[Reason, str]:
    """Whether it runs at all."""
    if state.status is ServiceStatus.NEVER_STARTED:
        return Reason.NOT_RUNNING, state.detail or "it was never started"
    if state.status in (ServiceStatus.EXITED, ServiceStatus.RESTARTING):
        return Reason.EXITED, state.detail
    if state.status is ServiceStatus.STOPPED:
        return Reason.TIMEOUT, "the process is suspended (SIGSTOP)"
    if state.status is ServiceStatus.UNSEEN:
        return Reason.ERROR, state.detail or "its state cannot be seen"
    return Reason.NONE, ""


def _over_limits(limits: Limits, values: dict[str, Value]) -> tuple[Reason, str]:
    """The first declared limit that is exceeded."""
    memory = values.get("MEMORY")
    if limits.memory is not None and isinstance(memory, int) and memory > limits.memory:
        used, allowed = format_size(memory), format_size(limits.memory)
        return Reason.MEMORY, f"{used} of memory, more than its limit of {allowed}"
    for name, limit, reason, words in (
        ("FILES", limits.file_descriptors, Reason.FILES, "open file descriptors"),
        ("THREADS", limits.threads, Reason.THREADS, "threads"),
        ("CHILDREN", limits.children, Reason.CHILDREN, "child processes"),
    ):
        value = values.get(name)
        if limit is not None and isinstance(value, int) and value > limit:
            return reason, f"{value} {words}, more than its limit of {limit}"
    return Reason.NONE, ""
