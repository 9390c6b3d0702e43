"""Looks at everything at once, each finder within its time; one that fails is told, and holds nothing up."""

import asyncio
import configparser
import getpass
import os
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from brainops.config.paths import StatePaths
from brainops.telemetry.redaction import clean
from interfaces.setup.compose_files import compose_services, folders_under
from interfaces.setup.containers import container_services, running_containers
from interfaces.setup.found import Found, Survey, as_name, unique
from interfaces.setup.listening import ListeningProcess, listening
from interfaces.setup.probing import Spoken, ask_all, reachable_host
from interfaces.setup.units import running_units

FINDER_SECONDS = 10.0
PROBING_SECONDS = 20.0
MOST_REPOSITORIES = 50
MOST_PORTS = 5
"""Ports of one process that get a check; one that has more (a pool, a proxy of many) is no less seen by these."""

_DATABASES = ("postgres", "postmaster")

ResultT = TypeVar("ResultT")


async def survey(folder: Path, paths: StatePaths) -> Survey:
    """What runs on this machine, and what `folder` describes. Changes nothing.

    Compose files come first, then containers, units and at last the processes that nobody manages: what an earlier
    finder has described is not described again. `paths`: the state folder whose stack is BrainOps itself.
    """
    unseen: list[str] = []
    (composed, broken), (containers, no_engine), (processes, hidden), remotes = await asyncio.gather(
        _within("Compose files", asyncio.to_thread(compose_services, folder), ([], []), unseen),
        _within("the Docker engine", asyncio.to_thread(running_containers), ([], []), unseen),
        _within("listening ports", asyncio.to_thread(listening, paths), ([], 0), unseen),
        _within("git repositories", asyncio.to_thread(git_remotes, folder), [], unseen),
    )
    taken = {service.name for service in composed}
    described = {(str(folder / service.run["files"][0]), str(service.run["service"])) for service in composed}
    contained = container_services(containers, described, taken)
    taken |= {service.name for service in contained}
    units, no_units = await _within("systemd units", asyncio.to_thread(running_units, taken), ([], []), unseen)
    if composed and not containers and not no_engine:
        no_engine = [f"{_which(composed)} from Compose files alone: no container runs, or no Docker engine is here"]
    unseen += [*broken, *no_engine, *no_units]
    if hidden:
        unseen.append(_hidden_ports(hidden))
    spoken = await _within("what the ports speak", _spoken(composed, contained, processes), {}, unseen, PROBING_SECONDS)
    services = [_checked(service, spoken) for service in (*composed, *contained)]
    services += [_unit(service, processes, spoken) for service in units]
    services += _unmanaged(services, units, processes, spoken)
    services.append(_machine({service.name for service in services}))
    return Survey(services=tuple(services), repositories=tuple(remotes), unseen=tuple(unseen))


def _which(composed: list[Found]) -> str:
    return f"{composed[0].name} is" if len(composed) == 1 else f"{len(composed)} services are"


def _hidden_ports(count: int) -> str:
    ports = "1 listening port belongs to a process" if count == 1 else f"{count} listening ports belong to processes"
    if os.geteuid() == 0:
        return f"{ports} that cannot be seen from here, such as of another container"
    return f"{ports} of other users, which {getpass.getuser()} may not see: sudo brainops init --stdout shows more"


def git_remotes(folder: Path) -> list[str]:
    """`folder: address` of the remotes of the repositories in and under a folder. Reads their configuration alone."""
    found: list[str] = []
    for here in folders_under(folder):
        settings = here / ".git" / "config"
        if not settings.is_file() or len(found) >= MOST_REPOSITORIES:
            continue
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        try:
            parser.read_string(settings.read_text(encoding="utf-8", errors="replace")[:100_000])
        except (configparser.Error, OSError):
            continue
        for section in parser.sections():
            address = parser.get(section, "url", fallback="")
            if section.startswith("remote ") and address:
                found.append(f"{here.relative_to(folder)}: {_without_password(address)}")
    return found


