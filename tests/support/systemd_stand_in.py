"""A stand-in for systemd, for machines on which something else is process 1: `systemctl` and `journalctl` of its own.

What it prints was recorded from systemd 252 (`systemctl --user show|start|stop|reload` in each state) and is replayed
with the values of now. It keeps state in a folder, and what it starts are real processes: each unit has a little
manager of its own that starts its main process, waits for its end, and restarts it as `Restart=` says.

As a program: `systemd_stand_in.py systemctl|journalctl|manage FOLDER …`. Standard library only, for a quick start.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

ORDER = [
    "Type",
    "Restart",
    "RestartUSec",
    "MainPID",
    "Result",
    "NRestarts",
    "ExecMainStartTimestampMonotonic",
    "ExecMainExitTimestampMonotonic",
    "ExecMainPID",
    "ExecMainCode",
    "ExecMainStatus",
    "ControlGroup",
    "MemoryCurrent",
    "MemoryMax",
    "Id",
    "LoadState",
    "ActiveState",
    "FreezerState",
    "SubState",
    "UnitFileState",
    "ActiveEnterTimestampMonotonic",
    "InactiveEnterTimestampMonotonic",
    "CanReload",
    "LoadError",
    "InvocationID",
]
"""As `systemctl show` orders them, whatever order they are asked for in."""

INACTIVE = {
    "Type": "simple", "Restart": "no", "RestartUSec": "100ms", "MainPID": "0", "Result": "success", "NRestarts": "0",
    "ExecMainStartTimestampMonotonic": "0", "ExecMainExitTimestampMonotonic": "0", "ExecMainPID": "0",
    "ExecMainCode": "0", "ExecMainStatus": "0", "ControlGroup": "", "MemoryCurrent": "[not set]",
    "MemoryMax": "infinity", "Id": "", "LoadState": "loaded", "ActiveState": "inactive", "FreezerState": "running",
    "SubState": "dead", "UnitFileState": "static", "ActiveEnterTimestampMonotonic": "0",
    "InactiveEnterTimestampMonotonic": "0", "CanReload": "no", "LoadError": "", "InvocationID": "",
}  # fmt: skip
"""A unit that was never started, or that ended well, was stopped, and that nothing refers to."""

NOT_FOUND = {
    "Type": "", "LoadState": "not-found", "UnitFileState": "",
    "LoadError": 'org.freedesktop.systemd1.NoSuchUnit "Unit {unit} not found."',
}  # fmt: skip
MASKED = {
    "Type": "", "LoadState": "masked", "UnitFileState": "masked",
    "LoadError": 'org.freedesktop.systemd1.UnitMasked "Unit {unit} is masked."',
}  # fmt: skip

START_NOT_FOUND = "Failed to start {unit}: Unit {unit} not found."
START_MASKED = "Failed to start {unit}: Unit {unit} is masked."
START_TOO_OFTEN = (
    "Job for {unit} failed because start of the service was attempted too often.\n"
    'See "systemctl status {unit}" and "journalctl -xeu {unit}" for details.\n'
    'To force a start use "systemctl reset-failed {unit}"\nfollowed by "systemctl start {unit}" again.'
)
RELOAD_REFUSED = "Failed to reload {unit}: Job type reload is not applicable for unit {unit}."
NO_PERMISSION = (
    "Failed to {verb} {unit}: Interactive authentication required.\n"
    "See system logs and 'systemctl status {unit}' for details."
)
DISK_USAGE = "Archived and active journals take up {size}M in the file system."

STARTING, EXITED, STOPPING = (
    "7d4958e842da4a758f6c1cdc7b36dcc5",
    "98e322203f7a4ed290d09fe03c09fe15",
    "de5b426a63be47a7b6ac3eaac82e2f6f",
)
"""MESSAGE_ID of sd-messages.h."""

LIMIT_WINDOW_SECONDS = 60
MEBIBYTE = 2**20


class StandIn:
    """Units in a folder, and the commands that look at them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands = folder / "bin"
        for name in ("bin", "units", "state", "journal"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def install(self) -> None:
        """Make the commands; their folder goes first on PATH."""
        for command in ("systemctl", "journalctl"):
            script = self.commands / command
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{__file__}" {command} "{self.folder}" "$@"\n')
            script.chmod(0o755)

    def add(
        self,
        unit: str,
        command: Sequence[str],
        *,
        restart: str = "no",
        restart_seconds: float = 0.1,
        burst: int = 5,
        reload: bool = False,
        load: str = "loaded",
    ) -> None:
        """Install a unit."""
        definition = {
            "command": list(command), "restart": restart, "restart_seconds": restart_seconds, "burst": burst,
            "reload": reload, "load": load,
        }  # fmt: skip
        _write(self.folder / "units" / unit, definition)

    def start(self, unit: str) -> None:
        """As a person does, or the machine when it starts."""
        subprocess.run([self.commands / "systemctl", "start", unit], check=True)

    def forbid(self) -> None:
        """From now on the user may only look."""
        (self.folder / "forbidden").touch()

    def state(self, unit: str) -> dict[str, Any]:
        """What the stand-in knows of a unit."""
        return _read(self.folder / "state" / unit)

    def pid(self, unit: str) -> int:
        """Of its main process; 0 when none runs."""
        return int(self.state(unit).get("MainPID", 0))

    def asked(self, verb: str) -> int:
        """How often systemctl was asked for this."""
        log = self.folder / "asked"
        return log.read_text().split().count(verb) if log.exists() else 0

    def end(self) -> None:
        """End every process of every unit."""
        for unit in (self.folder / "units").iterdir():
            _stop(self.folder, unit.name)


def _write(path: Path, values: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(values))
    temporary.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}


