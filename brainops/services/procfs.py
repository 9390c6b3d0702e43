"""What the kernel says of processes, straight from /proc: cheap enough to be asked each second.

A pid alone names nothing, since pids are used again within hours; pid and start ticks together name one process of
this boot. Everything here is a snapshot: act on a process only through a pidfd that was opened before it was
identified.
"""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SERVICE_VARIABLE = "BRAINOPS_SERVICE"
EFFECT_KEY_VARIABLE = "BRAINOPS_EFFECT_KEY"

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_LISTEN = "0A"
_SNAPSHOT_SECONDS = 0.5
_COMMAND_LIMIT = 4096
_ENVIRONMENT_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """One process, from /proc/PID/stat."""

    pid: int
    state: str
    """One letter: R, S, D, T (suspended), t (traced), Z (zombie), X (dead), I."""
    parent: int
    group: int
    session: int
    threads: int
    start_ticks: int
    rss_bytes: int
    cpu_ticks: int = 0
    """Processor time of all its threads, in user space and in the kernel."""

    @property
    def ended(self) -> bool:
        """Whether it runs no more. A zombie whose other threads still run has not ended."""
        return self.state == "X" or (self.state == "Z" and self.threads <= 1)


@dataclass(frozen=True)
class Listener:
    """A process that holds a listening TCP socket."""

    pid: int
    start_ticks: int
    command: str
    """Its whole command line."""
    service: str
    """The service as which, or under which, BrainOps started it; empty for a stranger."""
    effect_key: str


@cache
def boot_id() -> str:
    """Names this boot of the machine: records of an earlier one say nothing about the processes of now."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def stat(pid: int) -> ProcessStat | None:
    """The process of this pid now; None when there is none."""
    raw = _read(f"/proc/{pid}/stat", 1024)
    if not raw:
        return None
    fields = raw.rpartition(b")")[2].split()
    if len(fields) < 22:
        return None
    return ProcessStat(
        pid=pid,
        state=chr(fields[0][0]),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
        rss_bytes=int(fields[21]) * _PAGE_BYTES,
        cpu_ticks=int(fields[11]) + int(fields[12]),
    )


def find(pid: int, start_ticks: int) -> ProcessStat | None:
    """Exactly this process, alive or zombie; None when it is gone or its pid belongs to another one now."""
    found = stat(pid)
    return found if found is not None and found.start_ticks == start_ticks else None


def suspended(process: ProcessStat) -> bool:
    """Whether every thread of it is stopped (SIGSTOP, a debugger)."""
    if process.state not in "Tt":
        return False
    if process.threads == 1:
        return True
    threads = (_read(f"/proc/{process.pid}/task/{thread}/stat", 1024) for thread in _list(f"/proc/{process.pid}/task"))
    return all(raw.rpartition(b")")[2].split()[0] in (b"T", b"t") for raw in threads if raw)


def age_seconds(start_ticks: int) -> float:
    """How long ago a process of these start ticks was started, untouched by changes of the clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks / _TICKS_PER_SECOND


def started_at(process: ProcessStat) -> float:
    """When it started, in seconds since the epoch by the clock as it is set now."""
    return time.time() - age_seconds(process.start_ticks)


def everything() -> dict[int, ProcessStat]:
    """All processes by pid: one small read for each."""
    found = (stat(int(name)) for name in _list("/proc") if name.isdigit())
    return {process.pid: process for process in found if process is not None}


_recent: tuple[float, dict[int, ProcessStat]] = (float("-inf"), {})


def everything_lately() -> dict[int, ProcessStat]:
    """All processes by pid as they were at most half a second ago: one look at the machine serves all who ask."""
    global _recent  # noqa: PLW0603 - the kernel is one for the whole process, and so is what is known of it
    now = time.monotonic()
    if now - _recent[0] > _SNAPSHOT_SECONDS:
        _recent = (now, everything())
    return _recent[1]


def is_of(pid: int, start_ticks: int, ancestor: int) -> bool:
    """Whether a process is `ancestor`, descends from it, or stands in its session."""
    process = find(pid, start_ticks)
    while process is not None and process.pid > 1:
        if ancestor in (process.pid, process.session, process.parent):
            return True
        process = stat(process.parent)
    return False


def descendants(pid: int, processes: dict[int, ProcessStat]) -> list[ProcessStat]:
    """Children of `pid`, theirs, and so on, without `pid` itself."""
    children: dict[int, list[ProcessStat]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process)
    found: list[ProcessStat] = []
    pending = [pid]
    while pending:
        born = children.pop(pending.pop(), [])
        found.extend(born)
        pending.extend(child.pid for child in born)
    return found


