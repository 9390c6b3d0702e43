"""The end of a coding agent's transcript file: what the assistant said since the last look.

Hooks tell of prompts and tools; what the assistant says stands in the transcript alone. The file is data of its owner:
it is read, whole lines only, and only from below the home folder of the user whose socket the event came in by.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from brainops.contracts.moments import in_range

MOST_BYTES = 8 * 1024 * 1024
"""Read at one look. Of a longer stretch, its end."""


@dataclass(frozen=True)
class Said:
    """One text of the assistant."""

    id: str
    """The transcript's own id of the entry, with its place in it."""
    text: str
    at: datetime | None


@dataclass(frozen=True)
class Tail:
    """What is new in a transcript."""

    said: tuple[Said, ...]
    position: int
    """Bytes that were read by now: where the next look begins."""


def readable_transcript(path: str, home: Path) -> Path | None:
    """`path` if it is a transcript that may be read: a `.jsonl` file that lies below `home`, links followed."""
    if not path.endswith(".jsonl") or "\x00" in path:
        return None
    try:
        real = Path(path).resolve(strict=True)
        return real if real.is_file() and real.is_relative_to(home.resolve()) else None
    except (OSError, RuntimeError):  # it is gone, or its links go round
        return None


def read_tail(path: Path, position: int, until: datetime | None = None) -> Tail:
    """What the assistant said after byte `position`; from the start where the file has become shorter. Raises OSError.

    `until`: what was said later waits for the next look, so that a delayed event does not bring it before its time.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        begin = position if position <= size else 0
        first = max(begin, size - MOST_BYTES)
        file.seek(first)
        stretch = file.read(MOST_BYTES)
    rest = len(stretch) - stretch.rfind(b"\n") - 1
    begun = stretch.find(b"\n") + 1 if first > begin else 0  # otherwise it begins somewhere in a line
    said: list[Said] = []
    end = first + begun
    for line in stretch[begun : len(stretch) - rest].split(b"\n")[:-1]:
        told = _said(line)
        if until is not None and any(one.at is not None and one.at > until for one in told):
            break
        said += told
        end += len(line) + 1
    return Tail(tuple(said), end)


def _said(line: bytes) -> list[Said]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return []
    if not isinstance(entry, dict):
        return []
    found = cast("dict[str, Any]", entry)
    message = found.get("message")
    if found.get("type") != "assistant" or found.get("isSidechain") is True or not isinstance(message, dict):
        return []
    content = cast("dict[str, Any]", message).get("content")
    blocks: list[Any] = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    return [
        Said(f"{found.get('uuid', '')}/{place}", str(block["text"]), _time(found))
        for place, block in enumerate(blocks)
        if _is_text(block) and found.get("uuid")
    ]


def _is_text(block: object) -> bool:
    if not isinstance(block, dict):
        return False
    named = cast("Mapping[str, object]", block)
    text = named.get("text")
    return named.get("type") == "text" and isinstance(text, str) and bool(text.strip())


def _time(entry: Mapping[str, Any]) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(entry.get("timestamp")))
    except ValueError:
        return None
    return at if in_range(at) else None
