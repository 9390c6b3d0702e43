"""The process that a pid file names, if it is still the one that was meant."""

from pathlib import Path

from brainops.services import procfs

_LONGEST = 64
_WRITTEN_BEFORE_SECONDS = 2.0
"""A daemon may be written down a moment before it has become itself."""


def process_of(path: Path) -> procfs.ProcessStat | None:
    """The live process whose pid stands in the file; None when there is none.

    A pid is given to another process in time. So a process that started after the file was written is not meant.
    """
    try:
        with path.open("rb") as file:
            pid = int(file.read(_LONGEST).split()[0])
        written_at = path.stat().st_mtime
    except (OSError, ValueError, IndexError):
        return None
    process = procfs.stat(pid) if pid > 1 else None
    if process is None or process.ended:
        return None
    return process if procfs.started_at(process) <= written_at + _WRITTEN_BEFORE_SECONDS else None
