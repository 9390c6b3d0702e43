"""What `brainops doctor` finds: a line for each thing that BrainOps needs, and for each service of the file."""

import asyncio
import ctypes
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Awaitable
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel

from brainops.config.load import LoadedConfig
from brainops.config.paths import StatePaths
from brainops.config.quantities import format_size
from brainops.database.embedded import find_package
from brainops.errors import BrainOpsError
from brainops.telemetry.redaction import clean
from interfaces.setup.containers import ANSWER_SECONDS, endpoint, without_permission
from workers.reach import listens
from workers.stack.ports import holder_of
from workers.stack.state import StackInfo
from workers.stack.temporal_binary import find

LOOK_SECONDS = 8.0

_LITTLE_ROOM = 2_000_000_000
_TOO_LITTLE_ROOM = 300_000_000
_PORTS = {"Temporal": 7233, "Temporal UI": 8233, "API": 8420}
_CLOCK_UNSYNCHRONISED = 5
"""What adjtimex answers where the kernel's clock follows none (TIME_ERROR)."""


class Level(StrEnum):
    """How a line is meant."""

    OK = "ok"
    WARN = "warn"
    """It works; something is worth knowing or doing."""
    FAIL = "fail"
    """Something does not work until it is done."""


class Diagnosis(BaseModel):
    """One line: what was looked at, what was found, and what to do."""

    subject: str
    level: Level
    found: str
    """Where, which version, how it is now."""
    to_do: str = ""
    """Empty where nothing is to be done."""


def ok(subject: str, found: str) -> Diagnosis:
    """Nothing is to be done."""
    return Diagnosis(subject=subject, level=Level.OK, found=clean(found))


def warn(subject: str, found: str, to_do: str) -> Diagnosis:
    """Worth knowing."""
    return Diagnosis(subject=subject, level=Level.WARN, found=clean(found), to_do=to_do)


def fail(subject: str, found: str, to_do: str) -> Diagnosis:
    """Does not work."""
    return Diagnosis(subject=subject, level=Level.FAIL, found=clean(found), to_do=to_do)


async def bounded(subject: str, look: Awaitable[list[Diagnosis]]) -> list[Diagnosis]:
    """What a look finds within its time; whatever goes wrong with it is a line of its own."""
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return await look
    except TimeoutError:
        return [fail(subject, f"no answer within {LOOK_SECONDS:.0f} s", "look why it hangs, and run this again")]
    except (BrainOpsError, OSError) as error:
        return [fail(subject, str(error), "see the sentence beside this")]


async def machine(loaded: LoadedConfig | None, paths: StatePaths, stack: StackInfo | None) -> list[Diagnosis]:
    """Everything that BrainOps needs on this machine, before anything runs."""
    kinds = {service.run.kind for service in loaded.config.services.values()} if loaded else set[str]()
    looks = await asyncio.gather(
        bounded("Postgres", asyncio.to_thread(_postgres)),
        bounded("Temporal server", _temporal(stack)),
        bounded("Docker engine", asyncio.to_thread(_docker, needed=bool(kinds & {"docker", "compose"}))),
        bounded("systemd", asyncio.to_thread(_systemd, needed="systemd" in kinds)),
    )
    ports = [] if stack is not None else _ports()
    return [_python(), *_state_folder(paths), *(line for look in looks for line in look), *ports, _clock()]


def _python() -> Diagnosis:
    return ok("Python", f"{platform.python_version()}, {sys.executable}")


def _state_folder(paths: StatePaths) -> list[Diagnosis]:
    folder = paths.root
    standing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    named = "name another with --state-dir or BRAINOPS_STATE_DIR"
    if not os.access(standing, os.W_OK | os.X_OK):
        return [fail("state folder", f"{folder}: {standing} may not be written", f"make it writable, or {named}")]
    room = shutil.disk_usage(standing).free
    found = f"{folder}: {format_size(room)} free"
    if room < _TOO_LITTLE_ROOM:
        return [fail("state folder", found, f"BrainOps writes up to 200 MB a day: make room, or {named}")]
    if room < _LITTLE_ROOM:
        return [warn("state folder", found, "it is little; BrainOps writes up to 200 MB a day")]
    return [ok("state folder", found)]


