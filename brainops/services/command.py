"""Services of kind `command`: the user's own commands start, stop and look at them.

Commands that change something are started as processes of BrainOps' own are: by the shim, in a session of their own,
once per effect key, with their output kept and bounded. So one that daemonises leaves its daemon a place to write to,
and a worker that dies in the middle leaves a record of how the command ended.

Where a pid file names its main process, the kernel tells when that ends. Else nobody does, and the status command is
asked at the interval of the process check.
"""

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from brainops.config.checks import ProcessCheck
from brainops.config.environment import expand_environment, secret_values
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.config.runs import Command, CommandRun, ProcessRun
from brainops.contracts.service import ExitRecord, ProcessRecord, ServiceRun, ServiceState, ServiceStatus
from brainops.errors import ActionError, BrainOpsError
from brainops.services import pidfds, procfs, programs
from brainops.services.adapter import ServiceAdapter
from brainops.services.pid_files import process_of
from brainops.services.process import ProcessAdapter, base_environment, describe_exit
from brainops.services.procfs import Listener
from brainops.telemetry.redaction import clean

NOT_RUNNING = 3
"""Exit code of a status command whose service does not run (Linux Standard Base, init script actions)."""

_OUTPUT_BYTES = 16 * 1024
_LOG_BYTES = 1024 * 1024
_SAID = 300
_WAIT_SECONDS = 1.0
_START_SEEN_WITHIN_SECONDS = 5.0
_FOUND = "found-running"
"""Run of a service that BrainOps has not started."""


