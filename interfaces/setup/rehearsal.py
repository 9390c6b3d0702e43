"""What would be done about a fault, without doing it.

The service, its files, ports, folders, log and dependencies are looked at as they are; only the fault itself is made
up. From there on everything is decided by what decides in earnest: signature, knowledge, remedies, choice, gate.
"""

import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import BaseModel

from activities.incident import PermissionReader
from agents.autonomy import effective, gate_for
from agents.roster import charter
from agents.system_monitor import choose_remedy
from brainops.checks.probe import Prober
from brainops.config.checks import HttpCheck
from brainops.config.load import LoadedConfig
from brainops.config.models import AgentOverrides, Service
from brainops.config.paths import StatePaths
from brainops.config.quantities import format_duration
from brainops.contracts.agent import AgentName, Autonomy
from brainops.contracts.check import CheckKind, Reason
from brainops.contracts.incident import (
    Candidate,
    Choice,
    Evidence,
    FaultKind,
    Gate,
    GateAnswer,
    Knowledge,
    LogFacts,
    SessionFacts,
)
from brainops.contracts.service import ExitRecord, ServiceState, ServiceStatus
from brainops.crew.maintenance import Maintenance, MaintenanceStore
from brainops.crew.store import CrewStore
from brainops.database.engine import Database
from brainops.errors import BadInputError, UnavailableError
from brainops.incidents.evidence import EvidenceCollector
from brainops.incidents.summary import summarise
from brainops.memory.knowledge import KnowledgeStore
from brainops.remedies.base import RemedyContext
from brainops.remedies.registry import candidates
from brainops.services.host import HostServices
from brainops.services.known_good import KnownGoodFiles
from brainops.services.known_good_store import KnownGoodStore
from brainops.services.store import ServiceStore
from brainops.storage.objects import ObjectStore

_MONITOR = AgentName.SYSTEM_MONITOR
_NOWHERE = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"

_SEEN_BY: dict[FaultKind, tuple[tuple[CheckKind, ...], Reason, str]] = {
    FaultKind.HANG: (
        (CheckKind.HTTP, CheckKind.TCP, CheckKind.POSTGRES),
        Reason.TIMEOUT,
        "no whole answer within its time",
    ),
    FaultKind.UNREACHABLE: ((CheckKind.HTTP, CheckKind.TCP), Reason.REFUSED, "connection refused"),
    FaultKind.ERRORS: (
        (CheckKind.HTTP, CheckKind.HEALTH, CheckKind.COMMAND),
        Reason.STATUS,
        "500 Internal Server Error",
    ),
    FaultKind.SLOW: ((CheckKind.HTTP,), Reason.SLOW, "answered too slowly"),
    FaultKind.OVER_MEMORY: ((CheckKind.PROCESS,), Reason.MEMORY, "more memory than its limit"),
    FaultKind.OVERUSE: ((CheckKind.PROCESS,), Reason.FILES, "more file descriptors than its limit"),
    FaultKind.EXPIRY: ((CheckKind.HTTP,), Reason.CERTIFICATE, "the certificate expires soon"),
    FaultKind.FULL: ((CheckKind.HOST,), Reason.DISK, "97 % of the disk is used"),
    FaultKind.OVERLOADED: ((CheckKind.HOST,), Reason.LOAD, "a load of 9 for each processor"),
    FaultKind.DATABASE: ((CheckKind.POSTGRES,), Reason.OLD_TRANSACTION, "a transaction is open for 2h"),
    FaultKind.LOGGED: ((CheckKind.LOG,), Reason.LOG_RATE, "too many error lines"),
    FaultKind.SILENT: ((CheckKind.HEARTBEAT,), Reason.MISSED, "no report in time"),
    FaultKind.FLAPPING: (tuple(CheckKind), Reason.FLAPPING, "it passes and fails in turn"),
}
"""Which kinds of checks would see a fault, and what they would say."""


