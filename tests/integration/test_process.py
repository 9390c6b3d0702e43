"""The process adapter with real processes: started once, seen as they are, ended whole."""

import asyncio
import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.contracts.service import ProcessRecord, ServiceStatus
from brainops.errors import ActionError, BadInputError, ConfigError, UnavailableError
from brainops.services import procfs
from brainops.services.process import ProcessAdapter

DAEMON = """
import os, socket, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
        time.sleep(600)
    os._exit(0)
os.wait()
time.sleep(600)
"""
FORKS = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
        break
time.sleep(600)
"""
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


def make_service(*command: str, **run: object) -> Service:
    return Service.model_validate({"run": {"command": command, "stop_timeout": "1s", **run}})


def python(code: str, *arguments: str, **run: object) -> Service:
    return make_service(sys.executable, "-c", code, *arguments, **run)


SLEEPER = make_service("sleep", "600")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Wait for something outside of our reach: another process's doing."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
async def adapter(tmp_path: Path) -> AsyncIterator[ProcessAdapter]:
    paths = StatePaths(tmp_path / "state")
    adapter = ProcessAdapter(paths, tmp_path)
    yield adapter
    for folder in paths.services.glob("*"):
        await adapter.stop(folder.name, SLEEPER)


async def test_a_started_process_runs_in_its_own_session_with_clean_signals_and_private_files(
    adapter: ProcessAdapter, tmp_path: Path
) -> None:
    record = await adapter.start("web", SLEEPER, "key-1")

    found = procfs.find(record.pid, record.start_ticks)
    assert found is not None
    assert (found.session, found.group) == (record.pid, record.pid)
    status = Path(f"/proc/{record.pid}/status").read_text()
    assert "SigBlk:\t0000000000000000" in status
    # 32 and 33 belong to the C library, whose own posix_spawn (GNU make uses it) leaves them ignored: nobody can reset them.
    ignored = int(status.split("SigIgn:")[1].split()[0], 16)
    assert ignored & ~0x1_8000_0000 == 0
    assert record.command == ("sleep", "600")
    state = await adapter.state("web", SLEEPER)
    assert (state.status, state.process) == (ServiceStatus.RUNNING, record)
    assert state.rss_bytes is not None  # 0 in its first moments
    for path in (tmp_path / "state" / "services" / "web").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or path.is_dir()
    assert stat.S_IMODE((tmp_path / "state" / "services" / "web").stat().st_mode) == 0o700


async def test_the_shim_holds_nothing_of_the_worker(adapter: ProcessAdapter) -> None:
    await adapter.start("web", SLEEPER, "key-1")
    run = adapter.newest("web")
    assert run is not None
    held = {str(path.readlink()) for path in Path(f"/proc/{run.shim_pid}/fd").iterdir()}
    assert held == {"/dev/null"}
    assert Path(f"/proc/{run.shim_pid}/environ").read_bytes() == b""
    shim = procfs.stat(run.shim_pid)
    assert shim is not None
    assert shim.rss_bytes < 12_000_000


async def test_ten_callers_with_one_key_start_one_process(adapter: ProcessAdapter) -> None:
    records = await asyncio.gather(*(adapter.start("web", SLEEPER, "key-1") for _ in range(10)))
    assert len({record.pid for record in records}) == 1
    starts = adapter.files("web").folder / "starts.log"
    assert len(starts.read_text().splitlines()) == 1
    assert starts.read_text().split()[1:] == [str(records[0].pid), "key-1"]


async def test_two_callers_with_different_keys_start_one_process(adapter: ProcessAdapter, tmp_path: Path) -> None:
    other = ProcessAdapter(StatePaths(tmp_path / "state"), tmp_path)
    answers = await asyncio.gather(
        *(each.start("web", SLEEPER, f"key-{index}") for index, each in enumerate((adapter, other) * 4)),
        return_exceptions=True,
    )
    started = [answer for answer in answers if isinstance(answer, ProcessRecord)]
    refused = [answer for answer in answers if isinstance(answer, ActionError)]
    assert len(started) == 1
    assert len(refused) == 7
    assert f"runs already as process {started[0].pid}" in str(refused[0])


async def test_a_key_that_was_used_starts_nothing_even_when_its_process_is_gone(adapter: ProcessAdapter) -> None:
    first = await adapter.start("web", SLEEPER, "key-1")
    await adapter.stop("web", SLEEPER)
    assert await adapter.start("web", SLEEPER, "key-1") == first
    assert (await adapter.state("web", SLEEPER)).status is ServiceStatus.EXITED
    assert await adapter.happened("web", "key-1") == first
    assert await adapter.happened("web", "key-2") is None


async def test_an_unusable_effect_key_is_refused(adapter: ProcessAdapter) -> None:
    with pytest.raises(BadInputError, match="no effect key"):
        await adapter.start("web", SLEEPER, "../escape")


async def test_a_service_outlives_the_killed_worker_and_a_new_adapter_sees_it(
    adapter: ProcessAdapter, tmp_path: Path
) -> None:
    worker = """
