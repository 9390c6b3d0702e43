"""`brainops logs SERVICE`: the last lines of what a service printed, redacted and escaped."""

import os
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from brainops.config.paths import StatePaths
from brainops.errors import NotFoundError
from brainops.services.logs import tail
from brainops.services.records import ServiceFiles
from brainops.telemetry.redaction import clean
from interfaces.cli.display import say
from interfaces.cli.names import unknown

LOOK_SECONDS = 0.2
BLOCK_BYTES = 64 * 1024
MOST_TAIL_BYTES = 16 * 1024 * 1024
"""The last lines are searched in no more than this; a longer line is shown from its middle."""
LONGEST_LINE = 16 * 1024


def logs(
    service: Annotated[str, typer.Argument(help="Name of the service.")],
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=100_000, help="How many lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is added, until Ctrl-C.")] = False,
) -> None:
    """Print the last lines of a service's output."""
    files = service_files(StatePaths.default(), service)
    end = files.log.stat().st_size
    shown = last_lines(files, lines)
    for line in shown:
        _print(line)
    if follow:
        for line in added_lines(files.log, end):
            _print(line)
    elif lines and not shown:
        say(f"{service} has printed nothing yet.")


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
