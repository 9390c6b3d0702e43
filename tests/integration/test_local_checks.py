"""Checks of what is on this machine: processes, commands, logs, the host itself, and reports of jobs."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from brainops.checks.base import Subject
from brainops.checks.host import _Clocks, _Earlier, _measure_jump  # pyright: ignore[reportPrivateUsage]
from brainops.checks.log_kinds import KINDS_KEPT, LEARNING_LINES, KnownKinds
from brainops.checks.log_sources import LOOK_LIMIT, new_part
from brainops.checks.probe import Prober
from brainops.checks.threads import PatientThreads, StuckError
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.contracts.check import ProbeResult, Reason
from brainops.errors import UnavailableError
from brainops.services.host import HostServices

MACHINE = {"run": {"kind": "host"}}


@pytest.fixture
def host(tmp_path: Path) -> HostServices:
    return HostServices(StatePaths(tmp_path / "state"), tmp_path)


@pytest_asyncio.fixture
async def prober(host: HostServices) -> AsyncGenerator[Prober]:
    async with Prober(host, host.directory) as opened:
        yield opened


def declared(check: Mapping[str, object], **service: object) -> Service:
    timing = {"timeout": "10s"} if check["kind"] != "process" else {}
    return Service.model_validate({**MACHINE, **service, "checks": {"it": {**timing, **check}}})


async def look(prober: Prober, service: Service) -> ProbeResult:
    return await prober.look(Subject("shop", "it", service), service.checks["it"])


# processes

FAMILY = """
import os, sys, threading, time
files = [open(os.devnull) for _ in range(40)]
for _ in range(5):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
if os.fork() == 0:
    time.sleep(600)
