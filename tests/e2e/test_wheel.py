"""The wheel works by itself: installed into an empty environment, away from the repository."""

import json
import subprocess
import sys
from pathlib import Path

import uv

PROJECT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def test_wheel_runs_in_an_empty_environment(tmp_path: Path) -> None:
    tool = uv.find_uv_bin()
    run(tool, "build", "--wheel", "--quiet", "--out-dir", tmp_path, PROJECT, folder=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    environment = tmp_path / "environment"
    run(tool, "venv", "--quiet", "--python", sys.executable, environment, folder=tmp_path)
    run(tool, "pip", "install", "--quiet", "--python", environment / "bin" / "python", wheel, folder=tmp_path)
    brainops = environment / "bin" / "brainops"
    assert "heal" in run(brainops, "--help", folder=tmp_path)
    assert json.loads(run(brainops, "config", "schema", folder=tmp_path))["properties"]["services"]
    places = "from workers.stack.deploy_files import deploy_folder; import migrations; print(deploy_folder('temporal'))"
    pinned = Path(run(environment / "bin" / "python", "-c", places, folder=tmp_path).strip())
    assert (pinned / "go.mod").is_file()
    assert environment in pinned.parents
