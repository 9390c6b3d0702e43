"""Remedies follow from evidence: a table of faults, and what is proposed for each."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agents.system_monitor import choose_remedy
from brainops.config.models import Service
from brainops.contracts.action import CleanFolder, FreePort, MakeFolder, RestartService, RestoreFiles, RunCommand
from brainops.contracts.agent import ActionClass
from brainops.contracts.check import CheckKind, Reason
from brainops.contracts.incident import (
    Attempt,
    Candidate,
    DependencyFacts,
    Evidence,
    FileCondition,
    FileFacts,
    FolderFacts,
    Knowledge,
    LogFacts,
    PortFacts,
)
from brainops.contracts.names import REMEDY_NAMES
from brainops.contracts.service import ExitRecord, ProcessRecord, ServiceState, ServiceStatus
from brainops.remedies.base import RemedyContext
from brainops.remedies.registry import candidates, remedies, remedy_names
from brainops.telemetry.templates import template

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

SERVICES = {
    "api": Service.model_validate(
        {
            "run": {"command": ["api"]},
            "checks": {"health": {"kind": "http", "url": "http://127.0.0.1:8080/health"}},
            "depends_on": ["store"],
            "ports": [8080],
            "files": [{"path": "api.json"}, {"path": "data/items.db"}],
            "folders": [{"path": "scratch", "limit": "1MB", "clean": ["*.tmp"]}, {"path": "uploads", "limit": "1MB"}],
            "commands": {
                "flush": {"run": ["flush"], "helps_with": ["slow"]},
                "repair": {"run": ["repair"], "restart": True},
            },
        }
    ),
    "store": Service.model_validate({"run": {"command": ["store"]}, "ports": [5001]}),
}


def service(**changes: Any) -> Service:
    return Service.model_validate(SERVICES["api"].model_dump() | changes)


def state(status: ServiceStatus, *, code: int | None = None, signal: int | None = None) -> ServiceState:
    process = ProcessRecord(pid=7, start_ticks=1, effect_key="k", command=("api",), started_at=NOW)
    ended = ExitRecord(pid=7, effect_key="k", exit_code=code, signal=signal, ended_at=NOW + timedelta(seconds=60))
    return ServiceState(
        service="api",
        status=status,
        process=None if status is ServiceStatus.NEVER_STARTED else process,
        exit=ended if status is ServiceStatus.EXITED else None,
    )


RUNNING = state(ServiceStatus.RUNNING)
SUSPENDED = state(ServiceStatus.STOPPED)
KILLED = state(ServiceStatus.EXITED, signal=9)
FAILED = state(ServiceStatus.EXITED, code=1)


def evidence(**changes: Any) -> Evidence:
    fields: dict[str, Any] = {
        "service": "api",
        "check": "health",
        "reason": Reason.TIMEOUT,
        "captured_at": NOW,
        "state": RUNNING,
        "check_kinds": {"process": CheckKind.PROCESS, "health": CheckKind.HTTP},
        "dependencies": (DependencyFacts(service="store", passing=True),),
    }
    return Evidence(**(fields | changes))


def log(line: str) -> LogFacts:
    return LogFacts(error_line=line, template=template(line))


def file(condition: FileCondition, path: str = "api.json") -> tuple[FileFacts, ...]:
    return (FileFacts(path=path, condition=condition),)


STRAY = PortFacts(port=8080, holder_pid=9, holder_start_ticks=4, holder_command="squat", may_be_ended=True)
STRANGER = PortFacts(port=8080, holder_pid=9, holder_start_ticks=4, holder_command="nginx")
FULL = (FolderFacts(path="scratch", exists=True, bytes=3_000_000, limit_bytes=1_000_000),)
IN_USE = log("OSError: [Errno 98] Address already in use")


def proposed(captured: Evidence, of: Service | None = None) -> tuple[Candidate, ...]:
    return candidates(captured, of or SERVICES["api"], RemedyContext(service="api", services=SERVICES))


def chosen_in_turn(captured: Evidence, of: Service | None = None) -> list[str]:
    """What the agent would try, one after the other, if nothing helped."""
    found = proposed(captured, of)
    order: list[str] = []
    while True:
        tried = [Attempt(remedy=name, helped=False) for name in order]
        choice = choose_remedy(found, Knowledge(signature="s"), tried)
        if choice is None:
            return order
        order.append(choice.candidate.remedy)


@dataclass
class Fault:
    """A fault, and the remedies that must come first, in their order."""

    name: str
    captured: Evidence
    first: list[str]
    never: list[str] = field(default_factory=list[str])


FAULTS = [
    Fault("kill -9", evidence(state=KILLED, reason=Reason.EXITED), ["restart"], ["restore_files", "free_port"]),
    Fault("SIGSTOP", evidence(state=SUSPENDED), ["restart"], ["restart_dependency", "restore_files"]),
    Fault("deadlock", evidence(), ["restart"]),
    Fault("stuck at start", evidence(reason=Reason.REFUSED), ["restart"]),
    Fault("never started", evidence(state=state(ServiceStatus.NEVER_STARTED)), ["start"], ["restart"]),
    Fault("exits 0", evidence(state=state(ServiceStatus.EXITED, code=0)), ["start"], ["restart"]),
    Fault("HTTP 500 until restart", evidence(reason=Reason.STATUS, detail="500 Internal Server Error"), ["restart"]),
    Fault("too much memory", evidence(reason=Reason.MEMORY, probes={"process": Reason.MEMORY}), ["restart"]),
    # the declared command is for slowness; the restart is tried before it
    Fault("slow", evidence(reason=Reason.SLOW), ["restart", "run_command:flush"]),
    Fault(
        "corrupted configuration, in a crash loop",
        evidence(state=FAILED, files=file(FileCondition.CHANGED), failed_starts=2, seconds_from_start_to_exit=0.2),
        ["restore_files"],
    ),
    Fault(
        "corrupted configuration, seen at the first crash by what the log says",
        evidence(state=FAILED, files=file(FileCondition.CHANGED), log=log("JSONDecodeError: Expecting value")),
        ["restore_files"],
    ),
    # somebody may have edited it on purpose, and the kill has nothing to do with it
    Fault("killed beside an edited file", evidence(state=KILLED, files=file(FileCondition.CHANGED)), ["restart"]),
    Fault(
        "a crash after a long life beside an edited file",
        evidence(state=FAILED, files=file(FileCondition.CHANGED), seconds_from_start_to_exit=9000),
        ["restart"],
    ),
    Fault("a deleted configuration", evidence(state=FAILED, files=file(FileCondition.MISSING)), ["restore_files"]),
    Fault("an unreadable file", evidence(state=FAILED, files=file(FileCondition.UNREADABLE)), ["restore_files"]),
    Fault(
        "a truncated data file, while it runs",
        evidence(
            reason=Reason.STATUS,
            detail="500: database disk image is malformed",
            files=file(FileCondition.CHANGED, "data/items.db"),
            log=log("sqlite3.DatabaseError: file is not a database"),
        ),
        ["restore_files"],
    ),
    Fault(
        "port held by a stray", evidence(state=FAILED, ports=(STRAY,), log=IN_USE), ["free_port"], ["restart", "start"]
    ),
    Fault(
        "port stolen by an unrelated process",
        evidence(state=FAILED, ports=(STRANGER,), log=IN_USE),
        [],
        ["free_port", "restart", "start"],
    ),
    Fault(
        "a folder is missing",
        evidence(state=FAILED, folders=(FolderFacts(path="scratch", exists=False),)),
        ["restore_folder"],
    ),
    Fault("a full folder", evidence(reason=Reason.STATUS, folders=FULL), ["clean_folder"]),
    # it refuses what would take the folder over its limit
    Fault(
        "an almost full folder",
        evidence(
            reason=Reason.STATUS,
            detail="507 Insufficient Storage",
            folders=(FolderFacts(path="scratch", exists=True, bytes=900_000, limit_bytes=1_000_000),),
        ),
        ["clean_folder"],
    ),
    Fault(
        "an error beside an almost full folder",
        evidence(
            reason=Reason.STATUS,
            detail="500: KeyError",
            folders=(FolderFacts(path="scratch", exists=True, bytes=900_000, limit_bytes=1_000_000),),
        ),
        ["restart"],
        ["clean_folder"],
    ),
    # nothing in it may be deleted
    Fault(
        "a full folder without globs",
        evidence(reason=Reason.STATUS, folders=(FolderFacts(path="uploads", exists=True, bytes=2, limit_bytes=1),)),
        ["restart"],
        ["clean_folder"],
    ),
    Fault(
        "a dependency hangs though its checks pass",
        evidence(reason=Reason.STATUS, detail="502: upstream timed out"),
        ["restart", "restart_dependency"],
    ),
    Fault(
        "a failing dependency that has no incident of its own",
        evidence(reason=Reason.STATUS, dependencies=(DependencyFacts(service="store", passing=False),)),
        ["restart_dependency"],
    ),
    # what ends itself comes first, so that the file is not put back for the port's sake
    Fault(
        "port and configuration at once",
        evidence(state=FAILED, ports=(STRAY,), files=file(FileCondition.MISSING), log=IN_USE),
        ["free_port"],
        ["restore_files"],
    ),
    Fault(
        "folder and configuration at once",
        evidence(state=FAILED, folders=FULL, files=file(FileCondition.MISSING)),
        ["clean_folder", "restore_files"],
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_evidence_leads_to_the_remedy(fault: Fault) -> None:
    order = chosen_in_turn(fault.captured)
    assert order[: len(fault.first)] == fault.first
    assert not set(fault.never) & set(order)


def test_every_action_of_a_candidate_is_used_by_its_remedy() -> None:
    by_name = {remedy.name: remedy for remedy in remedies()}
    for fault in FAULTS:
        for candidate in proposed(fault.captured):
            remedy = by_name[candidate.remedy.partition(":")[0]]
            assert {type(action) for action in candidate.actions} <= set(remedy.uses)
            assert candidate.action_class is remedy.action_class


def test_registry_knows_all_remedies() -> None:
    assert sorted(remedy_names()) == sorted(REMEDY_NAMES)


def test_free_port_names_the_stray_and_starts_the_service() -> None:
    (candidate,) = [one for one in proposed(evidence(state=FAILED, ports=(STRAY,))) if one.remedy == "free_port"]
    assert candidate.actions == (
        FreePort(service="api", port=8080, pid=9, start_ticks=4),
        RestartService(service="api"),
    )
    assert candidate.explains
    assert "squat" in candidate.cause


def test_a_proxy_on_a_checks_port_does_not_forbid_the_restart() -> None:
    behind_proxy = service(ports=())
    assert "restart" in chosen_in_turn(evidence(state=FAILED, ports=(STRANGER,)), behind_proxy)
    assert "restart" not in chosen_in_turn(evidence(state=FAILED, ports=(STRANGER,), log=IN_USE), behind_proxy)


def test_all_broken_files_are_restored_together() -> None:
    broken = (
        *file(FileCondition.MISSING),
        *file(FileCondition.CHANGED, "data/items.db"),
        *file(FileCondition.SAME, "x"),
    )
    (candidate,) = [one for one in proposed(evidence(state=FAILED, files=broken)) if one.remedy == "restore_files"]
    assert candidate.actions[0] == RestoreFiles(service="api", paths=("api.json", "data/items.db"))
    assert candidate.actions[1] == RestartService(service="api")


@pytest.mark.parametrize("running", [True, False])
def test_cleaning_restarts_only_what_does_not_run(running: bool) -> None:
    captured = evidence(state=RUNNING if running else FAILED, folders=FULL)
    (candidate,) = [one for one in proposed(captured) if one.remedy == "clean_folder"]
    cleaning = (CleanFolder(service="api", path="scratch"),)
    assert candidate.actions == (cleaning if running else (*cleaning, RestartService(service="api")))


def test_a_missing_folder_is_made() -> None:
    captured = evidence(folders=(FolderFacts(path="scratch", exists=False),))
    (candidate,) = [one for one in proposed(captured) if one.remedy == "restore_folder"]
    assert candidate.actions == (MakeFolder(service="api", path="scratch"),)


def test_commands_for_other_failures_are_not_proposed() -> None:
    found = {one.remedy: one for one in proposed(evidence(reason=Reason.TIMEOUT))}
    assert "run_command:flush" not in found
    assert found["run_command:repair"].cost == 3
    assert found["run_command:repair"].actions == (
        RunCommand(service="api", command="repair"),
        RestartService(service="api"),
    )


def test_dependency_is_restarted_before_the_service() -> None:
    captured = evidence(reason=Reason.STATUS, log=log("ConnectionError: store did not answer"))
    (candidate,) = [one for one in proposed(captured) if one.remedy == "restart_dependency"]
    assert candidate.actions == (RestartService(service="store"), RestartService(service="api"))
    assert candidate.action_class is ActionClass.RESTART_DEPENDENCY
    assert not candidate.explains


@pytest.mark.parametrize(
    "captured",
    [
        # our own probe was refused: that speaks of the service, not of what it depends on
        evidence(reason=Reason.REFUSED, detail="connection refused"),
        evidence(reason=Reason.STATUS, detail="500: ZeroDivisionError"),
    ],
)
def test_a_dependency_that_nothing_points_at_is_left_alone(captured: Evidence) -> None:
    assert "restart_dependency" not in chosen_in_turn(captured)


def test_a_dependency_that_forbids_restarts_is_left_alone() -> None:
    guarded = {
        **SERVICES,
        "store": Service.model_validate({"run": {"command": ["s"]}, "remedies": {"never": ["restart"]}}),
    }
    captured = evidence(reason=Reason.STATUS, detail="502 from store")
    found = candidates(captured, SERVICES["api"], RemedyContext(service="api", services=guarded))
    assert "restart_dependency" not in {one.remedy for one in found}


@pytest.mark.parametrize(
    ("permitted", "left"),
    [
        ({"only": ["restart"]}, ["restart"]),
        ({"never": ["restart", "run_command"]}, []),
        ({"never": ["repair", "restart_dependency"]}, ["restart", "run_command:flush"]),
    ],
)
def test_configuration_decides_which_remedies_are_used(permitted: dict[str, list[str]], left: list[str]) -> None:
    assert chosen_in_turn(evidence(reason=Reason.SLOW), service(remedies=permitted)) == left


@pytest.mark.parametrize(
    "changes",
    [{"remedies": {"never": ["start"]}}, {"autonomy": {"restart": "act"}}],
)
def test_a_restart_stands_in_where_a_start_may_do_less(changes: dict[str, Any]) -> None:
    ended = evidence(state=state(ServiceStatus.EXITED, code=0))
    assert "restart" in {one.remedy for one in proposed(ended, service(**changes))}
