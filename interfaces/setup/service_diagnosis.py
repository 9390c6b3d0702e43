"""How each service of the file can be seen: where it is, whether this user may look, and what its checks say now."""

import asyncio
import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from brainops.checks.probe import Prober
from brainops.config.load import LoadedConfig, find_mistakes
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.contracts.agent import ActionClass, Autonomy
from brainops.contracts.check import ProbeResult
from brainops.contracts.service import ServiceState, ServiceStatus
from brainops.errors import BrainOpsError, ConfigError
from brainops.incidents.ports import PortInspector, needed_ports
from brainops.services.host import HostServices
from interfaces.setup.diagnosis import Diagnosis, Level, bounded, fail, ok, warn
from interfaces.setup.look import look_at, on_this_host

AT_ONCE = 8
MOST_MISTAKES = 20
MOST_FAILING = 3
"""Failing checks of one service that get a line of their own."""


def file_lines(file: Path | None) -> list[Diagnosis]:
    """Whether the file can be used."""
    if file is None:
        return [warn("configuration", "there is no brainops.yaml here", "write a first one: brainops init")]
    try:
        mistakes = find_mistakes(file)
    except ConfigError as error:
        return [fail("configuration", str(error), "see the sentence beside this")]
    if not mistakes:
        return [ok("configuration", f"{file}: no mistakes")]
    return [
        fail(f"line {one.line}", f"{one.field}: {one.message}" if one.field else one.message, one.remedy)
        for one in mistakes[:MOST_MISTAKES]
    ]


async def service_lines(loaded: LoadedConfig, paths: StatePaths) -> list[Diagnosis]:
    """A line for each service, and one for each thing of it that is wrong."""
    limit = asyncio.Semaphore(AT_ONCE)
    async with on_this_host(loaded, paths) as (here, prober):
        ports = PortInspector(here, loaded.config.services)

        async def one(name: str, service: Service) -> list[Diagnosis]:
            async with limit:
                return await bounded(name, _service(loaded, here, prober, ports, name, service))

        found = await asyncio.gather(*(one(name, service) for name, service in loaded.config.services.items()))
    return [line for lines in found for line in lines]


async def _service(
    loaded: LoadedConfig, here: HostServices, prober: Prober, ports: PortInspector, name: str, service: Service
) -> list[Diagnosis]:
    seen = await here.state(name, service)
    place = await _place(here, name, service, seen)
    if any(line.level is Level.FAIL for line in place):
        return place  # what is not there, or may not be seen, needs no look at its checks
    lines = [*place, *_files(loaded, name, service), *await _held_ports(ports, name, service, seen)]
    results = await look_at(prober, name, service)
    waits = seen.status is ServiceStatus.NEVER_STARTED
    if not waits:
        lines += _failing(name, results)
    if waits or any(line.level is Level.FAIL for line in lines):
        return lines
    if not results:
        return [*lines, warn(name, f"{_words(service)}: no checks", f"add some under services.{name}.checks")]
    count = f"{len(results)} check{'s' * (len(results) != 1)} pass{'es' * (len(results) == 1)}"
    return [*lines, ok(name, f"{_words(service)}: {_status(seen)}{count}")]


def _failing(name: str, results: Mapping[str, ProbeResult]) -> list[Diagnosis]:
    """A line for each check that fails; of many the first ones, and how many there are."""
    failing = {check: result for check, result in results.items() if not result.ok}
    again = f"brainops check {name} looks at it again"
    lines = [
        fail(f"{name}/{check}", result.detail or result.reason.value, again)
        for check, result in islice(failing.items(), MOST_FAILING)
    ]
    if len(failing) > MOST_FAILING:
        lines.append(fail(name, f"{len(failing)} of its {len(results)} checks fail in all", f"brainops check {name}"))
    return lines


async def _place(here: HostServices, name: str, service: Service, seen: ServiceState) -> list[Diagnosis]:
    """Whether the thing that the file names is there, and may be seen."""
    if service.run.kind == "systemd":
        unit = await here.unit(name, service)
        if unit is not None and unit.load_state == "not-found":
            return [fail(name, f"there is no unit {unit.name}", f"correct services.{name}.run.unit")]
    if service.run.kind in ("docker", "compose"):
        try:
            container = await here.container(name, service)
        except BrainOpsError as error:
            return [fail(name, str(error), "see the Docker engine above")]
        if container is not None and container.missing:
            to_do = f"make it (docker compose up -d), or correct services.{name}.run"
            return [fail(name, f"{_words(service)}: there is no such container", to_do)]
    if seen.status is ServiceStatus.UNSEEN and service.has_process:
        return [fail(name, seen.detail or "its state cannot be seen", "see the lines above for its engine")]
    if seen.status is ServiceStatus.NEVER_STARTED and service.run.kind == "process":
        starts = service.autonomy_for(ActionClass.START) is Autonomy.ACT
        to_do = "brainops up starts it" if starts else f"let BrainOps start it: brainops promote {name} --to act"
        return [warn(name, "BrainOps has not started it yet", to_do)]
    return []


def _files(loaded: LoadedConfig, name: str, service: Service) -> list[Diagnosis]:
    lines: list[Diagnosis] = []
    for index, declared in enumerate(service.files):
        path = loaded.resolve(declared.path)
        if not path.exists():
            lines.append(fail(name, f"{path} is not there", f"correct services.{name}.files.{index}.path"))
        elif not os.access(path, os.R_OK):
            lines.append(fail(name, f"{path} may not be read", "give the user of BrainOps the right to read it"))
    return lines


async def _held_ports(ports: PortInspector, name: str, service: Service, seen: ServiceState) -> list[Diagnosis]:
    """Ports of a process of BrainOps' own that somebody else holds: its next start would fail."""
    if service.run.kind != "process":
        return []
    lines: list[Diagnosis] = []
    for port in needed_ports(service):
        facts = await ports.facts(name, service, port)
        if facts.holder_pid is None or facts.holder_is_service or seen.status is ServiceStatus.RUNNING:
            continue
        who = f"process {facts.holder_pid} ({facts.holder_command[:80]})"
        to_do = f"stop it, or hand it over as it runs: brainops init --adopt {name}"
        lines.append(fail(name, f"port {port} is held by {who}, which BrainOps did not start", to_do))
    return lines


def _words(service: Service) -> str:
    run = service.run
    match run.kind:
        case "docker":
            return f"container {run.container}"
        case "compose":
            return f"compose service {run.service}"
        case "systemd":
            return f"unit {run.unit}"
        case "host":
            return "this machine"
        case _:
            return run.kind


def _status(seen: ServiceState) -> str:
    if seen.status is ServiceStatus.UNSEEN:
        return ""
    pid = f" (pid {seen.run.pid})" if seen.run is not None and seen.run.pid else ""
    return f"{seen.status.value.replace('_', ' ')}{pid}, "