def _without_password(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return clean(address)
    if parts.hostname and "@" in parts.netloc:
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return clean(address)


async def _within(
    what: str, work: Awaitable[ResultT], otherwise: ResultT, unseen: list[str], seconds: float = FINDER_SECONDS
) -> ResultT:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        unseen.append(f"{what}: no answer within {seconds:.0f} s")
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one finder must not hide the others
        unseen.append(f"{what}: {clean(str(error))[:200] or type(error).__name__}")
    return otherwise


async def _spoken(
    composed: list[Found], contained: list[Found], processes: list[ListeningProcess]
) -> dict[int, Spoken]:
    addresses = {port: "127.0.0.1" for service in (*composed, *contained) for port in service.ports}
    programs: dict[int, str] = {}
    for process in processes:
        asked = {port: process.addresses[port] for port in process.ports[:MOST_PORTS]}
        addresses |= asked
        programs |= dict.fromkeys(asked, process.program)
    return await ask_all(addresses, programs)


def port_checks(ports: tuple[int, ...], hosts: dict[int, str], spoken: dict[int, Spoken]) -> dict[str, dict[str, Any]]:
    """A check for each port: the page that answers, or that it takes connections."""
    checks: dict[str, dict[str, Any]] = {}
    for port in ports:
        seen = spoken.get(port, Spoken())
        if seen.url:
            check: dict[str, Any] = {"kind": "http", "url": seen.url}
            if seen.status != 200:
                check["expect_status"] = [seen.status]
            if seen.url.startswith("https://"):
                check["verify"] = False
        else:
            check = {"kind": "tcp", "port": port}
            host = reachable_host(hosts.get(port, "")).strip("[]")
            if host != "127.0.0.1":
                check["host"] = host
        checks[f"port-{port}"] = check | {"interval": "5s", "timeout": "3s"}
    return checks


def _checked(service: Found, spoken: dict[int, Spoken]) -> Found:
    checks = service.checks | port_checks(service.ports, {}, spoken)
    return service.model_copy(update={"checks": checks})


def _unit(service: Found, processes: list[ListeningProcess], spoken: dict[int, Spoken]) -> Found:
    """The unit with the ports of its processes, by their control group."""
    own = [process for process in processes if process.unit == service.run["unit"]]
    addresses = {port: address for process in own for port, address in process.addresses.items()}
    ports = tuple(sorted(addresses)[:MOST_PORTS])
    checks = service.checks | port_checks(ports, addresses, spoken)
    hints = service.hints + tuple(hint for process in own for hint in _database_hints(process, service.name))
    return service.model_copy(update={"ports": ports, "checks": checks, "hints": hints})


def _unmanaged(
    services: list[Found], units: list[Found], processes: list[ListeningProcess], spoken: dict[int, Spoken]
) -> list[Found]:
    """Processes that no container and no found unit accounts for."""
    known_ports = {port for service in services for port in service.ports}
    known_units = {service.run["unit"] for service in units}
    found: list[Found] = []
    for process in processes:
        all_ports = tuple(port for port in process.ports if port not in known_ports)
        ports = all_ports[:MOST_PORTS]
        if process.contained or process.unit in known_units or not ports:
            continue
        taken = {service.name for service in (*services, *found)}
        name = unique(process.name, taken, str(ports[0]))
        more = f" and {len(all_ports) - len(ports)} more" if len(all_ports) > len(ports) else ""
        listens = f"port{'s' * (len(ports) > 1)} {', '.join(map(str, ports))}{more}"
        shown = clean(" ".join(process.process.command))[:120] or process.program
        by_unit = f", of the unit {process.unit}" if process.unit else ""
        found.append(
            Found(
                name=name,
                source="port",
                what=f"process {process.process.pid} on {listens}{by_unit}: {shown}",
                run={"kind": "external"},
                checks=port_checks(ports, dict(process.addresses), spoken),
                ports=ports,
                hints=_database_hints(process, name),
                process=None if process.unit or not _can_be_repeated(process) else process.process,
            )
        )
    return found


def _can_be_repeated(process: ListeningProcess) -> bool:
    """Whether its command line is one: a server that writes its title over it (nginx, Postgres) has none."""
    command = process.process.command
    if process.program in _DATABASES or not command or len(command[0].split()) > 1:
        return False
    return process.process.directory != "" and os.access(f"/proc/{process.process.pid}/exe", os.R_OK)


def _database_hints(process: ListeningProcess, name: str) -> tuple[str, ...]:
    if process.program not in _DATABASES:
        return ()
    variable = f"{as_name(name).upper().replace('-', '_')}_URL"
    return (
        "A PostgreSQL server. With a login of its own BrainOps also sees connections, old transactions and lag:",
        f'  database: {{kind: postgres, url: "${{{variable}}}", max_connections_used: 90%}}',
        f"(put it under checks, and export {variable}=postgresql://… where BrainOps is started)",
    )


def _machine(taken: set[str]) -> Found:
    return Found(
        name=unique("machine", taken, "host"),
        source="host",
        what="the machine itself",
        run={"kind": "host"},
        checks={
            "room": {
                "kind": "host",
                "max_disk_used": "90%",
                "max_memory_used": "90%",
                "interval": "30s",
                "timeout": "5s",
            }
        },
    )