class Rung(BaseModel):
    """What would happen at one level of autonomy."""

    level: Autonomy
    present: bool
    what: str


class Rehearsal(BaseModel):
    """What would be done about a fault."""

    service: str
    fault: FaultKind
    headline: str
    signature: str
    description: str
    choice: Choice | None
    """None: no remedy fits, and a person would be told."""
    ranked: tuple[Candidate, ...] = ()
    """The chosen remedy first, then what would be tried after it if it did not help."""
    now: str
    ladder: tuple[Rung, ...] = ()
    with_memory: bool = False
    """Whether what was learned could be asked; without a stack it cannot."""


@dataclass(frozen=True)
class _Symptom:
    check: str
    reason: Reason
    detail: str


async def rehearse(
    loaded: LoadedConfig, name: str, fault: FaultKind, paths: StatePaths, database_url: str | None
) -> Rehearsal:
    """Decide as for a real incident. Nothing of BrainOps or of the service is changed.

    `database_url`: of a running stack, for what it knows; None: decide without. Raises BadInputError where no check
    of the service would notice such a fault.
    """
    service = loaded.config.services[name]
    symptom = _symptom(name, service, fault)
    database = Database(database_url or _NOWHERE, pool_size=2)
    try:
        remembers = database_url is not None and await database.ready()
        found = await _capture(loaded, name, symptom, paths, database, remembers=remembers)
        evidence = _with_fault(found, service, fault, symptom)
        summary = summarise(evidence)
        knowledge = Knowledge(signature=summary.signature.key)
        if remembers:
            knowledge = await KnowledgeStore(database).lookup(summary.signature)
        context = RemedyContext(service=name, services=loaded.config.services)
        possible = candidates(evidence, service, context)
        choice = choose_remedy(possible, knowledge, ())
        answer = await _gate(loaded, name, choice, database if remembers else None)
    finally:
        await database.close()
    return Rehearsal(
        service=name,
        fault=fault,
        headline=summary.headline,
        signature=summary.signature.key,
        description=summary.signature.description,
        choice=choice,
        ranked=_ranked(possible, choice),
        now=_now(choice, answer),
        ladder=_ladder(name, service, choice, answer),
        with_memory=remembers,
    )


def _symptom(name: str, service: Service, fault: FaultKind) -> _Symptom:
    checks = {check: CheckKind(declared.kind) for check, declared in service.all_checks().items()}
    if fault in (FaultKind.CRASH, FaultKind.CRASH_LOOP):
        process = next((check for check, kind in checks.items() if kind is CheckKind.PROCESS), None)
        if process is not None:
            return _Symptom(process, Reason.EXITED, "killed by SIGKILL")
        kinds, reason, detail = (CheckKind.HTTP, CheckKind.TCP), Reason.REFUSED, "connection refused"
    else:
        kinds, reason, detail = _SEEN_BY[fault]
        _refuse_without_limit(name, service, fault)
    seeing = next((check for kind in kinds for check, own in checks.items() if own is kind), None)
    if seeing is None and fault is FaultKind.HANG and service.has_process:
        return _Symptom(next(iter(checks)), Reason.TIMEOUT, "the process is suspended (SIGSTOP)")
    if seeing is None:
        wanted = " or ".join(kind.value for kind in kinds[:3])
        raise BadInputError(
            f"no check of {name} would notice {fault.value.replace('_', ' ')}; add one of kind {wanted} under "
            f"services.{name}.checks"
        )
    return _Symptom(seeing, reason, detail)


def _refuse_without_limit(name: str, service: Service, fault: FaultKind) -> None:
    """Some faults are only seen where the file says from where on they are one. Raises BadInputError."""
    limits = service.limits
    if fault is FaultKind.OVER_MEMORY and limits.memory is None:
        raise BadInputError(f"{name} may use any memory; write services.{name}.limits.memory, such as 500MB")
    if fault is FaultKind.OVERUSE and not any((limits.file_descriptors, limits.threads, limits.children)):
        raise BadInputError(f"{name} may use any number of files and threads; write services.{name}.limits")
    if fault is FaultKind.EXPIRY and not any(
        isinstance(check, HttpCheck) and check.url.startswith("https://") for check in service.checks.values()
    ):
        raise BadInputError(f"no check of {name} sees a certificate; add one of kind http with an https:// address")


