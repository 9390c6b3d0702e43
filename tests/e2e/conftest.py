"""What end-to-end tests share: the wheel, built once, in an empty environment."""

import subprocess
import sys
from pathlib import Path

import pytest
import uv

PROJECT = Path(__file__).resolve().parents[2]


def _run(*command: str | Path, folder: Path) -> None:
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


@pytest.fixture(scope="session")
def wheel_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that holds the wheel and what it depends on, and nothing of the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    tool = uv.find_uv_bin()
    _run(tool, "build", "--wheel", "--quiet", "--out-dir", folder, PROJECT, folder=folder)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    _run(tool, "venv", "--quiet", "--python", sys.executable, environment, folder=folder)
    _run(tool, "pip", "install", "--quiet", "--python", environment / "bin" / "python", wheel, folder=folder)
    return environment
