"""Services that are containers: what Docker and Compose services have in common.

How they are is told by the events of their engine (`docker_events`) and kept in memory only to be asked cheaply; what
BrainOps has done to them stands in the state folder (`container_effects`).
"""

import asyncio
import logging
import re
import signal
from abc import abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.config.quantities import format_size
from brainops.config.runs import ComposeRun, DockerRun
from brainops.contracts.incident import ContainerFacts
from brainops.contracts.service import ProcessRecord, ServiceRun, ServiceState, ServiceStatus
from brainops.errors import ActionError, BrainOpsError, UnavailableError
from brainops.services import procfs
from brainops.services.adapter import ServiceAdapter
from brainops.services.container_effects import ContainerEffects, Effect
from brainops.services.container_engine import READ_SECONDS, Engine, EngineClient, EngineRefusedError, endpoint_of
from brainops.services.container_facts import (
    Container,
    exit_record,
    is_in_container,
    memory_bytes,
    suspended,
    worst,
)
from brainops.services.container_good import GoodContainers
from brainops.services.container_replacement import forget_replaced
from brainops.services.docker_events import EngineWatch, Life, Selector
from brainops.services.process import describe_exit
from brainops.services.procfs import Listener
from brainops.services.records import Start
from brainops.telemetry.redaction import clean

_LOG_LINES = 1000
"""The engine cuts a line at 16 KiB, so no more than 16 MiB are ever read."""

_BEFORE_START = timedelta(seconds=2)
"""A process may write before the engine notes its start."""

_PROXY_PORT = re.compile(r"-host-port (\d+)(?:\s|$)")
_PROXY_ADDRESS = re.compile(r"-container-ip (\S+)")
_LONGEST = 500
_log = logging.getLogger(__name__)

ContainerRun = DockerRun | ComposeRun


class Engines:
    """The engines that services of this host are on, each with one client and one stream of events."""

    def __init__(self) -> None:
        self._engines: dict[str, tuple[Engine, EngineWatch]] = {}

    def at(self, declared: str | None) -> tuple[Engine, EngineWatch]:
        """The engine of an endpoint. None: the machine's usual one."""
        endpoint = endpoint_of(declared)
        if endpoint not in self._engines:
            engine = Engine(endpoint)
            self._engines[endpoint] = engine, EngineWatch(engine)
        return self._engines[endpoint]

    async def close(self) -> None:
        """Give connections back."""
        engines, self._engines = self._engines, {}
        for engine, watch in engines.values():
            await watch.close()
            await engine.close()


