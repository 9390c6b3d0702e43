"""`brainops up` and `brainops down` as a person uses them: real processes, from the command to the last child."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest
from commands import BRAINOPS, UNTRACED, typed

from brainops.config.paths import StatePaths
from workers.stack.stack import EMBEDDED
from workers.stack.state import StackInfo
from workers.stack.temporal_binary import find_or_install

PARTS = {"postgres", "temporal", "control", "host", "api"}
START_SECONDS = 60
PROJECT = Path(__file__).resolve().parents[2]


class Machine:
    """Commands of a person in a folder of their own, with a state folder of their own."""

    def __init__(self, paths: StatePaths, folder: Path, *, traced: bool) -> None:
        self.paths = paths
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []
        merged = {**os.environ, **EMBEDDED, "BRAINOPS_STATE_DIR": str(paths.root), "PYTHONPATH": str(PROJECT)}
        merged |= {} if traced else UNTRACED
        self.environment = {name: value for name, value in merged.items() if value}
        self.output = folder / "output"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command that ends by itself."""
        return typed(*BRAINOPS, *arguments, folder=self.folder, environment=self.environment, timeout=START_SECONDS)

    def up(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """`brainops up`, not waited for."""
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                [*BRAINOPS, "up", "--ports", "auto", *arguments],
                cwd=self.folder,
                env={**self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def up_and_ready(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> tuple[subprocess.Popen[bytes], StackInfo]:
        """`brainops up` that has said where everything is."""
        seen = len(self.said())
        process = self.up(*arguments, environment=environment)
        until(lambda: process.poll() is not None or "State folder: " in self.said()[seen:], "it is up", START_SECONDS)
        info = StackInfo.read(self.paths)
        assert info is not None, self.said()
        assert info.pid == process.pid
        return process, info

    def said(self) -> str:
        return self.output.read_text() if self.output.exists() else ""


@pytest.fixture
def machine(state_paths: StatePaths, tmp_path: Path, request: pytest.FixtureRequest) -> Generator[Machine]:
    find_or_install(lambda _line: None)
    machine = Machine(state_paths, tmp_path, traced=request.node.get_closest_marker("traced") is not None)
    yield machine
    for process in machine.started:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
        process.wait()


def until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"not so after {seconds} s: {what}"
        sleep(0.02)


def children(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def worker(process: subprocess.Popen[bytes], role: str) -> psutil.Process | None:
    for child in psutil.Process(process.pid).children():
        with suppress(psutil.NoSuchProcess):
            if child.cmdline()[-2:] == ["--role", role]:
                return child
    return None


def server(process: subprocess.Popen[bytes], word: str) -> psutil.Process:
    """The child whose command line has `word`."""
    return next(child for child in psutil.Process(process.pid).children() if word in " ".join(child.cmdline()))


def none_left(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def alive(url: str) -> bool:
    with urllib.request.urlopen(f"{url}/live", timeout=5) as answer:
        return answer.status == 200


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.traced
def test_stack_without_a_configuration_runs_is_one_and_stops_clean(machine: Machine) -> None:
    process, info = machine.up_and_ready()
    assert alive(info.api_url)
    assert info.ui_url is not None
    with urllib.request.urlopen(info.ui_url, timeout=5) as answer:
        assert b"<html" in answer.read()
    assert "none: no services are watched; write one with `brainops init`" in machine.said()
    assert {file.stem for file in machine.paths.logs.glob("*.log")} >= PARTS

    second = machine.run("up")
    assert second.returncode == 2
    assert f"pid {process.pid}" in second.stderr
    assert "Traceback" not in second.stderr

    running = children(process)
    assert len(running) >= len(PARTS)
    down = machine.run("down")
    assert (down.returncode, down.stdout) == (0, f"stopped (pid {process.pid})\n")
    assert process.wait(10) == 0
    assert none_left(running)
    assert not machine.paths.stack_file.exists()
    again = machine.run("down")
    assert (again.returncode, again.stdout) == (0, f"nothing runs on {machine.paths.root}\n")


def test_killed_worker_is_started_again_and_a_signal_stops_everything(machine: Machine) -> None:
    process, _ = machine.up_and_ready()
    first = worker(process, "control")
    assert first
    first.kill()
    until(lambda: "control runs again" in machine.said(), "the worker runs again")
    second = worker(process, "control")
    assert second
    assert second.pid != first.pid
    assert "control ended (SIGKILL): it is started again in 0.1 s" in machine.said()
    running = children(process)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert none_left(running)


def test_killed_servers_come_back_and_plans_are_started_again(machine: Machine) -> None:
    process, _ = machine.up_and_ready()
    before = machine.said().count("agents live")
    server(process, "start-dev").kill()
    until(lambda: "temporal runs again" in machine.said(), "temporal runs again")
    until(lambda: machine.said().count("agents live") > before, "plans are looked after", START_SECONDS)
    server(process, str(machine.paths.postgres)).kill()
    until(lambda: "postgres runs again" in machine.said(), "postgres runs again")


def test_killed_stack_leaves_nothing_and_the_next_one_starts(machine: Machine) -> None:
    process, info = machine.up_and_ready()
    running = children(process)
    process.kill()
    process.wait()
    until(lambda: none_left(running), "nothing is left")
    assert StackInfo.read(machine.paths) is None
    _, next_info = machine.up_and_ready()
    assert next_info.database_url == info.database_url


def test_stack_goes_on_with_a_fresh_temporal_server(machine: Machine) -> None:
    process, _ = machine.up_and_ready()
    process.terminate()
    assert process.wait(60) == 0
    for file in machine.paths.temporal.iterdir():
        file.unlink()
    _, info = machine.up_and_ready()
    assert alive(info.api_url)


def test_interrupted_start_leaves_nothing(machine: Machine) -> None:
    process = machine.up()
    until(lambda: len(children(process)) >= 1, "the first part starts")
    running = children(process)
    process.terminate()
    assert process.wait(60) == 0
    assert none_left(running)
    assert not machine.paths.stack_file.exists()


def test_every_mistake_is_told_and_nothing_is_started(machine: Machine) -> None:
    (machine.folder / "brainops.yaml").write_text(
        "services:\n  shop:\n    run: {kind: process, comand: [sleep, '60']}\n    depends_on: [nobody]\nagent: {}\n"
    )
    wrong = machine.run("up")
    assert wrong.returncode == 2
    for mistake in ("comand", "nobody", "agent"):
        assert mistake in wrong.stderr
    assert "Traceback" not in wrong.stderr
    assert not machine.paths.logs.exists()


def test_missing_configuration_file_that_was_named_is_refused(machine: Machine) -> None:
    wrong = machine.run("up", "--config", "nowhere.yaml")
    assert wrong.returncode == 2
    assert "nowhere.yaml" in wrong.stderr


def test_taken_port_that_was_asked_for_is_refused_with_its_holder(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        wrong = machine.run("up", "--temporal-port", str(port))
    assert wrong.returncode == 1
    assert f"Port {port} for Temporal is not free" in wrong.stderr
    assert f"pid {os.getpid()}" in wrong.stderr


@pytest.mark.traced
def test_a_changed_file_is_applied_and_services_outlive_the_stack(machine: Machine) -> None:
    first, second = free_port(), free_port()
    write_services(machine, observed=(), acting=(first,))
    process, _ = machine.up_and_ready()
    assert f"started for the first time: web-{first}" in machine.said()
    before = {worker(process, role).pid for role in ("control", "host")}  # pyright: ignore[reportOptionalMemberAccess]
    write_services(machine, observed=(first,), acting=(second,))
    try:
        applied = machine.run("apply", "--json")
        assert applied.returncode == 0, applied.stderr
        assert json.loads(applied.stdout) == {
            "new": [f"web-{second}"],
            "gone": [],
            "autonomy": [f"web-{first}"],
            "kept": 0,
        }
        assert f"started for the first time: web-{second}" in machine.said()
        assert before.isdisjoint({child.pid for child in children(process)})
        (machine.folder / "brainops.yaml").write_text("servces: {}\n")
        refused = machine.run("apply")
        assert refused.returncode == 2
        assert "did you mean services?" in refused.stderr
        process.terminate()
        assert process.wait(60) == 0
        for port in (first, second):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                assert answer.status == 200
    finally:
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                if "http.server" in one.cmdline() and {str(first), str(second)} & set(one.cmdline()):
                    one.kill()


def write_services(machine: Machine, observed: tuple[int, ...], acting: tuple[int, ...]) -> None:
    """A web server on each of these ports; those of `acting` may be started."""
    lines = ["services:"]
    for port in (*observed, *acting):
        command = json.dumps([sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)])
        lines += [
            f"  web-{port}:",
            f"    autonomy: {'act' if port in acting else 'observe'}",
            f"    run: {{kind: process, command: {command}}}",
            f"    checks:\n      http: {{kind: http, url: 'http://127.0.0.1:{port}/'}}",
        ]
    (machine.folder / "brainops.yaml").write_text("\n".join(lines) + "\n")


@pytest.mark.traced
def test_given_servers_are_used_and_not_started(machine: Machine, empty_database_url: str) -> None:
    port, ui_port = free_port(), free_port()
    server = find_or_install(lambda _line: None)
    temporal = subprocess.Popen(
        [server, "server", "start-dev", "--ip", "127.0.0.1", "--port", str(port), "--ui-port", str(ui_port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: answers(port), "the given server answers")
        given = {
            "TEMPORAL_ADDRESS": f"127.0.0.1:{port}",
            "TEMPORAL_NAMESPACE": "default",
            "BRAINOPS_DATABASE_URL": empty_database_url,
        }
        process, info = machine.up_and_ready(environment=given)
        assert (info.temporal_address, info.ui_url) == (f"127.0.0.1:{port}", None)
        names = {child.name() for child in children(process)}
        assert not names & {"postgres", "temporal"}
        assert alive(info.api_url)
        process.terminate()
        assert process.wait(60) == 0
        assert temporal.poll() is None
    finally:
        temporal.terminate()
        temporal.wait()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.traced
def test_memory_alone_runs_without_temporal(machine: Machine) -> None:
    process, info = machine.up_and_ready("--only", "memory")
    assert info.memory_only
    assert {part.name() for part in children(process)} & {"temporal"} == set()
    assert alive(info.api_url)
    with urllib.request.urlopen(f"{info.api_url}/ready", timeout=5) as answer:
        assert json.load(answer)["parts"] == {"database": "reachable"}
    told = machine.run("status")
    assert told.returncode == 0
    assert "Memory runs alone" in told.stdout

    left = children(process)
    assert machine.run("down").returncode == 0
    assert none_left(left)