def tree_rss_bytes(pid: int, processes: dict[int, ProcessStat]) -> int:
    """Resident memory of a process and its descendants; pages that they share are counted for each."""
    own = processes.get(pid)
    return (own.rss_bytes if own else 0) + sum(child.rss_bytes for child in descendants(pid, processes))


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and its descendants use."""

    threads: int
    children: int
    """Descendants of it."""
    cpu_seconds: float
    """Since each of them began; what has ended is not in it."""


def usage(process: ProcessStat, processes: dict[int, ProcessStat]) -> Usage:
    """What a process and its descendants among `processes` use. A zombie has neither threads nor is it a child."""
    family = [child for child in descendants(process.pid, processes) if not child.ended]
    return Usage(
        threads=process.threads + sum(child.threads for child in family),
        children=len(family),
        cpu_seconds=(process.cpu_ticks + sum(child.cpu_ticks for child in family)) / _TICKS_PER_SECOND,
    )


def descriptor_count(pid: int) -> int | None:
    """Open file descriptors of a process; None when it is gone or another user's."""
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            return sum(1 for _ in entries)
    except OSError:
        return None


def command_line(pid: int) -> str:
    """The arguments with spaces between them, at most 4 KiB; the kernel's name for it in brackets if there are none."""
    raw = _read(f"/proc/{pid}/cmdline", _COMMAND_LIMIT)
    text = raw.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
    return text or f"[{_read(f'/proc/{pid}/comm', 64).decode('utf-8', 'replace').strip()}]"


def marks(pid: int) -> tuple[str, str] | None:
    """Service and effect key that BrainOps gave to a process or to an ancestor of it, from its environment.

    They stay through forks, new sessions and daemonisation. None for strangers and for what may not be read.
    """
    wanted = {SERVICE_VARIABLE.encode(): "", EFFECT_KEY_VARIABLE.encode(): ""}
    for entry in _read(f"/proc/{pid}/environ", _ENVIRONMENT_LIMIT).split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name in wanted:
            wanted[name] = value.decode("utf-8", "replace")
    service, effect_key = wanted.values()
    return (service, effect_key) if service and effect_key else None


def listeners(port: int) -> tuple[Listener, ...]:
    """Processes that listen on a TCP port at any address, IPv4 or IPv6, oldest first.

    A socket can be shared by a parent and its children. Processes of other users are only seen by root.
    """
    sockets = _listening_sockets(port)
    if not sockets:
        return ()
    holders = [process for process in everything().values() if _holds(process.pid, sockets)]
    holders.sort(key=lambda process: (process.start_ticks, process.pid))
    return tuple(_listener(process) for process in holders)


def _listener(process: ProcessStat) -> Listener:
    service, effect_key = marks(process.pid) or ("", "")
    return Listener(process.pid, process.start_ticks, command_line(process.pid), service, effect_key)


def _listening_sockets(port: int) -> frozenset[str]:
    """How /proc/PID/fd names the sockets that listen on `port`."""
    wanted = f":{port:04X}"
    found: set[str] = set()
    for table in ("tcp", "tcp6"):
        for line in _lines(f"/proc/net/{table}"):
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN and fields[1].endswith(wanted):
                found.add(f"socket:[{fields[9]}]")
    return frozenset(found)


def _lines(path: str) -> Iterable[str]:
    try:
        return Path(path).read_text().splitlines()[1:]
    except FileNotFoundError:  # no IPv6
        return ()


def _holds(pid: int, sockets: frozenset[str]) -> bool:
    folder = f"/proc/{pid}/fd"
    for name in _list(folder):
        try:
            if os.readlink(f"{folder}/{name}") in sockets:  # noqa: PTH115 - hot: hundreds of descriptors
                return True
        except OSError:  # closed meanwhile
            continue
    return False


def _list(path: str) -> list[str]:
    """Names in a folder of /proc; none when the process is gone or another user's."""
    try:
        return os.listdir(path)  # noqa: PTH208 - hot: names are enough
    except OSError:
        return []


def _read(path: str, limit: int) -> bytes:
    """Content of a /proc file; empty when the process is gone or may not be looked at."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        parts: list[bytes] = []
        size = 0
        while size < limit and (part := os.read(descriptor, limit - size)):
            parts.append(part)
            size += len(part)
        return b"".join(parts)
    except OSError:  # it ended between open and read
        return b""
    finally:
        os.close(descriptor)
