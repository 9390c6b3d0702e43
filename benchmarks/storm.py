"""A storm: a thousand alerts from one root must be one incident and one page. `python benchmarks/storm.py --check`.

A real stack watches one root and a thousand services that depend on it. One real process answers for all of them, and
answers well only while it reaches the root. The root is killed; nobody may act on it, so BrainOps pages. When every
alert has arrived the root is started again, and every alert must be noted as over. A real HTTP server receives the
pages through Apprise.
"""

import argparse
import asyncio
import random
import socket
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from sqlalchemy import text

from benchmarks import harness
from brainops.database.engine import Database
from interfaces.demo.stage import running_stack, temporary_folder

READY_SECONDS = 240.0
STORM_SECONDS = 300.0
CALM_SECONDS = 300.0
SETTLED_SECONDS = 15.0
"""How long nothing may change before the counts are taken: late incidents and pages would come within it."""

_ROOT = """
import asyncio, sys
async def answer(reader, writer):
    writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
asyncio.run(main())
"""

_FRONT = """
import asyncio, sys
async def reaches():
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    except OSError:
        return False
    writer.close()
    return True
async def answer(reader, writer):
    await reader.readline()
    line = b"200 OK" if await reaches() else b"503 Service Unavailable"
    writer.write(b"HTTP/1.1 " + line + b"\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[1]), backlog=2048)
    await server.serve_forever()
asyncio.run(main())
"""


@dataclass
class Pages:
    """What the receiver got."""

    port: int = 0
    raised: int = 0
    closed: int = 0

    async def take(self, request: web.Request) -> web.Response:
        """One message of Apprise's `json://`."""
        message = await request.json()
        if message["type"] == "success":
            self.closed += 1
        else:
            self.raised += 1
            harness.say(f"page: {message['title']}")
        return web.Response()


@asynccontextmanager
async def receiving() -> AsyncGenerator[Pages]:
    """A real HTTP server for the pages."""
    pages = Pages()
    app = web.Application()
    app.router.add_post("/{tail:.*}", pages.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    pages.port = runner.addresses[0][1]
    try:
        yield pages
    finally:
        await runner.cleanup()


@asynccontextmanager
async def program(source: str, *arguments: int) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A real process that runs `source` and serves the first of `arguments` as its port."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", source, *map(str, arguments))
    try:
        await until(lambda: listens(arguments[0]), 20, "the process listens")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def until(condition: Callable[[], Awaitable[bool]], seconds: float, what: str) -> None:
    """Wait for `condition`; RuntimeError naming `what` when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not seen within {seconds:.0f} s: {what}")
        await asyncio.sleep(0.2)


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, all different."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def declared(dependents: int, root_port: int, front_port: int, seed: int) -> dict[str, Any]:
    """The services: the root last, so that no order of the file helps. Any: values of `brainops.yaml`."""
    names = [f"web-{number:04}" for number in range(dependents)]
    random.Random(seed).shuffle(names)
    services: dict[str, Any] = {
        name: {
            "run": {"kind": "external"},
            "checks": {
                "front": {
                    "kind": "http",
                    "url": f"http://127.0.0.1:{front_port}/{name}",
                    "interval": "5s",
                    "timeout": "4s",
                }
            },
            "depends_on": ["root"],
        }
        for name in names
    }
    services["root"] = {
        "run": {"kind": "external"},
        "checks": {"port": {"kind": "tcp", "port": root_port, "interval": "2s", "timeout": "1s"}},
    }
    return services


async def count(database: Database, query: str) -> int:
    """One number."""
    async with database.transaction() as connection:
        return int(await connection.scalar(text(query)) or 0)


_FAILING = "SELECT count(*) FROM brainops.check_states WHERE status = 'failing'"
_PASSING = "SELECT count(*) FROM brainops.check_states WHERE status = 'passing'"
_INCIDENTS = "SELECT count(*) FROM brainops.incidents WHERE status <> 'absorbed'"
_PLANS = "SELECT count(*) FROM brainops.incidents"
_ALERTS = "SELECT count(*) FROM brainops.incident_alerts"
_RESOLVED = "SELECT count(*) FROM brainops.incident_alerts WHERE resolved_at IS NOT NULL"
_LOST = """
    SELECT (SELECT count(*) FROM brainops.incident_alerts WHERE resolved_at IS NULL)
        + (SELECT count(*) FROM brainops.incidents WHERE closed_at IS NULL)
"""


async def measure(given: argparse.Namespace) -> dict[str, float]:
    """Run the storm; the figures."""
    with temporary_folder("storm") as folder:
        root_port, front_port = free_ports(2)
        services = declared(given.dependents, root_port, front_port, given.seed)
        async with receiving() as pages, program(_FRONT, front_port, root_port):
            notify = {"channels": {"pager": {"url": f"json://127.0.0.1:{pages.port}/"}}, "page_after": "1h"}
            return await storm(folder, services, notify, pages, root_port)


async def storm(
    folder: Path, services: dict[str, Any], notify: dict[str, Any], pages: Pages, root_port: int
) -> dict[str, float]:
    """Kill the root, wait for every alert, start it again, wait for every resolution."""
    total = len(services)
    async with running_stack(folder, services, sections={"notify": notify}) as stage:
        database = stage.database
        async with program(_ROOT, root_port) as root:
            await until(lambda: _is(database, _PASSING, total), READY_SECONDS, f"{total} checks pass")
            harness.say(f"{total} checks pass; the root is killed")
            begun = time.monotonic()
            root.kill()
            await root.wait()
            await until(lambda: _is(database, _FAILING, total), STORM_SECONDS, f"{total} checks fail")
            await until(lambda: _is(database, _ALERTS, total - 1), STORM_SECONDS, "every alert is part of the incident")
            stormed = time.monotonic() - begun
            harness.say(f"{total} checks fail after {stormed:.1f} s")
            await asyncio.sleep(SETTLED_SECONDS)
        incidents, plans = await count(database, _INCIDENTS), await count(database, _PLANS)
        raised = pages.raised
        async with program(_ROOT, root_port):
            calm_begun = time.monotonic()
            await until(lambda: _is(database, _PASSING, total), CALM_SECONDS, f"{total} checks pass again")
            calmed = time.monotonic() - calm_begun
            await asyncio.sleep(SETTLED_SECONDS)
            lost = await count(database, _LOST)
            return {
                "incidents": max(incidents, await count(database, _INCIDENTS)),
                "pages": max(raised, pages.raised),
                "resolutions_lost": lost + (0 if pages.closed == pages.raised else 1),
                "alerts": await count(database, _ALERTS),
                "alerts_resolved": await count(database, _RESOLVED),
                "plans": max(plans, await count(database, _PLANS)),
                "storm_seconds": stormed,
                "calm_seconds": calmed,
            }


async def _is(database: Database, query: str, wanted: int) -> bool:
    return await count(database, query) >= wanted


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program. Returns the exit code."""
    parser = harness.arguments("A thousand alerts from one root: one incident, one page, every resolution.")
    parser.add_argument("--dependents", type=int, default=1000, metavar="N", help="services above the root")
    given = parser.parse_args(arguments)
    return harness.finish("storm", asyncio.run(measure(given)), given)


if __name__ == "__main__":
    sys.exit(main())
