"""`brainops logs SERVICE`: the last lines of what a service printed, redacted and escaped."""

import asyncio
import os
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from brainops.config.load import reload_config
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.config.runs import CommandRun, ComposeRun, DockerRun, SystemdRun
from brainops.errors import BadInputError, NotFoundError
from brainops.services.host import HostServices
from brainops.services.logs import tail
from brainops.services.records import ServiceFiles
from brainops.telemetry.redaction import clean
from interfaces.cli.display import say
from interfaces.cli.names import unknown
from workers.stack.state import StackInfo

LOOK_SECONDS = 0.2
BLOCK_BYTES = 64 * 1024
MOST_TAIL_BYTES = 16 * 1024 * 1024
"""The last lines are searched in no more than this; a longer line is shown from its middle."""
LONGEST_LINE = 16 * 1024
ELSEWHERE_BYTES = 1024 * 1024
"""Of output that is kept elsewhere, at most this much is asked for."""


def logs(
    service: Annotated[str, typer.Argument(help="Name of the service.")],
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=100_000, help="How many lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is added, until Ctrl-C.")] = False,
) -> None:
    """Print the last lines of a service's output."""
    paths = StatePaths.default()
    elsewhere = kept_elsewhere(paths, service)
    if elsewhere is not None:
        _print_elsewhere(elsewhere, lines, follow)
        return
    files = service_files(paths, service)
    end = files.log.stat().st_size
    shown = last_lines(files, lines)
    for line in shown:
        _print(line)
    if follow:
        for line in added_lines(files.log, end):
            _print(line)
    elif lines and not shown:
        say(f"{service} has printed nothing yet.")


@dataclass(frozen=True)
class KeptElsewhere:
    """A service whose output an engine, a manager or a file of its own keeps."""

    name: str
    service: Service
    host: HostServices

    @property
    def follow(self) -> str:
        """The command that goes on with what is added."""
        run = self.service.run
        match run:
            case DockerRun():
                return f"docker logs --follow {run.container}"
            case ComposeRun():
                return f"docker compose logs --follow {run.service}"
            case SystemdRun():
                return f"journalctl {'--user ' if run.scope == 'user' else ''}--follow --unit {run.unit}"
            case CommandRun() if run.log is not None:
                return f"tail --follow {self.host.directory / run.log}"
            case _:
                return ""


def kept_elsewhere(paths: StatePaths, name: str) -> KeptElsewhere | None:
    """The service, if the running stack's file knows it and it is not a process of BrainOps' own."""
    info = StackInfo.read(paths)
    if info is None or info.config_path is None:
        return None
    loaded = reload_config(info.config_path)
    service = loaded.config.services.get(name)
    if service is None or service.run.kind == "process":
        return None
    return KeptElsewhere(name, service, HostServices(paths, loaded.directory))


def _print_elsewhere(kept: KeptElsewhere, lines: int, follow: bool) -> None:
    if follow:
        remedy = f"follow it with `{kept.follow}`" if kept.follow else "its checks tell how it is"
        raise BadInputError(f"{kept.name} does not write its output through BrainOps; {remedy}")
    data = asyncio.run(_tail_elsewhere(kept))
    shown = data.splitlines()[-lines:] if lines else []
    for line in shown:
        _print(line)
    if lines and not shown:
        say(f"{kept.name} has printed nothing that BrainOps can read.")


async def _tail_elsewhere(kept: KeptElsewhere) -> bytes:
    try:
        return await kept.host.tail(kept.name, kept.service, ELSEWHERE_BYTES, since_start=False)
    finally:
        await kept.host.close()


def service_files(paths: StatePaths, service: str) -> ServiceFiles:
    """The files of `service`. Raises NotFoundError with the nearest names, or when it was never started."""
    known = (
        sorted(entry.name for entry in paths.services.iterdir() if entry.is_dir()) if paths.services.is_dir() else []
    )
    if service not in known:
        raise unknown("service with output", service, known)
    files = ServiceFiles(paths.services / service)
    if not files.log.is_file():
        raise NotFoundError(f"{service} has no output yet: BrainOps has never started it")
    return files


def last_lines(files: ServiceFiles, count: int) -> list[bytes]:
    """The last `count` lines, also from before the log was rotated."""
    if count == 0:
        return []
    size = BLOCK_BYTES
    while True:
        data = tail(files, size, since_start=False)
        if data.count(b"\n") > count or len(data) < size or size >= MOST_TAIL_BYTES:
            return data.splitlines()[-count:]
        size *= 16


def added_lines(path: Path, position: int) -> Generator[bytes]:
    """Whole lines as they are added after `position`, for ever.

    A file that was cut short or replaced is read from its beginning.
    """
    rest = b""
    current = path.open("rb")
    current.seek(position)
    try:
        while True:
            block = current.read(BLOCK_BYTES)
            if block:
                *whole, rest = (rest + block).split(b"\n")
                yield from whole
                if len(rest) > LONGEST_LINE:
                    yield rest
                    rest = b""
            elif _replaced(path, current):
                current.close()
                current = path.open("rb")
                rest = b""
            elif os.fstat(current.fileno()).st_size < current.tell():
                current.seek(0)
                rest = b""
            else:
                time.sleep(LOOK_SECONDS)
    finally:
        current.close()


def _replaced(path: Path, current: BinaryIO) -> bool:
    try:
        return not os.path.samestat(path.stat(), os.fstat(current.fileno()))
    except FileNotFoundError:
        return False


def _print(line: bytes) -> None:
    sys.stdout.write(clean(line, LONGEST_LINE) + "\n")
    sys.stdout.flush()
