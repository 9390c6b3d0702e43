"""What the idle stack costs: `python benchmarks/footprint.py --minutes 10 --check`.

`brainops up` runs as a person runs it, with three services probed each second, and nothing goes wrong. After a warm-up
its processes are summed: `up` itself, all that it started, and the shims of the services; the services themselves are
the user's. Memory is the largest sum of resident sizes seen (`rss_bytes` counts shared pages once for each process
that maps them; `pss_bytes` counts them once). CPU is the time that all of them used, as a share of one core.

Disk growth is what the state folder's files occupy after, less before, a day's worth of it. Both ends are taken right
after a checkpoint of Postgres and of Temporal's SQLite, and without their write-ahead logs: those are recycled, their
sizes are bounded by `max_wal_size` and by each checkpoint, and they do not grow from day to day. `wal_bytes` tells
what they occupy. The services' own output is not counted.
"""

import argparse
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import yaml
from rich.table import Table

from benchmarks import harness
from brainops.config.paths import StatePaths
from brainops.database.embedded import EmbeddedPostgres
from brainops.database.urls import connection_string
from brainops.services.records import ServiceFiles
from interfaces.demo.layout import free_ports
from interfaces.demo.stage import temporary_folder
from workers.stack.stack import EMBEDDED
from workers.stack.state import StackInfo, start_ticks

PROJECT = Path(__file__).resolve().parents[1]
SERVICES = 3
START_SECONDS = 120.0
SAMPLE_SECONDS = 5.0
DAY_SECONDS = 86_400.0
STOP_SECONDS = 60.0

QUIET_SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@dataclass
class Usage:
    """What one kind of process has used."""

    processes: int = 0
    rss: int = 0
    pss: int = 0
    cpu: float = 0.0
    """Seconds since they began, those of ended children included."""


@dataclass
class Disk:
    """What the state folder occupies."""

    kept: dict[str, int] = field(default_factory=dict[str, int])
    """Folder or database part → bytes, of what grows."""
    wal: int = 0


@dataclass
class Measured:
    """Everything that a run saw."""

    seconds: float
    before: dict[str, Usage]
    after: dict[str, Usage]
    worst: dict[str, Usage]
    """The sample with the largest sum of resident sizes."""
    disk_before: Disk
    disk_after: Disk


def measure(given: argparse.Namespace) -> Measured:
    """Run the whole benchmark."""
    with temporary_folder("footprint") as folder:
        services = {f"service-{number}": port for number, port in enumerate(free_ports(SERVICES), start=1)}
        config = folder / "brainops.yaml"
        config.write_text(yaml.safe_dump({"services": declared(services)}, sort_keys=False), encoding="utf-8")
        paths = StatePaths(folder / "state")
        with ending_services(services), running_up(paths, config) as stack:
            postgres = EmbeddedPostgres(paths)
            postgres.prepare()
            harness.say(f"warming up for {given.warm_up_minutes:g} min")
            time.sleep(given.warm_up_minutes * 60)
            disk_before = disk_usage(paths, postgres)
            harness.say(f"measuring for {given.minutes:g} min")
            return watch(stack, paths, postgres, disk_before, given.minutes * 60)


def watch(
    stack: psutil.Process, paths: StatePaths, postgres: EmbeddedPostgres, disk_before: Disk, seconds: float
) -> Measured:
    """Sample the processes until `seconds` are over."""
    begun = time.monotonic()
    before = latest = worst = usage(stack, paths)
    while (left := begun + seconds - time.monotonic()) > 0:
        time.sleep(min(SAMPLE_SECONDS, left))
        latest = usage(stack, paths)
        if sum(one.rss for one in latest.values()) > sum(one.rss for one in worst.values()):
            worst = latest
    elapsed = time.monotonic() - begun
    return Measured(elapsed, before, latest, worst, disk_before, disk_usage(paths, postgres))


def declared(services: dict[str, int]) -> dict[str, Any]:
    """The services as `brainops.yaml` has them. Any: values of that file."""
    return {
        name: {
            "run": {"kind": "process", "command": [sys.executable, "-I", "-S", "-c", QUIET_SERVER, str(port)]},
            "checks": {"http": {"kind": "http", "url": f"http://127.0.0.1:{port}/", "interval": "1s"}},
            "autonomy": "act",
        }
        for name, port in services.items()
    }


