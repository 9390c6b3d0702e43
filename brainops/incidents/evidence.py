"""Evidence: everything that can be known of a fault at once, within a time that healing can spare.

All parts are captured concurrently, each with a limit of its own; one that fails or is late leaves its fact open and
never holds the others up. For a process that has ended nothing slow is waited for: its crash is the evidence.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from brainops.checks.probe import Prober
from brainops.config.environment import declared_environment, expand_environment, secret_values
from brainops.config.models import Service
from brainops.contracts.check import CheckKind, ProbeResult, Reason
from brainops.contracts.incident import (
    DependencyFacts,
    Evidence,
    FileFacts,
    FolderFacts,
    LogFacts,
    NeighbourFacts,
    PortFacts,
)
from brainops.contracts.service import ServiceState, ServiceStatus
from brainops.errors import ConfigError, NotFoundError
from brainops.incidents.folders import folder_bytes
from brainops.incidents.fresh_look import FreshLook
from brainops.incidents.neighbours import OF_INTEREST, neighbours
from brainops.incidents.ports import PortInspector, needed_ports
from brainops.incidents.reclaimable import reclaimable
from brainops.incidents.sessions import session_facts
from brainops.incidents.signature import QUICK_EXIT_SECONDS, sent_from_outside
from brainops.incidents.summary import summarise
from brainops.services.host import HostServices
from brainops.services.known_good import KnownGoodFiles
from brainops.services.records import Start
from brainops.storage.objects import ObjectStore
from brainops.telemetry.redaction import clean
from brainops.telemetry.templates import error_line, template

__all__ = ["CAPTURE_SECONDS", "LOG_BYTES", "EvidenceCollector", "summarise"]

LOG_BYTES = 64 * 1024
CAPTURE_SECONDS = 2.0
"""For the service's own state, and then for all the other parts together."""

_PROBE_LIMIT = timedelta(seconds=1)
_PROBE_LIMIT_AFTER_CRASH = timedelta(milliseconds=20)
_DISK_SECONDS = 0.5
_RECENT = timedelta(minutes=1)
_LINES_OF_NOW = 30
"""In the log of a process that runs, only the last lines belong to what is wrong now."""

_ENDED = frozenset({ServiceStatus.EXITED, ServiceStatus.RESTARTING, ServiceStatus.NEVER_STARTED})

_TERMINATED_CODES = frozenset({130, 137, 143})
"""Exit codes of programs that pass on that SIGINT, SIGKILL or SIGTERM ended them."""

ResultT = TypeVar("ResultT")
_log = logging.getLogger(__name__)


