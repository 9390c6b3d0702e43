"""Faults are named by what is stable about them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from brainops.contracts.check import CheckKind, Reason
from brainops.contracts.incident import (
    DependencyFacts,
    Evidence,
    FaultKind,
    FileCondition,
    FileFacts,
    FolderFacts,
    LogFacts,
    PortFacts,
)
from brainops.contracts.service import ExitRecord, ProcessRecord, ServiceState, ServiceStatus
from brainops.incidents.signature import classify, sign
from brainops.incidents.summary import summarise
from brainops.telemetry.templates import template

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def state(
    status: ServiceStatus, *, code: int | None = None, signal: int | None = None, rss: int | None = None
) -> ServiceState:
    process = ProcessRecord(pid=7, start_ticks=1, effect_key="k", command=("api",), started_at=NOW)
    ended = ExitRecord(pid=7, effect_key="k", exit_code=code, signal=signal, ended_at=NOW + timedelta(seconds=60))
    never = status is ServiceStatus.NEVER_STARTED
    return ServiceState(
        service="api",
        status=status,
        process=None if never else process,
        exit=ended if status is ServiceStatus.EXITED else None,
        rss_bytes=rss,
        detail="ended with exit code 1" if status is ServiceStatus.EXITED else "",
    )


def evidence(**changes: Any) -> Evidence:
    fields: dict[str, Any] = {
        "service": "api",
        "check": "health",
        "reason": Reason.TIMEOUT,
        "captured_at": NOW,
        "state": state(ServiceStatus.RUNNING),
        "check_kinds": {"process": CheckKind.PROCESS, "health": CheckKind.HTTP, "items": CheckKind.HTTP},
    }
    return Evidence(**(fields | changes))


def log(line: str) -> LogFacts:
    return LogFacts(error_line=line, template=template(line))


EXITED = state(ServiceStatus.EXITED, code=1)


@pytest.mark.parametrize(
    ("captured", "kind"),
    [
        (evidence(state=EXITED, check="process", reason=Reason.EXITED), FaultKind.CRASH),
        # the same crash, when the http check was first
        (evidence(state=EXITED, reason=Reason.REFUSED), FaultKind.CRASH),
        (evidence(state=state(ServiceStatus.NEVER_STARTED), reason=Reason.NOT_RUNNING), FaultKind.CRASH),
        (evidence(state=EXITED, failed_starts=2, seconds_from_start_to_exit=0.2), FaultKind.CRASH_LOOP),
        # killed soon after its start, twice: somebody kills it, which is no loop
        (
            evidence(state=state(ServiceStatus.EXITED, signal=9), failed_starts=2, seconds_from_start_to_exit=0.2),
            FaultKind.CRASH,
        ),
        # it had long been serving
        (evidence(state=EXITED, failed_starts=2, seconds_from_start_to_exit=3000), FaultKind.CRASH),
        (evidence(state=state(ServiceStatus.STOPPED), reason=Reason.TIMEOUT), FaultKind.HANG),
        (evidence(probes={"process": Reason.NONE, "health": Reason.TIMEOUT}), FaultKind.HANG),
        (evidence(reason=Reason.REFUSED, probes={"health": Reason.REFUSED}), FaultKind.UNREACHABLE),
        (evidence(reason=Reason.STATUS, probes={"health": Reason.STATUS}), FaultKind.ERRORS),
        (evidence(reason=Reason.SLOW, probes={"health": Reason.SLOW}), FaultKind.SLOW),
        (evidence(reason=Reason.SLOW, probes={"process": Reason.MEMORY, "health": Reason.SLOW}), FaultKind.OVER_MEMORY),
        (
            evidence(state=state(ServiceStatus.RUNNING, rss=300), memory_limit_bytes=200, reason=Reason.SLOW),
            FaultKind.OVER_MEMORY,
        ),
        # its own supervisor is about to start it again
        (evidence(state=state(ServiceStatus.RESTARTING), reason=Reason.EXITED), FaultKind.CRASH),
        # nobody can look at its process: its checks decide
        (evidence(state=state(ServiceStatus.UNSEEN), reason=Reason.CERTIFICATE), FaultKind.EXPIRY),
        (evidence(reason=Reason.DISK), FaultKind.FULL),
        (evidence(reason=Reason.FILES), FaultKind.OVERUSE),
        (evidence(reason=Reason.OLD_TRANSACTION), FaultKind.DATABASE),
        (evidence(reason=Reason.NEW_LINES), FaultKind.LOGGED),
        (evidence(reason=Reason.MISSED), FaultKind.SILENT),
        (evidence(reason=Reason.FLAPPING), FaultKind.FLAPPING),
        # memory and processor are the machine's where a check of the machine says so
        (evidence(check="box", reason=Reason.MEMORY, check_kinds={"box": CheckKind.HOST}), FaultKind.FULL),
        (evidence(check="box", reason=Reason.CPU, check_kinds={"box": CheckKind.HOST}), FaultKind.OVERLOADED),
        (evidence(check="process", reason=Reason.CPU), FaultKind.OVERUSE),
        # … and a hang is a hang, however busy the machine is
        (
            evidence(
                probes={"box": Reason.CPU, "health": Reason.TIMEOUT},
                check_kinds={"box": CheckKind.HOST, "health": CheckKind.HTTP},
            ),
            FaultKind.HANG,
        ),
        # it answers badly now, whatever the first probe met
        (evidence(reason=Reason.REFUSED, probes={"health": Reason.STATUS}), FaultKind.ERRORS),
        # it was seen to end, and runs: somebody has started it
        (evidence(check="process", reason=Reason.EXITED, probes={"process": Reason.NONE}), FaultKind.CRASH),
    ],
)
def test_kind_follows_from_the_state_before_the_reason(captured: Evidence, kind: FaultKind) -> None:
    assert classify(captured) is kind
    assert sign(captured).kind is kind


def test_a_crash_is_the_same_whichever_check_saw_it() -> None:
    line = log("json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)")
    by_process = evidence(state=EXITED, check="process", reason=Reason.EXITED, log=line)
    by_http = evidence(state=EXITED, reason=Reason.RESET, log=line)
    assert sign(by_process).key == sign(by_http).key


def test_a_crash_is_the_same_before_and_after_it_became_a_loop() -> None:
    line = log("KeyError: 'port'")
    first = evidence(state=EXITED, log=line, seconds_from_start_to_exit=3000)
    later = evidence(state=EXITED, log=line, seconds_from_start_to_exit=0.3, failed_starts=4)
    assert sign(first).key == sign(later).key
    assert sign(later).kind is FaultKind.CRASH_LOOP


def test_nothing_of_the_place_enters() -> None:
    here = evidence(
        state=EXITED,
        log=log("api: ConnectionError: cannot reach store at 127.0.0.1:5001, see /srv/api/log.txt"),
        dependencies=(DependencyFacts(service="store", passing=True),),
    )
    there = evidence(
        service="billing",
        state=EXITED,
        log=log("billing: ConnectionError: cannot reach ledger at 10.0.0.9:81, see /opt/b/x.txt"),
        dependencies=(DependencyFacts(service="ledger", passing=True),),
    )
    assert sign(here).key == sign(there).key


def test_two_checks_of_one_kind_give_one_signature() -> None:
    one = evidence(check="health", reason=Reason.TIMEOUT)
    other = evidence(check="items", reason=Reason.TIMEOUT)
    assert sign(one).key == sign(other).key
    assert sign(one).key.startswith("hang/http/timeout/")


def test_a_killed_process_is_the_same_whatever_it_last_logged() -> None:
    killed = state(ServiceStatus.EXITED, signal=9)
    one = evidence(state=killed, log=log("ERROR an old one"))
    other = evidence(state=killed, log=log(""))
    assert sign(one).key == sign(other).key


def test_last_words_of_a_long_life_do_not_matter() -> None:
    one = evidence(state=EXITED, log=log("GET /a 200"), seconds_from_start_to_exit=900)
    other = evidence(state=EXITED, log=log("worker idle"), seconds_from_start_to_exit=80)
    assert sign(one).key == sign(other).key


@pytest.mark.parametrize(
    "changes",
    [
        {"log": log("ValueError: bad")},
        {"files": (FileFacts(path="a", condition=FileCondition.CHANGED),)},
        {"folders": (FolderFacts(path="a", exists=False),)},
        {"folders": (FolderFacts(path="a", exists=True, bytes=3, limit_bytes=2),)},
        {"ports": (PortFacts(port=1, holder_pid=5),)},
        {"state": state(ServiceStatus.EXITED, code=3)},
    ],
)
def test_another_cause_is_another_signature(changes: dict[str, Any]) -> None:
    assert sign(evidence(**({"state": EXITED} | changes))).key != sign(evidence(state=EXITED)).key


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.NONE])
def test_every_reason_has_a_signature(reason: Reason) -> None:
    signature = sign(evidence(reason=reason))
    assert signature.key.count("/") == 3
    assert signature.description


def test_the_end_at_a_memory_limit_is_told_from_a_kill() -> None:
    killed = state(ServiceStatus.EXITED, signal=9)
    at_limit = killed.model_copy(update={"memory_killed": True})
    assert sign(evidence(state=killed)).key != sign(evidence(state=at_limit)).key
    assert "its memory limit was reached" in sign(evidence(state=at_limit)).description


def test_unkept_and_unchanged_files_do_not_matter() -> None:
    unkept = evidence(state=EXITED, files=(FileFacts(path="a", condition=FileCondition.UNKEPT),))
    same = evidence(state=EXITED, files=(FileFacts(path="a", condition=FileCondition.SAME),))
    assert sign(unkept).key == sign(same).key


def test_summary_says_who_holds_a_port_that_is_not_ours() -> None:
    held = PortFacts(port=8080, holder_pid=99, holder_start_ticks=1, holder_command="nginx: master")
    summary = summarise(evidence(state=EXITED, ports=(held,), log=log("OSError: Address already in use")))
    assert "port 8080 is held by process 99 (nginx: master), not BrainOps' to end" in summary.headline
    assert summary.still_failing


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"probes": {"health": Reason.NONE}}, False),
        ({"probes": {"health": Reason.STATUS}}, True),
        # no answer in the time that the capture had: not known to be well
        ({"probes": {"process": Reason.NONE}}, True),
        ({"state": EXITED, "probes": {}}, True),
        ({"state": state(ServiceStatus.STOPPED), "probes": {"health": Reason.NONE}}, True),
    ],
)
def test_still_failing_is_a_fresh_look(changes: dict[str, Any], failing: bool) -> None:
    assert summarise(evidence(**changes)).still_failing is failing


def test_failing_dependencies_are_named() -> None:
    facts = (DependencyFacts(service="a", passing=True), DependencyFacts(service="b", passing=False))
    assert summarise(evidence(dependencies=facts)).failing_dependencies == ("b",)
