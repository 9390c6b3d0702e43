"""The operating-system user that Postgres runs as when BrainOps runs as root, since Postgres refuses root."""

import os
import pwd
import shutil
import stat
import subprocess
import time
from pathlib import Path

import psutil

from brainops.errors import SetupError

OS_USER = "brainops"
MADE_BY_US = "made by BrainOps"
"""Comment of an account that we created: no other is ever removed."""

_TRIES = 20
_PAUSE_SECONDS = 0.25
_SYSTEM_IDS = range(999, 99, -1)


def unprivileged_user() -> pwd.struct_passwd | None:
    """The user to run Postgres as: None for our own, else `brainops`, which is created when it does not exist.

    Raises SetupError when it cannot be created.
    """
    if os.geteuid() != 0:
        return None
    reason = ""
    for _ in range(_TRIES):
        try:
            return pwd.getpwnam(OS_USER)
        except KeyError:
            reason = _create()
        # The account tools lock their files: somebody else, perhaps another BrainOps, may be creating the user now.
        if reason:
            time.sleep(_PAUSE_SECONDS)
    raise SetupError(
        f"Postgres refuses to run as root, and the user {OS_USER!r} cannot be created: {reason}; "
        f"create it (useradd --system {OS_USER}), run BrainOps as another user, or set BRAINOPS_DATABASE_URL"
    )


def may_enter(folder: Path, user: pwd.struct_passwd) -> bool:
    """Whether `user` may pass through `folder`, by its mode bits."""
    facts = folder.stat()
    if facts.st_uid == user.pw_uid:
        return bool(facts.st_mode & stat.S_IXUSR)
    if facts.st_gid == user.pw_gid:
        return bool(facts.st_mode & stat.S_IXGRP)
    return bool(facts.st_mode & stat.S_IXOTH)


def remove_account(name: str = OS_USER) -> str:
    """Remove the account if we created it and no process runs as it. Returns why it is kept, or nothing."""
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        return "there is none"
    if account.pw_gecos != MADE_BY_US:
        return "BrainOps did not create it"
    running = [process.pid for process in psutil.process_iter() if account.pw_uid in _users(process)]
    if running:
        return f"process {running[0]} runs as it"
    for tool in ("userdel", "deluser"):
        if program := shutil.which(tool):
            return _run([program, name])
    return "this machine has neither userdel nor deluser"


def _users(process: psutil.Process) -> tuple[int, ...]:
    try:
        return tuple(process.uids())
    except psutil.Error:
        return ()


def _create() -> str:
    """Try to create the user. Returns why it failed, or nothing."""
    if useradd := shutil.which("useradd"):
        command = [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
        return _run([*command, "--shell", "/usr/sbin/nologin", "--comment", MADE_BY_US, OS_USER])
    if busybox_adduser := shutil.which("adduser"):
        return _run(
            [busybox_adduser, "-S", "-D", "-H", "-h", "/nonexistent", "-g", MADE_BY_US, "-s", "/sbin/nologin", OS_USER]
        )
    return add_directly(Path("/etc"))


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or f"{command[0]} ended with {done.returncode}"


def add_directly(etc: Path) -> str:
    """Add the account to `passwd` and `group` directly, on a machine (a bare image) that has no tool for it."""
    passwd, group = etc / "passwd", etc / "group"
    try:
        taken = {
            line.split(":")[2] for file in (passwd, group) for line in file.read_text().splitlines() if ":" in line
        }
        free = next(str(number) for number in _SYSTEM_IDS if str(number) not in taken)
        with group.open("a") as groups:
            groups.write(f"{OS_USER}:x:{free}:\n")
        with passwd.open("a") as accounts:
            accounts.write(f"{OS_USER}:x:{free}:{free}:{MADE_BY_US}:/nonexistent:/usr/sbin/nologin\n")
    except OSError as error:
        return str(error)
    return ""
