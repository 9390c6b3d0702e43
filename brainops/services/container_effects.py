"""What BrainOps has done to the containers of a service, so that it is done once per effect key.

Before anything is done it is written down which runs stood then. Afterwards any other run says that it was done,
whoever asks, and whatever died in between.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from brainops.contracts.service import ServiceRun
from brainops.errors import UnavailableError
from brainops.services import shim
from brainops.services.records import KEPT_EFFECTS, check_effect_key

_MARKER = ".containers.json"


class Effect(BaseModel):
    """A start that was begun under an effect key."""

    model_config = ConfigDict(frozen=True)

    effect_key: str
    previous: tuple[str, ...]
    """Runs that stood before."""
    run: ServiceRun | None = None
    """What it came to, once it has."""


class ContainerEffects:
    """The markers of one service. `folder`: its folder in the state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._effects = folder / "effects"
        self._stopping = folder / "stopping-containers"

    def find(self, effect_key: str) -> Effect | None:
        """What was begun under a key; None if nothing was."""
        check_effect_key(effect_key)
        try:
            return Effect.model_validate_json(self._file(effect_key).read_bytes())
        except (FileNotFoundError, ValidationError):  # damaged as by a full disk: nothing was done before it was whole
            return None

    def write(self, effect: Effect) -> None:
        """Write it down, and forget the oldest."""
        self._prepare()
        write_private(self._file(effect.effect_key), effect.model_dump_json().encode())
        kept = sorted(self._effects.glob(f"*{_MARKER}"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in kept[KEPT_EFFECTS:]:
            path.unlink(missing_ok=True)

    def mark_stopping(self, runs: tuple[str, ...]) -> None:
        """Note that the end of these runs is meant."""
        self._prepare()
        write_private(self._stopping, "\n".join(runs).encode())

    def meant_to_end(self, run_id: str) -> bool:
        """Whether BrainOps was asked to end this run."""
        try:
            return run_id in self._stopping.read_text().splitlines()
        except FileNotFoundError:
            return False

    def _prepare(self) -> None:
        with _told(self.folder):
            self._effects.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)

    def _file(self, effect_key: str) -> Path:
        return self._effects / (effect_key + _MARKER)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only we may read, as a whole. Makes its folder. Raises UnavailableError."""
    with _told(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shim.write_whole(os.fsencode(path), content)


@contextmanager
def _told(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written: {error.strerror}; is the disk full?") from None
