"""What the stack's own user must be allowed to do, as it follows from `brainops.yaml`: that, and nothing more."""

import grp
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from brainops.config.checks import LogCheck
from brainops.config.models import BrainOpsConfig, Service
from brainops.config.runs import CommandRun, ComposeRun, DockerRun, ProcessRun, SystemdRun

JOURNAL_GROUP = "systemd-journal"
DOCKER_SOCKET = Path("/var/run/docker.sock")
_SOCKET_PREFIX = "unix://"
_FIRST_FREE_PORT = 1024


@dataclass(frozen=True)
class Grant:
    """One privilege: what is granted, and what in the file needs it."""

    what: str
    why: str


@dataclass(frozen=True)
class Privileges:
    """Everything that the unit and the polkit rule grant."""

    groups: tuple[str, ...]
    capabilities: tuple[str, ...]
    units: tuple[str, ...]
    verbs: tuple[str, ...]
    writable: tuple[Path, ...]
    """Files and folders below /etc and /usr that remedies write."""
    grants: tuple[Grant, ...]
    notes: tuple[str, ...]
    """What the file asks for and a user other than root cannot do."""
    runs_services: bool
    """Whether services of the file become children of the stack, and live under its restrictions."""


def group_of(path: Path) -> str | None:
    """The group that lets a user read `path`; None where everybody may, nobody may, or there is no such file."""
    try:
        facts = path.stat()
        if facts.st_mode & stat.S_IROTH and not stat.S_ISSOCK(facts.st_mode):
            return None
        group = grp.getgrgid(facts.st_gid).gr_name
    except (OSError, KeyError):
        return None
    return group if facts.st_mode & stat.S_IRGRP and group != "root" else None


def needed(config: BrainOpsConfig, directory: Path, find_group: Callable[[Path], str | None] = group_of) -> Privileges:
    """What `config`, whose relative paths start at `directory`, needs."""
    groups: dict[str, str] = {}
    capabilities = _capabilities(config)
    notes: list[str] = []
    services = config.services
    units = {name: unit for name, service in services.items() if (unit := _system_unit(service))}
    verbs = ["start", "stop", "restart", "reload", "reset-failed"] if units else []
    for name, service in services.items():
        if isinstance(service.run, DockerRun | ComposeRun):
            socket = _socket(service.run.endpoint)
            if socket is not None:
                groups.setdefault(find_group(socket) or "docker", f"{name} is a container: {socket}")
        if name in units:
            groups.setdefault(JOURNAL_GROUP, f"{name} is the unit {units[name]}: its journal")
            if service.limits.memory_ceiling is not None and "set-property" not in verbs:
                verbs.append("set-property")
        for path in _logs(service):
            if group := find_group(directory / path):
                groups.setdefault(group, f"{name} has its log read: {path}")
        if service.limits.journal is not None:
            notes.append(f"{name}: vacuuming the journal needs root; set SystemMaxUse= in journald.conf instead")
    runs_services = any(isinstance(service.run, ProcessRun | CommandRun) for service in services.values())
    if runs_services and capabilities:
        notes.append("services of kind process and command inherit the capabilities above")
    grants = [Grant(f"member of the group {group}{_meaning(group)}", why) for group, why in groups.items()]
    grants += [Grant(f"the capability {capability}", why) for capability, why in capabilities.items()]
    grants += [Grant(f"systemctl {'|'.join(verbs)} {unit}", f"{name} is that unit") for name, unit in units.items()]
    return Privileges(
        groups=tuple(groups),
        capabilities=tuple(capabilities),
        units=tuple(dict.fromkeys(units.values())),
        verbs=tuple(verbs),
        writable=tuple(dict.fromkeys(_writable(config, directory))),
        grants=tuple(grants),
        notes=tuple(notes),
        runs_services=runs_services,
    )


def _capabilities(config: BrainOpsConfig) -> dict[str, str]:
    """Capability → what needs it."""
    found: dict[str, str] = {}
    for name, service in config.services.items():
        if service.may_end:
            found.setdefault("CAP_KILL", f"{name} may end processes of other users: may_end")
        if service.priority == "low" and not isinstance(service.run, ProcessRun):
            found.setdefault("CAP_SYS_NICE", f"{name} may be slowed down: priority: low")
    if 0 < config.api.port < _FIRST_FREE_PORT:
        found["CAP_NET_BIND_SERVICE"] = f"api.port is {config.api.port}"
    return found


def _system_unit(service: Service) -> str | None:
    return service.run.unit if isinstance(service.run, SystemdRun) and service.run.scope == "system" else None


def _meaning(group: str) -> str:
    return " (as good as root: who may start containers may mount anything)" if group == "docker" else ""


def _socket(endpoint: str | None) -> Path | None:
    """The socket of a Docker engine on this machine; None for one that is reached over the network."""
    where = endpoint or os.environ.get("DOCKER_HOST") or f"{_SOCKET_PREFIX}{DOCKER_SOCKET}"
    return Path(where.removeprefix(_SOCKET_PREFIX)) if where.startswith(_SOCKET_PREFIX) else None


def _logs(service: Service) -> Iterator[Path]:
    for check in service.checks.values():
        if isinstance(check, LogCheck) and check.path is not None:
            yield check.path
    if isinstance(service.run, CommandRun) and service.run.log is not None:
        yield service.run.log


def _writable(config: BrainOpsConfig, directory: Path) -> Iterator[Path]:
    """What remedies write below the folders that hardening makes read-only."""
    for service in config.services.values():
        for declared in (*service.files, *service.folders, *service.logs):
            path = directory / declared.path
            if path.parts[:2] in {("/", "etc"), ("/", "usr")}:
                yield path if path in {directory / folder.path for folder in service.folders} else path.parent