async def _capture(
    loaded: LoadedConfig, name: str, symptom: _Symptom, paths: StatePaths, database: Database, *, remembers: bool
) -> Evidence:
    """The real evidence of now. The tail of the log goes to a folder that is gone at the end."""
    services = dict(loaded.config.services)
    if not remembers:  # what the files should hold is not known
        services[name] = services[name].model_copy(update={"files": ()})
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="brainops-simulate-")))
        objects = ObjectStore(folder)
        here = HostServices(paths, loaded.directory)
        stack.push_async_callback(here.close)
        prober = await stack.enter_async_context(Prober(here, loaded.directory))
        known_good = KnownGoodFiles(KnownGoodStore(database), objects, loaded.directory)
        collector = EvidenceCollector(here, known_good, objects, prober, services, loaded.directory)
        return await collector.capture(name, symptom.check, symptom.reason, symptom.detail, uuid4())


def _with_fault(found: Evidence, service: Service, fault: FaultKind, symptom: _Symptom) -> Evidence:
    """The evidence as the fault would make it: what it breaks is made up, everything else is as it is."""
    now = datetime.now(UTC)
    changes: dict[str, Any] = {"captured_at": now, "reason": symptom.reason, "detail": symptom.detail}
    if fault in (FaultKind.CRASH, FaultKind.CRASH_LOOP) and service.has_process:
        changes |= _ended(found, now, looping=fault is FaultKind.CRASH_LOOP)
    else:
        changes |= _ailing(found, service, fault, symptom)
    return found.model_copy(update=changes)


def _ended(found: Evidence, now: datetime, *, looping: bool) -> dict[str, Any]:
    """The process is gone, and what it held is free."""
    state = found.state
    pid = state.process.pid if state.process is not None else 1
    key = state.process.effect_key if state.process is not None else "simulated"
    code = {"exit_code": 1} if looping else {"signal": 9}
    end = ExitRecord(pid=pid, effect_key=key, ended_at=now, **code)
    free = {"holder_pid": None, "holder_start_ticks": None, "holder_command": "", "holder_is_service": False}
    return {
        "state": state.model_copy(
            update={
                "status": ServiceStatus.EXITED,
                "exit": end,
                "detail": "ended with exit code 1" if looping else "killed by SIGKILL",
                "rss_bytes": None,
            }
        ),
        "probes": {},
        "ports": tuple(port.model_copy(update=free) if port.holder_is_service else port for port in found.ports),
        "log": LogFacts(),
        "failed_starts": 3 if looping else 0,
        "seconds_from_start_to_exit": 1.0 if looping else timedelta(hours=1).total_seconds(),
    }


def _ailing(found: Evidence, service: Service, fault: FaultKind, symptom: _Symptom) -> dict[str, Any]:
    """The process runs, and the checks that would see the fault see it."""
    kinds = found.check_kinds
    by_network = fault in (FaultKind.HANG, FaultKind.UNREACHABLE)
    probes = {
        check: symptom.reason
        if check == symptom.check or (by_network and kinds.get(check) in (CheckKind.HTTP, CheckKind.TCP))
        else Reason.NONE
        for check in service.all_checks()
    }
    suspended = fault is FaultKind.HANG and kinds.get(symptom.check) is CheckKind.PROCESS
    running = ServiceStatus.RUNNING if service.has_process else ServiceStatus.UNSEEN
    state: dict[str, Any] = {
        "status": ServiceStatus.STOPPED if suspended else running,
        "exit": None,
        "detail": "",
    }
    changes: dict[str, Any] = {"probes": probes, "log": LogFacts()}
    if fault is FaultKind.OVER_MEMORY and service.limits.memory is not None:
        state["rss_bytes"] = service.limits.memory * 2
    if fault is FaultKind.DATABASE:
        changes["sessions"] = (_session(symptom.check),)
    return changes | {"state": _moved(found.state, state)}


