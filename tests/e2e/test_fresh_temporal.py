"""Open plans survive a fresh Temporal: the server's file is deleted with an incident and an approval open."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

import pytest
import yaml
from commands import BRAINOPS, UNTRACED, typed
from house import SERVICE, free_port

from brainops.config.paths import StatePaths
from workers.stack.stack import EMBEDDED
from workers.stack.temporal_binary import find_or_install

PROJECT = Path(__file__).resolve().parents[2]
LONG = 90.0
T = TypeVar("T")


class Person:
    """Types commands in one folder, and ends what was started there."""

    def __init__(self, paths: StatePaths, folder: Path) -> None:
        self.paths = paths
        self.folder = folder
        merged = {
            **os.environ,
            **UNTRACED,
            **EMBEDDED,
            "BRAINOPS_STATE_DIR": str(paths.root),
            "PYTHONPATH": str(PROJECT),
        }
        self.environment = {name: value for name, value in merged.items() if value}
        self.stack: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        with (self.folder / "up.log").open("ab") as output:
            self.stack = subprocess.Popen(
                [*BRAINOPS, "up", "--ports", "auto"],
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=output,
            )

    def stop(self) -> None:
        if self.stack is not None:
            self.stack.terminate()
            assert self.stack.wait(60) == 0
            self.stack = None

    def types(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return typed(*BRAINOPS, *arguments, folder=self.folder, environment=self.environment)

    def reads(self, what: str) -> list[dict[str, Any]]:
        """The list that a program gets; empty while the stack does not answer yet."""
        done = self.types(what, "--json")
        return json.loads(done.stdout)[what] if done.returncode == 0 else []

    def end_service(self) -> None:
        record = self.paths.services / "shop" / "run.json"
        if record.exists():
            pid = int(json.loads(record.read_text())["pid"])
            if Path(f"/proc/{pid}").exists() and str(SERVICE) in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)


def until(condition: Callable[[], T], what: str) -> T:
    deadline = monotonic() + LONG
    while not (found := condition()):
        assert monotonic() < deadline, f"not so after {LONG} s: {what}"
        sleep(0.2)
    return found


@pytest.fixture
def person(state_paths: StatePaths, tmp_path: Path) -> Generator[Person]:
    find_or_install(lambda _line: None)
    person = Person(state_paths, tmp_path)
    yield person
    person.stop()
    person.end_service()


def test_open_incident_and_approval_survive_the_deletion_of_the_servers_file(person: Person) -> None:
    port = free_port()
    service = {
        "run": {"kind": "process", "command": [sys.executable, "-S", str(SERVICE), str(port), str(person.folder)]},
        "checks": {"front": {"kind": "http", "url": f"http://127.0.0.1:{port}/health", "interval": "200ms"}},
        "autonomy": {"start": "act", "restart": "approve"},
    }
    (person.folder / "brainops.yaml").write_text(yaml.safe_dump({"services": {"shop": service}}))
    starts = person.folder / "starts.txt"

    person.up()
    until(starts.exists, "the service was started")
    os.kill(int(starts.read_text().split()[0]), signal.SIGKILL)
    (asked,) = until(lambda: person.reads("approvals"), "an approval is asked for")
    person.stop()
    shutil.rmtree(person.paths.temporal)

    person.up()
    until(lambda: person.types("approve", asked["id"]).returncode == 0, "the same approval can be given")
    until(
        lambda: [
            row for row in person.reads("incidents") if (row["id"], row["status"]) == (asked["plan_id"], "resolved")
        ],
        "the same incident is resolved",
    )
    assert len(starts.read_text().splitlines()) == 2
    again = person.types("approve", asked["id"])
    assert again.returncode == 2
    assert "Traceback" not in again.stderr