import asyncio, sys, time
from pathlib import Path
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.services.process import ProcessAdapter
adapter = ProcessAdapter(StatePaths(Path(sys.argv[1]) / "state"), Path(sys.argv[1]))
service = Service.model_validate({"run": {"command": ["sleep", "600"]}})
print(asyncio.run(adapter.start("web", service, "key-1")).pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", worker, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(await asyncio.to_thread(process.stdout.readline))
        process.kill()
    state = await adapter.state("web", SLEEPER)
    assert state.status is ServiceStatus.RUNNING
    assert state.process is not None
    assert state.process.pid == pid


async def test_the_end_is_seen_within_50_ms_and_how_it_ended_is_kept(adapter: ProcessAdapter) -> None:
    seen_after: list[float] = []
    for index in range(5):
        record = await adapter.start("web", SLEEPER, f"key-{index}")
        watch = asyncio.create_task(adapter.exited("web"))
        await asyncio.sleep(0)
        killed_at = time.perf_counter()
        os.kill(record.pid, signal.SIGKILL)
        await watch
        seen_after.append(time.perf_counter() - killed_at)
    assert sorted(seen_after)[2] < 0.05
    state = await adapter.state("web", SLEEPER)
    assert state.status is ServiceStatus.EXITED
    assert state.exit is not None
    assert (state.exit.signal, state.exit.exit_code) == (signal.SIGKILL, None)
    assert state.detail == "killed by SIGKILL"
    await adapter.exited("web")  # at once


async def test_an_exit_code_is_kept(adapter: ProcessAdapter) -> None:
    service = python("import sys; print('no port'); sys.exit(3)")
    await adapter.start("web", service, "key-1")
    await adapter.exited("web")
    state = await adapter.state("web", service)
    assert state.exit is not None
    assert state.exit.exit_code == 3
    assert state.detail == "ended with exit code 3"
    [start] = adapter.starts("web", timedelta(minutes=1))
    assert start.exit == state.exit
    assert adapter.tail("web", 1000) == b"no port\n"


async def test_without_its_shim_a_service_lives_on_and_only_its_exit_code_is_lost(adapter: ProcessAdapter) -> None:
    record = await adapter.start("web", SLEEPER, "key-1")
    run = adapter.newest("web")
    assert run is not None
    os.kill(run.shim_pid, signal.SIGKILL)
    assert (await adapter.state("web", SLEEPER)).status is ServiceStatus.RUNNING
    os.kill(record.pid, signal.SIGKILL)
    await adapter.exited("web")
    state = await adapter.state("web", SLEEPER)
    assert (state.status, state.exit) == (ServiceStatus.EXITED, None)
    assert "not known" in state.detail


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("./missing", "No such file or directory"),  # a path
        ("no-such-program", "No such file or directory"),  # searched on PATH
        ("./plain.txt", "Permission denied"),  # not executable
        ("./broken", "Exec format error"),  # executable, but no program
    ],
)
async def test_a_program_that_cannot_be_executed_is_an_error_with_its_command_each_time(
    adapter: ProcessAdapter, tmp_path: Path, command: str, reason: str
) -> None:
    (tmp_path / "plain.txt").write_text("text")
    (tmp_path / "broken").write_bytes(b"\x00\x01")
    (tmp_path / "broken").chmod(0o755)
    service = make_service(command)
    for _ in range(2):  # the second time from the record
        with pytest.raises(ActionError, match=reason) as raised:
            await adapter.start("web", service, "key-1")
        assert f"command: {command}" in str(raised.value)
    state = await adapter.state("web", service)
    assert state.exit is not None
    assert state.exit.exit_code == 127
    assert reason in state.detail
    assert reason.encode() in adapter.tail("web", 1000)


