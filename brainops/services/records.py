"""The files of one service: what the shim wrote, read by the adapter."""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from brainops.contracts.service import ExitRecord, ProcessRecord
from brainops.errors import BadInputError
from brainops.services import procfs

KEPT_EFFECTS = 500
"""Starts of a service of which the records are kept. A repeated start of an older key would start again."""

_EFFECT_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_START, _EXIT, _ERROR = ".start.json", ".exit.json", ".error"


class Run(ProcessRecord):
    """A start, with what only the host needs of it."""

    boot_id: str
    log_offset: int
    """Bytes that the service had written in its whole life when this process began to write."""
    shim_pid: int
    shim_start_ticks: int

    @property
    def record(self) -> ProcessRecord:
        """The part that leaves the host."""
        return ProcessRecord.model_validate(self.model_dump(include=set(ProcessRecord.model_fields)))

    def find(self) -> procfs.ProcessStat | None:
        """The process itself, alive or zombie; None when it is gone."""
        return procfs.find(self.pid, self.start_ticks) if self.boot_id == procfs.boot_id() else None

    def find_alive(self) -> procfs.ProcessStat | None:
        """The process itself unless it has ended; a zombie has."""
        found = self.find()
        return found if found is not None and not found.ended else None


class Ending(ExitRecord):
    """An end, with what only the host needs of it."""

    ended_ticks: int

    @property
    def record(self) -> ExitRecord:
        """The part that leaves the host."""
        return ExitRecord.model_validate(self.model_dump(include=set(ExitRecord.model_fields)))


@dataclass(frozen=True)
class Start:
    """One start of a service and what became of it."""

    process: ProcessRecord
    exit: ExitRecord | None
    """None: it runs, or its shim was killed."""
    error: str
    """Why the program could not be executed; empty if it was."""


class ServiceFiles:
    """The folder of one service in the state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_file = folder / "run.json"
        self.log = folder / "output.log"
        self.rotated_log = folder / "output.log.1"
        self.discarded = folder / "output.discarded"
        self._effects = folder / "effects"
        self._stopping = folder / "stopping"
        self._cached: tuple[tuple[int, int, int], Run | None] | None = None

    def prepare(self) -> None:
        """Create the folder, readable by us only."""
        self._effects.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)

    def run_bytes(self) -> bytes:
        """`run.json` as it stands; empty when the service was never started."""
        return _read(self.run_file)

    def run(self) -> Run | None:
        """The newest start. Read again only when the file has changed."""
        try:
            status = self.run_file.stat()
        except FileNotFoundError:
            return None
        version = (status.st_mtime_ns, status.st_ino, status.st_size)
        if self._cached is None or self._cached[0] != version:
            self._cached = (version, _parse_run(self.run_bytes()))
        return self._cached[1]

    def start_of(self, effect_key: str) -> Run | None:
        """The start that an effect key caused; None if it caused none."""
        run = _parse_run(_read(self._effects / (effect_key + _START)))
        return run if run is not None and run.effect_key == effect_key else None

    def ending_of(self, run: ProcessRecord) -> Ending | None:
        """How a start ended; None while it runs, and for ever if its shim was killed."""
        raw = _read(self._effects / (run.effect_key + _EXIT))
        try:
            ending = Ending.model_validate_json(raw) if raw else None
        except ValidationError:
            return None
        return ending if ending is not None and ending.pid == run.pid else None

    def error_of(self, effect_key: str) -> str:
        """Why a start's program could not be executed; empty if it was."""
        return _read(self._effects / (effect_key + _ERROR)).decode("utf-8", "replace")

    def effect_keys(self) -> frozenset[str]:
        """Keys of all starts that are on record."""
        return frozenset(path.name.removesuffix(_START) for path in self._effects.glob("*" + _START))

    def starts(self, since: datetime) -> list[Start]:
        """Starts since a time, oldest first."""
        runs = (self.start_of(key) for key in self.effect_keys())
        recent = sorted((run for run in runs if run and run.started_at >= since), key=lambda run: run.started_at)
        return [self._start(run) for run in recent]

    def mark_stopping(self, run: Run) -> None:
        """Note that the end of this start is meant."""
        self._stopping.write_text(run.effect_key)
        self._stopping.chmod(0o600)

    def meant_to_end(self, run: Run) -> bool:
        """Whether BrainOps was asked to end this start."""
        return _read(self._stopping).decode() == run.effect_key

    def prune(self) -> None:
        """Forget all but the newest starts."""
        starts = sorted(self._effects.glob("*" + _START), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in starts[KEPT_EFFECTS:]:
            key = path.name.removesuffix(_START)
            for suffix in (_EXIT, _ERROR, _START):
                (self._effects / (key + suffix)).unlink(missing_ok=True)

    def _start(self, run: Run) -> Start:
        ending = self.ending_of(run)
        return Start(run.record, ending.record if ending else None, self.error_of(run.effect_key))


def check_effect_key(effect_key: str) -> None:
    """Refuse what cannot be part of a file's name. Raises BadInputError."""
    if not _EFFECT_KEY.fullmatch(effect_key):
        raise BadInputError(f"{effect_key!r} is no effect key: write up to 200 letters, digits, '.', '-' or '_'")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _parse_run(raw: bytes) -> Run | None:
    """A start record, or None for a damaged one, as a full disk leaves behind."""
    try:
        return Run.model_validate_json(raw) if raw else None
    except ValidationError:
        return None
