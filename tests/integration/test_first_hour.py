"""The first hour on a machine with a real listening process: init, check, doctor, simulate, adopt, promote."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from brainops.config.load import find_mistakes, load_config
from brainops.config.paths import StatePaths
from brainops.contracts.incident import FaultKind
from brainops.contracts.service import ServiceStatus
from brainops.services.process import ProcessAdapter
from interfaces.cli.main import app

PAGE = """\
import http.server, os, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()
        self.wfile.write(os.environ.get("GREETING", "").encode())
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""

POOL = """\
import socket, sys, threading
def hang_up(listener):
    while True:
        listener.accept()[0].close()
for _ in range(12):
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=hang_up, args=[listener], daemon=True).start()
print("listening", flush=True)
sys.stdin.read()
"""


@dataclass
class Machine:
    """A folder with a program that listens, and the commands in it."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def __call__(self, *arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == code, result.output
        return result

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code).stdout)

    @property
    def file(self) -> Path:
        return self.folder / "brainops.yaml"

    def services(self) -> dict[str, Any]:
        return yaml.safe_load(self.file.read_text())["services"]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + 20
    while not listens(port):
        assert time.monotonic() < deadline, "the service never listened"
        time.sleep(0.05)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Machine]:
    folder = tmp_path / "kiosk"
    folder.mkdir()
    (folder / "kiosk.py").write_text(PAGE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = os.environ | {"GREETING": "hello", "KIOSK_TOKEN": "hunter2hunter2"}
    command = [sys.executable, "-S", "kiosk.py", str(port)]
    process = subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True)
    for name in ("BRAINOPS_DATABASE_URL", "BRAINOPS_CONFIG", "TEMPORAL_ADDRESS", "DOCKER_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BRAINOPS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(folder)
    wait_until_it_listens(port)
    try:
        yield Machine(folder, port, process)
    finally:
        process.kill()
        process.wait()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write(machine: Machine, run: dict[str, Any], **more: Any) -> None:
    """A file with the one service `kiosk`."""
    url = f"http://127.0.0.1:{machine.port}/healthz"
    service = {"run": run, "checks": {"front": {"kind": "http", "url": url}}, **more}
    machine.file.write_text(yaml.safe_dump({"services": {"kiosk": service}}, sort_keys=False))


def test_init_describes_what_listens_and_how_it_is_asked(machine: Machine) -> None:
    told = machine("init").stdout
    kiosk = machine.services()["kiosk"]
    assert kiosk["run"] == {"kind": "external"}
    assert kiosk["checks"][f"port-{machine.port}"]["url"] == f"http://127.0.0.1:{machine.port}/healthz"
    assert {service["autonomy"] for service in machine.services().values()} == {"observe"}
    assert find_mistakes(machine.file) == []
    assert "hunter2" not in machine.file.read_text()
    for command in ("brainops doctor", "brainops up", "brainops simulate"):
        assert command in told


def test_init_never_overwrites_and_force_keeps_a_copy(machine: Machine) -> None:
    machine.file.write_text("# mine\n")
    refused = machine("init", code=2)
    assert "nothing was changed" in refused.stderr
    assert machine.file.read_text() == "# mine\n"
    machine("init", "--force")
    assert "kiosk" in machine.services()
    assert [copy.read_text() for copy in machine.folder.glob("brainops.yaml.*.bak")] == ["# mine\n"]


def test_init_prints_and_tells_programs_without_writing(machine: Machine) -> None:
    before = tree(machine.folder)
    assert "kiosk" in yaml.safe_load(machine("init", "--stdout").stdout)["services"]
    found = machine.json("init")["found"]["services"]
    (kiosk,) = (service for service in found if machine.port in service["ports"])
    assert kiosk["process"]["pid"] == machine.process.pid
    assert tree(machine.folder) == before


def test_process_is_handed_over_as_it_runs_and_started_again_by_its_own_command(machine: Machine) -> None:
    machine("init")
    written = machine.file.read_text()
    machine("init", "--adopt", str(machine.port))
    assert machine.process.poll() is None
    run = machine.services()["kiosk"]["run"]
    assert run["command"] == [sys.executable, "-S", "kiosk.py", str(machine.port)]
    assert run["directory"] == str(machine.folder)
    assert run["environment"] == {"GREETING": "hello"}
    assert "hunter2" not in machine.file.read_text()
    assert "--adopt kiosk" not in machine.file.read_text()
    kept = [line for line in written.splitlines() if "run:" not in line and "--adopt" not in line]
    assert all(line in machine.file.read_text().splitlines() for line in kept)
    assert machine.json("check", "kiosk")["state"]["process"]["pid"] == machine.process.pid

    async def end_and_start() -> None:
        loaded = load_config(machine.file)
        kiosk = loaded.config.services["kiosk"]
        adapter = ProcessAdapter(StatePaths.default(), loaded.directory)
        machine.process.send_signal(signal.SIGKILL)
        await asyncio.wait_for(adapter.exited("kiosk"), 20)
        machine.process.wait()
        assert (await adapter.state("kiosk", kiosk)).status is ServiceStatus.EXITED
        await adapter.start("kiosk", kiosk, "test.1.1")
        try:
            await asyncio.to_thread(wait_until_it_listens, machine.port)
        finally:
            await adapter.stop("kiosk", kiosk)

    asyncio.run(end_and_start())


DOCS = Path(__file__).parents[2] / "docs" / "first-hour.md"


def _is_of_kiosk(line: str) -> bool:
    """Whether a line of the page does not depend on what else runs on the machine of the test."""
    return not line.startswith(("brainops.yaml:", "Nobody starts"))


def shown_commands() -> list[tuple[list[str], list[str]]]:
    """Each `$ brainops …` of the page that needs no stack, with the sentences that the page shows below it."""
    found: list[tuple[list[str], list[str]]] = []
    for block in DOCS.read_text().split("```")[1::2]:
        for part in block.split("$ brainops ")[1:]:
            command, *output = part.splitlines()
            found.append((command.split(), [line for line in output if line[:1].isalpha() and _is_of_kiosk(line)]))
    return [(command, output) for command, output in found if command[0] not in ("up", "down", "status", "incidents")]


def without_numbers(text: str) -> str:
    """Ports, pids and times differ from run to run, and lines are folded."""
    return " ".join(re.sub(r"[0-9][0-9.:-]*", "N", text).split())


def test_the_page_of_the_first_hour_shows_what_the_commands_say(machine: Machine) -> None:
    shown = shown_commands()
    assert {command[0] for command, _ in shown} >= {"init", "doctor", "check", "simulate", "promote", "config"}
    for command, output in shown:
        said = without_numbers(machine(*command).stdout)
        for line in output:
            assert without_numbers(line) in said, f"brainops {' '.join(command)} no longer says: {line}"


def test_what_cannot_be_handed_over_is_refused_with_what_can(machine: Machine) -> None:
    refused = machine("init", "--adopt", "1", code=2)
    assert f"kiosk ({machine.port})" in refused.stderr
    assert "not a process that can be handed over" in machine("init", "--adopt", "machine", code=2).stderr
    assert not machine.file.exists()


def test_check_tells_each_check_and_fails_when_one_does(machine: Machine) -> None:
    write(machine, {"kind": "external"})
    assert machine.json("check", "kiosk")["checks"]["front"]["ok"]
    machine.process.kill()
    machine.process.wait()
    answer = machine.json("check", "kiosk", code=1)
    assert answer["checks"]["front"]["reason"] == "refused"
    assert "refused" in machine("check", "kiosk", code=1).stdout
    assert "did you mean kiosk" in machine("check", "kiosc", code=2).stderr


def test_simulation_decides_as_in_earnest_and_changes_nothing(machine: Machine, tmp_path: Path) -> None:
    machine("init", "--adopt", str(machine.port))
    before = tree(tmp_path)
    seen = machine.json("simulate", "kiosk", "--fault", "crash")
    assert seen["choice"]["candidate"]["remedy"] == "restart"
    assert seen["now"].startswith("nothing: BrainOps looks on")
    assert [rung["level"] for rung in seen["ladder"] if rung["present"]] == ["observe"]
    assert "restart" in machine("simulate", "kiosk", "--fault", "hang").stdout
    assert tree(tmp_path) == before
    assert machine.process.poll() is None


def test_simulation_sees_what_stands_in_the_way(machine: Machine) -> None:
    write(machine, {"command": [sys.executable, "-S", "kiosk.py", str(machine.port)]}, ports=[machine.port])
    headline = machine.json("simulate", "kiosk", "--fault", "crash")["headline"]
    assert f"port {machine.port} is held by process {machine.process.pid}" in headline


EVERY_CHECK: dict[str, Any] = {
    "front": {"kind": "http", "url": "https://127.0.0.1:1/"},
    "base": {"kind": "postgres", "url": "${NOBODY_SET_THIS}"},
    "host": {"kind": "host"},
    "log": {"kind": "log", "max_matches": 0},
    "job": {"kind": "heartbeat", "heartbeat": "job", "period": "1h"},
}


@pytest.mark.parametrize("fault", list(FaultKind))
def test_every_fault_can_be_simulated(machine: Machine, fault: FaultKind) -> None:
    run = {"command": [sys.executable, "-S", "kiosk.py", str(machine.port)]}
    service = {"run": run, "checks": EVERY_CHECK, "limits": {"memory": "1MB", "threads": 5}, "autonomy": "act"}
    machine.file.write_text(yaml.safe_dump({"services": {"kiosk": service}}))
    seen = machine.json("simulate", "kiosk", "--fault", fault.value)
    assert seen["signature"].split("/")[0] == ("crash" if fault is FaultKind.CRASH_LOOP else fault.value)
    assert seen["now"]


def test_fault_that_no_check_would_notice_is_told(machine: Machine) -> None:
    write(machine, {"kind": "external"})
    assert "no check of kiosk sees a certificate" in machine("simulate", "kiosk", "--fault", "expiry", code=2).stderr
    assert "add one of kind heartbeat" in machine("simulate", "kiosk", "--fault", "silent", code=2).stderr


def test_doctor_is_content_with_a_service_that_answers(machine: Machine) -> None:
    write(machine, {"kind": "external"})
    answer = machine.json("doctor")
    assert {line["level"] for line in answer["services"]} == {"ok"}
    assert "Everything is in place" in machine("doctor").stdout


def test_process_of_many_ports_is_watched_at_a_few_and_doctor_stays_short(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "pool.py").write_text(POOL)
    pool = subprocess.Popen(
        [sys.executable, "-S", tmp_path / "pool.py"], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert pool.stdout is not None
        pool.stdout.readline()
        said = " ".join(machine("init").stdout.split())
    finally:
        pool.communicate()
    checks = machine.services()["pool"]["checks"]
    assert (len(checks), " and 7 more: " in said) == (5, True)
    lines = machine.json("doctor", code=1)["services"]
    found = [line["found"] for line in lines if line["subject"].startswith("pool")]
    assert (len(found), found[-1]) == (4, "5 of its 5 checks fail in all")


def test_doctor_names_who_holds_the_port_of_a_service(machine: Machine) -> None:
    write(machine, {"command": [sys.executable, "-S", "kiosk.py", str(machine.port)]}, ports=[machine.port])
    lines = machine.json("doctor", code=1)["services"]
    (held,) = (line for line in lines if line["level"] == "fail")
    assert f"held by process {machine.process.pid}" in held["found"]
    assert "brainops init --adopt kiosk" in held["to_do"]


def test_doctor_tells_mistakes_engines_and_files_that_are_not_there(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{machine.folder}/no-such.sock")
    write(machine, {"kind": "docker", "container": "kiosk"}, files=[{"path": "gone.conf"}])
    answer = machine.json("doctor", code=1)
    lines: list[dict[str, str]] = [*answer["machine"], *answer["services"]]
    failing = {line["subject"] for line in lines if line["level"] == "fail"}
    assert {"Docker engine", "kiosk"} <= failing
    machine.file.write_text("services:\n  kiosk: {}\n")
    (mistake,) = (line for line in machine.json("doctor", code=1)["services"] if line["level"] == "fail")
    assert (mistake["subject"], mistake["to_do"]) == ("line 2", "add run; " + mistake["to_do"].partition("; ")[2])


def test_doctor_without_a_file_says_how_to_get_one(machine: Machine) -> None:
    (line,) = machine.json("doctor")["services"]
    assert (line["level"], "brainops init" in line["to_do"]) == ("warn", True)


def test_promotion_changes_one_line_and_asks_before(machine: Machine) -> None:
    write(machine, {"command": [sys.executable, "-S", "kiosk.py"]}, autonomy="observe")
    before = machine.file.read_text()
    assert "--yes" in machine("promote", "kiosk", "--to", "act", code=2).stderr
    assert "+ autonomy: act" in machine("promote", "kiosk", "--to", "act", "--dry-run").stdout
    assert machine.file.read_text() == before
    told = machine("promote", "kiosk", "--to", "act", "--yes").stdout
    assert machine.file.read_text() == before.replace("autonomy: observe", "autonomy: act")
    assert "next `brainops up`" in told
    assert "has that autonomy already" in machine("promote", "kiosk", "--to", "act", "--yes").stdout


def test_service_that_nobody_here_starts_is_handed_over_before_it_is_promoted(machine: Machine) -> None:
    write(machine, {"kind": "external"}, autonomy="observe")
    assert "brainops init --adopt kiosk" in machine("promote", "kiosk", "--to", "act", "--yes", code=2).stderr
