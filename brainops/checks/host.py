"""Host: disks, memory, processors and clock of the machine, as far as they are watched."""

import os
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil

from brainops.checks.base import CheckProbe, ProbeTools, Subject
from brainops.checks.conditions import Value, judge
from brainops.checks.threads import PatientThreads, StuckError
from brainops.config.checks import HostCheck
from brainops.config.quantities import format_duration, format_size
from brainops.contracts.check import ProbeResult, Reason

DEFAULT_PERCENT = 90.0
"""Of disk, inodes and memory, where a check names nothing."""

_LIMITS = (
    "max_disk_used",
    "min_disk_free",
    "max_inodes_used",
    "max_memory_used",
    "max_swap_used",
    "max_cpu_used",
    "max_load",
    "max_clock_jump",
)
_DEFAULTS = {"max_disk_used": DEFAULT_PERCENT, "max_inodes_used": DEFAULT_PERCENT, "max_memory_used": DEFAULT_PERCENT}
_CPU_WINDOW_SECONDS = 0.2
"""Looks that follow each other faster than this measure no share of their own."""
_JUMP_TOLD = timedelta(minutes=1)
"""For how long a jump of the clock is told, at least: a check believes only what it sees a few times."""

Verdict = tuple[Reason, str]
_GOOD: Verdict = (Reason.NONE, "")


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system, for a user other than root."""

    used_percent: float
    free_bytes: int
    inodes_percent: float | None
    """None where it does not count them."""


@dataclass(frozen=True, slots=True)
class _Clocks:
    """The clock that people set, and the one that nobody sets and that goes on while the machine sleeps."""

    wall: float
    steady: float

    @classmethod
    def now(cls) -> "_Clocks":
        return cls(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))


@dataclass(slots=True)
class _Earlier:
    """What is remembered of one check."""

    cpu: tuple[float, float, float] | None = None
    """When, busy seconds and all seconds of the processors."""
    cpu_percent: float = 0.0
    clocks: _Clocks | None = None
    jump_seconds: float = 0.0
    jump_until: float = 0.0
    """Until when, by the steady clock, the last jump is told."""


class HostProbe(CheckProbe[HostCheck]):
    """Looks at the machine that it runs on."""

    check = HostCheck

    def __init__(self, tools: ProbeTools) -> None:
        super().__init__(tools)
        self._earlier: dict[tuple[str, str], _Earlier] = {}
        self._threads = PatientThreads()

    async def look(self, subject: Subject, check: HostCheck, /) -> ProbeResult:
        begun = time.perf_counter()
        if not subject.here:
            return ProbeResult(ok=False, reason=Reason.ERROR, detail="that machine cannot be seen from this host")
        if not check.conditions and all(getattr(check, name) is None for name in _LIMITS):
            check = check.model_copy(update=_DEFAULTS)
        reason, detail = await self._judged(subject, check)
        latency_ms = (time.perf_counter() - begun) * 1000
        return ProbeResult(ok=reason is Reason.NONE, reason=reason, latency_ms=latency_ms, detail=detail[:500])

    async def _judged(self, subject: Subject, check: HostCheck) -> Verdict:
        path = self._tools.directory / check.path
        try:
            disk = await self._threads.call(str(path), lambda: disk_of(path), check.timeout.total_seconds())
        except StuckError as stuck:
            return Reason.TIMEOUT, f"the file system of {path} {stuck}; is a network disk away?"
        except OSError as error:
            return Reason.ERROR, f"{path} cannot be looked at: {error.strerror}"
        earlier = self._earlier.setdefault(subject.key, _Earlier())
        values = _values(disk) | self._since_last_look(earlier, check)
        over = _over_limits(check, path, values)
        return over if over[0] is not Reason.NONE else judge(check.conditions, values)

    def _since_last_look(self, earlier: _Earlier, check: HostCheck) -> dict[str, Value]:
        _measure_cpu(earlier)
        told = max(_JUMP_TOLD, check.interval * (check.fail_after + 1))
        jump = _measure_jump(earlier, _Clocks.now(), check.max_clock_jump, told)
        return {"CPU_USED": earlier.cpu_percent, "CLOCK_JUMP": timedelta(seconds=jump)}


def disk_of(path: Path) -> Disk:
    """The file system that `path` is on. Raises OSError. May hang as long as the file system does."""
    found = os.statvfs(path)
    used = found.f_blocks - found.f_bfree
    inodes = found.f_files - found.f_ffree
    usable_inodes = inodes + found.f_favail
    return Disk(
        used_percent=_percent(used, used + found.f_bavail),
        free_bytes=found.f_bavail * found.f_frsize,
        inodes_percent=_percent(inodes, usable_inodes) if found.f_files else None,
    )


def _values(disk: Disk) -> dict[str, Value]:
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    values: dict[str, Value] = {
        "DISK_USED": disk.used_percent,
        "DISK_FREE": disk.free_bytes,
        "MEMORY_USED": _percent(memory.total - memory.available, memory.total),
        "SWAP_USED": _percent(swap.used, swap.total),
        "LOAD": os.getloadavg()[0] / (os.cpu_count() or 1),
    }
    if disk.inodes_percent is not None:
        values["INODES_USED"] = disk.inodes_percent
    return values


def _measure_cpu(earlier: _Earlier) -> None:
    """Bring the share of busy processors up to date; at the first look it is the one since the machine's start."""
    times = psutil.cpu_times()
    # guest time is in user time already
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    busy = total - times.idle - getattr(times, "iowait", 0.0)
    now = time.monotonic()
    at, busy_before, total_before = earlier.cpu or (float("-inf"), 0.0, 0.0)
    if now - at < _CPU_WINDOW_SECONDS or total <= total_before:
        return
    earlier.cpu_percent = max(0.0, min(100.0, _percent(busy - busy_before, total - total_before)))
    earlier.cpu = (now, busy, total)


