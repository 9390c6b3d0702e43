"""The examples of bare processes and units, as they stand."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from brainops.config.load import load_config
from brainops.config.paths import StatePaths
from brainops.contracts.service import ServiceStatus
from brainops.services.host import HostServices

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


async def test_the_processes_are_started_broken_and_restarted(tmp_path: Path) -> None:
    folder = tmp_path / "processes"
    shutil.copytree(EXAMPLES / "processes", folder)
    services = load_config(folder / "brainops.yaml").config.services
    host = HostServices(StatePaths(tmp_path / "state"), folder)
    try:
        for name, service in services.items():
            await host.start(name, service, f"{name}.1")
            assert (await host.state(name, service)).status is ServiceStatus.RUNNING
        os.kill(int((folder / "worker.pid").read_text()), signal.SIGKILL)
        assert (await host.state("worker", services["worker"])).status is ServiceStatus.EXITED
        await host.restart("worker", services["worker"], "worker.2")
        assert (await host.state("worker", services["worker"])).status is ServiceStatus.RUNNING
        assert b"open for work" in await host.tail("worker", services["worker"], 1000)
    finally:
        for name, service in services.items():
            await host.stop(name, service)
    assert (await host.state("worker", services["worker"])).status is ServiceStatus.EXITED


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and "CI" not in os.environ, reason="needs the Debian package systemd"
)
@pytest.mark.parametrize("unit", sorted(path.name for path in (EXAMPLES / "systemd").glob("*.service")))
def test_systemd_accepts_the_unit(unit: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", EXAMPLES / "systemd" / unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