class ContainerServices(ServiceAdapter):
    """Services that run as containers, one or several."""

    def __init__(self, paths: StatePaths, engines: Engines) -> None:
        self._paths = paths
        self._engines = engines
        self._ours: dict[str, bool] = {}
        self._goods: dict[str, GoodContainers] = {}

    @abstractmethod
    def run_of(self, service: Service) -> ContainerRun:
        """How the service runs. Raises TypeError for another kind."""

    @abstractmethod
    def selector(self, service: Service) -> Selector:
        """Which containers are its. Raises UnavailableError when that cannot be told now."""

    @abstractmethod
    def missing(self, service: Service) -> str:
        """What to say when there is no container, with what makes one."""

    async def make(self, name: str, service: Service) -> None:
        """Make the containers of a service that has none. Raises ActionError where BrainOps does not make them."""
        raise ActionError(f"{name} cannot be started: {self.missing(service)}")

    def effects(self, name: str) -> ContainerEffects:
        """What BrainOps has done to a service."""
        return ContainerEffects((self._paths.services / name).absolute())

    def good(self, name: str) -> GoodContainers:
        """The good versions of a service's containers."""
        if name not in self._goods:
            self._goods[name] = GoodContainers((self._paths.services / name).absolute())
        return self._goods[name]

    def engine(self, service: Service) -> Engine:
        """The engine that it is on."""
        return self._engines.at(self.run_of(service).endpoint)[0]

    async def containers(self, service: Service) -> tuple[Container, ...]:
        """Its containers as the engine says now. Raises UnavailableError."""
        return await self._watch(service).look_again(self.selector(service))

    async def start(self, name: str, service: Service, effect_key: str) -> ServiceRun:
        effects = self.effects(name)
        effect = effects.find(effect_key)
        if effect is not None and effect.run is not None:
            return effect.run
        containers = await self.containers(service)
        if effect is None:
            _refuse_running(name, containers)
            effect = Effect(effect_key=effect_key, previous=tuple(one.run_id for one in containers))
            effects.write(effect)
        if not containers:
            await self.make(name, service)
        for container in containers:
            if container.run_id in effect.previous:
                await self._do(service, f"{name} could not be started", _starting(container))
        started = await self.containers(service)
        if not started:
            raise ActionError(f"{name} is gone: {self.missing(service)}")
        run = self._run(service, started)
        effects.write(effect.model_copy(update={"run": run}))
        return run

    async def stop(self, name: str, service: Service) -> str:
        containers = [one for one in await self.containers(service) if one.runs or one.status == "restarting"]
        if not containers:
            return f"{name} did not run"
        self.effects(name).mark_stopping(tuple(one.run_id for one in containers))
        seconds = max(1, round(self.run_of(service).stop_timeout.total_seconds()))
        failed = f"{name} could not be stopped"
        await asyncio.gather(
            *(self._do(service, failed, _stopping(one, seconds), READ_SECONDS + seconds) for one in containers)
        )
        await self.containers(service)
        return f"stopped {_named(containers)}"

    async def reload(self, name: str, service: Service) -> str:
        wanted = self.run_of(service).reload
        if wanted is None:
            return await super().reload(name, service)
        running = [one for one in await self.containers(service) if one.status == "running"]
        if not running:
            raise ActionError(f"{name} does not run, so it cannot reload; start it")
        for container in running:
            await self._do(service, f"{name} could not be reloaded", _signalling(container, wanted))
        return f"sent {wanted} to {_named(running)}"

    async def happened(self, name: str, service: Service, effect_key: str) -> ServiceRun | None:
        effect = self.effects(name).find(effect_key)
        if effect is None or effect.run is not None:
            return effect.run if effect is not None else None
        containers = await self.containers(service)
        if not containers or any(one.run_id in effect.previous for one in containers):
            return None
        return self._run(service, containers)

    async def state(self, name: str, service: Service, *, memory: bool = True) -> ServiceState:
        try:
            containers = await self._watch(service).look(self.selector(service))
        except BrainOpsError as error:
            return ServiceState(service=name, status=ServiceStatus.UNSEEN, detail=str(error)[:_LONGEST])
        if not containers:
            detail = self.missing(service)[:_LONGEST]
            return ServiceState(service=name, status=ServiceStatus.NEVER_STARTED, detail=detail)
        found = worst(containers)
        end = found.end
        status = self._status(service, found)
        used = [self._memory(service, one) for one in containers] if memory else []
        return ServiceState(
            service=name,
            status=status,
            exit=end,
            rss_bytes=max((one for one in used if one is not None), default=None),
            detail=self._detail(name, service, found, containers)[:_LONGEST],
            run=self._run(service, containers) if found.started else None,
            supervisor=found.supervisor(service.recover_within),
            memory_limit_bytes=found.memory_limit or None,
            memory_killed=self._memory_killed(service, found),
        )

    async def newest(self, name: str, service: Service) -> ServiceRun | None:
        try:
            containers = await self._watch(service).look(self.selector(service))
        except BrainOpsError:  # nobody can tell now; `state` says why
            return None
        return self._run(service, containers) if any(one.started for one in containers) else None

    async def ended(self, name: str, service: Service) -> None:
        first = None
        while True:
            change = await self._next_change(service)
            run = await self._looked(service)
            if run == "":
                return
            if run is not None and first is not None and run != first:
                return
            first = run if run is not None else first
            await change.wait()

    async def started(self, name: str, service: Service, known: str) -> None:
        while True:
            change = await self._next_change(service)
            run = await self.newest(name, service)
            if run is not None and run.id != known:
                return
            await change.wait()

    async def meant_to_end(self, name: str, service: Service) -> bool:
        try:
            watch, selector = self._watch(service), self.selector(service)
            containers = await watch.look(selector)
        except BrainOpsError:  # then nobody has said so
            return False
        ended = [one for one in containers if not one.runs]
        effects = self.effects(name)
        return bool(ended) and all(
            watch.asked_to_stop(selector, one.id) or effects.meant_to_end(one.run_id) for one in ended
        )

    async def starts(self, name: str, service: Service, within: timedelta) -> list[Start]:
        since = datetime.now(UTC) - within
        lives = self._watch(service).lives(self.selector(service))
        return [_start(life) for life in lives if life.started_at >= since]

    async def tail(self, name: str, service: Service, max_bytes: int, *, since_start: bool = True) -> bytes:
        try:
            containers = await self._watch(service).look(self.selector(service))
            if not containers:
                return b""
            container = worst(containers)
            since = self._log_since(service, container) if since_start else None
            return (await self.engine(service).call(_logs(container, since)))[-max_bytes:]
        except EngineRefusedError as refusal:  # a driver that keeps nothing, such as `none`
            return f"the log of {name} cannot be read: {refusal}".encode()[:max_bytes]
        except UnavailableError:  # `state` says why
            return b""

    async def owns(self, name: str, service: Service, holder: Listener) -> bool:
        try:
            containers = await self._watch(service).look(self.selector(service))
        except BrainOpsError:  # nobody can tell now
            return False
        return any(is_in_container(holder.pid, one.id) or _is_proxy_of(holder, one) for one in containers)

    async def container(self, name: str, service: Service) -> ContainerFacts | None:
        containers = await self._watch(service).look(self.selector(service))
        good = self.good(name)
        if not containers:
            kept = await asyncio.to_thread(good.names)
            wanted = kept[0] if kept else getattr(self.run_of(service), "container", name)
            return ContainerFacts(id="", name=wanted, image="", missing=True, known_good=bool(kept))
        found = worst(containers)
        drifted = await asyncio.to_thread(good.drift, found)
        return ContainerFacts(
            id=found.id,
            name=found.name,
            image=found.image,
            health=found.health,
            health_output=clean(found.health_output)[:_LONGEST],
            drifted=tuple(one[:_LONGEST] for one in drifted[:20]),
            known_good=good.find(found.name) is not None,
        )

    async def keep_good(self, name: str, service: Service) -> None:
        containers = await self.containers(service)
        good = self.good(name)
        for container in containers:
            if container.status == "running" and container.health in ("", "healthy"):
                await asyncio.to_thread(good.keep, container)
        await forget_replaced(self.engine(service), self._paths.services / name)

    async def set_memory_limit(self, name: str, service: Service, limit_bytes: int) -> int:
        containers = await self.containers(service)
        if not containers:
            raise ActionError(f"the memory limit of {name} cannot be set: {self.missing(service)}")
        previous = worst(containers).memory_limit
        if not previous:
            raise ActionError(f"{name} has no memory limit that could be raised")
        for container in containers:
            await self._do(service, f"the memory limit of {name} could not be set", _limiting(container, limit_bytes))
        good = self.good(name)
        for container in await self.containers(service):
            await asyncio.to_thread(good.keep_limit, container)
        return previous

    async def close(self) -> None:
        await self._engines.close()

    def _watch(self, service: Service) -> EngineWatch:
        return self._engines.at(self.run_of(service).endpoint)[1]

    async def _next_change(self, service: Service) -> asyncio.Event:
        """Of its containers. Where it cannot be told which they are, a while is waited and that asked again."""
        while True:
            try:
                return self._watch(service).next_change(self.selector(service))
            except BrainOpsError:  # `state` says why
                await asyncio.sleep(1.0)

    async def _looked(self, service: Service) -> str | None:
        """The run of a service of which everything runs, empty if not; None while nobody can tell."""
        try:
            containers = await self._watch(service).look(self.selector(service))
        except BrainOpsError:
            return None
        if not containers or any(not one.runs for one in containers):
            return ""
        return _run_id(containers)

    def _run(self, service: Service, containers: tuple[Container, ...]) -> ServiceRun:
        newest = max(containers, key=lambda one: one.started)
        began = newest.started_at or datetime.now(UTC)
        pid = self._pid(service, newest)
        process = procfs.stat(pid) if pid is not None else None
        age = procfs.age_seconds(process.start_ticks) if process else (datetime.now(UTC) - began).total_seconds()
        return ServiceRun(id=_run_id(containers), started_at=began, pid=pid, age_seconds=max(0.0, age))

    def _pid(self, service: Service, container: Container) -> int | None:
        """Of its main process, if it is one of this machine: the engine may be in another one, or in a virtual one."""
        if not container.runs or not container.pid or not self.engine(service).is_local:
            return None
        ours = self._ours.get(container.run_id)
        if ours is None:
            if len(self._ours) > 10_000:
                self._ours.clear()
            ours = self._ours[container.run_id] = is_in_container(container.pid, container.id)
        return container.pid if ours else None

    def _memory(self, service: Service, container: Container) -> int | None:
        pid = self._pid(service, container)
        return memory_bytes(pid) if pid is not None else None

    def _status(self, service: Service, container: Container) -> ServiceStatus:
        match container.status:
            case "running":
                pid = self._pid(service, container)
                return ServiceStatus.STOPPED if pid is not None and suspended(pid) else ServiceStatus.RUNNING
            case "paused":
                return ServiceStatus.STOPPED
            case "restarting":
                return ServiceStatus.RESTARTING
            case "created":
                return ServiceStatus.NEVER_STARTED
            case _:
                return ServiceStatus.EXITED

    def _detail(self, name: str, service: Service, found: Container, containers: tuple[Container, ...]) -> str:
        text = self._what_happened(name, service, found)
        if not text or len(containers) == 1:
            return text
        bad = sum(not one.runs for one in containers)
        return f"{bad} of {len(containers)} containers; {found.name}: {text}" if bad else f"{found.name}: {text}"

    def _what_happened(self, name: str, service: Service, found: Container) -> str:
        if found.status == "created":
            why = f": {clean(found.error)}" if found.error else ""
            return f"the container {found.name} was made and never started{why}"
        if found.status == "paused":
            return f"the container {found.name} is paused (docker pause)"
        if found.runs:
            return ""
        end = found.end
        text = describe_exit(end) if end is not None else f"the container is {found.status}"
        if self._memory_killed(service, found):
            limit = f" of {format_size(found.memory_limit)}" if found.memory_limit else ""
            text += f": its memory limit{limit} was reached"
        if found.error:
            text += f": {clean(found.error)}"
        if self.effects(name).meant_to_end(found.run_id):
            text += " when BrainOps stopped it"
        return text

    def _memory_killed(self, service: Service, found: Container) -> bool:
        end = found.end
        if end is None:
            return False
        told = self._watch(service).out_of_memory(self.selector(service), found.id)
        return found.memory_killed or (told and end.signal == signal.SIGKILL)

    def _log_since(self, service: Service, container: Container) -> float | None:
        if container.started_at is None:
            return None
        ends = [life.ended_at for life in self._watch(service).lives(self.selector(service)) if life.ended_at]
        ends += [container.finished_at] if container.finished_at is not None else []
        earlier = [end for end in ends if end < container.started_at]
        return max([container.started_at - _BEFORE_START, *earlier]).timestamp()

    async def _do(
        self, service: Service, failed: str, work: Callable[[EngineClient], None], seconds: float = READ_SECONDS
    ) -> None:
        try:
            await self.engine(service).call(work, seconds)
        except EngineRefusedError as refusal:
            raise ActionError(f"{failed}: {clean(str(refusal))}") from None