async def test_a_missing_directory_or_variable_is_named(adapter: ProcessAdapter) -> None:
    with pytest.raises(ActionError, match=r"No such file or directory: .*nowhere"):
        await adapter.start("web", make_service("sleep", "1", directory="nowhere"), "key-1")
    with pytest.raises(ConfigError, match="BRAINOPS_TEST_UNSET"):
        await adapter.start("api", make_service("sleep", "1", environment={"A": "${BRAINOPS_TEST_UNSET}"}), "key-1")
    assert (await adapter.state("api", SLEEPER)).status is ServiceStatus.NEVER_STARTED


async def test_a_spec_that_no_process_can_be_given_starts_nothing(adapter: ProcessAdapter) -> None:
    with pytest.raises(BadInputError, match="NUL"):
        await adapter.start("web", make_service("echo", "a\0b"), "key-1")


async def test_a_full_or_broken_folder_starts_nothing_and_may_be_tried_again(adapter: ProcessAdapter) -> None:
    files = adapter.files("web")
    files.prepare()
    files.log.mkdir()
    with pytest.raises(UnavailableError, match="nothing was started"):
        await adapter.start("web", SLEEPER, "key-1")
    assert await adapter.happened("web", "key-1") is None
    files.log.rmdir()
    assert (await adapter.start("web", SLEEPER, "key-1")).pid