class EvidenceCollector:
    """Captures evidence on one host.

    `services`: all that are configured. `directory`: the folder of `brainops.yaml`.
    """

    def __init__(
        self,
        host: HostServices,
        known_good: KnownGoodFiles,
        objects: ObjectStore,
        prober: Prober,
        services: Mapping[str, Service],
        directory: Path,
    ) -> None:
        self._host = host
        self._known_good = known_good
        self._objects = objects
        self._look_at = FreshLook(prober, services)
        self._services = services
        self._directory = directory
        self._ports = PortInspector(host, services)

    async def capture(self, service_name: str, check_name: str, reason: Reason, detail: str, plan_id: UUID) -> Evidence:
        """Everything about the fault of a service that `check_name` reported. Takes at most about four seconds.

        Raises NotFoundError for a service that is not configured.
        """
        service = self._services.get(service_name)
        if service is None:
            raise NotFoundError(f"there is no service {service_name} in the configuration; it may have been removed")
        captured_at = datetime.now(UTC)
        unseen = ServiceState(
            service=service_name,
            status=ServiceStatus.UNSEEN,
            detail="nobody told in time how it is; is its manager stuck?",
        )
        state = await _part("state", self._host.state(service_name, service), unseen)
        ended = state.status in _ENDED
        limit = _PROBE_LIMIT_AFTER_CRASH if ended else _PROBE_LIMIT
        async with asyncio.TaskGroup() as parts:
            probes = parts.create_task(_part("probes", self._probes(service_name, service, ended=ended), {}))
            dependencies = parts.create_task(_part("dependencies", self._dependencies(service, limit), ()))
            ports = parts.create_task(_part("ports", self._port_facts(service_name, service), ()))
            files = parts.create_task(_part("files", self._file_facts(service_name, service), ()))
            folders = parts.create_task(_part("folders", asyncio.to_thread(self._folder_facts, service), ()))
            written = self._log_facts(service_name, service, state, plan_id, captured_at)
            log = parts.create_task(_part("log", written, LogFacts()))
            container = parts.create_task(_part("container", self._host.container(service_name, service), None))
            unit = parts.create_task(_part("unit", self._host.unit(service_name, service), None))
            room = parts.create_task(_part("reclaimable", reclaimable(service, self._directory), ()))
            near = parts.create_task(_part("neighbours", self._neighbours(service_name, reason, ended=ended), ()))
            failed = parts.create_task(_part("starts", self._failed_starts(service_name, service), 0))
            sessions = parts.create_task(_part("sessions", session_facts(service), ()))
        return Evidence(
            service=service_name,
            check=check_name,
            reason=reason,
            detail=detail[:500],
            captured_at=captured_at,
            state=state,
            probes=probes.result(),
            check_kinds={name: CheckKind(check.kind) for name, check in service.all_checks().items()},
            memory_limit_bytes=service.limits.memory,
            seconds_from_start_to_exit=_lifetime(state),
            failed_starts=failed.result(),
            files=files.result(),
            folders=folders.result(),
            ports=ports.result(),
            dependencies=dependencies.result(),
            log=log.result(),
            container=container.result(),
            unit=unit.result(),
            sessions=sessions.result(),
            reclaimable=room.result(),
            neighbours=near.result(),
        )

    async def _probes(self, name: str, service: Service, *, ended: bool) -> dict[str, Reason]:
        """Each check of a service that runs; those of one that has ended need no look."""
        if ended:
            return {}
        checks = list(service.all_checks())
        results = await asyncio.gather(*(self._look(name, check, _PROBE_LIMIT) for check in checks))
        return {check: result.reason for check, result in zip(checks, results, strict=True) if result is not None}

    async def _dependencies(self, service: Service, limit: timedelta) -> tuple[DependencyFacts, ...]:
        """Everything that the service depends on, directly or not; what does not answer in time stays open."""
        names: dict[str, None] = {}
        pending = list(service.depends_on)
        while pending:
            name = pending.pop(0)
            if name not in names and name in self._services:
                names[name] = None
                pending.extend(self._services[name].depends_on)
        facts = await asyncio.gather(*(self._dependency(name, limit) for name in names))
        return tuple(fact for fact in facts if fact is not None)

    async def _dependency(self, name: str, limit: timedelta) -> DependencyFacts | None:
        """The first check of a dependency that fails; that it passes, if all were answered; else nothing."""
        checks = list(self._services[name].all_checks())
        results = await asyncio.gather(*(self._look(name, check, limit) for check in checks))
        for check, result in zip(checks, results, strict=True):
            if result is not None and not result.ok:
                return DependencyFacts(
                    service=name, passing=False, check=check, reason=result.reason, detail=result.detail
                )
        if any(result is None for result in results):
            return None
        return DependencyFacts(service=name, passing=True)

    async def _look(self, name: str, check: str, limit: timedelta) -> ProbeResult | None:
        return await _part(f"{name}/{check}", self._look_at.at(name, check, limit), None)

    async def _neighbours(self, name: str, reason: Reason, *, ended: bool) -> tuple[NeighbourFacts, ...]:
        """Of a crash they are not the cause, and it waits for nothing slow."""
        if ended or reason not in OF_INTEREST:
            return ()
        return await neighbours(name, self._services, self._host)

    async def _port_facts(self, name: str, service: Service) -> tuple[PortFacts, ...]:
        return tuple([await self._ports.facts(name, service, port) for port in needed_ports(service)])

    async def _file_facts(self, name: str, service: Service) -> tuple[FileFacts, ...]:
        return tuple(await self._known_good.compare(name, service)) if service.files else ()

    def _folder_facts(self, service: Service) -> tuple[FolderFacts, ...]:
        facts: list[FolderFacts] = []
        for folder in service.folders:
            path = self._directory / folder.path
            exists = path.is_dir()
            # only a limit makes the size worth knowing
            size = folder_bytes(path, _DISK_SECONDS) if exists and folder.limit is not None else 0
            facts.append(FolderFacts(path=str(folder.path), exists=exists, bytes=size, limit_bytes=folder.limit))
        return tuple(facts)

    async def _log_facts(
        self, name: str, service: Service, state: ServiceState, plan_id: UUID, captured_at: datetime
    ) -> LogFacts:
        text = await self._log_text(name, service)
        ended = state.status in _ENDED
        # the last words of a process that was killed say nothing of its end
        last_words = ended and not sent_from_outside(state.exit)
        line = error_line(text, exited=last_words, reach=None if ended else _LINES_OF_NOW)
        key = f"evidence/{plan_id}/{captured_at:%Y%m%dT%H%M%S%f}/log.txt"
        kept = await _part("log tail", self._keep(key, text), "")
        return LogFacts(error_line=line, template=template(line), tail_key=kept)

    async def _keep(self, key: str, text: str) -> str:
        await self._objects.put(key, text.encode())
        return key

    async def _log_text(self, name: str, service: Service) -> str:
        """What the service has written since its start: redacted, printable."""
        raw = await self._host.tail(name, service, LOG_BYTES)
        return await asyncio.to_thread(clean, raw, LOG_BYTES, secret_values(_environment(service)))

    async def _failed_starts(self, name: str, service: Service) -> int:
        return sum(_failed(start) for start in await self._host.starts(name, service, _RECENT))


def _environment(service: Service) -> dict[str, str]:
    try:
        return expand_environment(service, os.environ)
    except ConfigError:  # a variable is gone; what is written in the file is known all the same
        return declared_environment(service)


def _lifetime(state: ServiceState) -> float | None:
    started = state.process or state.run
    if started is None or state.exit is None:
        return None
    return max(0.0, (state.exit.ended_at - started.started_at).total_seconds())


def _failed(start: Start) -> bool:
    """Whether a start ended by itself, with an error, before it can have come up."""
    if start.error:
        return True
    end = start.exit
    if end is None or end.exit_code == 0 or end.exit_code in _TERMINATED_CODES or sent_from_outside(end):
        return False
    return (end.ended_at - start.process.started_at).total_seconds() < QUICK_EXIT_SECONDS


async def _part(what: str, work: Awaitable[ResultT], otherwise: ResultT) -> ResultT:
    """A part of the evidence, or `otherwise` if it fails or is late."""
    try:
        async with asyncio.timeout(CAPTURE_SECONDS - 0.2):
            return await work
    except TimeoutError:
        _log.warning("evidence: %s took too long", what)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one part must not hide the others
        _log.warning("evidence: %s is not known: %s", what, clean(str(error)))
    return otherwise
