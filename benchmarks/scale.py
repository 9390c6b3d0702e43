"""What watching costs, from 10 endpoints to 5,000 on loopback: `python benchmarks/scale.py --check`.

Each endpoint is a service of its own with one check, four of five over HTTP, each probed every ten seconds. They are
served by a process of their own. The watch is the real one, in a process of its own as in a worker: it reads a
`brainops.yaml`, probes, and writes states and samples to a real Postgres. Both share the machine with it.

A probe is on time when it begins within a tenth of the interval after it was due (at least 100 ms). `on_time_share`
is of all probes that were due, so one that was left out is not on time; one that failed does not count as made.
"""

import argparse
import asyncio
import gc
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path

import psutil

from benchmarks import harness
from brainops.checks.base import Subject
from brainops.checks.probe import Prober
from brainops.checks.store import CheckStore
from brainops.checks.watcher import Watcher
from brainops.config.checks import CheckConfig
from brainops.config.load import reload_config
from brainops.config.models import LOCAL_HOST
from brainops.config.paths import StatePaths
from brainops.contracts.check import CheckState, Observation, ProbeResult, Sample
from brainops.database.embedded import running_postgres
from brainops.database.engine import Database
from brainops.database.migrate import upgrade
from brainops.services.host import HostServices
from brainops.telemetry.logging import configure_logging
from interfaces.demo.stage import temporary_folder

SIZES = (10, 100, 500, 1000, 2000, 5000)
JUDGED = 2000
"""The number of endpoints that `on_time_share` is of."""
INTERVAL = timedelta(seconds=10)
ON_TIME_SECONDS = max(0.1, INTERVAL.total_seconds() / 10)
PORTS = 64
"""Listening sockets of the process that serves the endpoints."""
SETTLE_SECONDS = INTERVAL.total_seconds() + 3
"""Until every endpoint was probed once."""

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n" + b'{"status":"ok"}'


@dataclass
class Watched:
    """What a watching process saw of itself, within the window that is measured."""

    endpoints: int
    config_seconds: float
    """To read and check the file."""
    start_seconds: float
    """From there until the watch runs."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    rss_bytes: int = 0
    due: int = 0
    """Probes that were due."""
    begun: int = 0
    on_time: int = 0
    failed: int = 0
    latest: list[float] = field(default_factory=list[float])
    """Lateness of the probes that began latest, in seconds, worst first."""
    samples: int = 0
    """Rows that Postgres took."""

    @property
    def on_time_share(self) -> float:
        """Of all probes that were due."""
        return self.on_time / self.due

    @property
    def cpu_share(self) -> float:
        """Of one core."""
        return self.cpu_seconds / self.seconds


class Endpoint(asyncio.Protocol):
    """Answers every request at once, and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """The whole request, as small as it is."""
        self._transport.write(_ANSWER)
        self._transport.close()


