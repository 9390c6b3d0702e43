"""Units are installed and removed through systemctl; a purge removes what is ours and nothing else."""

import os
import pwd
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
import yaml
from commands import BRAINOPS, typed

from brainops.config.load import load_config
from brainops.config.paths import StatePaths
from brainops.database import os_user
from brainops.errors import BadInputError, SetupError
from workers.stack.state import StackLock
from workers.upkeep.removal import OURS, remove
from workers.upkeep.units import RULES, UNIT, SystemdHost

PROJECT = Path(__file__).resolve().parents[2]

# Keeps what a manager would keep: which units are enabled and which are active.
SYSTEMCTL = """#!/bin/sh
echo "$*" >>"$STAND_IN/calls"
case "$1" in
    enable) touch "$STAND_IN/enabled" ;;
    restart | start) [ -e "$STAND_IN/broken" ] && { echo "Job for brainops.service failed." >&2; exit 1; }; touch "$STAND_IN/active" ;;
    disable) rm -f "$STAND_IN/enabled" "$STAND_IN/active" ;;
esac
"""


class Machine:
    """A person with root's rights, and a stand-in of systemctl on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manager = folder / "manager"
        self.manager.mkdir()
        program = folder / "bin" / "systemctl"
        program.parent.mkdir()
        program.write_text(SYSTEMCTL)
        program.chmod(0o755)
        self.unit = folder / "units" / UNIT
        self.rule = folder / "rules" / RULES
        self.environment = {
            **os.environ,
            "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
            "STAND_IN": str(self.manager),
            "BRAINOPS_UNIT_DIR": str(self.unit.parent),
            "BRAINOPS_POLKIT_DIR": str(self.rule.parent),
            "BRAINOPS_STATE_DIR": str(folder / "state"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "PYTHONPATH": str(PROJECT),
        }
        services = {
            "proxy": {"run": {"kind": "systemd", "unit": "nginx.service"}},
            "shop": {"run": {"kind": "docker", "container": "shop"}},
        }
        (folder / "brainops.yaml").write_text(yaml.safe_dump({"services": services}))

    def types(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return typed(*BRAINOPS, *arguments, folder=self.folder, environment=self.environment)

    def calls(self) -> list[str]:
        log = self.manager / "calls"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def machine() -> Generator[Machine]:
    with tempfile.TemporaryDirectory(prefix="bo-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Machine(Path(name))


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="units are installed by root")


def test_privileges_are_shown_and_nothing_is_changed(machine: Machine) -> None:
    shown = machine.types("service", "install", "--show")
    assert shown.returncode == 0, shown.stderr
    for words in (
        "KillMode=process", "nginx.service", "polkit.addRule", "member of the group", "shop is a container", "systemd-journal",
    ):  # fmt: skip
        assert words in shown.stdout
    assert not machine.unit.exists()
    assert machine.calls() == []


def test_nothing_is_granted_unasked(machine: Machine) -> None:
    asked = machine.types("service", "install")
    assert asked.returncode != 0
    assert "--yes" in asked.stderr or "could not run" in asked.stderr
    assert not machine.unit.exists()


@root_only
def test_unit_is_installed_started_again_and_removed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN", str(machine.manager))
    host, config = SystemdHost.of(machine.environment), machine.folder / "brainops.yaml"
    paths = StatePaths(machine.folder / "state")
    host.install(host.plan(load_config(config), config, paths))
    assert machine.calls() == ["daemon-reload", f"enable {UNIT}", f"restart {UNIT}"]
    assert (machine.unit.stat().st_mode & 0o777, machine.rule.exists()) == (0o644, True)
    config.write_text("services: {}\n")
    host.install(host.plan(load_config(config), config, paths))
    assert not machine.rule.exists(), "the file needs it no more"
    gone = machine.types("service", "uninstall", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert machine.calls()[-2:] == [f"disable --now {UNIT}", "daemon-reload"]
    assert not machine.unit.exists()
    assert "no unit" in machine.types("service", "uninstall", "--yes").stdout


def test_unit_that_somebody_else_made_is_left_alone(machine: Machine) -> None:
    machine.unit.parent.mkdir()
    machine.unit.write_text("[Unit]\nDescription=mine\n")
    refused = machine.types("service", "install", "--yes")
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
    machine.types("service", "uninstall", "--yes")
    assert machine.unit.read_text() == "[Unit]\nDescription=mine\n"
    assert machine.calls() == []


def test_uninstall_without_purge_keeps_the_state(machine: Machine) -> None:
    paths = StatePaths(machine.folder / "state")
    lock = StackLock(paths)
    lock.acquire()
    lock.release()
    kept = machine.types("uninstall", "--yes")
    assert kept.returncode == 0, kept.stderr
    assert f"kept     {paths.root}" in kept.stdout.replace("\n", " ")
    assert paths.root.is_dir()


def test_purge_removes_the_state_folder_and_refuses_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(os_user, "remove_account", lambda: "not in a test")
    (tmp_path / "cache" / "brainops" / "bin").mkdir(parents=True)
    paths = StatePaths(tmp_path / "state")
    lock = StackLock(paths)
    lock.acquire()
    lock.release()
    for name in OURS - {"STATE_FOLDER", "stack.lock", "stack.json", "api.sock"}:
        (paths.root / name).mkdir()
    home = StatePaths(tmp_path / "home")
    home.root.mkdir()
    (home.root / "thesis.txt").write_text("mine")
    lock = StackLock(home)
    lock.acquire()
    lock.release()
    with pytest.raises(BadInputError, match=r"is not removed: it has no file STATE_FOLDER"):
        remove(home, purge=True)
    done = remove(paths, purge=True)
    assert str(paths.root) in done.removed
    assert not paths.root.exists()
    assert not (tmp_path / "cache" / "brainops").exists()
    assert (home.root / "thesis.txt").read_text() == "mine"


def test_file_that_somebody_put_into_the_state_folder_is_kept_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    paths = StatePaths(tmp_path / "state")
    lock = StackLock(paths)
    lock.acquire()
    lock.release()
    (paths.root / "monday.tar.gz").write_text("a backup")
    done = remove(paths, purge=True)
    assert [path.name for path in paths.root.iterdir()] == ["monday.tar.gz"]
    assert any("monday.tar.gz" in line for line in done.kept)


def test_account_that_we_did_not_make_is_never_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    me = pwd.getpwuid(os.geteuid())
    assert os_user.remove_account(me.pw_name) == "BrainOps did not create it"
    assert os_user.remove_account("nobody-of-that-name") == "there is none"
    ours = pwd.struct_passwd(
        (me.pw_name, "x", me.pw_uid, me.pw_gid, os_user.MADE_BY_US, "/nonexistent", "/sbin/nologin")
    )

    def getpwnam(_name: str) -> pwd.struct_passwd:
        return ours

    monkeypatch.setattr(pwd, "getpwnam", getpwnam)
    assert "runs as it" in os_user.remove_account(me.pw_name)


def test_failed_systemctl_is_told_with_what_it_said(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN", str(machine.manager))
    (machine.manager / "broken").touch()
    with pytest.raises(SetupError, match=r"start brainops.service.* failed with 1: Job for brainops.service failed"):
        SystemdHost.of(machine.environment).start()