class CommandServices(ServiceAdapter):
    """Services that commands of the user's look after. `directory`: the folder of `brainops.yaml`."""

    def __init__(self, paths: StatePaths, directory: Path) -> None:
        self._directory = directory.absolute()
        self._commands = ProcessAdapter(StatePaths(paths.root / "service-commands"), directory)
        self._first_seen = time.monotonic(), datetime.now(UTC)

    async def start(self, name: str, service: Service, effect_key: str) -> ServiceRun:
        used_by = await self._verb_of(name, effect_key)
        if used_by is None and await self._runs(name, service):
            raise ActionError(f"{name} runs already, as its status command says; stop it first")
        return await self._perform(used_by or "start", name, service, effect_key)

    async def stop(self, name: str, service: Service) -> str:
        await self._perform("stop", name, service, f"stop.{uuid4().hex}")
        return f"stopped {name}"

    async def restart(self, name: str, service: Service, effect_key: str) -> tuple[str, ServiceRun]:
        if _of(service).restart:
            return "", await self._perform("restart", name, service, effect_key)
        ended = ""
        if await self._record(name, effect_key) is None:
            ended = await self.stop(name, service)
        return ended, await self._perform("start", name, service, effect_key)

    async def reload(self, name: str, service: Service) -> str:
        if not _of(service).reload:
            return await super().reload(name, service)
        await self._perform("reload", name, service, f"reload.{uuid4().hex}")
        return f"reloaded {name}"

    async def happened(self, name: str, service: Service, effect_key: str) -> ServiceRun | None:
        record = await self._record(name, effect_key)
        return _run(record) if record is not None else None

    async def state(self, name: str, service: Service, *, memory: bool = True) -> ServiceState:
        if (process := self._process(service)) is not None:
            return self._running_state(name, process, memory=memory)
        if not _of(service).status:
            return self._state_without_status(name, service)
        try:
            done = await self._ask_status(service)
        except BrainOpsError as error:
            return ServiceState(service=name, status=ServiceStatus.UNSEEN, detail=str(error)[:500])
        run = self._newest(name)
        said = self._cleaned(service, done.errors or done.output)
        if done.exit_code == 0:
            return ServiceState(service=name, status=ServiceStatus.RUNNING, run=run)
        if done.exit_code == NOT_RUNNING:
            detail = f"it does not run, as its status command says{': ' if said else ''}{said}"
            return ServiceState(service=name, status=ServiceStatus.EXITED, run=run, detail=detail[:500])
        detail = (
            f"its status command {_how(done.exit_code)}, where 0 is running and 3 is not{': ' if said else ''}{said}"
        )
        return ServiceState(service=name, status=ServiceStatus.UNSEEN, run=run, detail=detail[:500])

    def _running_state(self, name: str, process: procfs.ProcessStat, *, memory: bool) -> ServiceState:
        return ServiceState(
            service=name,
            status=ServiceStatus.STOPPED if procfs.suspended(process) else ServiceStatus.RUNNING,
            run=_run_of(process),
            rss_bytes=procfs.tree_rss_bytes(process.pid, procfs.everything_lately()) if memory else None,
        )

    def _state_without_status(self, name: str, service: Service) -> ServiceState:
        pid_file = _of(service).pid_file
        if pid_file is None:
            return ServiceState(service=name, status=ServiceStatus.UNSEEN, detail="only its checks tell how it is")
        detail = f"no process that {self._directory / pid_file} names runs"
        return ServiceState(service=name, status=ServiceStatus.EXITED, run=self._newest(name), detail=detail[:500])

    def _process(self, service: Service) -> procfs.ProcessStat | None:
        """Its main process, where a pid file names a live one."""
        pid_file = _of(service).pid_file
        return process_of(self._directory / pid_file) if pid_file is not None else None

    async def newest(self, name: str, service: Service) -> ServiceRun | None:
        process = self._process(service)
        return _run_of(process) if process is not None else self._newest(name)

    async def ended(self, name: str, service: Service) -> None:
        while (process := self._process(service)) is not None:
            await pidfds.wait_exact(process.pid, process.start_ticks)
        interval = min(
            (check.interval for check in service.all_checks().values() if isinstance(check, ProcessCheck)),
            default=ProcessCheck().interval,
        )
        while True:
            state = await self.state(name, service, memory=False)
            if state.status is ServiceStatus.EXITED:
                return
            await asyncio.sleep(interval.total_seconds())

    async def started(self, name: str, service: Service, known: str) -> None:
        # a start of ours changes the newest run; one by a person its status command shows at the next check
        await asyncio.sleep(_START_SEEN_WITHIN_SECONDS)

    async def meant_to_end(self, name: str, service: Service) -> bool:
        stop, run = self._commands.newest(_command_name(name, "stop")), self._newest_record(name)
        return stop is not None and (run is None or stop.started_at > run.started_at)

    async def tail(self, name: str, service: Service, max_bytes: int, *, since_start: bool = True) -> bytes:
        log = _of(service).log
        if log is not None:
            return await asyncio.to_thread(_tail, self._directory / log, max_bytes)
        record = self._newest_record(name)
        if record is None:
            return b""
        verb = next(verb for verb in ("start", "restart") if self._commands.newest(_command_name(name, verb)) is record)
        return await asyncio.to_thread(self._commands.tail, _command_name(name, verb), max_bytes)

    async def owns(self, name: str, service: Service, holder: Listener) -> bool:
        process = self._process(service)
        if process is not None and procfs.is_of(holder.pid, holder.start_ticks, process.pid):
            return True
        record = self._newest_record(name)
        commands = {_command_name(name, verb) for verb in ("start", "restart")}
        return record is not None and holder.service in commands and holder.effect_key == record.effect_key

    async def keep_up(self, name: str, service: Service) -> None:
        for verb in ("start", "restart", "stop", "reload"):
            await self._commands.rotate_log(_command_name(name, verb), _LOG_BYTES)

    async def _perform(self, verb: str, name: str, service: Service, effect_key: str) -> ServiceRun:
        """Run one of the commands to its end, once per effect key.

        Raises ActionError with its redacted words when it failed, was not executable or took too long.
        """
        run, command = _of(service), _command_name(name, verb)
        as_process = _as_process(service, _arguments(run, verb))
        earlier = self._commands.running(command)
        if earlier is not None and earlier.effect_key != effect_key:
            await self._in_time(command, as_process, earlier.record, run.timeout)
        record = await self._commands.start(command, as_process, effect_key)
        if not await self._in_time(command, as_process, record, run.timeout):
            said = await self._said(service, command)
            raise ActionError(
                f"the {verb} command of {name} had not ended after {run.timeout.total_seconds():g} s and was killed "
                f"with all that it started{': ' if said else ''}{said}"[:500]
            )
        end = await self._end(command, as_process, record)
        if end is None:
            await self._told_by_status(verb, name, service)
        elif end.exit_code != 0:
            said = await self._said(service, command)
            raise ActionError(f"the {verb} command of {name} {describe_exit(end)}{': ' if said else ''}{said}"[:500])
        return _run(record)

    async def _told_by_status(self, verb: str, name: str, service: Service) -> None:
        """Nobody saw how the command ended: its status command must say that it came to what was wanted."""
        state = await self.state(name, service, memory=False)
        wanted = ServiceStatus.EXITED if verb == "stop" else ServiceStatus.RUNNING
        if state.status is not wanted:
            raise ActionError(
                f"nobody saw how the {verb} command of {name} ended, and it is {state.status.value} now; look what it did"
            )

    async def _in_time(self, command: str, as_process: Service, record: ProcessRecord, limit: timedelta) -> bool:
        """Wait for the end of a command, counted from its own start; kill all of it at its limit."""
        while (left := limit.total_seconds() - procfs.age_seconds(record.start_ticks)) > 0:
            if await pidfds.wait_exact(record.pid, record.start_ticks, min(left, _WAIT_SECONDS)):
                return True
            await self._commands.rotate_log(command, _LOG_BYTES)
        if procfs.find(record.pid, record.start_ticks) is None:
            return True
        await self._commands.stop(command, as_process, expected=record)
        return False

    async def _end(self, command: str, as_process: Service, record: ProcessRecord) -> ExitRecord | None:
        """How a command ended; looking at its state gives the shim a moment to write it down."""
        await self._commands.state(command, as_process, memory=False)
        end = self._commands.files(command).ending_of(record)
        return end.record if end is not None else None

    async def _record(self, name: str, effect_key: str) -> ProcessRecord | None:
        verb = await self._verb_of(name, effect_key)
        return await self._commands.happened(_command_name(name, verb), effect_key) if verb is not None else None

    async def _verb_of(self, name: str, effect_key: str) -> str | None:
        """The command that was run under an effect key."""
        for verb in ("start", "restart"):
            if await self._commands.happened(_command_name(name, verb), effect_key) is not None:
                return verb
        return None

    async def _runs(self, name: str, service: Service) -> bool:
        if not service.has_process:
            return False
        return (await self.state(name, service, memory=False)).status is ServiceStatus.RUNNING

    async def _ask_status(self, service: Service) -> programs.Finished:
        run = _of(service)
        environment = base_environment() | expand_environment(service, os.environ)
        return await programs.run(
            run.status,
            timeout_seconds=run.timeout.total_seconds(),
            environment=environment,
            directory=self._directory / run.directory,
            max_bytes=_OUTPUT_BYTES,
        )

    async def _said(self, service: Service, command: str) -> str:
        raw = await asyncio.to_thread(self._commands.tail, command, _OUTPUT_BYTES)
        return self._cleaned(service, raw)

    def _cleaned(self, service: Service, raw: bytes) -> str:
        """The last line, without secrets."""
        text = clean(raw, _OUTPUT_BYTES, secret_values(expand_environment(service, os.environ))).strip()
        return text.splitlines()[-1][:_SAID] if text else ""

    def _newest_record(self, name: str) -> ProcessRecord | None:
        found = (self._commands.newest(_command_name(name, verb)) for verb in ("start", "restart"))
        return max((run for run in found if run is not None), key=lambda run: run.started_at, default=None)

    def _newest(self, name: str) -> ServiceRun:
        if (record := self._newest_record(name)) is not None:
            return _run(record)
        monotonic, at = self._first_seen
        return ServiceRun(id=_FOUND, started_at=at, age_seconds=time.monotonic() - monotonic)


