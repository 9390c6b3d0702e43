"""The eight ways to break a shop, each by real means only, and what an outsider then sees.

An injection returns the moment at which the fault is there: the signal sent, the file written, the limit passed.
What leads up to it (a leak that grows, a folder that fills) is not counted.
"""

import asyncio
import http.client
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from interfaces.demo.layout import (
    LATENCY_LIMIT_SECONDS,
    MEMORY_LIMIT_BYTES,
    PROGRAM,
    SCRATCH_QUOTA_BYTES,
    Role,
    Shop,
)
from interfaces.demo.prober import ProbeTarget, resident_bytes

_UPLOAD_BYTES = 400_000
_SLOW_FACTOR = 3.0
"""How far past the latency limit a slow answer is driven: far enough for noise, near enough to still arrive."""
_INDEX_LINES_AT_ONCE = 50_000
_INSUFFICIENT_STORAGE = 507


class InjectionError(Exception):
    """The shop could not be broken as asked: it was not healthy, or the means did not work."""


@dataclass(frozen=True)
class Injection:
    """The moment at which a fault is there, on both clocks."""

    monotonic: float
    wall: datetime

    @classmethod
    def now(cls) -> "Injection":
        """This moment."""
        return cls(monotonic=time.monotonic(), wall=datetime.now(UTC))


@dataclass(frozen=True)
class Fault:
    """A way to break a service."""

    kind: str
    role: Role
    """The service that is broken."""
    description: str
    inject: Callable[[Shop], Awaitable[Injection]]
    needs: tuple[Role, ...]
    """Roles that a shop must have for it."""
    seen_from: Role
    """The service at which an outsider sees it."""
    probe_interval_seconds: float = 0.01

    def target(self, shop: Shop) -> ProbeTarget:
        """What the independent prober asks to see the fault and its end."""
        return ProbeTarget(
            port=shop.ports[self.seen_from],
            latency_limit_seconds=LATENCY_LIMIT_SECONDS if self.kind == "slow" else 1.0,
            patience_seconds=4.0 if self.kind == "slow" else 0.5,
            memory_limit_bytes=MEMORY_LIMIT_BYTES if self.kind == "memory_leak" else None,
        )


async def _crash(shop: Shop) -> Injection:
    return _signal(shop, Role.API, signal.SIGKILL)


async def _store_down(shop: Shop) -> Injection:
    return _signal(shop, Role.STORE, signal.SIGKILL)


async def _hang(shop: Shop) -> Injection:
    return _signal(shop, Role.WEB, signal.SIGSTOP)


def _signal(shop: Shop, role: Role, number: signal.Signals) -> Injection:
    pid = shop.pid(role)
    injection = Injection.now()
    os.kill(pid, number)
    return injection


async def _bad_config(shop: Shop) -> Injection:
    injection = Injection.now()
    shop.config_file(Role.API).write_text('{"upstream_port": <<<<<<< HEAD\n', encoding="utf-8")
    return injection


async def _stray_port(shop: Shop) -> Injection:
    """Kill the web front and let a stranger, who waits for it, have its port."""
    port = shop.ports[Role.WEB]
    squatter = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(PROGRAM), "squat", "--port", str(port)), stdout=asyncio.subprocess.PIPE
    )
    shop.strays.append(squatter)
    assert squatter.stdout is not None  # noqa: S101  asked for above
    await asyncio.wait_for(squatter.stdout.readline(), timeout=5)
    return _signal(shop, Role.WEB, signal.SIGKILL)


async def _memory_leak(shop: Shop) -> Injection:
    """Search for ever new things: the web front keeps each result."""
    pid, port = shop.pid(Role.WEB), shop.ports[Role.WEB]
    for _ in range(2000):
        if resident_bytes(pid) > MEMORY_LIMIT_BYTES * 1.05:
            return Injection.now()
        await asyncio.to_thread(_request, port, "GET", f"/search?q={time.time_ns()}")
    raise InjectionError(f"{shop.service(Role.WEB)} did not leak")


