"""The Temporal server's binary: on PATH, in BrainOps' cache, downloaded by the SDK, or built with Go.

Run as `python -m workers.stack.temporal_binary`: prints what it does, and the path last. The stack runs it like that
too, because a build of minutes must be stoppable.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from brainops.errors import SetupError
from workers.stack.deploy_files import deploy_folder
from workers.stack.temporal_sources import SourceError, build, download

Progress = Callable[[str], None]


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/brainops`, else `~/.cache/brainops`. Safe to delete: it is filled again when needed."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "brainops"


def cached_path() -> Path:
    """Where this version's binary is kept. The name changes with the pinned module, so an upgrade builds anew."""
    module = deploy_folder("temporal")
    digest = hashlib.sha256((module / "go.mod").read_bytes() + (module / "go.sum").read_bytes()).hexdigest()
    return cache_folder() / "bin" / f"temporal-{digest[:12]}-{platform.machine()}"


def find() -> Path | None:
    """The `temporal` on PATH, else the cached one; None when it must be installed first."""
    on_path = shutil.which("temporal")
    if on_path and runs(Path(on_path)):
        return Path(on_path)
    cached = cached_path()
    return cached if os.access(cached, os.X_OK) else None


def find_or_install(progress: Progress) -> Path:
    """The server's binary, got by the first way that works.

    `progress` gets a line now and then while it downloads or builds. Two processes that need it at once build it
    once. Raises SetupError, which names each way that was tried and what it said.
    """
    found = find()
    if found:
        return found
    target = cached_path()
    with _locked(target.with_suffix(".lock"), progress):
        if os.access(target, os.X_OK):
            return target
        for abandoned in target.parent.glob("installing-*"):  # of a process that was killed while it held the lock
            shutil.rmtree(abandoned)
        _install(target, progress)
    return target


def runs(binary: Path) -> bool:
    """Whether `binary --version` answers: an executable for another machine does not."""
    try:
        answer = subprocess.run(
            [str(binary), "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


def _install(target: Path, progress: Progress) -> None:
    said: list[str] = []
    for way, get in (("the SDK's download", download), ("a build with Go", build)):
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="installing-") as folder:
            try:
                binary = get(Path(folder), progress)
                if not runs(binary):
                    raise SourceError("what came does not run on this machine")
            except SourceError as error:
                said.append(f"- {way}: {error}")
                continue
            binary.chmod(0o755)
            binary.replace(target)
            progress(f"the Temporal server is ready: {target}")
            return
    raise SetupError(
        "There is no Temporal server on this machine, and none could be got:\n"
        "- `temporal` on PATH: not found, or it does not run\n"
        f"- BrainOps' cache: there is no {target}\n" + "\n".join(said) + "\n"
        "Any one of these helps: put the Temporal CLI on PATH; allow this machine to reach the internet (HTTPS_PROXY is "
        "honoured); install Go 1.26.4 or newer; or set TEMPORAL_ADDRESS to use a server that runs elsewhere."
    )


@contextmanager
def _locked(lock_file: Path, progress: Progress) -> Generator[None]:
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process installs the Temporal server: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main() -> int:
    """Print progress on stderr and the path on stdout. Exit code 2, and a sentence, when there is no way."""
    # Python would end at once, leaving the build and gigabytes of its intermediate files behind.
    signal.signal(signal.SIGTERM, _leave)
    try:
        print(find_or_install(lambda line: print(line, file=sys.stderr, flush=True)), flush=True)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
