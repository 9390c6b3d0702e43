"""The local stack: Postgres, Temporal, the workers and the API, each a child process under supervision.

`brainops up` runs it in the foreground; the demo, tests and benchmarks run it inside themselves.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from brainops.config.load import load_config
from brainops.config.models import Api, BrainOpsConfig
from brainops.config.paths import StatePaths
from brainops.database.embedded import EmbeddedPostgres
from brainops.errors import BrainOpsError, SetupError
from workers.stack import parts
from workers.stack.errands import MIGRATE, errand
from workers.stack.parts import API, CONTROL, HOST, POSTGRES, TEMPORAL
from workers.stack.plans import Plans
from workers.stack.ports import TEMPORAL_PORT, UI_PORT, PortChoice, Wanted, choose
from workers.stack.process import Child, bound_log
from workers.stack.state import StackInfo, StackLock, start_ticks
from workers.stack.supervisor import Part, PartSpec
from workers.stack.temporal_binary import find
from workers.stack.temporal_server import TemporalServer, external_address, prepare_external

__all__ = ["API", "CONTROL", "EMBEDDED", "HOST", "POSTGRES", "TEMPORAL", "Stack"]

EMBEDDED: Mapping[str, str] = {
    "TEMPORAL_ADDRESS": "",
    "TEMPORAL_PROFILE": "",
    "TEMPORAL_CONFIG_FILE": os.devnull,
    parts.DATABASE_VARIABLE: "",
}
"""For `Stack`'s environment: a Temporal server and a Postgres of its own, whatever the shell's variables say."""

LOG_CHECK_SECONDS = 5.0

Progress = Callable[[str], None]

Only = Literal["everything", "memory"]
"""Which parts: all of them, or Postgres and the API alone, for coding agents on a laptop."""


class Stack:
    """One stack on one state folder. Make, start and stop it in the main thread, within one event loop.

    `config_path`: the `brainops.yaml`; None: no services. `ports`: see `PortChoice`. `environment`: added to that of
    this process for the stack and its children; an empty value removes a variable (see `EMBEDDED`). `temporal_port`
    and `ui_port`: ports that must be these. `temporal_binary`: default, the one that is found or installed. `only`: see
    `Only`; memory alone needs no Temporal, watches nothing and heals nothing.
    """

    def __init__(
        self,
        paths: StatePaths,
        config_path: Path | None = None,
        *,
        ports: PortChoice = "default",
        environment: Mapping[str, str] | None = None,
        temporal_port: int | None = None,
        ui_port: int | None = None,
        temporal_binary: Path | None = None,
        only: Only = "everything",
    ) -> None:
        self.paths = paths
        self.config_path = config_path.absolute() if config_path else None
        self.parts: list[Part] = []
        self.info: StackInfo | None = None
        """Addresses; None while not every process runs."""
        merged = {**os.environ, **(environment or {})}
        self._environment = {name: value for name, value in merged.items() if value}
        self._ports: PortChoice = ports
        self._temporal_ports = (temporal_port, ui_port)
        self._temporal_binary = temporal_binary
        self._only = only
        self._announce: Progress = lambda _line: None
        self._lock = StackLock(paths)
        self._plans: Plans | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def addresses(self) -> StackInfo:
        """Where everything is. Raises SetupError while the stack is not up."""
        if self.info is None:
            raise SetupError("The stack is not up.")
        return self.info

    @property
    def temporal_address(self) -> str:
        """Host and port of the Temporal server."""
        return self.addresses.temporal_address

    @property
    def ui_url(self) -> str | None:
        """Temporal's Web UI; None where the server is not ours."""
        return self.addresses.ui_url

    @property
    def database_url(self) -> str:
        """BrainOps' database, as the app role."""
        return self.addresses.database_url

    @property
    def api_url(self) -> str:
        """The HTTP API."""
        return self.addresses.api_url

    @property
    def child_environment(self) -> dict[str, str]:
        """What workers and the API get; a program with it talks to this stack."""
        return parts.child_environment(self._environment, self.addresses)

    def pid_of(self, part: str) -> int | None:
        """Process id of a part (its name in `parts`); None while it does not run, or where it is not ours."""
        return next((one.pid for one in self.parts if one.spec.name == part), None)

    async def start(self, progress: Progress = lambda _line: None) -> StackInfo:
        """Start everything, in order of need, and return when plans run. Takes seconds; the first time longer.

        `progress` gets lines for people, also later, when a part dies or runs again. Raises ConfigError with every
        mistake before anything is started, ConflictError when another stack runs on the folder, and SetupError or
        UnavailableError when a part cannot be had; whatever was started is then stopped.
        """
        self._announce = progress
        config = load_config(self.config_path).config if self.config_path else BrainOpsConfig()
        self._lock.acquire()
        try:
            await self._start(config)
        except BaseException:
            await self.stop()
            raise
        return self.addresses

    async def apply(self) -> None:
        """Read the file anew and have everything go by it: workers are started again, plans brought into agreement.

        What became of it stands in `info`. A file with mistakes, or one that is gone, changes nothing. The API keeps its
        address. Users' services go on.
        """
        info = self.addresses
        problem = ""
        try:
            await self._apply(info)
        except BrainOpsError as error:
            problem = str(error)
            self._announce(f"the configuration was not applied: {problem}")
        else:
            self._announce("the configuration was applied")
        self.info = info.model_copy(update={"applications": info.applications + 1, "apply_problem": problem})
        self.info.write(self.paths)

    async def _apply(self, info: StackInfo) -> None:
        if self._only == "memory":
            raise SetupError("memory runs alone and watches nothing; stop it and start everything with `brainops up`")
        if self.config_path is None or self._plans is None:
            raise SetupError("the stack was started without a file; stop it and start it with --config FILE")
        await asyncio.to_thread(load_config, self.config_path)
        await _together(*(part.renew() for part in self.parts if part.spec.name in (CONTROL, HOST)))
        await self._plans.start(parts.child_environment(self._environment, info))

    async def stop(self) -> None:
        """Stop what was started, in reverse order, and return when nothing of it runs. Users' services go on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await asyncio.gather(*(part.stop() for part in self.parts if part.spec.name not in parts.SERVERS))
        await asyncio.gather(*(part.stop() for part in self.parts if part.spec.name in parts.SERVERS))
        self.parts.clear()
        self.info = self._plans = None
        self._lock.release()

    async def _start(self, config: BrainOpsConfig) -> None:
        self.paths.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._spawn(self._bound_logs())
        if self._only == "memory":
            await self._start_memory(config)
            return
        address = external_address(self._environment)
        server_port, ui_port, api_port = self._choose_ports(config.api, embedded=address is None)
        temporal = self._use_temporal() if address else self._start_temporal(server_port, ui_port)
        database_url, ui_url = await _together(self._start_database(), temporal)
        info = StackInfo(
            pid=os.getpid(),
            start_ticks=start_ticks(os.getpid()) or 0,
            temporal_address=address or f"127.0.0.1:{server_port}",
            temporal_embedded=address is None,
            ui_url=ui_url,
            database_url=database_url,
            api_url=parts.api_url(config.api, api_port),
            api_socket=self.paths.api_socket,
            config_path=self.config_path,
            state_folder=self.paths.root,
        )
        environment = parts.child_environment(self._environment, info)
        # The plans' first tasks wait for the workers, so that both may be started at once.
        plans = self._plans = Plans(self.paths.logs / "bring-up.log", self._announce)
        plans_started = self._spawn(plans.start(environment))
        await _together(
            *(self._run(parts.worker_part(role, self.paths, environment)) for role in (CONTROL, HOST)),
            self._run(parts.api_part(config, self._directory, api_port, self.paths, environment)),
        )
        info.write(self.paths)
        self.info = info
        await plans_started
        self._spawn(plans.keep(environment))

    async def _start_memory(self, config: BrainOpsConfig) -> None:
        """Postgres and the API."""
        _, _, api_port = self._choose_ports(config.api, embedded=False)
        info = StackInfo(
            pid=os.getpid(),
            start_ticks=start_ticks(os.getpid()) or 0,
            temporal_address="",
            temporal_embedded=False,
            ui_url=None,
            database_url=await self._start_database(),
            api_url=parts.api_url(config.api, api_port),
            api_socket=self.paths.api_socket,
            config_path=self.config_path,
            state_folder=self.paths.root,
        )
        environment = parts.child_environment(self._environment, info)
        await self._run(parts.api_part(config, self._directory, api_port, self.paths, environment))
        info.write(self.paths)
        self.info = info

    @property
    def _directory(self) -> Path:
        return self.config_path.parent if self.config_path else self.paths.root

    def _choose_ports(self, api: Api, *, embedded: bool) -> tuple[int, int, int]:
        """Ports of Temporal, its UI (0 where the server is not ours) and the API."""
        server, ui = self._temporal_ports
        fixed = "port" in api.model_fields_set and api.port != 0
        wanted = [Wanted("the API", api.port, fixed, "api.port in brainops.yaml", api.bind)]
        if embedded:
            wanted += [
                Wanted("Temporal", server or TEMPORAL_PORT, server is not None, "--temporal-port"),
                Wanted("Temporal's UI", ui or UI_PORT, ui is not None, "--ui-port"),
            ]
        api_port, *temporal = choose(wanted, self._ports, self._announce)
        return (temporal[0], temporal[1], api_port) if embedded else (0, 0, api_port)

    async def _run(self, spec: PartSpec) -> None:
        part = Part(spec, self._announce)
        self.parts.append(part)
        await part.start()

    async def _start_database(self) -> str:
        """Start Postgres or use the given one, migrate it, and return the app role's URL."""
        state_folder = str(self.paths.root)
        given = self._environment.get(parts.DATABASE_VARIABLE)
        if given:
            async with errand(MIGRATE) as migrating:
                return await migrating.done({"owner_url": given, "state_folder": state_folder})
        postgres = EmbeddedPostgres(self.paths)
        await asyncio.to_thread(postgres.prepare)
        async with errand(MIGRATE) as migrating:
            await self._run(parts.postgres_part(postgres, self.paths, self._environment))
            return await migrating.done({"owner_url": postgres.owner_url, "state_folder": state_folder})

    async def _start_temporal(self, port: int, ui_port: int) -> str:
        """Start our Temporal server, getting its binary first if need be, and return the address of its UI."""
        binary = self._temporal_binary or await asyncio.to_thread(find) or await self._install_temporal()
        server = TemporalServer(binary, self.paths.temporal, port, ui_port)
        await self._run(parts.temporal_part(server, self.paths, self._environment, self._on_temporal_restart))
        return server.ui_url

    async def _use_temporal(self) -> None:
        await prepare_external(self._environment, self._announce)

    async def _install_temporal(self) -> Path:
        """Get the server's binary in a process of its own, which can be ended when somebody loses patience."""
        log_file = self.paths.logs / "temporal-install.log"
        child = Child(parts.installer_command(), environment=self._environment, log_file=log_file)
        told = 0
        try:
            exited = asyncio.ensure_future(child.exited())
            while not exited.done():
                await asyncio.wait((exited,), timeout=0.5)
                lines = child.said().splitlines()
                for line in lines[told:]:
                    self._announce(line)
                told = len(lines)
        finally:
            await child.stop(signal.SIGTERM, timedelta(seconds=5))
        binary = await asyncio.to_thread(find)
        if binary is None:
            raise SetupError(child.said().strip() or f"The Temporal server cannot be installed; see {log_file}")
        return binary

    def _on_temporal_restart(self) -> None:
        if self._plans:
            self._plans.want()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    async def _bound_logs(self) -> None:
        while True:
            for log_file in await asyncio.to_thread(parts.log_files, self.paths):
                with suppress(OSError):  # a full disk: the next round tries again
                    await asyncio.to_thread(bound_log, log_file)
            await asyncio.sleep(LOG_CHECK_SECONDS)


async def _together(*works: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run all at once and return their results; when one fails, end the others and raise its error."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