async def _slow(shop: Shop) -> Injection:
    """Edit pages until the index, which every answer reads whole, makes answers too slow; restarts do not help.

    One write of the right size for this machine: the fault has one beginning, and nobody asks the front meanwhile,
    which BrainOps may be mending already.
    """
    index = shop.directory(Role.WEB) / "pages.idx"
    block = "".join(f"about\tversion {number} of about\n" for number in range(_INDEX_LINES_AT_ONCE))
    blocks = max(1, round(LATENCY_LIMIT_SECONDS * _SLOW_FACTOR / await _seconds_to_read(_INDEX_LINES_AT_ONCE)))
    injection = Injection.now()
    await asyncio.to_thread(_append, index, block, blocks)
    return injection


_READING = """
import io, sys, time
block = "".join(f"about\\tversion {number} of about\\n" for number in range(int(sys.argv[1])))
def once():
    begun = time.thread_time()
    newest = dict(line.split("\\t", 1) for line in io.StringIO(block))
    return time.thread_time() - begun
print(min(once() for _ in range(3)))
"""


async def _seconds_to_read(lines: int) -> float:
    """How long the web front needs for so many lines: the same work, in a process such as its own. The best of three.

    In time of the processor: while others use the machine, as BrainOps itself does, a clock would show too much, and
    the front would be fast again as soon as they are done.
    """
    command = (sys.executable, "-I", "-S", "-c", _READING, str(lines))
    reading = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await reading.communicate()
    return float(output)


def _append(index: Path, block: str, times: int) -> None:
    with index.open("a", encoding="utf-8") as lines:
        for _ in range(times):
            lines.write(block)


async def _scratch_full(shop: Shop) -> Injection:
    """Upload until the API has no room left."""
    port = shop.ports[Role.API]
    for _ in range(SCRATCH_QUOTA_BYTES // _UPLOAD_BYTES + 2):
        status = await asyncio.to_thread(_request, port, "POST", "/upload", b"x" * _UPLOAD_BYTES)
        if status == _INSUFFICIENT_STORAGE:
            return Injection.now()
    raise InjectionError(f"{shop.service(Role.API)} still takes uploads")


def _request(port: int, method: str, path: str, body: bytes | None = None) -> int:
    """Send one request and read its answer away. Returns the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


_WHOLE_SHOP = (Role.WEB, Role.API, Role.STORE)

FAULTS: dict[str, Fault] = {
    fault.kind: fault
    for fault in (
        Fault("crash", Role.API, "kill -9 of the API", _crash, needs=(Role.API,), seen_from=Role.API),
        Fault("hang", Role.WEB, "SIGSTOP of the web front", _hang, needs=(Role.WEB,), seen_from=Role.WEB),
        Fault(
            "bad_config",
            Role.API,
            "merge markers in the API's configuration",
            _bad_config,
            needs=(Role.API,),
            seen_from=Role.API,
        ),
        Fault(
            "stray_port",
            Role.WEB,
            "a stranger has the web front's port",
            _stray_port,
            needs=(Role.WEB,),
            seen_from=Role.WEB,
        ),
        Fault(
            "store_down",
            Role.STORE,
            "kill -9 of the store that two depend on",
            _store_down,
            needs=_WHOLE_SHOP,
            seen_from=Role.WEB,
        ),
        Fault(
            "memory_leak",
            Role.WEB,
            "the web front leaks past its limit",
            _memory_leak,
            needs=(Role.WEB,),
            seen_from=Role.WEB,
        ),
        Fault(
            "slow",
            Role.WEB,
            "a bloated index makes the web front slow",
            _slow,
            needs=(Role.WEB,),
            seen_from=Role.WEB,
            probe_interval_seconds=0.4,
        ),
        Fault(
            "scratch_full",
            Role.API,
            "uploads fill the API's scratch folder",
            _scratch_full,
            needs=(Role.API,),
            seen_from=Role.API,
        ),
    )
}
"""The kinds of fault by name, in the order of the demo."""
