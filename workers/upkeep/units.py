"""`brainops service`: the stack as a systemd unit of its own, with a user of its own.

Files that were not made here are neither replaced nor removed: ours begin with a line that says so.
"""

import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from brainops.config.load import LoadedConfig
from brainops.config.paths import StatePaths
from brainops.database.os_user import OS_USER, unprivileged_user
from brainops.errors import BadInputError, SetupError
from workers.stack.deploy_files import deploy_folder
from workers.upkeep.privileges import Privileges, needed

UNIT = "brainops.service"
RULES = "50-brainops.rules"
MADE_HERE = "Made by `brainops service install`"
UNIT_FOLDER_VARIABLE = "BRAINOPS_UNIT_DIR"
POLKIT_FOLDER_VARIABLE = "BRAINOPS_POLKIT_DIR"

_SYSTEMCTL_SECONDS = 120
_STATE_PARENT = Path("/var/lib")

# What a process of the user's would not notice; the rest would also hold for services that the stack starts.
_GENTLE = ("ProtectSystem=full", "ProtectControlGroups=yes")
_STRICT = (
    *_GENTLE, "NoNewPrivileges=yes", "PrivateDevices=yes", "ProtectKernelTunables=yes", "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes", "ProtectClock=yes", "ProtectHostname=yes", "ProtectHome=read-only", "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes", "RestrictNamespaces=yes", "LockPersonality=yes", "SystemCallArchitectures=native",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
)  # fmt: skip


@dataclass(frozen=True)
class UnitPlan:
    """What `install` will do."""

    files: Mapping[Path, str]
    privileges: Privileges
    user: str
    state: Path
    unreachable: tuple[str, ...]
    """What the user could not read, a sentence each with the remedy."""


@dataclass(frozen=True)
class SystemdHost:
    """Where units stand, and the program that manages them."""

    units: Path
    rules: Path
    systemctl: str | None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "SystemdHost":
        """The machine's own folders, unless the environment names others."""
        return cls(
            units=Path(environment.get(UNIT_FOLDER_VARIABLE) or "/etc/systemd/system"),
            rules=Path(environment.get(POLKIT_FOLDER_VARIABLE) or "/etc/polkit-1/rules.d"),
            systemctl=shutil.which("systemctl", path=environment.get("PATH")),
        )

    def plan(self, loaded: LoadedConfig, config_path: Path, paths: StatePaths) -> UnitPlan:
        """Everything that an installation would write and grant; nothing is changed."""
        privileges = needed(loaded.config, loaded.directory)
        command = [*_program(), "up", "--config", str(config_path)]
        files = {self.units / UNIT: unit_text(privileges, command, loaded.directory, paths.root)}
        if privileges.units:
            files[self.rules / RULES] = rules_text(privileges)
        reached = (Path(command[0]), Path(sys.executable).resolve(), config_path, loaded.directory)
        unreachable = tuple(dict.fromkeys(why for path in reached if (why := _why_unreachable(path))))
        return UnitPlan(files, privileges, OS_USER, paths.root, unreachable)

    def install(self, plan: UnitPlan) -> list[str]:
        """Do what `plan` says, start the unit and have it start with the machine. What was done, a line each.

        May be repeated: files are replaced and the unit is started again. Raises SetupError where this is not root's
        shell or systemd is not there, BadInputError where a file of the same name is not ours.
        """
        systemctl = self._systemctl()
        if os.geteuid() != 0:
            raise SetupError("a unit of the system is installed by root: sudo brainops service install")
        for path in plan.files:
            if path.exists() and not _is_ours(path):
                raise BadInputError(f"{path} is there and BrainOps did not make it; move it away first")
        account = unprivileged_user()
        assert account is not None  # noqa: S101 - as root there is one, or it raised
        if plan.state.exists() and plan.state.parent != _STATE_PARENT:
            _give(plan.state, account)
        done: list[str] = []
        for path, text in plan.files.items():
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            fresh = path.with_name(f".{path.name}.new")
            fresh.write_text(text, encoding="utf-8")
            fresh.chmod(0o644)
            fresh.replace(path)
            done.append(str(path))
        stale = self.rules / RULES
        if stale not in plan.files and _is_ours(stale):
            stale.unlink()
        _run([systemctl, "daemon-reload"])
        _run([systemctl, "enable", UNIT])
        _run([systemctl, "restart", UNIT])
        return [*done, f"{UNIT} is enabled and started"]

    def remove(self) -> list[str]:
        """Stop the unit and remove what `install` wrote; what was removed, a line each. Services go on running."""
        ours = [path for path in (self.units / UNIT, self.rules / RULES) if _is_ours(path)]
        if not ours:
            return []
        if self.systemctl is not None:
            _run([self.systemctl, "disable", "--now", UNIT])
        for path in ours:
            path.unlink()
        if self.systemctl is not None:
            _run([self.systemctl, "daemon-reload"])
        return [f"the unit {UNIT}", *(str(path) for path in ours)]

    def runs(self, pid: int) -> bool:
        """Whether the process `pid` is that of our unit."""
        if self.systemctl is None or not _is_ours(self.units / UNIT):
            return False
        return _run([self.systemctl, "show", "--property=MainPID", "--value", UNIT]).strip() == str(pid)

    def start(self) -> None:
        """Start the unit."""
        _run([self._systemctl(), "start", UNIT])

    def stop(self) -> None:
        """Stop the unit; else systemd could start again what is stopped."""
        _run([self._systemctl(), "stop", UNIT])

    def _systemctl(self) -> str:
        if self.systemctl is None:
            raise SetupError(
                "there is no systemctl on PATH: run `brainops up` under whatever starts this machine's programs"
            )
        return self.systemctl


