"""A whole BrainOps in the test's own process: real Postgres, a real Temporal server, real services, real workers."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from temporalio.client import Client, WorkflowHandle
from temporalio.workflow import UpdateMethodMultiParam

from brainops.checks.store import CheckStore
from brainops.config.load import load_config
from brainops.config.paths import StatePaths
from brainops.contracts.base import Actor, ActorKind
from brainops.contracts.check import CheckStatus
from brainops.contracts.incident import FileCondition, IncidentStatus
from brainops.contracts.names import CONTROL_QUEUE, SEARCH_ATTRIBUTES, host_queue, incident_workflow_id
from brainops.database.engine import Database
from brainops.incidents.rows import IncidentDetail
from brainops.incidents.store import IncidentStore
from brainops.memory.deeds import DeedStore
from brainops.services.known_good import KnownGoodFiles
from brainops.services.known_good_store import KnownGoodStore
from brainops.services.process import ProcessAdapter
from workers.bring_up import BringUp, bring_up
from workers.main import WORKFLOWS, Parts, build_worker
from workers.plugin import brainops_plugin
from workers.stack.temporal_binary import find_or_install
from workflows.incident import IncidentWorkflow

SERVICE = Path(__file__).parent / "shop_service.py"
NAMESPACES = [f"test-{number}" for number in range(80)]
PERSON = Actor(kind=ActorKind.PERSON, name="tester")
AGENT = Actor(kind=ActorKind.AGENT, name="system_monitor")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class TemporalForTests:
    """The address of a running server and namespaces that no test has used."""

    address: str
    unused: list[str] = field(default_factory=lambda: list(NAMESPACES))


@contextmanager
def running_temporal() -> Generator[TemporalForTests]:
    """A dev server with the production's flags, in memory, until the block ends."""
    port = free_port()
    binary = find_or_install(lambda line: print(line, file=sys.stderr))
    command = [
        str(binary),
        "server",
        "start-dev",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--headless",
        "--log-level=error",
    ]
    command += [f"--namespace={name}" for name in NAMESPACES]
    command += [f"--search-attribute={name}=Keyword" for name in SEARCH_ATTRIBUTES]
    command += ["--dynamic-config-value=history.transferProcessorMaxPollRPS=10000"]
    command += ["--dynamic-config-value=system.enableActivityEagerExecution=true"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with ThreadPoolExecutor(1) as elsewhere:  # the caller may have an event loop of its own
            elsewhere.submit(asyncio.run, _served(f"127.0.0.1:{port}")).result()
        yield TemporalForTests(f"127.0.0.1:{port}")
    finally:
        server.terminate()
        server.wait(10)


async def _served(address: str) -> None:
    """Wait until the server answers; it listens a moment before it does."""
    deadline = time.monotonic() + 20
    while True:
        try:
            await Client.connect(address, namespace=NAMESPACES[0])
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            return


@dataclass
class House:
    """A running BrainOps with its services, in one folder, one database and one namespace."""

    client: Client
    database: Database
    folder: Path
    parts: Parts
    ports: dict[str, int]
    brought_up: BringUp | None = None

    @property
    def incidents(self) -> IncidentStore:
        return IncidentStore(self.database)

    def folder_of(self, service: str) -> Path:
        return self.folder / service

    def adapter(self) -> ProcessAdapter:
        return ProcessAdapter(self.parts.paths, self.folder)

    async def pid(self, service: str) -> int:
        state = await self.adapter().state(service, self.parts.config.services[service])
        assert state.process is not None
        return state.process.pid

    async def crash(self, service: str) -> None:
        os.kill(await self.pid(service), signal.SIGKILL)

    def starts(self, service: str) -> int:
        path = self.folder_of(service) / "starts.txt"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def handle(self, service: str, check: str = "process") -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle_for(IncidentWorkflow.run, incident_workflow_id(service, check))

    async def answers(self, service: str, timeout: float = 15) -> None:
        async def healthy() -> bool:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[service])
                writer.write(b"GET /health HTTP/1.0\r\n\r\n")
                line = await asyncio.wait_for(reader.readline(), 1)
                writer.close()
            except (OSError, TimeoutError):
                return False
            return b" 200 " in line

        await eventually(healthy, f"{service} answers", timeout)

    async def watched(self, service: str, timeout: float = 30) -> None:
        """Wait until every check of the service is known to pass."""

        async def passing() -> bool:
            states = [one for one in await CheckStore(self.database).states(None) if one.service == service]
            return len(states) > 0 and all(state.status is CheckStatus.PASSING for state in states)

        await eventually(passing, f"{service} is watched and passes", timeout)

    async def kept(self, service: str) -> bool:
        """Whether every declared file of the service has been kept as known good."""
        known_good = KnownGoodFiles(KnownGoodStore(self.database), self.parts.objects, self.folder)
        facts = await known_good.compare(service, self.parts.config.services[service])
        return all(fact.condition is FileCondition.SAME for fact in facts)

    async def incident(
        self, service: str, *statuses: IncidentStatus, timeout: float = 20, count: int = 1
    ) -> IncidentDetail:
        """The newest incident of the service once `count` of them stand at one of `statuses`."""

        async def found() -> IncidentDetail | None:
            listed = await self.incidents.list(limit=50, service=service)
            matching = [row for row in listed if row.status in statuses]
            if len(matching) < count:
                return None
            return await self.incidents.get(str(matching[0].plan_id))

        return await eventually(found, f"{count} incident(s) of {service} at {[s.value for s in statuses]}", timeout)