def _of(service: Service) -> CommandRun:
    if not isinstance(service.run, CommandRun):
        raise TypeError(f"a service of kind {service.run.kind} has no commands of its own")
    return service.run


def _arguments(run: CommandRun, verb: str) -> Command:
    return {"start": run.start, "stop": run.stop, "restart": run.restart, "reload": run.reload}[verb]


def _command_name(name: str, verb: str) -> str:
    return f"{name}.{verb}"


def _as_process(service: Service, arguments: Command) -> Service:
    """The command as the process adapter takes it."""
    run = _of(service)
    process = ProcessRun(command=arguments, directory=run.directory, environment=run.environment)
    return service.model_copy(update={"run": process})


def _run(record: ProcessRecord) -> ServiceRun:
    """A run is named by the command that began it; the pid of that command is none of the service's."""
    return ServiceRun(
        id=record.effect_key, started_at=record.started_at, age_seconds=procfs.age_seconds(record.start_ticks)
    )


def _run_of(process: procfs.ProcessStat) -> ServiceRun:
    """A run that a pid file names."""
    age = procfs.age_seconds(process.start_ticks)
    started_at = datetime.now(UTC) - timedelta(seconds=age)
    run_id = f"process-{process.pid}.{process.start_ticks}"
    return ServiceRun(id=run_id, started_at=started_at, pid=process.pid, age_seconds=age)


def _how(exit_code: int) -> str:
    return f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"


def _tail(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - max_bytes))
            return file.read(max_bytes)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}\n".encode()