def _postgres() -> list[Diagnosis]:
    """The binaries that come along, or that a server of one's own is named."""
    if os.environ.get("BRAINOPS_DATABASE_URL"):
        return [ok("Postgres", "the server that BRAINOPS_DATABASE_URL names (see `stack` for whether it answers)")]
    package = find_package()
    program = next((path for path in package.rglob("bin/postgres") if path.is_file()), None)
    if program is None:
        to_do = "install BrainOps anew, or name a server of yours with BRAINOPS_DATABASE_URL"
        return [fail("Postgres", f"no server in {package}", to_do)]
    lines = [ok("Postgres", f"{_version_of(program)}, comes with BrainOps")]
    has_vector = any(package.rglob("vector.control"))
    if has_vector:
        lines.append(ok("pgvector", "comes with BrainOps"))
    else:
        lines.append(warn("pgvector", "not there", "nothing now; similar text is found without it"))
    return lines


def _version_of(program: Path) -> str:
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program} does not start: {error}"
    return done.stdout.strip().splitlines()[0][:100] if done.stdout.strip() else str(program)


async def _temporal(stack: StackInfo | None) -> list[Diagnosis]:
    subject = "Temporal server"
    if stack is not None and stack.memory_only:
        return [ok(subject, "not needed: memory runs alone")]
    named = stack.temporal_address if stack is not None else os.environ.get("TEMPORAL_ADDRESS")
    if named:
        if await listens(named, ANSWER_SECONDS):
            return [ok(subject, f"answers at {named}")]
        to_do = "start it, or correct TEMPORAL_ADDRESS" if stack is None else "wait a moment; `brainops up` restarts it"
        return [fail(subject, f"nobody answers at {named}", to_do)]
    program = await asyncio.to_thread(find)
    if program is None:
        return [warn(subject, "not installed yet", "nothing: `brainops up` gets it, which takes a minute or two")]
    return [ok(subject, f"{await asyncio.to_thread(_version_of, program)}, {program}")]


def _docker(*, needed: bool) -> list[Diagnosis]:
    import docker  # noqa: PLC0415 - a tenth of a second
    from docker.errors import DockerException  # noqa: PLC0415

    subject, where = "Docker engine", endpoint()
    if where.startswith("unix://") and not Path(where.removeprefix("unix://")).exists():
        if not needed:
            return [ok(subject, "none, and no service needs one")]
        return [fail(subject, f"there is no {where}", "start Docker, or name the engine with DOCKER_HOST")]
    refused = without_permission(where)
    if refused:
        reason, _, to_do = refused.partition(": ")
        return [(fail if needed else warn)(subject, reason, to_do)]
    try:
        client = docker.APIClient(base_url=where, timeout=ANSWER_SECONDS, version="auto")
        try:
            version = client.version()
        finally:
            client.close()
    except (DockerException, OSError) as error:
        found = f"{where} does not answer: {str(error)[:150]}"
        return [(fail if needed else warn)(subject, found, "start Docker, or correct DOCKER_HOST")]
    return [ok(subject, f"{version.get('Version', '?')} at {where}")]


def _systemd(*, needed: bool) -> list[Diagnosis]:
    program = shutil.which("systemctl")
    if program is None:
        if not needed:
            return [ok("systemd", "none, and no service needs it")]
        return [fail("systemd", "there is no systemctl on PATH", "describe these services as another kind")]
    try:
        done = subprocess.run(
            [program, "is-system-running"], capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [(fail if needed else warn)("systemd", str(error), "look why systemctl does not answer")]
    state = done.stdout.strip() or done.stderr.strip()[:100]
    if state in ("running", "degraded", "starting", "maintenance"):
        return [ok("systemd", f"{state}, {program}")]
    if needed:
        return [fail("systemd", state, "systemd does not run here: describe these services as another kind")]
    return [ok("systemd", f"{state}; no service needs it")]


def _ports() -> list[Diagnosis]:
    """The ports that the stack would take. Taken ones are no failure: it then takes others."""
    lines: list[Diagnosis] = []
    for server, port in _PORTS.items():
        holder = holder_of(port)
        if holder is not None:
            lines.append(warn(f"port {port}", f"held by {holder}", f"nothing: {server} then takes a free one"))
    return lines or [ok("ports", f"{', '.join(map(str, _PORTS.values()))} are free")]


def _clock() -> Diagnosis:
    """Whether the kernel says that its clock follows a better one."""
    buffer = ctypes.create_string_buffer(512)
    answer = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    if answer == _CLOCK_UNSYNCHRONISED:
        return warn("clock", "follows no time server", "install one (chrony), or times in incidents will be off")
    return ok("clock", "is kept by a time server" if answer >= 0 else "cannot be asked here")
