"""`journalctl`: what units write, when they started and how they ended, and how much the journal holds."""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import cast

from brainops.contracts.service import ExitRecord, ProcessRecord
from brainops.errors import ActionError, UnavailableError
from brainops.services import programs
from brainops.services.records import Start
from brainops.services.units import Scope, bus_environment
from brainops.telemetry.redaction import clean

_ANSWER_SECONDS = 5.0
_VACUUM_SECONDS = 300.0
_LINES = 5_000
_EVENTS = 500
_EVENT_BYTES = 2 * 2**20

_STARTING = "7d4958e842da4a758f6c1cdc7b36dcc5"
_PROCESS_EXITED = "98e322203f7a4ed290d09fe03c09fe15"
_STOPPING = "de5b426a63be47a7b6ac3eaac82e2f6f"
"""Message ids of systemd(1)'s own words on units (`journalctl --catalog`, sd-messages.h)."""

_UNITS = {"B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_USAGE = re.compile(r"take up ([0-9.]+)([BKMGT])")


class Journal:
    """Reads the machine's journal, or that of the user of BrainOps."""

    def __init__(self, scope: Scope) -> None:
        self._scope: Scope = scope
        self._of_unit = "USER_UNIT" if scope == "user" else "UNIT"
        self._of_run = "USER_INVOCATION_ID" if scope == "user" else "INVOCATION_ID"

    async def tail(self, unit: str, max_bytes: int, invocation: str = "") -> bytes:
        """The last lines that a unit wrote; of one run only if `invocation` is given.

        What systemd itself says of the unit ("Main process exited …") stands there only where the unit wrote nothing:
        it would hide the unit's own last words. Raises UnavailableError.
        """
        own = await self._lines(max_bytes, f"_SYSTEMD_INVOCATION_ID={invocation}") if invocation else b""
        if own or not invocation:
            return own or await self._lines(max_bytes, *self._unit_option(unit))
        return await self._lines(max_bytes, f"{self._of_unit}={unit}", f"{self._of_run}={invocation}")

    async def starts(self, unit: str, within: timedelta) -> list[Start]:
        """Starts of a unit in the time before now, oldest first, with their ends. Raises UnavailableError."""
        seconds = max(1, int(within.total_seconds()))
        return _starts(
            unit, await self._events(unit, (_STARTING, _PROCESS_EXITED), f"--since=-{seconds}s"), self._of_run
        )

    async def was_stopped(self, unit: str, since: datetime) -> bool:
        """Whether somebody asked systemd to stop the unit since a time. Raises UnavailableError."""
        return bool(await self._events(unit, (_STOPPING,), f"--since=@{since.timestamp():.0f}"))

    async def size_bytes(self) -> int:
        """What all journal files take on the disk. Raises UnavailableError."""
        done = await self._run("--disk-usage")
        found = _USAGE.search((done.output + done.errors).decode("utf-8", "replace"))
        if found is None:
            raise UnavailableError(f"journalctl does not say how much the journal holds: {clean(done.said, 200)}")
        return int(float(found[1]) * _UNITS[found[2]])

    async def vacuum(self, target_bytes: int) -> None:
        """Delete the oldest files until at most `target_bytes` are left. Raises ActionError, UnavailableError."""
        done = await self._run("--rotate", f"--vacuum-size={target_bytes}", seconds=_VACUUM_SECONDS)
        if done.exit_code != 0:
            raise ActionError(
                f"the journal cannot be shrunk: {clean(done.said, 300)}; BrainOps needs to be root for it, or of the "
                "group systemd-journal with the right to write"
            )

    async def _lines(self, max_bytes: int, *matches: str) -> bytes:
        arguments = ("--output=cat", f"--lines={_LINES}", *matches)
        done = await self._run(*arguments, max_bytes=max_bytes)
        return done.output

    def _unit_option(self, unit: str) -> tuple[str, ...]:
        return (f"--user-unit={unit}",) if self._scope == "user" else (f"--unit={unit}",)

    async def _events(self, unit: str, messages: Sequence[str], since: str) -> list[dict[str, str]]:
        """What systemd itself wrote of a unit, oldest first."""
        matches = (f"{self._of_unit}={unit}", *(f"MESSAGE_ID={message}" for message in messages))
        done = await self._run("--output=json", f"--lines={_EVENTS}", since, *matches, max_bytes=_EVENT_BYTES)
        return list(_parsed(done.output))

    async def _run(
        self, *arguments: str, seconds: float = _ANSWER_SECONDS, max_bytes: int = programs.OUTPUT_BYTES
    ) -> programs.Finished:
        options = ("--no-pager", "--quiet") if "--disk-usage" not in arguments else ("--no-pager",)
        try:
            return await programs.run(
                ("journalctl", *options, *arguments),
                timeout_seconds=seconds,
                environment=bus_environment(),
                max_bytes=max_bytes,
            )
        except ActionError as error:
            raise UnavailableError(str(error)) from None


def _parsed(output: bytes) -> Iterator[dict[str, str]]:
    """The entries of an answer; a line that was cut, or that is none, is left out."""
    for line in output.splitlines():
        try:
            entry: object = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            fields = cast("dict[str, object]", entry)
            yield {name: value for name, value in fields.items() if isinstance(value, str)}


def _starts(unit: str, events: Sequence[dict[str, str]], of_run: str) -> list[Start]:
    began: dict[str, datetime] = {}
    ends: dict[str, ExitRecord] = {}
    for event in events:
        run, at = event.get(of_run, ""), _moment(event)
        if not run or at is None:
            continue
        if event.get("MESSAGE_ID") == _STARTING:
            began[run] = at
        elif (status := event.get("EXIT_STATUS", "")).isdigit():
            by_itself = event.get("EXIT_CODE") == "exited"
            ends[run] = ExitRecord(
                pid=0,
                effect_key=run,
                exit_code=int(status) if by_itself else None,
                signal=None if by_itself else int(status),
                ended_at=at,
            )
    return [
        Start(ProcessRecord(pid=0, start_ticks=0, effect_key=run, command=(unit,), started_at=at), ends.get(run), "")
        for run, at in began.items()
    ]


def _moment(event: dict[str, str]) -> datetime | None:
    micros = event.get("__REALTIME_TIMESTAMP", "")
    return datetime.fromtimestamp(int(micros) / 1e6, UTC) if micros.isdigit() else None
