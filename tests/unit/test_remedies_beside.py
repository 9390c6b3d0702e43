"""Remedies that watch, reload, make room or quiet a neighbour: what is proposed from which evidence."""

from datetime import UTC, datetime, timedelta
from typing import Any

from brainops.config.models import Service
from brainops.contracts.action import (
    AwaitSupervisor,
    ReloadService,
    ReniceService,
    RotateLog,
    StopService,
    VacuumJournal,
)
from brainops.contracts.check import CheckKind, Reason
from brainops.contracts.incident import Candidate, Evidence, LogFacts, NeighbourFacts, ReclaimableFacts
from brainops.contracts.service import ExitRecord, ServiceRun, ServiceState, ServiceStatus, SupervisorFacts
from brainops.remedies.base import RemedyContext
from brainops.remedies.registry import candidates

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FRONT = {"front": {"kind": "http", "url": "http://127.0.0.1:8080/"}}
UNIT = {"kind": "systemd", "unit": "api.service"}
SERVICES = {
    "api": Service.model_validate({"run": UNIT | {"reload": True}, "checks": FRONT, "logs": [{"path": "api.log"}]}),
    "batch": Service.model_validate({"run": {"command": ["batch"]}, "priority": "low"}),
    "report": Service.model_validate(
        {"run": {"command": ["report"]}, "priority": "low", "remedies": {"never": ["quiet_neighbour"]}}
    ),
    "machine": Service.model_validate(
        {"run": {"kind": "host"}, "checks": {"room": {"kind": "host"}}, "limits": {"journal": "100MB"}}
    ),
    "shop": Service.model_validate({"run": {"kind": "external"}, "checks": FRONT}),
}


def supervised(status: ServiceStatus, *, seconds_ago: float = 1, **supervisor: Any) -> ServiceState:
    began, ended = NOW - timedelta(hours=1), NOW - timedelta(seconds=seconds_ago)
    return ServiceState(
        service="api",
        status=status,
        run=ServiceRun(id="1", started_at=began),
        exit=ExitRecord(pid=7, effect_key="1", signal=9, ended_at=ended),
        supervisor=SupervisorFacts(name="systemd", policy="always", **supervisor),
    )


RUNNING = ServiceState(service="api", status=ServiceStatus.RUNNING)
RESTARTING = supervised(ServiceStatus.RESTARTING)


def evidence(**changes: Any) -> Evidence:
    fields: dict[str, Any] = {
        "service": "api",
        "check": "front",
        "reason": Reason.STATUS,
        "captured_at": NOW,
        "state": RUNNING,
        "check_kinds": {"process": CheckKind.PROCESS, "front": CheckKind.HTTP},
    }
    return Evidence(**(fields | changes))


def proposed(captured: Evidence) -> dict[str, Candidate]:
    context = RemedyContext(service=captured.service, services=SERVICES)
    found = candidates(captured, SERVICES[captured.service], context)
    return {candidate.remedy: candidate for candidate in found}


def test_a_supervisor_at_work_is_awaited_and_not_fought() -> None:
    found = proposed(evidence(state=RESTARTING))["await_supervisor"]
    assert found.actions == (AwaitSupervisor(service="api"),)
    assert found.explains
    assert {"start", "restart", "recreate"} <= set(found.rules_out)


def test_our_own_restart_is_next_where_the_supervisor_gave_up() -> None:
    found = proposed(evidence(state=supervised(ServiceStatus.EXITED, gave_up=True)))
    assert "await_supervisor" not in found
    assert "restart" in found


def test_our_own_restart_is_next_where_the_supervisors_restarts_are_in_vain() -> None:
    looping = evidence(state=supervised(ServiceStatus.RESTARTING, restarts=3), seconds_from_start_to_exit=0.4)
    assert "await_supervisor" not in proposed(looping)
    assert "restart" in proposed(looping)


def test_our_own_restart_is_next_where_the_supervisor_has_had_its_time() -> None:
    late = evidence(state=supervised(ServiceStatus.RESTARTING, seconds_ago=60))
    assert "await_supervisor" not in proposed(late)


def test_reload_comes_before_restart_where_it_is_declared() -> None:
    found = proposed(evidence())
    assert found["reload"].actions == (ReloadService(service="api"),)
    assert found["reload"].cost < found["restart"].cost
    assert "reload" in proposed(evidence(reason=Reason.CERTIFICATE))
    assert "reload" not in proposed(evidence(reason=Reason.TIMEOUT))
    assert "reload" not in proposed(evidence(state=RESTARTING))


def test_a_long_log_is_rotated_while_the_disk_is_full() -> None:
    log = (ReclaimableFacts(kind="log", path="api.log", bytes=5_000_000),)
    full = proposed(evidence(reclaimable=log, log=LogFacts(error_line="OSError: No space left on device")))
    assert full["rotate_logs"].actions == (RotateLog(service="api", path="api.log"),)
    assert full["rotate_logs"].explains
    assert "rotate_logs" not in proposed(evidence(reclaimable=log))


def test_the_journal_is_shrunk_to_its_limit_and_not_below() -> None:
    facts = {"service": "machine", "check": "room", "reason": Reason.DISK, "check_kinds": {"room": CheckKind.HOST}}
    unseen = ServiceState(service="machine", status=ServiceStatus.UNSEEN)
    long = (ReclaimableFacts(kind="journal", bytes=300_000_000),)
    found = proposed(evidence(**facts, state=unseen, reclaimable=long))
    assert found["vacuum_journal"].actions == (VacuumJournal(service="machine", target_bytes=100_000_000),)
    short = (ReclaimableFacts(kind="journal", bytes=90_000_000),)
    assert "vacuum_journal" not in proposed(evidence(**facts, state=unseen, reclaimable=short))


def test_the_loudest_neighbour_is_reniced_and_then_stopped() -> None:
    loud = NeighbourFacts(service="batch", cpu_share=0.7)
    found = proposed(evidence(reason=Reason.SLOW, neighbours=(loud,)))
    assert found["quiet_neighbour"].actions == (ReniceService(service="batch"),)
    assert found["quiet_neighbour"].explains
    assert found["quiet_neighbour:stop"].actions == (StopService(service="batch"),)
    assert found["quiet_neighbour:stop"].cost == 3


def test_a_neighbour_that_hardly_works_or_does_not_permit_it_is_left_alone() -> None:
    quiet = NeighbourFacts(service="batch", cpu_share=0.02)
    protected = NeighbourFacts(service="report", cpu_share=0.9)
    found = proposed(evidence(reason=Reason.SLOW, neighbours=(quiet, protected)))
    assert not [name for name in found if name.startswith("quiet_neighbour")]


def test_nothing_is_proposed_for_a_service_that_somebody_else_runs() -> None:
    unseen = ServiceState(service="shop", status=ServiceStatus.UNSEEN)
    for reason in (Reason.REFUSED, Reason.STATUS, Reason.TIMEOUT, Reason.SLOW, Reason.CERTIFICATE):
        assert proposed(evidence(service="shop", state=unseen, reason=reason)) == {}
