"""Handing a running process over to BrainOps, as it runs.

Nothing is restarted. Its identity (pid and start ticks) is written where the shim writes those of the processes that
it starts; from then on the process is a service of kind `process`: its end is seen at once, and BrainOps may start it
again by the command line that it has now. What it writes is BrainOps' to read only from that start on.
"""

import fcntl
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from brainops.config.environment import looks_secret
from brainops.config.paths import StatePaths
from brainops.errors import BadInputError, ConflictError, NotAllowedError
from brainops.services import procfs
from brainops.services.records import Run, ServiceFiles
from brainops.telemetry.redaction import redact
from interfaces.setup.found import Found, SeenProcess, Survey
from interfaces.setup.listening import variables_of

_LONGEST_VALUE = 200


def chosen(survey: Survey, wanted: str) -> Found:
    """The found service that `wanted` names: a port or a name. Raises BadInputError."""
    for service in survey.services:
        if wanted == service.name or (wanted.isdigit() and int(wanted) in service.ports):
            break
    else:
        known = [f"{one.name} ({', '.join(map(str, one.ports))})" for one in survey.services if one.process]
        raise BadInputError(
            f"nothing that runs here is called {wanted!r} or listens on it; "
            + (f"what can be handed over: {'; '.join(known)}" if known else "no process can be handed over")
        )
    if service.process is None:
        raise BadInputError(
            f"{service.name} is not a process that can be handed over ({service.what}); "
            "it is watched and restarted by its own kind"
        )
    return service


def as_process(service: Found) -> Found:
    """The found service as one of kind `process`, by the command line that it has now.

    Raises BadInputError where that would write a secret into the file, or where the program cannot be found again.
    """
    seen = _process_of(service)
    if _holds_secret(" ".join(seen.command)):
        raise BadInputError(
            f"the command line of {service.name} seems to hold a secret, which belongs into no file; write its run: "
            "by hand, with the secret as ${NAME} under environment"
        )
    run: dict[str, Any] = {
        "kind": "process",
        "command": [_program(seen), *seen.command[1:]],
        "directory": seen.directory,
    }
    values, withheld = _variables(seen)
    if values:
        run["environment"] = values
    hints = (
        (
            f"It was also started with {', '.join(withheld)}. What it needs of these goes under environment,",
            "as NAME: ${NAME}, and is set where BrainOps is started.",
        )
        if withheld
        else ()
    )
    return service.model_copy(update={"run": run, "hints": service.hints + hints})


def hand_over(service: Found, paths: StatePaths) -> Run:
    """Record the running process as the newest start of the service. Raises ConflictError, NotAllowedError."""
    seen = _process_of(service)
    stat = procfs.find(seen.pid, seen.start_ticks)
    if stat is None or stat.ended:
        raise ConflictError(f"process {seen.pid} has ended meanwhile; start {service.name} and look again")
    if os.geteuid() not in (0, Path(f"/proc/{seen.pid}").stat().st_uid):
        raise NotAllowedError(f"process {seen.pid} belongs to another user; be that user, or root")
    files = ServiceFiles((paths.services / service.name).absolute())
    files.prepare()
    with _locked(files.folder):
        running = files.run()
        if running is not None and running.find_alive() is not None:
            if running.pid == seen.pid:
                return running
            raise ConflictError(f"{service.name} runs already as process {running.pid}, started by BrainOps")
        run = Run(
            pid=seen.pid,
            start_ticks=seen.start_ticks,
            effect_key=f"adopted-{uuid4().hex[:12]}",
            command=tuple(service.run.get("command", seen.command)),
            started_at=datetime.now(UTC) - timedelta(seconds=procfs.age_seconds(seen.start_ticks)),
            boot_id=procfs.boot_id(),
            log_offset=0,
            # Nobody waits for it on our side: how it ends is not known, that it ends is.
            shim_pid=seen.pid,
            shim_start_ticks=seen.start_ticks,
        )
        text = run.model_dump_json()
        _write(files.folder / "effects" / f"{run.effect_key}.start.json", text)
        _write(files.run_file, text)
    os.utime(paths.services)
    return run


def _process_of(service: Found) -> SeenProcess:
    if service.process is None:
        raise BadInputError(f"{service.name} is no process of its own")
    return service.process


def _program(seen: SeenProcess) -> str:
    """What starts the same program again: as it was called, or the whole path of what runs."""
    called = seen.command[0]
    if "/" in called or shutil.which(called):
        return called
    return str(Path(f"/proc/{seen.pid}/exe").readlink())


def _variables(seen: SeenProcess) -> tuple[dict[str, str], list[str]]:
    """Values that differ from this session's and may be written down, and names of the others."""
    now = variables_of(seen.pid)
    values: dict[str, str] = {}
    withheld: list[str] = []
    for name in seen.variables:
        value = now.get(name, "")
        if os.environ.get(name) == value:
            continue
        harmless = value.isprintable() and len(value) <= _LONGEST_VALUE and "@" not in value
        if harmless and not looks_secret(name) and not _holds_secret(f"{name}={value}"):
            values[name] = value.replace("${", "$${")
        else:
            withheld.append(name)
    return values, withheld


def _holds_secret(text: str) -> bool:
    return redact(text) != text


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """The lock that the shim takes for each start."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, text: str) -> None:
    """At once or not at all, readable by us only."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.touch(mode=0o600)
    temporary.write_text(text)
    temporary.replace(path)
