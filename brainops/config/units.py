"""Units that the file names and this machine's systemd does not know."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping

from brainops.config.document import Path
from brainops.config.mistakes import Finding
from brainops.config.relations import Values, mapping

_ANSWER_SECONDS = 5.0
_VARIABLES = ("PATH", "HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
_FAULTS = {
    "not-found": ("systemd knows no unit {unit!r}", "systemctl{user} list-unit-files shows what there is"),
    "masked": ("the unit {unit} is masked, so it cannot be started", "systemctl{user} unmask {unit}"),
    "bad-setting": ("systemd does not accept a setting of {unit}", "systemd-analyze{user} verify {unit}"),
    "error": ("systemd cannot load {unit}", "systemctl{user} status {unit}"),
}


def find_missing_units(services: Values, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Each unit that cannot be started here. Where systemd does not answer nothing is said: its process check will."""
    for scope in ("system", "user"):
        named = dict(_named(services, scope))
        if not named:
            continue
        if shutil.which("systemctl", path=environment.get("PATH")) is None:
            remedy = "this machine has no systemd; use another kind of run, such as process or command"
            yield from (Finding(where, "there is no program 'systemctl' on PATH", remedy) for where in named)
            continue
        states = _load_states(sorted(set(named.values())), scope, environment)
        for where, unit in named.items():
            yield from _fault(where, unit, scope, states)


def _named(services: Values, scope: str) -> Iterator[tuple[Path, str]]:
    for name, value in services.items():
        run = mapping(mapping(value).get("run"))
        unit = run.get("unit")
        if (
            run.get("kind") == "systemd"
            and run.get("scope", "system") == scope
            and isinstance(unit, str)
            and unit.isprintable()
        ):
            yield ("services", name, "run", "unit"), unit


def _load_states(units: list[str], scope: str, environment: Mapping[str, str]) -> dict[str, str]:
    """LoadState of each unit; none where systemd does not answer."""
    options = ["--user"] if scope == "user" else []
    command = ["systemctl", *options, "--no-pager", "show", "--property=Id,LoadState", "--", *units]
    known = {name: environment[name] for name in _VARIABLES if name in environment}
    try:
        done = subprocess.run(
            command, env=known | {"LC_ALL": "C"}, capture_output=True, timeout=_ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    blocks = done.stdout.decode("utf-8", "replace").split("\n\n")
    if done.returncode != 0 or len(blocks) != len(units):
        return {}
    lines = ([line.partition("=") for line in block.splitlines()] for block in blocks)
    states = [{name: value for name, _, value in block}.get("LoadState", "") for block in lines]
    return dict(zip(units, states, strict=True))


def _fault(where: Path, unit: str, scope: str, states: Mapping[str, str]) -> Iterator[Finding]:
    user = " --user" if scope == "user" else ""
    if (fault := _FAULTS.get(states.get(unit, ""))) is not None:
        problem, remedy = fault
        yield Finding(where, problem.format(unit=unit), remedy.format(unit=unit, user=user))