def _refuse_running(name: str, containers: tuple[Container, ...]) -> None:
    running = [one for one in containers if one.runs or one.status == "restarting"]
    if containers and len(running) == len(containers):
        how = {"paused": "is paused", "restarting": "is being restarted by Docker"}.get(
            running[0].status, "runs already"
        )
        raise ActionError(f"{name} {how} as {_named(running)}; stop it first")


def _starting(container: Container) -> Callable[[EngineClient], None]:
    return lambda client: client.start(container.id)


def _stopping(container: Container, seconds: int) -> Callable[[EngineClient], None]:
    return lambda client: client.stop(container.id, timeout=seconds)


def _signalling(container: Container, name: str) -> Callable[[EngineClient], None]:
    return lambda client: client.kill(container.id, signal=name)


def _logs(container: Container, since: float | None) -> Callable[[EngineClient], bytes]:
    return lambda client: client.logs(container.id, since=since, tail=_LOG_LINES)


def _limiting(container: Container, limit: int) -> Callable[[EngineClient], None]:
    swap = container.memory_swap
    # the engine counts memory and swap together; what may be swapped stays as much as it was
    total = swap if swap <= 0 else max(limit, limit + swap - container.memory_limit)

    def update(client: EngineClient) -> None:
        client.update_container(container.id, mem_limit=limit, memswap_limit=total)

    return update


def _named(containers: list[Container]) -> str:
    names = ", ".join(one.name for one in containers[:5])
    return f"container{'s' if len(containers) > 1 else ''} {names}"


def _run_id(containers: tuple[Container, ...]) -> str:
    return "+".join(one.run_id for one in containers)


def _start(life: Life) -> Start:
    run_id = f"{life.container_id[:12]}/{life.started_at.isoformat()}"
    process = ProcessRecord(pid=0, start_ticks=0, effect_key=run_id, command=(), started_at=life.started_at)
    end = exit_record(run_id, life.exit_code, life.ended_at) if life.ended_at is not None else None
    return Start(process, end, "")


def _is_proxy_of(holder: Listener, container: Container) -> bool:
    """Whether it is the engine's own proxy before a published port of the container."""
    if "docker-proxy" not in holder.command.partition(" ")[0]:
        return False
    port, address = _PROXY_PORT.search(holder.command), _PROXY_ADDRESS.search(holder.command)
    if port is None or int(port[1]) not in container.ports:
        return False
    return address is None or address[1] in container.addresses
