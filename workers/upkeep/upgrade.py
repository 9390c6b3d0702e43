"""`brainops upgrade`: take up the BrainOps that is installed now, and go back if it does not run.

The stack is stopped first, so that the backup holds everything that was recorded; services go on running. Open plans
are rows, and are taken up by the new version from them.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from brainops.config.load import load_config
from brainops.config.paths import StatePaths
from brainops.database.migrate import current, knows, newest, upgrade
from brainops.errors import BrainOpsError, SetupError
from workers.stack.parts import DATABASE_VARIABLE
from workers.stack.state import StackInfo
from workers.stack.stopping import Launch, stop_stack
from workers.upkeep import rows
from workers.upkeep.backup import BACKUPS, back_up, refuse_without_space, state_size
from workers.upkeep.database import connected, owned_database
from workers.upkeep.restore import restore
from workers.upkeep.units import SystemdHost

Progress = Callable[[str], None]

KEPT_BACKUPS = 3
_SPARE_BYTES = 300_000_000
_OPEN_PLANS = "SELECT count(*) FROM brainops.incidents WHERE closed_at IS NULL"


class Finding(BaseModel):
    """One thing that was looked at before anything is changed."""

    model_config = ConfigDict(frozen=True)

    what: str
    ok: bool
    detail: str


class Preflight(BaseModel):
    """Whether an upgrade can be done."""

    model_config = ConfigDict(frozen=True)

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is in the way."""
        return all(finding.ok for finding in self.findings)


class UpgradeDone(BaseModel):
    """What an upgrade did."""

    model_config = ConfigDict(frozen=True)

    backup: Path
    revision_before: str
    revision: str
    open_plans: int
    started: bool
    """Whether a stack ran before, and runs again."""


class _Starter(Protocol):
    async def start(self, paths: StatePaths) -> StackInfo: ...


class _UnitStarter:
    """A stack that systemd runs is stopped and started by it."""

    def __init__(self, host: SystemdHost) -> None:
        self._host = host

    async def start(self, paths: StatePaths) -> StackInfo:
        await asyncio.to_thread(self._host.start)
        async with asyncio.timeout(300):
            while (info := StackInfo.read(paths)) is None:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.2)
        return info


async def preflight(
    paths: StatePaths, config_path: Path | None, environment: Mapping[str, str] = os.environ
) -> Preflight:
    """Look at everything that could be in the way; nothing is changed. Raises where there is nothing to upgrade."""
    findings: list[Finding] = [_configuration(config_path), _disk(paths)]
    async with owned_database(paths, environment) as database:
        revision = await asyncio.to_thread(current, database.owner_url)
        findings.append(_database(revision))
        if revision is not None:
            plans = await asyncio.to_thread(open_plans, database.owner_url)
            findings.append(Finding(what="open plans", ok=True, detail=f"{plans}, kept and taken up again"))
    return Preflight(findings=tuple(findings))


async def take_up(
    paths: StatePaths,
    version: str,
    config_path: Path | None,
    progress: Progress = lambda _line: None,
    environment: Mapping[str, str] = os.environ,
) -> UpgradeDone:
    """Stop, back up, migrate, start; where one of these fails, everything is as it was and the stack is started.

    Raises SetupError, with the cause and what was done about it, after going back.
    """
    looked = await preflight(paths, config_path, environment)
    if not looked.ok:
        raise SetupError(
            "the upgrade was not begun:\n"
            + "\n".join(f"- {finding.what}: {finding.detail}" for finding in looked.findings if not finding.ok)
        )
    starter = await _stop(paths, environment, progress)
    target = paths.root / BACKUPS / f"before-upgrade-{datetime.now(UTC):%Y%m%dT%H%M%S}.tar.gz"
    target.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        progress(f"backing up into {target}")
        backup = await back_up(paths, target, version, config_path, progress, environment)
    except BrainOpsError as error:
        await _start_again(starter, paths)
        raise SetupError(f"the upgrade was not begun, the backup failed: {error}; the stack runs as before") from error
    try:
        async with owned_database(paths, environment) as database:
            progress(f"migrating from {backup.revision} to {newest()}")
            await asyncio.to_thread(upgrade, database.owner_url, paths)
            plans = await asyncio.to_thread(open_plans, database.owner_url)
        if starter is not None:
            progress("starting")
            await starter.start(paths)
    except (BrainOpsError, TimeoutError) as error:
        await _go_back(paths, target, environment, progress)
        raise SetupError(
            f"the upgrade to BrainOps {version} failed: {error}\nEverything is as it was before (revision "
            f"{backup.revision}; the backup stays in {target}), and no stack runs. Install the version that ran before "
            "and start it: uv tool install brainops==VERSION; brainops up"
        ) from error
    _forget_old(target.parent)
    return UpgradeDone(
        backup=target,
        revision_before=backup.revision,
        revision=newest(),
        open_plans=plans,
        started=starter is not None,
    )