def _moved(state: ServiceState, changes: dict[str, Any]) -> ServiceState:
    return state.model_copy(update=changes)


def _session(check: str) -> SessionFacts:
    return SessionFacts(
        check=check, pid=4711, backend_start="", user="shop", state="idle in transaction", seconds=7200, blocks=2
    )


def _ranked(possible: tuple[Candidate, ...], choice: Choice | None) -> tuple[Candidate, ...]:
    """The chosen one, then the others in the order of the choice's alternatives."""
    if choice is None:
        return ()
    by_name = {candidate.remedy: candidate for candidate in possible}
    names = [choice.candidate.remedy, *(text.partition(" (")[0] for text in choice.alternatives)]
    return tuple(by_name[name] for name in dict.fromkeys(names) if name in by_name)


async def _gate(loaded: LoadedConfig, name: str, choice: Choice | None, database: Database | None) -> GateAnswer:
    """What may be done now: by the stack's own rules where it runs, else by the file alone."""
    if choice is None:
        return GateAnswer(gate=Gate.OBSERVE, reason="no remedy fits the evidence")
    action_class = choice.candidate.action_class
    if database is not None:
        maintenance = Maintenance(loaded.config.maintenance, MaintenanceStore(database))
        reader = PermissionReader(loaded.config, CrewStore(database), ServiceStore(database), maintenance)
        try:
            return (await reader.read(name)).gate(action_class)
        except (BadInputError, UnavailableError):  # the stack has not met this service yet: the file decides
            pass
    overrides = loaded.config.agents.get(_MONITOR, AgentOverrides())
    level = effective(
        charter_ceiling=charter(_MONITOR).autonomy,
        configured=loaded.config.services[name].autonomy_for(action_class),
        agent_ceiling=overrides.autonomy,
        learned=None,
    )
    reason = f"services.{name}.autonomy is {level.value} for {action_class.value}"
    return GateAnswer(gate=gate_for(level), reason=reason, autonomy=level)


def _now(choice: Choice | None, answer: GateAnswer) -> str:
    if choice is None:
        return "a person would be told at once: no remedy fits the evidence"
    remedy = choice.candidate.remedy
    said: dict[Gate, str] = {
        Gate.OBSERVE: f"nothing: BrainOps looks on, and the incident says that {remedy} fits",
        Gate.SUGGEST: f"nothing: the incident says that BrainOps would do {remedy}",
        Gate.ASK: f"BrainOps would ask you whether it may do {remedy}, and wait",
        Gate.ACT: f"BrainOps would do {remedy} at once",
    }
    return f"{said[answer.gate]} ({answer.reason})"


def _ladder(name: str, service: Service, choice: Choice | None, answer: GateAnswer) -> tuple[Rung, ...]:
    if choice is None:
        return ()
    candidate = choice.candidate
    within = format_duration(service.recover_within)
    expires = format_duration(service.approval_expires)
    acts = " then ".join(action.kind.replace("_", " ") for action in candidate.actions)
    words: dict[Autonomy, Callable[[], str]] = {
        Autonomy.OBSERVE: lambda: "looks on; the incident says which remedy fits",
        Autonomy.SUGGEST: lambda: f"says that it would do {candidate.remedy}, and does nothing",
        Autonomy.APPROVE: lambda: f"asks: {candidate.remedy} for {name}? and waits {expires} for your answer",
        Autonomy.ACT: lambda: f"does it: {acts}; {within} later at most the checks say whether it helped",
    }
    return tuple(Rung(level=level, present=level is answer.autonomy, what=words[level]()) for level in Autonomy)