print("ready", flush=True)
time.sleep(600)
"""


async def test_a_process_is_held_to_its_limits(host: HostServices, prober: Prober) -> None:
    run = {"command": [sys.executable, "-S", "-c", FAMILY], "stop_timeout": "1s"}
    family = declared({"kind": "process"}, run=run)
    await host.start("shop", family, "key-1")
    try:
        async with asyncio.timeout(20):
            while b"ready" not in await host.tail("shop", family, 100):
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.6)  # the machine is looked at twice a second
        assert (await look(prober, family)).ok
        for limits, reason, words in (
            ({"file_descriptors": 30}, Reason.FILES, "open file descriptors, more than its limit of 30"),
            ({"threads": 5}, Reason.THREADS, "threads, more than its limit of 5"),
            ({"children": 0}, Reason.CHILDREN, "1 child processes, more than its limit of 0"),
            ({"file_descriptors": 1000, "threads": 50, "children": 3}, Reason.NONE, ""),
        ):
            seen = await look(prober, declared({"kind": "process"}, run=run, limits=limits))
            assert seen.reason is reason, seen
            assert words in seen.detail
        conditions = ["[AGE] > 1ms", "[CPU] <= 100%", "[FILES] > 40", "[THREADS] >= 7", "[CHILDREN] == 0"]
        seen = await look(prober, declared({"kind": "process", "conditions": conditions}, run=run))
        assert (seen.reason, seen.detail) == (Reason.CHILDREN, "[CHILDREN] is 1, wanted 0")
    finally:
        await host.stop("shop", family)


# commands


@pytest.mark.parametrize(
    ("check", "reason", "detail"),
    [
        ({"run": ["sh", "-c", "echo fine"]}, Reason.NONE, ""),
        ({"run": ["sh", "-c", "echo no room >&2; exit 3"]}, Reason.EXIT_CODE, "sh ended with exit code 3: no room"),
        ({"run": ["sh", "-c", "exit 3"], "expect_exit_code": [3]}, Reason.NONE, ""),
        ({"run": ["sh", "-c", "kill -9 $$"]}, Reason.EXIT_CODE, "was ended by SIGKILL"),
        ({"run": ["echo", "red"], "expect_output": "green"}, Reason.OUTPUT, "does not contain 'green': red"),
        ({"run": ["echo", '{"depth": 9}'], "conditions": ["[OUTPUT].depth < 5"]}, Reason.OUTPUT, "is 9, wanted < 5"),
        ({"run": ["no-such-program"]}, Reason.ERROR, "cannot be executed: No such file"),
        ({"run": ["sh", "-c", "cat; echo $HOME_OF_NOBODY-$SECRET_OF_OURS-"], "expect_output": "--"}, Reason.NONE, ""),
        ({"run": ["echo", "password=hunter2hunter2"], "expect_output": "x"}, Reason.OUTPUT, "[redacted]"),
        ({"run": ["true"], "environment": {"A": "${NOT_SET_ANYWHERE}"}}, Reason.ERROR, "NOT_SET_ANYWHERE is not set"),
        ({"run": ["sh", "-c", "yes | head -c 5000000; echo end"], "expect_output": "y"}, Reason.NONE, ""),
    ],
)
async def test_a_command_is_judged_by_its_end_and_its_words(
    check: dict[str, object], reason: Reason, detail: str, prober: Prober, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_OURS", "leaked")
    seen = await look(prober, declared({"kind": "command", **check}))
    assert seen.reason is reason, seen
    assert detail in seen.detail
    assert "hunter2" not in seen.detail


async def test_a_command_that_takes_too_long_is_killed_with_all_its_children(prober: Prober, tmp_path: Path) -> None:
    script = "echo $$ > pid; sleep 600 & echo $! >> pid; sleep 600"
    seen = await look(prober, declared({"kind": "command", "run": ["sh", "-c", script], "timeout": "500ms"}))
    assert (seen.reason, seen.detail) == (Reason.TIMEOUT, "sh had not ended after 500ms and was killed")
    for pid in (tmp_path / "pid").read_text().split():
        async with asyncio.timeout(10):
            while Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
                await asyncio.sleep(0.01)


async def test_a_child_that_goes_on_does_not_hold_its_command_up(prober: Prober, tmp_path: Path) -> None:
    script = "sleep 600 & echo $! > pid; echo started"
    check = {"kind": "command", "run": ["sh", "-c", script], "expect_output": "started", "timeout": "8s"}
    assert (await look(prober, declared(check))).ok
    os.kill(int((tmp_path / "pid").read_text()), 9)


# logs


def log_check(**check: object) -> Service:
    return declared({"kind": "log", "path": "app.log", **check})


async def test_lines_are_counted_from_now_on_through_rotation_and_cutting(prober: Prober, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("ERROR of yesterday\n")
    check = log_check(conditions=["[MATCHES] < 0"], ignore=["harmless"])

    async def matches() -> str:
        return (await look(prober, check)).detail.partition(",")[0]

    assert await matches() == "[MATCHES] is 0"
    with log.open("a") as file:
        file.write("ERROR one\nall is well\nERROR but harmless\nERROR tw")
    assert await matches() == "[MATCHES] is 1"
    with log.open("a") as file:
        file.write("o\n\xff\x00 ERROR three\n")
    assert await matches() == "[MATCHES] is 3"
    moved = log.open("a")
    log.rename(tmp_path / "app.log.1")
    moved.write("ERROR four, to the renamed file\n")
    moved.close()
    assert await matches() == "[MATCHES] is 4"
    log.write_text("ERROR five\n")
    assert await matches() == "[MATCHES] is 5"
    log.write_text("ERROR\n")  # cut and shorter than before
    assert await matches() == "[MATCHES] is 6"


async def test_more_than_a_look_can_read_is_passed_over_and_told(prober: Prober, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.touch()
    check = log_check(pattern="^request", max_matches=0)
    assert (await look(prober, check)).ok
    log.write_bytes(b"request\n" * (LOOK_LIMIT // 8) + b"x" * LOOK_LIMIT + b"\nrequest\n")
    seen = await look(prober, check)
    assert seen.reason is Reason.LOG_RATE
    assert "1 lines match within 1m, allowed 0 (1.0 MB more were passed over); the last: request" in seen.detail


async def test_what_is_no_file_is_refused_and_what_is_missing_is_waited_for(prober: Prober, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "app.log")
    seen = await look(prober, log_check())
    assert (seen.reason, "is no regular file" in seen.detail) == (Reason.ERROR, True)
    (tmp_path / "app.log").unlink()
    (tmp_path / "app.log").symlink_to("/dev/zero")
    assert "is no regular file" in (await look(prober, log_check())).detail
    (tmp_path / "app.log").unlink()
    assert (await look(prober, log_check())).ok
    (tmp_path / "app.log").write_text("ERROR at once\n")
    assert (await look(prober, log_check())).reason is Reason.LOG_RATE
    external = declared({"kind": "log"})
    told = await prober.look(Subject("shop", "other", external), external.checks["it"])
    assert "write services.shop.checks.other.path" in told.detail


async def test_a_service_of_ours_is_read_from_its_output_and_a_new_run_begins_anew(
    host: HostServices, prober: Prober, tmp_path: Path
) -> None:
    script = 'while read line; do echo "$line"; done < words; exec sleep 600'
    os.mkfifo(tmp_path / "words")
    service = declared({"kind": "log", "max_matches": 0}, run={"command": ["sh", "-c", script], "stop_timeout": "1s"})
    await host.start("shop", service, "key-1")
    try:
        assert (await look(prober, service)).ok
        await asyncio.to_thread((tmp_path / "words").write_text, "ERROR: token=hunter2hunter2 is refused\n")
        async with asyncio.timeout(20):
            while (seen := await look(prober, service)).ok:
                await asyncio.sleep(0.02)
        assert seen.detail == "1 error lines within 1m, allowed 0; the last: ERROR: token=[redacted] is refused"
        await host.stop("shop", service)
        await host.start("shop", service, "key-2")
        assert (await look(prober, service)).ok
    finally:
        await host.stop("shop", service)


async def test_an_error_of_a_new_kind_is_news_once_the_ordinary_ones_are_known(
    host: HostServices, tmp_path: Path
) -> None:
    log = tmp_path / "app.log"
    log.write_text("ERROR: request 17 timed out\n" + "fine\n" * LEARNING_LINES)
    check = log_check(new_kinds=True, within="1h")
    async with Prober(host, host.directory) as prober:
        assert (await look(prober, check)).ok  # what stands there is what it learns from
        with log.open("a") as file:
            file.write("ERROR: request 23 timed out\n")
        assert (await look(prober, check)).ok
        with log.open("a") as file:
            file.write("ERROR: password=hunter2hunter2 was refused by 10.0.0.7\n")
        seen = await look(prober, check)
        assert seen.reason is Reason.NEW_LINES
        assert seen.detail.endswith(": ERROR: password=[redacted] was refused by 10.0.0.7")
        assert (await look(prober, check)).reason is Reason.NEW_LINES  # until it has been told
    async with Prober(host, host.directory) as again:
        assert (await look(again, check)).ok
        with log.open("a") as file:
            file.write("ERROR: password=hunter3hunter3 was refused by 10.0.0.8\n")
        assert (await look(again, check)).ok  # known by now, beyond a restart


def test_kinds_are_learned_silently_bounded_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "kinds" / "shop.log.json"
    kinds = KnownKinds(file)
    assert kinds.take(10, ["a", "b"]) == []
    assert kinds.take(LEARNING_LINES, []) == []
    assert KnownKinds(file).take(1, ["a", "c"]) == ["c"]
    known = KnownKinds(file)
    assert not known.fresh
    known.take(1, [f"kind {number}" for number in range(2 * KINDS_KEPT)])
    assert KnownKinds(file).take(1, ["a"]) == ["a"]  # forgotten: it was seen longest ago
    file.write_text("{broken")
    assert KnownKinds(file).learning


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        (b"", b"a\n", b"a\n"),
        (b"a\nb\n", b"a\nb\n", b""),
        (b"a\nb\n", b"a\nb\nc\n", b"c\n"),
        (b"a\nb\nc\n", b"b\nc\nd\n", b"d\n"),
        (b"a\nb\n", b"x\ny\n", b"x\ny\n"),
    ],
)
def test_what_is_new_in_a_tail(before: bytes, now: bytes, new: bytes) -> None:
    assert new_part(before, now) == new


# the host


@pytest.mark.parametrize(
    ("check", "reason", "detail"),
    [
        ({"max_disk_used": "0%"}, Reason.DISK, "of the file system of"),
        ({"min_disk_free": "1000TB"}, Reason.DISK, "are free, less than 1000.0 TB"),
        ({"max_memory_used": "0%"}, Reason.MEMORY, "of the machine's memory are used, more than 0 %"),
        ({"max_load": 1000}, Reason.NONE, ""),
        ({"max_clock_jump": "1h"}, Reason.NONE, ""),
        ({"conditions": ["[CPU_USED] <= 100%", "[SWAP_USED] <= 100%", "[DISK_FREE] > 1kB"]}, Reason.NONE, ""),
        ({"path": "no/such/folder"}, Reason.ERROR, "cannot be looked at: No such file or directory"),
    ],
)
async def test_the_machine_is_held_to_its_limits(
    check: dict[str, object], reason: Reason, detail: str, prober: Prober
) -> None:
    seen = await look(prober, declared({"kind": "host", **check}))
    assert seen.reason is reason, seen
    assert detail in seen.detail


def test_a_clock_that_is_set_is_told_for_a_while_and_a_sleeping_machine_is_not() -> None:
    allowed, told, earlier = timedelta(seconds=5), timedelta(minutes=1), _Earlier()
    for wall, steady, jump in (
        (1000.0, 50.0, 0),
        (1010.0, 60.0, 0),
        (5010.0, 4060.0, 0),  # suspended for an hour and more
        (4990.0, 4070.0, 30),  # set back
        (5020.0, 4100.0, 30),
        (5060.0, 4140.0, 0),
    ):
        assert _measure_jump(earlier, _Clocks(wall, steady), allowed, told) == jump, (wall, steady)


async def test_a_call_that_hangs_holds_one_thread_however_often_it_is_asked() -> None:
    threads, released, begun = PatientThreads(), threading.Event(), list[int]()

    def hang() -> int:
        begun.append(1)
        released.wait(60)
        return 7

    for _ in range(3):
        with pytest.raises(StuckError, match="has not answered for"):
            await threads.call("/mnt", hang, 0.05)
    assert len(begun) == 1
    assert await threads.call("/", lambda: 8, 10) == 8
    released.set()
    assert await threads.call("/mnt", hang, 10) == 7


# reports of jobs


async def test_a_job_that_does_not_report_is_missed(host: HostServices) -> None:
    reports: dict[str, datetime] = {}
    asked = 0
    away = False

    async def times() -> Mapping[str, datetime]:
        nonlocal asked
        asked += 1
        if away:
            raise UnavailableError("Postgres does not answer")
        return dict(reports)

    def heartbeat(name: str, **check: object) -> Service:
        return declared({"kind": "heartbeat", "heartbeat": name, "period": "1h", "grace": "1m", **check})

    backup, other = heartbeat("backup"), heartbeat("other")
    async with Prober(host, host.directory, times) as prober:

        async def seen(service: Service, name: str) -> ProbeResult:
            return await prober.look(Subject("jobs", name, service), service.checks["it"])

        assert (await seen(backup, "backup")).ok  # it has its period from now on
        reports["backup"] = datetime.now(UTC) - timedelta(hours=2)
        reports["other"] = datetime.now(UTC) - timedelta(minutes=30)
        await asyncio.sleep(1.05)
        results = await asyncio.gather(*(seen(backup, f"backup-{number}") for number in range(500)))
        assert asked == 2  # one answer serves all of them
        assert {result.reason for result in results} == {Reason.MISSED}
        assert "backup last reported at" in results[0].detail
        assert (await seen(other, "other")).ok
        strict = heartbeat("other", conditions=["[AGE] < 10m"])
        assert (await seen(strict, "strict")).reason is Reason.CONDITION
        away = True
        await asyncio.sleep(1.05)
        assert (await seen(backup, "backup-1")).reason is Reason.MISSED  # the last answer holds
        assert (await seen(other, "other")).ok
        late = heartbeat("other", period="1s", grace="1ms")
        unknown = await seen(late, "late")
        assert (unknown.ok, "not known: Postgres does not answer" in unknown.detail) == (True, True)
    async with Prober(host, host.directory) as alone:
        assert (await look(alone, backup)).reason is Reason.ERROR
