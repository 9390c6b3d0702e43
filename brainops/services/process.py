"""The `process` adapter: starts, ends and looks at services that are plain processes.

It keeps nothing in memory that matters: every answer follows from the files that the shim wrote and from the kernel,
so any worker, also a new one after a crash, sees the same services. A start is done once per effect key, however
often and by however many it is asked for.
"""

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from brainops.config.environment import expand_environment
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.contracts.service import ExitRecord, ProcessRecord, ServiceState, ServiceStatus
from brainops.errors import ActionError, BadInputError, UnavailableError
from brainops.services import ending, logs, pidfds, procfs, shim
from brainops.services.records import Run, ServiceFiles, Start, check_effect_key

_SHIM = Path(shim.__file__)
_SHIM_TIMEOUT_SECONDS = 10.0
_EXIT_RECORD_TIMEOUT_SECONDS = 0.25
_START_TRIES = 5
_BASE_VARIABLES = ("PATH", "HOME", "LANG", "USER", "TZ")
_BASE_DEFAULTS = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


class ProcessAdapter:
    """Services of kind `process` on this host.

    `directory`: the folder of `brainops.yaml`, to which working directories are relative.
    """

    def __init__(self, state: StatePaths, directory: Path) -> None:
        self.directory = directory.absolute()
        self._state = state
        self._services: dict[str, ServiceFiles] = {}

    def files(self, name: str) -> ServiceFiles:
        """The files of a service."""
        if name not in self._services:
            self._services[name] = ServiceFiles((self._state.services / name).absolute())
        return self._services[name]

    async def start(self, name: str, service: Service, effect_key: str) -> ProcessRecord:
        """Start a service, once per effect key: a repeated call answers with the first start's record.

        The process has begun when this returns; whether it works is for its checks to say. Raises ActionError when
        it runs already, or when the program cannot be executed (also for each repetition); ConfigError for a missing
        variable; UnavailableError when nothing was started and trying again can help.
        """
        check_effect_key(effect_key)
        files = self.files(name)
        files.prepare()
        environment = self._environment(name, service, effect_key)
        for _ in range(_START_TRIES):
            if run := files.start_of(effect_key):
                return await self._begun(name, service, run)
            previous = files.run_bytes()
            running = files.run()
            if running is not None and running.find_alive():
                raise ActionError(f"{name} runs already as process {running.pid}; stop it first")
            spec = self._spec(name, service, effect_key, previous, environment)
            answer = await asyncio.to_thread(_run_shim, name, spec)
            if answer.startswith(shim.FAILED) and files.start_of(effect_key) is None:
                raise UnavailableError(f"{name}: {answer.removeprefix(shim.FAILED).strip()}; is the disk full?")
        raise UnavailableError(f"{name} is being started and ended by somebody else all the time; look who does it")

    async def stop(self, name: str, service: Service, expected: ProcessRecord | None = None) -> str:
        """End a service and all that it started, also what outlived its main process. Answers with a sentence.

        `expected`: end only this start and what is left of it, whatever runs now. Raises ActionError when something
        does not end.
        """
        files = self.files(name)
        run = files.start_of(expected.effect_key) if expected is not None else files.run()
        if run is None:
            return f"{name} was never started"
        if run.find_alive() is not None:
            files.mark_stopping(run)
        keys = files.effect_keys() if expected is None else {run.effect_key}
        find = ending.belongings(name, run, files.ending_of(run), keys)
        ended = await ending.end_all(find, service.process_run.stop_timeout)
        await self._exit_written(files, run)
        if ended.count == 0:
            return f"{name} did not run"
        killed = f", {ended.killed} of them by SIGKILL" if ended.killed else ""
        return f"ended {ended.count} process{'es' if ended.count > 1 else ''} of {name}{killed}"

    async def state(self, name: str, service: Service, *, memory: bool = True) -> ServiceState:
        """How the service is now. `memory`: also measure it, which looks at every process of the machine."""
        files = self.files(name)
        run = files.run()
        if run is None:
            return ServiceState(service=name, status=ServiceStatus.NEVER_STARTED)
        process = run.find_alive()
        if process is None:
            return await self._ended_state(name, files, run)
        return ServiceState(
            service=name,
            status=ServiceStatus.STOPPED if procfs.suspended(process) else ServiceStatus.RUNNING,
            process=run.record,
            rss_bytes=self._tree_rss_bytes(process) if memory else None,
            detail="" if run.command == service.process_run.command else "it was started with an earlier command",
        )

    async def happened(self, name: str, effect_key: str) -> ProcessRecord | None:
        """The start that this effect key has caused; None if it has caused none, and now may."""
        check_effect_key(effect_key)
        run = self.files(name).start_of(effect_key)
        return run.record if run is not None else None

    async def exited(self, name: str) -> None:
        """Wait for the end of the process that is on record now. Returns at once when it does not run."""
        run = self.files(name).run()
        if run is not None and run.boot_id == procfs.boot_id():
            await pidfds.wait_exact(run.pid, run.start_ticks)

    def running(self, name: str) -> Run | None:
        """The newest start if its process lives, suspended or not. Cheap."""
        run = self.files(name).run()
        return run if run is not None and run.find_alive() is not None else None

    def newest(self, name: str) -> Run | None:
        """The newest start, whether it runs or has ended. Cheap."""
        return self.files(name).run()

    def last_start(self) -> int:
        """Changes with each start of any service, by whomever. One system call."""
        try:
            return self._state.services.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def meant_to_end(self, name: str) -> bool:
        """Whether the newest start was ended by `stop`."""
        files = self.files(name)
        run = files.run()
        return run is not None and files.meant_to_end(run)

    def starts(self, name: str, within: timedelta) -> list[Start]:
        """Starts of the service in the time before now, oldest first, with their ends."""
        return self.files(name).starts(datetime.now(UTC) - within)

    def tail(self, name: str, max_bytes: int, *, since_start: bool = True) -> bytes:
        """The last output as the service wrote it, raw and not redacted; of its newest start only if `since_start`."""
        return logs.tail(self.files(name), max_bytes, since_start=since_start)

    async def rotate_log(self, name: str, limit: int = logs.LOG_LIMIT) -> bool:
        """Bound the log: at most twice `limit` bytes are kept. Whether there was anything to do."""
        files = self.files(name)
        return logs.too_long(files, limit) and await asyncio.to_thread(logs.rotate, files, limit)

    async def _begun(self, name: str, service: Service, run: Run) -> ProcessRecord:
        """The record of a start, unless its program could not be executed."""
        files = self.files(name)
        files.prune()
        if not (error := files.error_of(run.effect_key)):
            return run.record
        await self._exit_written(files, run)
        raise ActionError(
            f"{name} could not be started: {error}; command: {' '.join(service.process_run.command)[:200]}; "
            f"directory: {self._working_directory(service)}"
        )

    async def _ended_state(self, name: str, files: ServiceFiles, run: Run) -> ServiceState:
        end = await self._exit_written(files, run)
        if error := files.error_of(run.effect_key):
            detail = error
        elif end is not None:
            detail = describe_exit(end) + (" when BrainOps stopped it" if files.meant_to_end(run) else "")
        elif run.boot_id != procfs.boot_id():
            detail = "it ended when the machine restarted"
        else:
            detail = "it ended; its exit code is not known"
        return ServiceState(
            service=name, status=ServiceStatus.EXITED, process=run.record, exit=end, detail=detail[:500]
        )

    async def _exit_written(self, files: ServiceFiles, run: Run) -> ExitRecord | None:
        """How a process ended; the shim has a moment to write it down."""
        end = files.ending_of(run)
        if end is None and run.boot_id == procfs.boot_id():
            await pidfds.wait_exact(run.shim_pid, run.shim_start_ticks, _EXIT_RECORD_TIMEOUT_SECONDS)
            end = files.ending_of(run)
        return end.record if end is not None else None

    def _tree_rss_bytes(self, process: procfs.ProcessStat) -> int:
        return procfs.tree_rss_bytes(process.pid, procfs.everything_lately() | {process.pid: process})

    def _environment(self, name: str, service: Service, effect_key: str) -> dict[str, str]:
        declared = expand_environment(service, os.environ)
        return base_environment() | declared | {procfs.SERVICE_VARIABLE: name, procfs.EFFECT_KEY_VARIABLE: effect_key}

    def _working_directory(self, service: Service) -> Path:
        return self.directory / service.process_run.directory

    def _spec(
        self, name: str, service: Service, effect_key: str, previous: bytes, environment: dict[str, str]
    ) -> bytes:
        spec = shim.Spec(
            folder=os.fsencode(self.files(name).folder),
            service=name.encode(),
            effect_key=effect_key.encode(),
            directory=os.fsencode(self._working_directory(service)),
            previous=previous,
            command=[os.fsencode(part) for part in service.process_run.command],
            environment=[os.fsencode(f"{key}={value}") for key, value in environment.items()],
        )
        try:
            return shim.encode_spec(spec)
        except ValueError as error:
            raise BadInputError(f"{name}: {error}") from None


def base_environment() -> dict[str, str]:
    """The few variables of BrainOps' own that what it runs for a service gets, too."""
    return _BASE_DEFAULTS | {key: os.environ[key] for key in _BASE_VARIABLES if key in os.environ}


def describe_exit(end: ExitRecord) -> str:
    """`killed by SIGKILL`, `ended with exit code 3`."""
    if end.signal is None:
        return f"ended with exit code {end.exit_code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"killed by {names.get(end.signal, f'signal {end.signal}')}"


def _run_shim(name: str, spec: bytes) -> str:
    """Run the shim until the service has become itself, or has not; the shim goes on by itself."""
    arguments = [sys.executable, "-I", "-S", str(_SHIM), name]
    with subprocess.Popen(
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={},
        cwd="/",
    ) as process:
        try:
            output, errors = process.communicate(spec, timeout=_SHIM_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise UnavailableError(
                f"{name}: no answer from the shim in {_SHIM_TIMEOUT_SECONDS:.0f} s; is the disk stuck?"
            ) from None
    answer = output.decode("utf-8", "replace").strip()
    if not answer:
        reason = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise UnavailableError(f"{name}: the shim ended before it started anything: {reason or 'killed'}")
    return answer.splitlines()[-1]
