"""What the finders found on this machine, before anything is written of it."""

import re
from collections.abc import Collection
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Source = Literal["compose", "docker", "systemd", "port", "host"]

_NOT_IN_NAMES = re.compile(r"[^a-z0-9_-]+")


class Part(BaseModel):
    """A part of a survey."""

    model_config = ConfigDict(frozen=True)


class SeenProcess(Part):
    """A listening process as the kernel shows it: what would start it again."""

    pid: int
    start_ticks: int
    command: tuple[str, ...]
    directory: str
    variables: tuple[str, ...] = ()
    """Names of the variables that it was started with; no values."""


class Found(Part):
    """A service that runs here, and how it would be described."""

    name: str
    source: Source
    what: str
    """One sentence for people: where it was found, and as what."""
    run: dict[str, Any]
    """As under `run:`. Any: whatever the file may hold."""
    checks: dict[str, dict[str, Any]] = {}
    """As under `checks:`, by name."""
    ports: tuple[int, ...] = ()
    depends_on: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    """Lines that teach, written as comments beside it."""
    process: SeenProcess | None = None
    """Where nobody starts it again when it ends: what could be handed over to BrainOps."""


class Survey(Part):
    """Everything that was found, and what could not be looked at."""

    services: tuple[Found, ...] = ()
    repositories: tuple[str, ...] = ()
    """`folder: address` of each git remote; no passwords."""
    unseen: tuple[str, ...] = ()
    """Sentences: what was not looked at, why, and what would show more."""


def as_name(text: str, fallback: str = "service") -> str:
    """`text` as a name that the file allows."""
    name = _NOT_IN_NAMES.sub("-", text.lower()).strip("-_0123456789")[:50].rstrip("-_")
    return name or fallback


def unique(name: str, taken: Collection[str], also: str = "") -> str:
    """`name`, or the first like it that is not taken: with `also` behind it, then with a number."""
    if name not in taken:
        return name
    if also and (longer := f"{name}-{also}") not in taken:
        return longer
    return next(numbered for number in range(2, len(taken) + 3) if (numbered := f"{name}-{number}") not in taken)
