"""URLs, passwords and the operating-system user, without a server."""

import os
import pwd
import stat
import subprocess
from pathlib import Path

import pytest

from brainops.database import os_user
from brainops.database.secrets import kept_passwords
from brainops.database.urls import app_url, connection_string, parse_url
from brainops.errors import BadInputError, SetupError


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_way_to_write_the_scheme_is_read(scheme: str) -> None:
    url = f"{scheme}://mira:p%40ss@db.example:5433/ops?sslmode=require"
    assert parse_url(url).drivername == "postgresql+psycopg"
    assert connection_string(url) == "postgresql://mira:p%40ss@db.example:5433/ops?sslmode=require"


def test_the_run_time_login_differs_from_the_owner_in_name_and_password_only() -> None:
    url = app_url("postgresql://owner:secret@db.example/ops?sslmode=require", "p@ss")
    assert url == "postgresql+psycopg://brainops_app:p%40ss@db.example/ops?sslmode=require"


@pytest.mark.parametrize("url", ["", "sqlite:///secret", "postgresql://a:secret@host:port/db"])
def test_another_database_is_refused_without_telling_the_password(url: str) -> None:
    with pytest.raises(BadInputError) as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)


def test_passwords_are_made_once_and_others_added(tmp_path: Path) -> None:
    file = tmp_path / "passwords.json"
    first = kept_passwords(file, ("owner",))
    both = kept_passwords(file, ("owner", "app"))
    assert both["owner"] == first["owner"] != both["app"]
    assert kept_passwords(file, ("app",)) == both
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_damaged_password_file_is_named_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "passwords.json"
    file.write_text("{")
    with pytest.raises(SetupError, match=r"passwords\.json"):
        kept_passwords(file, ("owner",))
    assert file.read_text() == "{"


def test_a_user_who_is_not_root_runs_postgres_as_himself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert os_user.unprivileged_user() is None


@pytest.mark.parametrize(("tool", "option"), [("useradd", "--system"), ("adduser", "-S")])
def test_the_user_is_made_with_the_tool_that_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, tool: str, option: str
) -> None:
    account = pwd.struct_passwd(("brainops", "x", 999, 999, "", "/nonexistent", "/sbin/nologin"))
    commands: list[list[str]] = []

    def getpwnam(name: str) -> pwd.struct_passwd:
        if not commands:
            raise KeyError(name)
        return account

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", getpwnam)
    monkeypatch.setattr("shutil.which", {tool: f"/sbin/{tool}"}.get)
    monkeypatch.setattr(subprocess, "run", run)
    assert os_user.unprivileged_user() == account
    assert commands[0][0] == f"/sbin/{tool}"
    assert option in commands[0]


def test_a_user_that_cannot_be_made_is_explained_with_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def getpwnam(name: str) -> pwd.struct_passwd:
        raise KeyError(name)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", getpwnam)
    monkeypatch.setattr(os_user, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr(os_user, "_create", lambda: "the disk is read-only")
    with pytest.raises(SetupError, match="the disk is read-only; create it"):
        os_user.unprivileged_user()


def test_without_any_tool_the_account_is_added_directly_under_a_free_id(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("root:x:0:0::/root:/bin/sh\nother:x:999:999::/:/bin/sh\n")
    (tmp_path / "group").write_text("root:x:0:\nother:x:999:\nmore:x:998:\n")
    assert os_user.add_directly(tmp_path) == ""
    assert (tmp_path / "passwd").read_text().splitlines()[-1].startswith("brainops:x:997:997:")
    assert (tmp_path / "group").read_text().splitlines()[-1] == "brainops:x:997:"
    assert os_user.add_directly(tmp_path / "none") != ""


@pytest.mark.parametrize(("mode", "enters"), [(0o711, True), (0o755, True), (0o710, False), (0o700, False)])
def test_who_may_enter_a_folder_follows_its_mode(tmp_path: Path, mode: int, enters: bool) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    stranger = pwd.struct_passwd(("stranger", "x", 64001, 64001, "", "/", "/"))
    group = pwd.struct_passwd(("member", "x", 64001, folder.stat().st_gid, "", "/", "/"))
    owner = pwd.struct_passwd(("owner", "x", folder.stat().st_uid, 64001, "", "/", "/"))
    assert os_user.may_enter(folder, stranger) is enters
    assert os_user.may_enter(folder, group) is bool(mode & 0o010)
    assert os_user.may_enter(folder, owner)
