"""The first hour on one's own machine, with the wheel and no file of the repository; then away, and back elsewhere."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

import psutil
import pytest
import yaml
from commands import typed

from workers.stack.temporal_binary import find_or_install

T = TypeVar("T")
LONG = 90.0

SERVER = """
import http.server, pathlib, sys
folder = pathlib.Path(__file__).parent
with (folder / "starts.txt").open("a") as starts:
    starts.write(f"{__import__('os').getpid()}\\n")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Newcomer:
    """Somebody with the wheel, an empty folder, and a service of their own."""

    def __init__(self, environment: Path, folder: Path) -> None:
        self.brainops = environment / "bin" / "brainops"
        self.folder = folder
        self.state = folder / "state"
        self.stacks: list[subprocess.Popen[bytes]] = []
        self.service: subprocess.Popen[bytes] | None = None
        # Nothing of the repository, of this environment, or of a server that the shell's variables name.
        inherited = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        self.environment = inherited | {
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "TEMPORAL_CONFIG_FILE": os.devnull,
            "BRAINOPS_UNIT_DIR": str(folder / "units"),
            "BRAINOPS_POLKIT_DIR": str(folder / "rules"),
        }

    def types(self, *arguments: str | Path, state: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = (str(self.brainops), "--state-dir", str(state or self.state), *map(str, arguments))
        return typed(*command, folder=self.folder, environment=self.environment, timeout=LONG)

    def reads(self, *arguments: str, state: Path | None = None) -> Any:
        """The document that a program gets. Any: parsed JSON."""
        done = self.types(*arguments, "--json", state=state)
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def up(self, state: Path | None = None) -> None:
        log = self.folder / f"up-{len(self.stacks)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(self.brainops), "--state-dir", str(state or self.state), "up", "--ports", "auto"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.stacks.append(process)
        until(lambda: "State folder: " in log.read_text() or process.poll() is not None, "the stack is up")
        assert process.poll() is None, log.read_text()

    def starts_a_service(self, port: int) -> None:
        program = self.folder / "server.py"
        program.write_text(SERVER)
        self.service = subprocess.Popen(
            [sys.executable, "-S", str(program), str(port)], cwd=self.folder, start_new_session=True
        )

    def service_pids(self) -> list[int]:
        starts = self.folder / "starts.txt"
        return [int(line) for line in starts.read_text().splitlines()] if starts.exists() else []


def until(condition: Callable[[], T], what: str) -> T:
    deadline = monotonic() + LONG
    while not (found := condition()):
        assert monotonic() < deadline, f"not so after {LONG} s: {what}"
        sleep(0.1)
    return found


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def newcomer(wheel_environment: Path) -> Generator[Newcomer]:
    # the shim of a service that has just ended may still note how
    with tempfile.TemporaryDirectory(prefix="bo-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        binary = find_or_install(lambda _line: None)
        cached = subprocess.run(
            [
                str(wheel_environment / "bin" / "python"),
                "-P",
                "-c",
                "from workers.stack.temporal_binary import cached_path; print(cached_path())",
            ],
            env={"XDG_CACHE_HOME": str(folder / "cache")},
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        place = Path(cached.stdout.strip())
        place.parent.mkdir(parents=True)
        shutil.copy(binary, place)
        newcomer = Newcomer(wheel_environment, folder)
        yield newcomer
        for stack in newcomer.stacks:
            if stack.poll() is None:
                stack.send_signal(signal.SIGTERM)
                stack.wait(60)
        if newcomer.service is not None:
            newcomer.service.kill()
            newcomer.service.wait(60)
        for pid in newcomer.service_pids():
            with contextlib.suppress(psutil.NoSuchProcess):
                if str(folder) in " ".join(psutil.Process(pid).cmdline()):
                    os.kill(pid, signal.SIGKILL)


def test_healed_history_survives_uninstall_and_restore_while_the_service_goes_on(newcomer: Newcomer) -> None:
    port = free_port()
    newcomer.starts_a_service(port)
    until(lambda: answers(port), "the newcomer's own service answers")
    nothing_yet = newcomer.types("doctor")
    assert (nothing_yet.returncode, "brainops init" in nothing_yet.stdout) == (0, True)
    found = newcomer.types("init", "--adopt", str(port))
    assert found.returncode == 0, found.stderr
    declared: dict[str, Any] = yaml.safe_load((newcomer.folder / "brainops.yaml").read_text())["services"]
    (web,) = [name for name, service in declared.items() if str(port) in service["run"].get("command", [])]
    examined = json.loads(newcomer.types("doctor", "--json").stdout)
    assert [line for line in examined["machine"] if line["level"] == "fail"] == []
    assert [(line["subject"], line["level"]) for line in examined["services"] if web in line["subject"]] == [
        (web, "ok")
    ]
    promoted = newcomer.types("promote", web, "--to", "act", "--yes")
    assert promoted.returncode == 0, promoted.stderr

    newcomer.up()
    assert len(newcomer.service_pids()) == 1, "what runs is not started again"
    os.kill(newcomer.service_pids()[-1], signal.SIGKILL)
    healed = until(lambda: resolved(newcomer, web, newcomer.state), "the crash is healed and its story told")
    until(lambda: answers(port), "the service answers again")
    service = psutil.Process(newcomer.service_pids()[-1])
    story = newcomer.types("incidents", healed[0]["id"]).stdout

    upgraded = newcomer.types("upgrade")
    assert upgraded.returncode == 0, upgraded.stderr
    assert "The stack runs again" in upgraded.stdout
    assert newcomer.stacks[0].wait(60) == 0

    saved = newcomer.types("backup", "brainops.tar.gz")
    assert saved.returncode == 0, saved.stderr
    unasked = newcomer.types("uninstall", "--purge")
    assert (unasked.returncode, newcomer.state.exists()) == (2, True)
    gone = newcomer.types("uninstall", "--purge", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert f"running  {web} (pid {service.pid})" in gone.stdout
    assert not newcomer.state.exists()
    assert not (newcomer.folder / "cache" / "brainops").exists()
    assert service.is_running()
    assert answers(port)

    elsewhere = newcomer.folder / "elsewhere"
    back = newcomer.types("restore", "brainops.tar.gz", "--state-dir", elsewhere)
    assert back.returncode == 0, back.stderr
    find_again(newcomer)
    newcomer.up(elsewhere)
    assert [row["id"] for row in resolved(newcomer, web, elsewhere)] == [row["id"] for row in healed]
    assert newcomer.types("incidents", healed[0]["id"], state=elsewhere).stdout.splitlines()[0] == story.splitlines()[0]
    assert service.is_running()
    assert newcomer.service_pids()[-1] == service.pid

    service.kill()
    until(lambda: newcomer.service_pids()[-1] != service.pid and answers(port), "it is healed there too")
    until(lambda: len(resolved(newcomer, web, elsewhere)) == 2, "with a second story")


def resolved(newcomer: Newcomer, service: str, state: Path) -> list[dict[str, Any]]:
    found = newcomer.reads("incidents", state=state).get("incidents", [])
    return [row for row in found if (row["service"], row["status"]) == (service, "resolved")]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def find_again(newcomer: Newcomer) -> None:
    """The purge took the Temporal server of the cache away: put one back, as a download would."""
    binary = find_or_install(lambda _line: None)
    place = newcomer.folder / "bin" / "temporal"
    place.parent.mkdir()
    shutil.copy(binary, place)
    newcomer.environment["PATH"] = f"{place.parent}{os.pathsep}{newcomer.environment['PATH']}"
