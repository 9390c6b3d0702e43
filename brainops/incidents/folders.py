"""How much a folder holds, within bounds."""

import os
import time
from pathlib import Path

MAX_ENTRIES = 50_000
"""Entries that are looked at; a larger folder counts as at least what was seen."""


def folder_bytes(path: Path, limit_seconds: float, max_entries: int = MAX_ENTRIES) -> int:
    """Bytes of the regular files in and under `path`, links not followed; at least, when a bound is reached.

    What may not be read counts nothing.
    """
    deadline = time.monotonic() + limit_seconds
    total = entries = 0
    pending = [path]
    while pending:
        try:
            with os.scandir(pending.pop()) as found:
                for entry in found:
                    entries += 1
                    if entries > max_entries or (entries % 256 == 0 and time.monotonic() > deadline):
                        return total
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                    elif entry.is_file(follow_symlinks=False):
                        total += _size(entry)
        except OSError:
            continue
    return total


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:  # deleted meanwhile
        return 0