def _micros() -> str:
    return str(time.monotonic_ns() // 1000)


def _event(folder: Path, unit: str, message: str, invocation: str, **more: str) -> None:
    entry = {"__REALTIME_TIMESTAMP": str(time.time_ns() // 1000), "UNIT": unit, "MESSAGE_ID": message}
    with (folder / "journal" / "events").open("a") as events:
        events.write(json.dumps(entry | {"INVOCATION_ID": invocation} | more) + "\n")


def _update(folder: Path, unit: str, **changes: Any) -> dict[str, Any]:
    state = _read(folder / "state" / unit) | changes
    _write(folder / "state" / unit, state)
    return state


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):  # the second when it ends between opening and reading
        return False


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


# ---- the manager of one unit


def manage(folder: Path, unit: str) -> None:
    """Keep a unit as its definition says, until it ends for good."""
    definition = _read(folder / "units" / unit)
    restarts = 0
    while True:
        invocation = uuid4().hex
        now = _micros()
        starts = [
            at
            for at in _read(folder / "state" / unit).get("starts", [])
            if int(now) - at < LIMIT_WINDOW_SECONDS * 10**6
        ]
        _event(folder, unit, STARTING, invocation)
        with (folder / "journal" / f"{invocation}.out").open("wb") as output:
            child = subprocess.Popen(
                definition["command"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        _update(
            folder, unit, ActiveState="active", SubState="running", MainPID=str(child.pid), ExecMainPID=str(child.pid),
            InvocationID=invocation, Result="success", ExecMainCode="0", ExecMainStatus="0", NRestarts=str(restarts),
            ExecMainStartTimestampMonotonic=now, ExecMainExitTimestampMonotonic="0", ActiveEnterTimestampMonotonic=now,
            Restart=definition["restart"], CanReload="yes" if definition["reload"] else "no",
            starts=[*starts, int(now)],
        )  # fmt: skip
        code = child.wait()
        by_signal, ended = code < 0, _micros()
        _event(
            folder, unit, EXITED, invocation, EXIT_CODE="killed" if by_signal else "exited", EXIT_STATUS=str(abs(code))
        )
        stopping = (folder / "state" / f"{unit}.stopping").exists()
        clean = code == 0 or (by_signal and -code in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE))
        result = "success" if clean or stopping else "signal" if by_signal else "exit-code"
        after = {
            "MainPID": "0", "ExecMainCode": "2" if by_signal else "1", "ExecMainStatus": str(abs(code)),
            "ExecMainExitTimestampMonotonic": ended, "InactiveEnterTimestampMonotonic": ended, "Result": result,
        }  # fmt: skip
        again = not stopping and (
            definition["restart"] == "always" or (definition["restart"] == "on-failure" and not clean)
        )
        if again and len(starts) + 1 < definition["burst"]:
            _update(folder, unit, **after, ActiveState="activating", SubState="auto-restart")
            time.sleep(definition["restart_seconds"])
            restarts += 1
            continue
        failed = result != "success"
        _update(
            folder,
            unit,
            **after,
            ActiveState="failed" if failed else "inactive",
            SubState="failed" if failed else "dead",
        )
        return


# ---- systemctl


def systemctl(folder: Path, arguments: Sequence[str]) -> int:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument.startswith("-")]
    verb, *units = [argument for argument in arguments[:end] if not argument.startswith("-")] + [*arguments[end + 1 :]]
    with (folder / "asked").open("a") as log:
        log.write(f"{verb}\n")
    if verb == "show":
        wanted = next(option for option in options if option.startswith("--property=")).partition("=")[2].split(",")
        print("\n\n".join(_shown(folder, unit, wanted) for unit in units))
        return 0
    unit = units[0]
    if (folder / "forbidden").exists():
        return _refuse(NO_PERMISSION.format(verb=verb, unit=unit), 1)
    definition = _read(folder / "units" / unit)
    if not definition:
        return _refuse(START_NOT_FOUND.format(unit=unit), 5)
    if definition["load"] == "masked":
        return _refuse(START_MASKED.format(unit=unit), 1)
    return _VERBS[verb](folder, unit, *units[1:])


def _shown(folder: Path, unit: str, wanted: Sequence[str]) -> str:
    definition = _read(folder / "units" / unit)
    fault = NOT_FOUND if not definition else MASKED if definition["load"] == "masked" else {}
    values = INACTIVE | {"Id": unit} | {name: value.format(unit=unit) for name, value in fault.items()}
    if not fault:
        values |= {name: value for name, value in _read(folder / "state" / unit).items() if name in INACTIVE}
        values["Restart"] = definition["restart"]
    return "\n".join(f"{name}={values[name]}" for name in ORDER if name in wanted)


def _refuse(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code


def _start(folder: Path, unit: str) -> int:
    state, definition = _read(folder / "state" / unit), _read(folder / "units" / unit)
    if state.get("ActiveState") == "active":
        return 0
    if state.get("ActiveState") == "failed" and len(state.get("starts", [])) >= definition["burst"]:
        _update(folder, unit, Result="start-limit-hit")
        return _refuse(START_TOO_OFTEN.format(unit=unit), 1)
    before = state.get("InvocationID", "")
    (folder / "state" / f"{unit}.stopping").unlink(missing_ok=True)
    manager = subprocess.Popen(
        [sys.executable, "-S", __file__, "manage", str(folder), unit],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    (folder / "state" / f"{unit}.manager").write_text(str(manager.pid))
    while _read(folder / "state" / unit).get("InvocationID", "") == before:
        time.sleep(0.005)
    return 0


def _stop(folder: Path, unit: str) -> int:
    state = _read(folder / "state" / unit)
    manager = folder / "state" / f"{unit}.manager"
    if not manager.exists():
        return 0
    pid = int(manager.read_text())
    if _alive(pid):
        _event(folder, unit, STOPPING, state.get("InvocationID", ""))
        (folder / "state" / f"{unit}.stopping").touch()
        if main := int(state.get("MainPID", 0)):
            deadline = time.monotonic() + 2
            _send(main, signal.SIGTERM)
            _send(main, signal.SIGCONT)
            while _alive(main) and time.monotonic() < deadline:
                time.sleep(0.005)
            if _alive(main):
                _send(main, signal.SIGKILL)
        else:
            _send(pid, signal.SIGKILL)
        while _alive(pid):
            time.sleep(0.005)
    manager.unlink()
    # what was stopped, and what nothing refers to, is forgotten
    _write(folder / "state" / unit, {"starts": state.get("starts", [])})
    return 0


def _restart(folder: Path, unit: str) -> int:
    _stop(folder, unit)
    return _start(folder, unit)


def _reset(folder: Path, unit: str) -> int:
    _write(
        folder / "state" / unit,
        _read(folder / "state" / unit) | {"starts": [], "ActiveState": "inactive", "SubState": "dead"},
    )
    return 0


def _reload(folder: Path, unit: str) -> int:
    if not _read(folder / "units" / unit)["reload"]:
        return _refuse(RELOAD_REFUSED.format(unit=unit), 3)
    os.kill(int(_read(folder / "state" / unit)["MainPID"]), signal.SIGHUP)
    return 0


def _set_property(folder: Path, unit: str, assignment: str) -> int:
    name, _, value = assignment.partition("=")
    _update(folder, unit, **{name: value})
    return 0


_VERBS = {
    "start": _start, "stop": _stop, "restart": _restart, "reset-failed": _reset, "reload": _reload,
    "set-property": _set_property,
}  # fmt: skip


# ---- journalctl


def journalctl(folder: Path, arguments: Sequence[str]) -> int:
    journal = folder / "journal"
    matches = [_pair(argument) for argument in arguments if not argument.startswith("--")]
    options: dict[str, str] = dict(_pair(argument) for argument in arguments if argument.startswith("--"))
    archives = sorted(journal.glob("archive*"))
    if "--disk-usage" in options:
        print(DISK_USAGE.format(size=f"{sum(one.stat().st_size for one in archives) / MEBIBYTE:.1f}"))
    elif "--vacuum-size" in options:
        while archives and sum(one.stat().st_size for one in archives) > int(options["--vacuum-size"]):
            archives.pop(0).unlink()
    elif options.get("--output") == "json":
        _print_events(journal / "events", matches)
    else:
        for name, value in matches:
            if name == "_SYSTEMD_INVOCATION_ID" and (journal / f"{value}.out").exists():
                sys.stdout.write((journal / f"{value}.out").read_text())
    return 0


def _pair(argument: str) -> tuple[str, str]:
    name, _, value = argument.partition("=")
    return name, value


def _print_events(events: Path, matches: Sequence[tuple[str, str]]) -> None:
    """Matches of one field are alternatives, those of several must all hold."""
    wanted: dict[str, set[str]] = {}
    for name, value in matches:
        wanted.setdefault(name, set()).add(value)
    for line in events.read_text().splitlines() if events.exists() else ():
        entry = json.loads(line)
        if all(entry.get(name) in values for name, values in wanted.items()):
            print(line)


if __name__ == "__main__":
    program, place, rest = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    if program == "manage":
        manage(place, rest[0])
    else:
        sys.exit({"systemctl": systemctl, "journalctl": journalctl}[program](place, rest))
