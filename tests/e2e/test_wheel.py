"""The wheel works by itself: installed into an empty environment, away from the repository."""

import json
import subprocess
from pathlib import Path


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def test_wheel_runs_in_an_empty_environment(wheel_environment: Path, tmp_path: Path) -> None:
    brainops = wheel_environment / "bin" / "brainops"
    assert "heal" in run(brainops, "--help", folder=tmp_path)
    assert json.loads(run(brainops, "config", "schema", folder=tmp_path))["properties"]["services"]


def test_wheel_holds_the_files_of_deploy(wheel_environment: Path, tmp_path: Path) -> None:
    places = (
        "from workers.stack.deploy_files import deploy_folder; import migrations;"
        "print(deploy_folder('temporal') / 'go.mod'); print(deploy_folder('systemd') / 'brainops.service')"
    )
    found = [
        Path(line) for line in run(wheel_environment / "bin" / "python", "-c", places, folder=tmp_path).splitlines()
    ]
    assert all(path.is_file() and wheel_environment in path.parents for path in found)
    assert len(found) == 2