async def serve_endpoints() -> None:
    """The process of the endpoints: prints its ports, then serves until it is ended."""
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Endpoint, "127.0.0.1", 0, backlog=4096) for _ in range(PORTS)]
    sys.stdout.write(json.dumps([server.sockets[0].getsockname()[1] for server in servers]) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


class Punctuality:
    """Notes for each probe of a watch when it was due and when it began."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober
        self._loop = asyncio.get_running_loop()
        self.watcher: Watcher | None = None
        self.probes: list[tuple[float, float, bool]] = []
        """Due, begun, passed."""
        self.first_due: dict[tuple[str, str], float] = {}

    async def look(self, subject: Subject, check: CheckConfig) -> ProbeResult:
        """Probe, and note it."""
        assert self.watcher is not None
        begun, due = self._loop.time(), self.watcher.due(subject.service_name, subject.check_name)
        self.first_due.setdefault(subject.key, due)
        result = await self._prober.look(subject, check)
        self.probes.append((due, begun, result.ok))
        return result

    def due_within(self, start: float, end: float) -> int:
        """How many probes were due then: those of each check follow its first one, interval after interval."""
        interval = INTERVAL.total_seconds()
        return sum(
            max(0, math.ceil((end - first) / interval)) - max(0, math.ceil((start - first) / interval))
            for first in self.first_due.values()
        )


async def watch(config: Path, state: Path, database_url: str, seconds: float) -> Watched:
    """The watching process: watch until every endpoint was seen, then measure for so long."""
    begun = time.perf_counter()
    loaded = reload_config(config)
    gc.collect()
    gc.freeze()  # as a worker does once it has read its file
    read = time.perf_counter()
    services = loaded.config.services
    here = HostServices(StatePaths(state), loaded.directory)
    database = Database(database_url)
    store = CheckStore(database)
    seen = Watched(len(services), config_seconds=read - begun, start_seconds=0.0)

    async def on_change(state: CheckState, _: Observation) -> None:
        await store.save_state(LOCAL_HOST, state)

    async def on_samples(samples: list[Sample]) -> None:
        await store.add_samples(samples)
        seen.samples += len(samples)

    async def on_healthy(_: str) -> None:
        """None of the endpoints has files to keep."""

    async with AsyncExitStack() as held:
        held.push_async_callback(database.close)
        prober = await held.enter_async_context(Prober(here, loaded.directory))
        punctuality = Punctuality(prober)
        watcher = Watcher(
            services,
            here,
            on_change=on_change,
            on_samples=on_samples,
            on_healthy=on_healthy,
            look=punctuality.look,
        )
        punctuality.watcher = watcher
        watching = asyncio.create_task(watcher.run())
        await asyncio.sleep(0)
        seen.start_seconds = time.perf_counter() - read
        await asyncio.wait({watching}, timeout=SETTLE_SECONDS)
        await _measure(seen, punctuality, watching, seconds)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return seen


async def _measure(seen: Watched, punctuality: Punctuality, watching: asyncio.Task[None], seconds: float) -> None:
    loop, process = asyncio.get_running_loop(), psutil.Process()
    start, cpu = loop.time(), _cpu_seconds()
    seen.samples = 0
    await asyncio.wait({watching}, timeout=seconds)
    if watching.done():
        watching.result()
    end = loop.time()
    seen.seconds = end - start
    seen.cpu_seconds = _cpu_seconds() - cpu
    seen.rss_bytes = process.memory_info().rss
    # Those that were due last are given the time to be late.
    await asyncio.wait({watching}, timeout=ON_TIME_SECONDS + 1)
    within = [(begun - due, ok) for due, begun, ok in punctuality.probes if start <= due < end]
    never_begun = seen.endpoints - len(punctuality.first_due)
    seen.due = punctuality.due_within(start, end) + never_begun * round(seen.seconds / INTERVAL.total_seconds())
    seen.begun = len(within)
    seen.on_time = sum(1 for late, ok in within if ok and late <= ON_TIME_SECONDS)
    seen.failed = sum(1 for _, ok in within if not ok)
    seen.latest = sorted((late for late, _ in within), reverse=True)[: max(1, len(within) // 100)]


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def written_config(count: int, ports: Sequence[int]) -> str:
    """A `brainops.yaml` of so many endpoints: four of five over HTTP, the others over TCP."""
    lines = ["services:"]
    for number in range(count):
        port = ports[number % len(ports)]
        look = f"kind: tcp, port: {port}" if number % 5 == 4 else f'kind: http, url: "http://127.0.0.1:{port}/{number}"'
        timing = f"interval: {INTERVAL.seconds}s, timeout: 5s"
        lines.append(f"  e{number}: {{run: {{kind: external}}, checks: {{up: {{{look}, {timing}}}}}}}")
    return "\n".join(lines) + "\n"


@contextmanager
def serving_endpoints() -> Generator[list[int]]:
    """The endpoints in a process of their own; their ports."""
    command = [sys.executable, __file__, "--endpoints-process"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())
        finally:
            server.terminate()


async def measure(sizes: Sequence[int], seconds: float) -> list[Watched]:
    """One watching process after another, one for each number of endpoints."""
    results: list[Watched] = []
    with temporary_folder("scale") as folder, serving_endpoints() as ports:
        paths = StatePaths(folder / "state")
        async with running_postgres(paths) as server:
            upgrade(server.owner_url, paths)
            for size in sizes:
                harness.say(f"{size} endpoints for {seconds:.0f} s")
                config = folder / f"brainops-{size}.yaml"
                config.write_text(written_config(size, ports), encoding="utf-8")
                given = json.dumps([str(config), str(folder / f"watch-{size}"), server.app_url, seconds])
                watching = await asyncio.create_subprocess_exec(
                    sys.executable, __file__, "--watch-process", given, stdout=subprocess.PIPE
                )
                output, _ = await watching.communicate()
                if watching.returncode:
                    raise RuntimeError(f"the watch of {size} endpoints ended with {watching.returncode}")
                results.append(Watched(**json.loads(output)))
                harness.say(f"  {results[-1].on_time_share:.2%} on time, {results[-1].cpu_share:.1%} of a core")
    return results


def figures(results: Sequence[Watched]) -> dict[str, float]:
    """The benchmark's figures: those of `JUDGED` endpoints (or of the most there are), and some of each number."""
    judged = next((result for result in results if result.endpoints == JUDGED), results[-1])
    smallest = results[0]
    more = judged.endpoints - smallest.endpoints
    named: dict[str, float] = {
        "on_time_share": judged.on_time_share,
        "failed_probes": judged.failed,
        "lateness_p99": judged.latest[-1] if judged.latest else float("nan"),
        "lateness_worst": judged.latest[0] if judged.latest else float("nan"),
        "cpu_share": judged.cpu_share,
        "cpu_seconds_per_probe": judged.cpu_seconds / max(1, judged.begun),
        "rss_bytes": judged.rss_bytes,
        "rss_bytes_per_endpoint": (judged.rss_bytes - smallest.rss_bytes) / more if more else float("nan"),
        "config_seconds": judged.config_seconds,
        "start_seconds": judged.start_seconds,
        "samples_written_share": judged.samples / max(1, judged.begun),
    }
    for result in results:
        named[f"on_time_share_{result.endpoints}"] = result.on_time_share
        named[f"cpu_share_{result.endpoints}"] = result.cpu_share
        named[f"rss_bytes_{result.endpoints}"] = result.rss_bytes
    return named


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program. Returns the exit code."""
    parser = harness.arguments("What watching costs, from 10 endpoints to 5,000 on loopback.")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N", help="numbers of endpoints")
    parser.add_argument("--seconds", type=float, default=30.0, help="measured for each, whole intervals of 10 s")
    parser.add_argument("--endpoints-process", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--watch-process", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.endpoints_process:
        asyncio.run(serve_endpoints())
    if given.watch_process:
        configure_logging("watch")
        config, state, url, seconds = json.loads(given.watch_process)
        sys.stdout.write(json.dumps(asdict(asyncio.run(watch(Path(config), Path(state), url, seconds)))))
        return 0
    return harness.finish("scale", figures(asyncio.run(measure(sorted(given.sizes), given.seconds))), given)


if __name__ == "__main__":
    sys.exit(main())
