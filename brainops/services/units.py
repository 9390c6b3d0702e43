"""`systemctl`: what systemd says of its units, and what it is asked to do with them."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from brainops.errors import ActionError, UnavailableError
from brainops.services import procfs, programs
from brainops.services.process import base_environment
from brainops.telemetry.redaction import clean

Scope = Literal["system", "user"]

ANSWER_SECONDS = 10.0
JOB_SECONDS = 150.0
"""Beyond systemd's own limits on starting and stopping (90 s), so that it is systemd who gives up first."""

_BUS_VARIABLES = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
_FIXED = {"LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "", "SYSTEMD_LOG_LEVEL": "warning"}
_UNLIMITED = 2**64 - 1

PROPERTIES = (
    "Id",
    "LoadState",
    "LoadError",
    "ActiveState",
    "SubState",
    "FreezerState",
    "Result",
    "MainPID",
    "ControlGroup",
    "InvocationID",
    "ExecMainPID",
    "ExecMainCode",
    "ExecMainStatus",
    "ExecMainStartTimestampMonotonic",
    "ExecMainExitTimestampMonotonic",
    "ActiveEnterTimestampMonotonic",
    "InactiveEnterTimestampMonotonic",
    "NRestarts",
    "Restart",
    "MemoryCurrent",
    "MemoryMax",
)
"""Everything that is asked of a unit. Kinds of units that have no such property leave it out of the answer."""

_EXITED = 1
"""CLD_EXITED of waitid(2); the other codes are of signals."""


@dataclass(frozen=True)
class Unit:
    """A unit as `systemctl show` describes it."""

    values: Mapping[str, str]

    @property
    def name(self) -> str:
        """With its suffix."""
        return self.values.get("Id", "")

    @property
    def load_state(self) -> str:
        """`loaded`, `not-found`, `bad-setting`, `masked`, …"""
        return self.values.get("LoadState", "")

    @property
    def active_state(self) -> str:
        """`active`, `activating`, `failed`, …"""
        return self.values.get("ActiveState", "")

    @property
    def sub_state(self) -> str:
        """Of the unit's own kind: `running`, `auto-restart`, `listening`, …"""
        return self.values.get("SubState", "")

    @property
    def result(self) -> str:
        """`success`, or why it ended."""
        return self.values.get("Result", "")

    @property
    def invocation(self) -> str:
        """Names one run of the unit. Empty: it was never started, or systemd has forgotten it."""
        return self.values.get("InvocationID", "")

    @property
    def control_group(self) -> str:
        """Path of its cgroup; empty while nothing of it runs."""
        return self.values.get("ControlGroup", "")

    @property
    def policy(self) -> str:
        """`Restart=`; empty for units that have no process."""
        return self.values.get("Restart", "")

    @property
    def frozen(self) -> bool:
        """Whether `systemctl freeze` has suspended it."""
        return self.values.get("FreezerState", "").startswith("fr")

    @property
    def runs(self) -> bool:
        """Whether it is up, or on its way up or down with a process of its own."""
        if self.active_state in ("active", "reloading", "refreshing"):
            return True
        if self.awaits_restart:
            return False
        return self.active_state == "activating" or (self.active_state == "deactivating" and self.main_pid is not None)

    @property
    def awaits_restart(self) -> bool:
        """Whether systemd is about to start it again by itself."""
        return self.active_state == "activating" and self.sub_state.startswith("auto-restart")

    @property
    def main_pid(self) -> int | None:
        """Of the process that runs now."""
        return self.number("MainPID") or None

    @property
    def last_pid(self) -> int:
        """Of the newest main process, also of one that has ended; 0 where there was none."""
        return self.number("ExecMainPID") or 0

    @property
    def restarts(self) -> int:
        """How often systemd restarted it since somebody started it."""
        return self.number("NRestarts") or 0

    @property
    def exit_code(self) -> int | None:
        """Of a main process that ended by itself."""
        return self.number("ExecMainStatus") if self.number("ExecMainCode") == _EXITED else None

    @property
    def exit_signal(self) -> int | None:
        """That ended the main process."""
        return self.number("ExecMainStatus") if (self.number("ExecMainCode") or 0) > _EXITED else None

    @property
    def started_at(self) -> datetime | None:
        """When the newest run began."""
        return self._moment("ExecMainStartTimestampMonotonic") or self._moment("ActiveEnterTimestampMonotonic")

    @property
    def ended_at(self) -> datetime | None:
        """When the newest run ended; meaningless while it goes on."""
        return self._moment("ExecMainExitTimestampMonotonic") or self._moment("InactiveEnterTimestampMonotonic")

    @property
    def age_seconds(self) -> float:
        """Since the newest run began."""
        began = self.number("ExecMainStartTimestampMonotonic") or self.number("ActiveEnterTimestampMonotonic")
        return max(0.0, time.monotonic() - began / 1e6) if began else 0.0

    @property
    def memory_bytes(self) -> int | None:
        """Of its cgroup, with what the kernel caches for it. None where systemd does not count."""
        return self._amount("MemoryCurrent")

    @property
    def memory_limit_bytes(self) -> int | None:
        """None: no limit of its own."""
        return self._amount("MemoryMax")

    def main_process_is_gone(self) -> bool:
        """Whether the process that systemd still calls the main one has ended: it will notice in a moment."""
        process = procfs.stat(self.main_pid) if self.main_pid is not None else None
        return self.main_pid is not None and (process is None or process.ended)

    def number(self, name: str) -> int | None:
        """A property as a number; None where it is not one (`[not set]`, `infinity`)."""
        value = self.values.get(name, "")
        return int(value) if value.isascii() and value.isdigit() else None

    def _amount(self, name: str) -> int | None:
        value = self.number(name)
        return None if value == _UNLIMITED else value

    def _moment(self, name: str) -> datetime | None:
        """systemd's times by the clock are written for people; those by CLOCK_MONOTONIC are plain microseconds."""
        value = self.number(name)
        return datetime.now(UTC) - timedelta(seconds=time.monotonic() - value / 1e6) if value else None


def parse_show(text: str) -> list[Unit]:
    """The units of an answer of `systemctl show`: a line for each property, an empty line between units."""
    units: list[Unit] = []
    for block in text.split("\n\n"):
        lines = (line.partition("=") for line in block.splitlines())
        values = {name: value for name, sign, value in lines if sign}
        if values:
            units.append(Unit(values))
    return units


class Systemctl:
    """Asks one systemd: the machine's own, or that of the user of BrainOps."""

    def __init__(self, scope: Scope) -> None:
        self.scope: Scope = scope
        self._options = ("--no-pager", "--no-ask-password", *(("--user",) if scope == "user" else ()))

    async def show(self, units: Sequence[str]) -> list[Unit]:
        """Units as they are now, in the order asked for. Raises UnavailableError where systemd does not answer."""
        arguments = ("show", f"--property={','.join(PROPERTIES)}", "--", *units)
        try:
            done = await self._run(arguments, ANSWER_SECONDS)
        except ActionError as error:
            raise UnavailableError(f"systemd cannot be asked: {error}") from None
        found = parse_show(done.output.decode("utf-8", "replace"))
        if done.exit_code != 0 or len(found) != len(units):
            raise UnavailableError(f"systemd does not say how {', '.join(units)[:200]} is: {self._explained(done)}")
        return found

    async def ask(self, verb: str, *arguments: str, options: Sequence[str] = ()) -> None:
        """Have systemd do something, and wait for the end of its job. Raises ActionError, UnavailableError."""
        done = await self._run((verb, *options, "--", *arguments), JOB_SECONDS)  # names of units may begin with -
        if done.exit_code != 0:
            raise ActionError(f"systemctl {verb} {' '.join(arguments)[:200]}: {self._explained(done)}"[:500])

    async def _run(self, arguments: Sequence[str], seconds: float) -> programs.Finished:
        return await programs.run(
            ("systemctl", *self._options, *arguments), timeout_seconds=seconds, environment=bus_environment()
        )

    def _explained(self, done: programs.Finished) -> str:
        """What it said, and what to do about it."""
        said = clean(done.said, 300) or f"exit code {done.exit_code}"
        return f"{said}; {remedy}" if (remedy := self._remedy(said)) else said

    def _remedy(self, said: str) -> str:
        if "not been booted" in said or "Failed to connect" in said:
            if self.scope == "user":
                return "is the user's systemd running? loginctl enable-linger USER keeps it; XDG_RUNTIME_DIR names it"
            return "systemd does not run here, or may not be reached; use another kind of run"
        if any(
            word in said for word in ("authentication required", "Access denied", "ermission denied", "ot permitted")
        ):
            return "run BrainOps as root, or permit its user to manage this unit (docs/systemd.md, Permission)"
        if "not found" in said or "not loaded" in said:
            return "correct run.unit; systemctl list-unit-files shows what there is"
        if "is masked" in said:
            return "systemctl unmask it if it is to run"
        if "bad unit file setting" in said:
            return "systemd-analyze verify names the line; then systemctl daemon-reload"
        return ""


def bus_environment() -> dict[str, str]:
    """What systemctl and journalctl are given: plain answers in English, and where the user's systemd is."""
    return base_environment() | {name: os.environ[name] for name in _BUS_VARIABLES if name in os.environ} | _FIXED