def unit_text(privileges: Privileges, command: Sequence[str], directory: Path, state: Path) -> str:
    """The unit's file."""
    granted: list[str] = []
    if privileges.groups:
        granted.append(f"SupplementaryGroups={' '.join(privileges.groups)}")
    if privileges.capabilities:
        granted.append(f"AmbientCapabilities={' '.join(privileges.capabilities)}")
    granted.append(f"CapabilityBoundingSet={' '.join(privileges.capabilities)}" if not privileges.runs_services else "")
    hardening = [*(_GENTLE if privileges.runs_services else _STRICT)]
    hardening += [f"ReadWritePaths=-{_quoted(path)}" for path in privileges.writable]
    own = state.parent == _STATE_PARENT
    if not own:
        hardening.append(f"ReadWritePaths={_quoted(state)}")
    docker = any(grant.what.startswith("member of the group docker") for grant in privileges.grants)
    text = Template((deploy_folder("systemd") / UNIT).read_text(encoding="utf-8")).substitute(
        after="docker.service" if docker else "",
        command=" ".join(_quoted(part).replace("$", "$$") for part in command),
        user=OS_USER,
        directory=_escaped(directory),
        state=_escaped(state).replace("\\", "\\\\").replace('"', '\\"'),
        state_directory=f"StateDirectory={state.name}\nStateDirectoryMode=0711" if own else "",
        privileges="\n".join(line for line in granted if line),
        hardening="\n".join(hardening),
    )
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def rules_text(privileges: Privileges) -> str:
    """The file for polkit."""
    return Template((deploy_folder("systemd") / "brainops.rules").read_text(encoding="utf-8")).substitute(
        user=OS_USER, units=json.dumps(list(privileges.units)), verbs=json.dumps(list(privileges.verbs))
    )


def _program() -> list[str]:
    script = Path(sys.executable).with_name("brainops")
    return [str(script)] if script.exists() else [sys.executable, "-P", "-m", "interfaces.cli.main"]


def _escaped(path: Path | str) -> str:
    return str(path).replace("%", "%%")


def _quoted(part: Path | str) -> str:
    """One word of a systemd command line or list."""
    text = _escaped(part).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"' if any(character.isspace() or character in "\"'\\;" for character in text) else text


def _why_unreachable(path: Path) -> str | None:
    """Why the unit's user cannot read `path`; None where it can."""
    try:
        account = pwd.getpwnam(OS_USER)
        user, groups = account.pw_uid, set(os.getgrouplist(OS_USER, account.pw_gid))
    except KeyError:
        user, groups = -1, set[int]()
    for part in (*reversed(path.parents), path):
        try:
            facts = part.stat()
        except OSError as error:
            return f"{part}: {error.strerror}"
        needs = stat.S_IROTH if part == path and not stat.S_ISDIR(facts.st_mode) else stat.S_IXOTH
        shift = 6 if facts.st_uid == user else 3 if facts.st_gid in groups else 0
        if not facts.st_mode & (needs << shift):
            return (
                f"the user {OS_USER} may not enter {part}: it needs {path}; put it elsewhere (the program: "
                "UV_TOOL_DIR=/opt/uv-tools UV_PYTHON_INSTALL_DIR=/opt/uv-python UV_TOOL_BIN_DIR=/usr/local/bin uv tool install "
                f"brainops), or allow it: chgrp {OS_USER} {part}; chmod g+{'r' if needs == stat.S_IROTH else 'x'} {part}"
            )
    return None


def _give(folder: Path, account: pwd.struct_passwd) -> None:
    """Give a state folder to the unit's user, without following links out of it."""
    for here, _, names in os.walk(folder):
        for path in (here, *(os.path.join(here, name) for name in names)):  # noqa: PTH118 - of a walk
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def _is_ours(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return MADE_HERE in file.readline(200)
    except OSError:
        return False


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SYSTEMCTL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"`{' '.join(command)}` failed: {error}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-500:]
        raise SetupError(f"`{' '.join(command)}` failed with {done.returncode}: {said}; see journalctl -u {UNIT}")
    return done.stdout