def open_plans(owner_url: str) -> int:
    """Incidents that are being worked on."""
    with connected(owner_url) as connection:
        rows.begin_snapshot(connection)
        found = connection.execute(_OPEN_PLANS).fetchone()
    return int(str(found[0])) if found else 0


def _configuration(path: Path | None) -> Finding:
    what = "configuration"
    if path is None:
        return Finding(what=what, ok=True, detail="none is used")
    try:
        load_config(path)
    except BrainOpsError as error:
        return Finding(what=what, ok=False, detail=str(error))
    return Finding(what=what, ok=True, detail=f"{path} is valid for this version")


def _disk(paths: StatePaths) -> Finding:
    try:
        refuse_without_space(paths.root, state_size(paths.root) * 2 + _SPARE_BYTES, "the backup")
    except BrainOpsError as error:
        return Finding(what="disk", ok=False, detail=str(error))
    except OSError as error:
        return Finding(what="disk", ok=False, detail=f"{paths.root}: {error.strerror}")
    return Finding(what="disk", ok=True, detail="there is room for a backup and for going back")


def _database(revision: str | None) -> Finding:
    what = "database"
    if revision is None:
        return Finding(what=what, ok=False, detail="it holds nothing of BrainOps yet: just run `brainops up`")
    if not knows(revision):
        return Finding(
            what=what,
            ok=False,
            detail=f"it is at revision {revision}, which is newer than this BrainOps (at {newest()}): install the newer one",
        )
    at = "is up to date" if revision == newest() else f"goes to {newest()}"
    return Finding(what=what, ok=True, detail=f"at revision {revision}, {at}")


async def _stop(paths: StatePaths, environment: Mapping[str, str], progress: Progress) -> _Starter | None:
    """Stop the stack; how it is started again, or None where none ran."""
    info = StackInfo.read(paths)
    if info is None:
        await asyncio.to_thread(stop_stack, paths)  # one that was only starting
        return None
    progress(f"stopping the stack (pid {info.pid}); services go on running")
    host = SystemdHost.of(environment)
    if await asyncio.to_thread(host.runs, info.pid):
        await asyncio.to_thread(host.stop)
        return _UnitStarter(host)
    launch = Launch.of(info.pid)
    await asyncio.to_thread(stop_stack, paths)
    return launch


async def _start_again(starter: _Starter | None, paths: StatePaths) -> None:
    if starter is not None:
        await starter.start(paths)


async def _go_back(paths: StatePaths, backup: Path, environment: Mapping[str, str], progress: Progress) -> None:
    """Put the database back as it is in the backup. Everything else was not touched."""
    progress("going back")
    await asyncio.to_thread(stop_stack, paths)
    if given := environment.get(DATABASE_VARIABLE):
        with connected(given) as connection:
            connection.execute("DROP SCHEMA IF EXISTS brainops CASCADE")
    fresh = StatePaths(paths.root.with_name(f".{paths.root.name}.going-back"))
    shutil.rmtree(fresh.root, ignore_errors=True)
    await restore(fresh, backup, progress, environment, migrate=False)
    if not given:
        aside = paths.root / "postgres.failed"
        paths.postgres.rename(aside)
        fresh.postgres.rename(paths.postgres)
        shutil.rmtree(aside)
    shutil.rmtree(fresh.root)


def _forget_old(folder: Path) -> None:
    """Keep the newest backups of upgrades."""
    for old in sorted(folder.glob("before-upgrade-*.tar.gz"))[:-KEPT_BACKUPS]:
        old.unlink()
