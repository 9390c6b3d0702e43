"""`brainops` as a person types it, of this checkout."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

BRAINOPS = (sys.executable, "-c", "from interfaces.cli.main import run; run()")


UNTRACED = {"COVERAGE_PROCESS_CONFIG": ""}
"""For an environment in which empty values go: its processes are not traced for coverage. A stack then starts in a
third of the time; for tests whose lines others run already."""


def typed(
    *command: str, folder: Path, environment: Mapping[str, str], timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself, in `folder`, with nothing to read, and what it said."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