T = TypeVar("T")
P = TypeVar("P")


async def eventually(condition: Callable[[], Awaitable[T | None]], what: str, timeout: float = 15) -> T:
    """The first truthy answer of `condition`; fails naming `what` when there is none in time."""
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        answer = await condition()
        if answer:
            return answer
        assert asyncio.get_running_loop().time() < deadline, f"not seen within {timeout} s: {what}"
        await asyncio.sleep(0.02)


def declared(folder: Path, ports: dict[str, int], services: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A configuration in which each service is the little one, watched closely, with what the test adds."""
    result: dict[str, Any] = {}
    for name, extra in services.items():
        (folder / name).mkdir(exist_ok=True)
        timing = {"interval": "100ms", "timeout": "300ms"}
        result[name] = {
            "run": {
                "kind": "process",
                "command": [sys.executable, "-S", str(SERVICE), str(ports[name]), str(folder / name)],
                "stop_timeout": "1s",
            },
            "checks": {
                "process": {"kind": "process", **timing},
                "front": {"kind": "http", "url": f"http://127.0.0.1:{ports[name]}/health", **timing},
            },
            "keep_good_after": "300ms",
            "recover_within": "3s",
            "autonomy": "act",
            **extra,
        }
    return {"services": result}


@asynccontextmanager
async def running_house(
    clients: tuple[Client, Client], database: Database, folder: Path, ports: dict[str, int], prepare: dict[str, Any]
) -> AsyncGenerator[House]:
    """`clients`: a person's, and the workers' own."""
    person, client = clients
    config_path = folder / "brainops.yaml"
    config_path.write_text(yaml.safe_dump(prepare))
    paths = StatePaths(folder / "state")
    parts = Parts(database, load_config(config_path), paths, client, "local")
    async with AsyncExitStack() as stack:
        on_host = await stack.enter_async_context(parts.on_host())
        await stack.enter_async_context(build_worker(client, CONTROL_QUEUE, parts.control(), WORKFLOWS))
        await stack.enter_async_context(build_worker(client, host_queue("local"), on_host))
        house = House(person, database, folder, parts, ports)
        house.brought_up = await bring_up(client, database, parts.config, "local")
        yield house


class Builder:
    """Builds houses and ends, at the test's end, every service that they started."""

    def __init__(self, temporal: TemporalForTests, database: Database, folder: Path) -> None:
        self.temporal = temporal
        self.database = database
        self.folder = folder
        self.ports: dict[str, int] = {}

    def port(self, service: str) -> int:
        """The port of a service, chosen once."""
        return self.ports.setdefault(service, free_port())

    async def client(self, actor: Actor, namespace: str) -> Client:
        """A client of `namespace` that acts for `actor`."""
        plugin = brainops_plugin(actor, DeedStore(self.database))
        return await Client.connect(self.temporal.address, namespace=namespace, plugins=[plugin])

    @asynccontextmanager
    async def house(
        self, services: dict[str, dict[str, Any]], agents: dict[str, Any] | None = None, **sections: Any
    ) -> AsyncGenerator[House]:
        """A house in a namespace that nobody has used: a Temporal that remembers nothing. `sections`: of the file."""
        for name in services:
            self.port(name)
        prepared = declared(self.folder, self.ports, services) | ({"agents": agents} if agents else {}) | sections
        namespace = self.temporal.unused.pop()
        clients = await self.client(PERSON, namespace), await self.client(AGENT, namespace)
        async with running_house(clients, self.database, self.folder, self.ports, prepared) as house:
            yield house

    async def end_services(self) -> None:
        config = self.folder / "brainops.yaml"
        if not config.exists():
            return
        adapter = ProcessAdapter(StatePaths(self.folder / "state"), self.folder)
        for name, service in load_config(config).config.services.items():
            await adapter.stop(name, service)


async def update(handle: WorkflowHandle[Any, Any], method: UpdateMethodMultiParam[[Any, P], T], argument: P) -> T:
    """Send a typed update and wait for its answer."""
    # The SDK's overloads leave the type of `execute_update` open to strict checking.
    return await handle.execute_update(method, argument)  # pyright: ignore[reportUnknownMemberType]