async def test_a_shim_that_is_killed_before_the_start_leaves_the_key_unused(adapter: ProcessAdapter) -> None:
    files = adapter.files("web")
    files.prepare()
    with (files.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        start = asyncio.create_task(adapter.start("web", SLEEPER, "key-1"))
        await until(lambda: _shims(files.folder))
        [pid] = _shims(files.folder)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(UnavailableError, match="before it started anything"):
            await start
    assert await adapter.happened("web", "key-1") is None
    assert (await adapter.start("web", SLEEPER, "key-1")).pid


def _shims(folder: Path) -> list[int]:
    lock = str(folder / "lock")
    return [
        process.pid
        for process in procfs.everything().values()
        if procfs.command_line(process.pid).endswith("/shim.py web")
        and any(str(path.readlink()) == lock for path in Path(f"/proc/{process.pid}/fd").iterdir())
    ]


async def test_secrets_stand_in_no_command_line(adapter: ProcessAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAINOPS_TEST_SECRET", "correct-horse-battery")
    service = python(
        "import os; print(os.environ['PASSWORD'], flush=True); import time; time.sleep(600)",
        environment={"PASSWORD": "${BRAINOPS_TEST_SECRET}"},
    )
    record = await adapter.start("web", service, "key-1")
    await until(lambda: adapter.tail("web", 1000))
    assert adapter.tail("web", 1000) == b"correct-horse-battery\n"
    run = adapter.newest("web")
    assert run is not None
    for pid in (record.pid, run.shim_pid):
        assert "correct-horse" not in procfs.command_line(pid)
    for path in adapter.files("web").folder.rglob("*"):
        assert path.is_dir() or path.name == "output.log" or b"correct-horse" not in path.read_bytes()


async def test_nothing_of_our_own_environment_reaches_a_service(
    adapter: ProcessAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAINOPS_DATABASE_URL", "postgresql://secret")
    record = await adapter.start("web", SLEEPER, "key-1")
    names = {entry.partition(b"=")[0] for entry in Path(f"/proc/{record.pid}/environ").read_bytes().split(b"\0")}
    assert names - {b""} <= {b"PATH", b"HOME", b"LANG", b"USER", b"TZ", b"BRAINOPS_SERVICE", b"BRAINOPS_EFFECT_KEY"}


async def test_a_suspended_service_is_seen_and_ends_gently(adapter: ProcessAdapter) -> None:
    record = await adapter.start("web", SLEEPER, "key-1")
    os.kill(record.pid, signal.SIGSTOP)

    async def stopped() -> bool:
        return (await adapter.state("web", SLEEPER)).status is ServiceStatus.STOPPED

    while not await stopped():
        await asyncio.sleep(0.005)
    assert await adapter.stop("web", SLEEPER) == "ended 1 process of web"
    state = await adapter.state("web", SLEEPER)
    assert state.exit is not None
    assert state.exit.signal == signal.SIGTERM
    assert state.detail == "killed by SIGTERM when BrainOps stopped it"


async def test_a_deaf_service_is_killed_after_its_stop_timeout(adapter: ProcessAdapter) -> None:
    service = python(DEAF, stop_timeout="200ms")
    await adapter.start("web", service, "key-1")
    await until(lambda: adapter.tail("web", 100))
    begun = time.perf_counter()
    assert await adapter.stop("web", service) == "ended 1 process of web, 1 of them by SIGKILL"
    assert 0.2 <= time.perf_counter() - begun < 1.5


async def test_stop_ends_forked_and_daemonised_children(adapter: ProcessAdapter) -> None:
    service = python(FORKS)
    record = await adapter.start("web", service, "key-1")

    def family() -> list[int]:
        return [pid for pid in procfs.everything() if procfs.marks(pid) == ("web", "key-1")]

    await until(lambda: len(family()) == 7)

    async def measured_with_children() -> bool:
        # the look at the machine's processes may be half a second old
        state, own = await adapter.state("web", service), procfs.find(record.pid, record.start_ticks)
        return own is not None and (state.rss_bytes or 0) > own.rss_bytes

    async with asyncio.timeout(10):
        while not await measured_with_children():
            await asyncio.sleep(0.05)
    assert await adapter.stop("web", service) == "ended 7 processes of web"
    assert family() == []


@pytest.mark.parametrize("kill_main_first", [False, True])
async def test_stop_ends_a_daemon_that_holds_the_port(adapter: ProcessAdapter, kill_main_first: bool) -> None:
    port = free_port()
    service = python(DAEMON, str(port))
    record = await adapter.start("web", service, "key-1")
    await until(lambda: procfs.listeners(port))
    [holder] = procfs.listeners(port)
    assert (holder.service, holder.effect_key) == ("web", "key-1")
    assert holder.pid != record.pid
    if kill_main_first:
        os.kill(record.pid, signal.SIGKILL)
        await adapter.exited("web")
    await adapter.stop("web", service)
    assert procfs.listeners(port) == ()


async def test_stop_of_an_earlier_start_leaves_the_present_one_alone(adapter: ProcessAdapter) -> None:
    first = await adapter.start("web", SLEEPER, "key-1")
    await adapter.stop("web", SLEEPER)
    second = await adapter.start("web", SLEEPER, "key-2")
    assert await adapter.stop("web", SLEEPER, expected=first) == "web did not run"
    assert procfs.find(second.pid, second.start_ticks)


async def test_a_pid_that_was_used_again_is_never_signalled(adapter: ProcessAdapter) -> None:
    await adapter.start("web", SLEEPER, "key-1")
    await adapter.stop("web", SLEEPER)
    files = adapter.files("web")
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:
        run = adapter.newest("web")
        assert run is not None
        forged = run.model_copy(update={"pid": stranger.pid})
        files.run_file.write_text(forged.model_dump_json())
        (files.folder / "effects" / "key-1.start.json").write_text(forged.model_dump_json())
        assert (await adapter.state("web", SLEEPER)).status is ServiceStatus.EXITED
        assert await adapter.stop("web", SLEEPER) == "web did not run"
        assert stranger.poll() is None
        stranger.kill()


async def test_a_record_of_an_earlier_boot_names_no_process(adapter: ProcessAdapter) -> None:
    await adapter.start("web", SLEEPER, "key-1")
    run = adapter.newest("web")
    assert run is not None
    adapter.files("web").run_file.write_text(run.model_copy(update={"boot_id": "earlier"}).model_dump_json())
    state = await adapter.state("web", SLEEPER)
    assert state.status is ServiceStatus.EXITED
    assert "machine restarted" in state.detail


async def test_a_new_command_in_the_configuration_is_told(adapter: ProcessAdapter) -> None:
    await adapter.start("web", SLEEPER, "key-1")
    assert "earlier command" in (await adapter.state("web", make_service("sleep", "601"))).detail


async def test_stop_of_what_never_ran_says_so(adapter: ProcessAdapter) -> None:
    assert await adapter.stop("web", SLEEPER) == "web was never started"
