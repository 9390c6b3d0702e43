"""`brainops demo`: a stranger's first look, as a stranger runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from commands import UNTRACED

from interfaces.demo.faults import FAULTS

REPEATED = {"bad_config", "slow"}


def demo_command(*options: str) -> list[str]:
    return [sys.executable, "-c", "from interfaces.cli.main import run; run()", "demo", "--plain", *options]


def left_running(folder: Path) -> list[str]:
    """Command lines of processes that still name `folder`."""
    lines: list[str] = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if str(folder) in line:
            lines.append(line)
    return lines


@pytest.mark.timeout(600)
def test_demo_heals_every_fault_and_leaves_nothing_behind(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    # A folder that every user may pass through: Postgres runs as a user of its own where this runs as root.
    scratch = Path("/tmp") / f"demo-{os.getpid()}"
    scratch.mkdir(mode=0o711)
    try:
        done = subprocess.run(
            demo_command("--report", str(report)),
            env=os.environ | {"TMPDIR": str(scratch)},
            capture_output=True,
            check=False,
            text=True,
            timeout=580,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert left_running(scratch) == []
        assert list(scratch.iterdir()) == []
    finally:
        subprocess.run(["rm", "-rf", str(scratch)], check=True)
    document: dict[str, Any] = json.loads(report.read_text())
    assert set(document) == {"faults", "healed", "total"}
    assert document["healed"] == document["total"] == len(FAULTS) + len(REPEATED) == len(document["faults"])
    for fault in document["faults"]:
        assert list(fault) == [
            *("kind", "service", "occurrence", "detected_ms", "healed_ms"),
            *("cause", "remedy", "verified", "model_calls", "workflow_id"),
        ]
        assert fault["verified"] is True
        assert fault["model_calls"] == 0
        assert fault["detected_ms"] >= 0
        assert fault["cause"]
        assert fault["remedy"]
        assert fault["workflow_id"].startswith(f"incident/{fault['service']}/")
    assert [fault["kind"] for fault in document["faults"] if fault["occurrence"] == 1] == list(FAULTS)
    assert {fault["kind"] for fault in document["faults"] if fault["occurrence"] == 2} == REPEATED


@pytest.mark.timeout(180)
def test_interrupted_demo_removes_what_it_made() -> None:
    scratch = Path("/tmp") / f"demo-interrupted-{os.getpid()}"
    scratch.mkdir(mode=0o711)
    try:
        command = demo_command("--only", "crash", "--keep")
        merged = os.environ | UNTRACED | {"TMPDIR": str(scratch)}
        environment = {name: value for name, value in merged.items() if value}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as demo:
            assert demo.stdout is not None
            for line in demo.stdout:
                if "Ctrl-C stops everything" in line:
                    break
            demo.send_signal(signal.SIGINT)
            assert demo.wait(60) == 130
        deadline = time.monotonic() + 5
        while left_running(scratch) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left_running(scratch) == []
        assert list(scratch.iterdir()) == []
    finally:
        subprocess.run(["rm", "-rf", str(scratch)], check=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "flood"], "no such fault: flood; there are crash, hang,"),
        (["--report", "/nowhere/at/all.json"], "/nowhere/at is not a folder"),
    ],
)
def test_wrong_options_get_a_sentence_and_exit_code_2(options: list[str], message: str) -> None:
    done = subprocess.run(demo_command(*options), capture_output=True, check=False, text=True, timeout=60)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