@contextmanager
def running_up(paths: StatePaths, config: Path) -> Generator[psutil.Process]:
    """`brainops up`, ready, until the block ends."""
    merged = {**os.environ, **EMBEDDED, "BRAINOPS_STATE_DIR": str(paths.root), "PYTHONPATH": str(PROJECT)}
    environment = {name: value for name, value in merged.items() if value}
    command = [sys.executable, "-m", "interfaces.cli.main", "up", "--ports", "auto", "--config", str(config)]
    log = config.with_name("up.log")
    with log.open("wb") as output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as process:
        try:
            deadline = time.monotonic() + START_SECONDS
            while "State folder: " not in log.read_text(encoding="utf-8"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the stack does not start:\n{log.read_text(encoding='utf-8')}")
                time.sleep(0.1)
            assert StackInfo.read(paths) is not None
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            process.kill()


@contextmanager
def ending_services(services: dict[str, int]) -> Generator[None]:
    """BrainOps starts the services; at the end, after the stack, they are ended here."""
    ports = {str(port) for port in services.values()}
    try:
        yield
    finally:
        for process in psutil.process_iter():
            arguments = _command(process)
            if QUIET_SERVER in arguments and arguments[-1] in ports:
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def usage(stack: psutil.Process, paths: StatePaths) -> dict[str, Usage]:
    """What the stack's processes use now, by kind."""
    found: dict[str, Usage] = {}
    shims = _shims(paths)
    for process in (stack, *stack.children(recursive=True), *shims):
        with suppress(psutil.NoSuchProcess, FileNotFoundError):
            kind = "shims" if process in shims else kind_of(process, stack)
            memory, times = process.memory_full_info(), process.cpu_times()
            one = found.setdefault(kind, Usage())
            one.processes += 1
            one.rss += memory.rss
            one.pss += memory.pss
            one.cpu += times.user + times.system + times.children_user + times.children_system
    return found


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def _shims(paths: StatePaths) -> list[psutil.Process]:
    """The processes that wait for the ends of this state folder's services."""
    runs = (ServiceFiles(folder).run() for folder in paths.services.iterdir())
    return [
        psutil.Process(run.shim_pid)
        for run in runs
        if run is not None and start_ticks(run.shim_pid) == run.shim_start_ticks
    ]


def kind_of(process: psutil.Process, stack: psutil.Process) -> str:
    """The row in which a process is counted."""
    if process == stack:
        return "up"
    arguments = process.cmdline()
    line = " ".join(arguments)
    for kind, mark in (
        ("worker control", "--role control"),
        ("worker host", "--role host"),
        ("api", "interfaces.api.main"),
        ("temporal", "start-dev"),
    ):
        if mark in line:
            return kind
    return "postgres" if "postgres" in (arguments[0] if arguments else process.name()) else process.name()


def disk_usage(paths: StatePaths, postgres: EmbeddedPostgres) -> Disk:
    """What the files occupy, after a checkpoint. Files that vanish meanwhile are not counted."""
    with psycopg.connect(connection_string(postgres.owner_url), autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    with closing(sqlite3.connect(paths.temporal / "temporal.db", timeout=10)) as database:
        database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    disk = Disk()
    for folder, _, names in os.walk(paths.root):
        for name in names:
            path = Path(folder, name)
            with suppress(FileNotFoundError):
                size = path.stat().st_blocks * 512
                part = path.relative_to(paths.root).parts[0]
                if "pg_wal" in path.parts or name.endswith((".db-wal", ".db-shm")):
                    disk.wal += size
                elif not name.startswith("output.log"):
                    disk.kept[part] = disk.kept.get(part, 0) + size
    return disk


def figures(measured: Measured) -> dict[str, float]:
    """The benchmark's figures."""
    cpu = sum(one.cpu for one in measured.after.values()) - sum(one.cpu for one in measured.before.values())
    grown = sum(measured.disk_after.kept.values()) - sum(measured.disk_before.kept.values())
    return {
        "rss_bytes": sum(one.rss for one in measured.worst.values()),
        "pss_bytes": sum(one.pss for one in measured.worst.values()),
        "cpu_share": cpu / measured.seconds,
        "disk_bytes_per_day": grown * DAY_SECONDS / measured.seconds,
        "wal_bytes": measured.disk_after.wal,
        "minutes": measured.seconds / 60,
    }


def report(measured: Measured) -> Table:
    """What dominates: a row for each kind of process, and one for each part of the state folder."""
    table = Table("part", "processes", "RSS MB", "PSS MB", "share of a core", "disk MB/day", title="where it goes")
    for kind, one in sorted(measured.worst.items(), key=lambda item: -item[1].rss):
        cpu = measured.after.get(kind, Usage()).cpu - measured.before.get(kind, Usage()).cpu
        table.add_row(
            kind,
            str(one.processes),
            f"{one.rss / 1e6:.0f}",
            f"{one.pss / 1e6:.0f}",
            f"{cpu / measured.seconds:.4f}",
            "",
        )
    for part, size in sorted(measured.disk_after.kept.items()):
        grown = (size - measured.disk_before.kept.get(part, 0)) * DAY_SECONDS / measured.seconds
        table.add_row(f"{part}/", "", "", "", "", f"{grown / 1e6:.1f}")
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program. Returns the exit code."""
    parser = harness.arguments("What the idle stack costs: memory, CPU, growth on disk.")
    parser.add_argument("--minutes", type=float, default=10.0, metavar="N", help="that are measured")
    parser.add_argument("--warm-up-minutes", type=float, default=3.0, metavar="N", help="before that")
    given = parser.parse_args(arguments)
    measured = measure(given)
    harness.wide_console().print(report(measured))
    return harness.finish("footprint", figures(measured), given)


if __name__ == "__main__":
    sys.exit(main())