def _measure_jump(earlier: _Earlier, now: _Clocks, allowed: timedelta | None, told: timedelta) -> float:
    """Seconds by which the clock was set, lately. What a sleeping machine missed is no jump: both clocks went on."""
    before, earlier.clocks = earlier.clocks, now
    jump = (now.wall - before.wall) - (now.steady - before.steady) if before is not None else 0.0
    limit = allowed.total_seconds() if allowed is not None else 1.0
    if abs(jump) > limit:
        earlier.jump_seconds, earlier.jump_until = jump, now.steady + told.total_seconds()
    elif now.steady >= earlier.jump_until:
        earlier.jump_seconds = 0.0
    return abs(earlier.jump_seconds)


def _over_limits(check: HostCheck, path: Path, values: dict[str, Value]) -> Verdict:
    """The first limit that is exceeded, those first that stop services."""
    free = values["DISK_FREE"]
    where = f"of the file system of {path}"
    if check.min_disk_free is not None and isinstance(free, int) and free < check.min_disk_free:
        return Reason.DISK, f"{format_size(free)} {where} are free, less than {format_size(check.min_disk_free)}"
    for name, limit, reason, words in (
        ("DISK_USED", check.max_disk_used, Reason.DISK, where),
        ("INODES_USED", check.max_inodes_used, Reason.INODES, f"of the inodes {where}"),
        ("MEMORY_USED", check.max_memory_used, Reason.MEMORY, "of the machine's memory"),
        ("SWAP_USED", check.max_swap_used, Reason.SWAP, "of the swap space"),
        ("CPU_USED", check.max_cpu_used, Reason.CPU, "of the processors"),
    ):
        value = values.get(name)
        if limit is not None and isinstance(value, float) and value > limit:
            return reason, f"{value:.1f} % {words} are used, more than {limit:g} %"
    load = values["LOAD"]
    if check.max_load is not None and isinstance(load, float) and load > check.max_load:
        return Reason.LOAD, f"load of {load:.2f} for each processor, more than {check.max_load:g}"
    jump = values["CLOCK_JUMP"]
    if check.max_clock_jump is not None and isinstance(jump, timedelta) and jump > check.max_clock_jump:
        allowed = format_duration(check.max_clock_jump)
        return Reason.CLOCK, f"the clock was set by {format_duration(jump)}, more than {allowed}; is time kept by NTP?"
    return _GOOD


def _percent(part: float, whole: float) -> float:
    return 100.0 * part / whole if whole > 0 else 0.0
