"""Services of kind `systemd`: units, through `systemctl` and `journalctl`.

The end of a unit is told by the kernel, through a pidfd of its main process. That a unit was started again only
systemd knows, and it says so on D-Bus alone: one `systemctl show` a second asks for all units together that are down
and are waited for. Nothing is asked for those that run.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ValidationError

from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.config.runs import SystemdRun
from brainops.contracts.incident import UnitFacts
from brainops.contracts.service import (
    ExitRecord,
    ProcessRecord,
    ServiceRun,
    ServiceState,
    ServiceStatus,
    SupervisorFacts,
)
from brainops.errors import ActionError, BrainOpsError, UnavailableError
from brainops.services import pidfds, procfs
from brainops.services.adapter import ServiceAdapter
from brainops.services.journal import Journal
from brainops.services.process import describe_exit
from brainops.services.procfs import Listener
from brainops.services.records import Start, check_effect_key
from brainops.services.units import Scope, Systemctl, Unit

_LOOK_SECONDS = 1.0
_START_SEEN_WITHIN_SECONDS = 5.0
_SETTLE_SECONDS = 1.0
_SETTLE_LOOK_SECONDS = 0.03
_KEPT_MARKERS = 500
_CGROUPS = Path("/sys/fs/cgroup")

_log = logging.getLogger(__name__)


class _Marker(BaseModel):
    """What an effect key has begun, and the run that came of it."""

    before: str
    """Invocation of the unit when it began."""
    run: ServiceRun | None = None


@dataclass(eq=False)
class _Waiting:
    """Somebody who waits for a new run of a unit."""

    scope: Scope
    unit: str
    known: str
    news: asyncio.Event = field(default_factory=asyncio.Event)


class SystemdServices(ServiceAdapter):
    """Units of this machine's systemd, and of the systemd of the user of BrainOps."""

    def __init__(self, paths: StatePaths) -> None:
        self._folder = paths.services.absolute()
        self._systemctl: dict[Scope, Systemctl] = {"system": Systemctl("system"), "user": Systemctl("user")}
        self._journals: dict[Scope, Journal] = {"system": Journal("system"), "user": Journal("user")}
        self._waiting: set[_Waiting] = set()
        self._seen: dict[str, tuple[ServiceRun, int]] = {}
        """The newest run of a service that was seen, and the start ticks of its main process (0: there was none)."""
        self._hidden: dict[str, int | None] = {}
        """Main processes of units that systemd calls alive and /proc does not show."""

    async def start(self, name: str, service: Service, effect_key: str) -> ServiceRun:
        return await self._begin("start", name, service, effect_key)

    async def restart(self, name: str, service: Service, effect_key: str) -> tuple[str, ServiceRun]:
        return "", await self._begin("restart", name, service, effect_key)

    async def stop(self, name: str, service: Service) -> str:
        run, systemctl = _of(service), self._ctl(service)
        [unit] = await systemctl.show([run.unit])
        if not unit.runs and not unit.awaits_restart:
            return f"{run.unit} did not run"
        await self._thaw(systemctl, unit)
        await systemctl.ask("stop", run.unit)
        return f"stopped {run.unit}"

    async def reload(self, name: str, service: Service) -> str:
        run = _of(service)
        if not run.reload:
            return await super().reload(name, service)
        await self._ctl(service).ask("reload", run.unit)
        return f"reloaded {run.unit}"

    async def happened(self, name: str, service: Service, effect_key: str) -> ServiceRun | None:
        check_effect_key(effect_key)
        marker = self._marker(name, effect_key)
        if marker is None or marker.run is not None:
            return marker.run if marker is not None else None
        [unit] = await self._ctl(service).show([_of(service).unit])
        # a worker died between asking and noting: whatever run began after its mark is the one that was asked for
        return self._run(unit) if unit.invocation not in ("", marker.before) else None

    async def state(self, name: str, service: Service, *, memory: bool = True) -> ServiceState:
        try:
            unit = await self._settled(service)
        except BrainOpsError as error:
            return ServiceState(service=name, status=ServiceStatus.UNSEEN, detail=str(error)[:500])
        run = self._remember(name, unit)
        status = self._status(unit, run)
        end = _ending(unit, run) if status in (ServiceStatus.EXITED, ServiceStatus.RESTARTING) else None
        running = status in (ServiceStatus.RUNNING, ServiceStatus.STOPPED)
        return ServiceState(
            service=name,
            status=status,
            process=_process(unit, run) if run is not None and status is not ServiceStatus.NEVER_STARTED else None,
            exit=end,
            rss_bytes=await asyncio.to_thread(_memory_bytes, unit) if memory and running else None,
            detail=_detail(unit, status, end)[:500],
            run=run,
            supervisor=_supervisor(unit, running=running),
            memory_limit_bytes=unit.memory_limit_bytes,
            memory_killed=unit.result == "oom-kill" and not running,
        )

    async def newest(self, name: str, service: Service) -> ServiceRun | None:
        if (seen := self._seen.get(name)) is not None:
            run, start_ticks = seen
            if run.pid is not None and procfs.find(run.pid, start_ticks) is not None:
                return run.model_copy(update={"age_seconds": procfs.age_seconds(start_ticks)})
        try:
            [unit] = await self._ctl(service).show([_of(service).unit])
        except BrainOpsError:  # its process check says so
            return None
        return self._remember(name, unit)

    async def ended(self, name: str, service: Service) -> None:
        while True:
            try:
                unit = await self._settled(service)
            except BrainOpsError:  # nobody can tell now
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            if not unit.runs:
                return
            process = procfs.stat(unit.main_pid) if unit.main_pid is not None else None
            if process is None or process.ended:  # a socket, a timer, or a process that is not to be seen from here
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                await pidfds.wait_exact(process.pid, process.start_ticks)

    async def started(self, name: str, service: Service, known: str) -> None:
        run = _of(service)
        waiting = _Waiting(run.scope, run.unit, known)
        self._waiting.add(waiting)
        try:
            async with asyncio.timeout(_START_SEEN_WITHIN_SECONDS):
                await waiting.news.wait()
        except TimeoutError:  # nobody may be watching in this process
            return
        finally:
            self._waiting.discard(waiting)

    async def watch(self) -> None:
        """One question a second for all units that are waited for, none while all of them run."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for scope in ("system", "user"):
                if waiting := [one for one in self._waiting if one.scope == scope]:
                    await self._look_for_news(scope, waiting)

    async def meant_to_end(self, name: str, service: Service) -> bool:
        """It ended well, and somebody had asked systemd to stop it. Without a journal that says so, its good end will do."""
        try:
            unit = await self._settled(service)
            if unit.runs or unit.active_state != "inactive" or unit.result != "success":
                return False
            seen = self._seen.get(name)
            began = seen[0].started_at if seen is not None else unit.started_at
            if began is None:
                return True
            return await self._journal(service).was_stopped(_of(service).unit, began)
        except BrainOpsError:
            return True

    async def starts(self, name: str, service: Service, within: timedelta) -> list[Start]:
        try:
            return await self._journal(service).starts(_of(service).unit, within)
        except BrainOpsError:
            return []

    async def tail(self, name: str, service: Service, max_bytes: int, *, since_start: bool = True) -> bytes:
        run = await self.newest(name, service) if since_start else None
        try:
            return await self._journal(service).tail(_of(service).unit, max_bytes, run.id if run is not None else "")
        except BrainOpsError as error:
            _log.info("the journal of %s cannot be read: %s", name, error)
            return b""

    async def owns(self, name: str, service: Service, holder: Listener) -> bool:
        try:
            [unit] = await self._ctl(service).show([_of(service).unit])
        except BrainOpsError:
            return False
        if unit.control_group and _in_control_group(holder.pid, unit.control_group):
            return True
        process = procfs.find(holder.pid, holder.start_ticks)
        while process is not None and process.pid > 1:
            if process.pid == unit.main_pid:
                return True
            process = procfs.stat(process.parent)
        return False

    async def unit(self, name: str, service: Service) -> UnitFacts | None:
        [unit] = await self._ctl(service).show([_of(service).unit])
        return UnitFacts(
            name=unit.name,
            load_state=unit.load_state,
            active_state=unit.active_state,
            sub_state=unit.sub_state,
            result=unit.result,
        )

    async def set_memory_limit(self, name: str, service: Service, limit_bytes: int) -> int:
        run, systemctl = _of(service), self._ctl(service)
        [unit] = await systemctl.show([run.unit])
        previous = unit.memory_limit_bytes
        if previous is None:
            raise ActionError(f"{run.unit} has no limit on its memory to be raised; MemoryMax= of the unit sets one")
        await systemctl.ask("set-property", run.unit, f"MemoryMax={limit_bytes}", options=("--runtime",))
        return previous

    async def _begin(self, verb: str, name: str, service: Service, effect_key: str) -> ServiceRun:
        """Start or restart, once per effect key. Another repetition finds the mark and the run."""
        if (run := await self.happened(name, service, effect_key)) is not None:
            return run
        systemctl, unit_name = self._ctl(service), _of(service).unit
        [unit] = await systemctl.show([unit_name])
        if verb == "start" and unit.runs and not unit.main_process_is_gone():
            raise ActionError(f"{unit_name} runs already as {unit.main_pid or unit.sub_state}; stop it first")
        self._write_marker(name, effect_key, _Marker(before=unit.invocation))
        await self._thaw(systemctl, unit)
        if unit.active_state == "failed":  # what counted as too many starts was systemd's own
            await systemctl.ask("reset-failed", unit_name)
        await systemctl.ask(verb, unit_name)
        [unit] = await systemctl.show([unit_name])
        run = self._remember(name, unit)
        if run is None or run.id == "":
            # not to be tried again: it may have run and ended
            raise ActionError(f"{unit_name} was asked to {verb}, and systemd knows no run of it; look what it did")
        self._write_marker(name, effect_key, _Marker(before="", run=run))
        return run

    async def _thaw(self, systemctl: Systemctl, unit: Unit) -> None:
        """A frozen unit cannot obey."""
        if unit.frozen:
            await systemctl.ask("thaw", unit.name)

    async def _settled(self, service: Service) -> Unit:
        """The unit once systemd has noticed the end of its main process: the kernel tells us no later than it."""
        systemctl, name = self._ctl(service), _of(service).unit
        [unit] = await systemctl.show([name])
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + _SETTLE_SECONDS
        while unit.runs and unit.main_process_is_gone() and unit.main_pid != self._hidden.get(name):
            if loop.time() >= give_up_at:  # it lives where we cannot see it
                self._hidden[name] = unit.main_pid
                break
            await asyncio.sleep(_SETTLE_LOOK_SECONDS)
            [unit] = await systemctl.show([name])
        return unit

    def _status(self, unit: Unit, run: ServiceRun | None) -> ServiceStatus:
        if unit.awaits_restart:
            return ServiceStatus.RESTARTING
        if unit.runs:
            process = procfs.stat(unit.main_pid) if unit.main_pid is not None else None
            suspended = unit.frozen or (process is not None and procfs.suspended(process))
            return ServiceStatus.STOPPED if suspended else ServiceStatus.RUNNING
        return ServiceStatus.NEVER_STARTED if run is None else ServiceStatus.EXITED

    def _remember(self, name: str, unit: Unit) -> ServiceRun | None:
        """The unit's newest run. Of a unit that ended well systemd may forget it; then the one that was seen before."""
        run = self._run(unit)
        if run is None:
            seen = self._seen.get(name)
            return seen[0] if seen is not None and unit.load_state == "loaded" else None
        process = procfs.stat(run.pid) if run.pid is not None else None
        self._seen[name] = (run, process.start_ticks if process is not None else 0)
        return run

    def _run(self, unit: Unit) -> ServiceRun | None:
        started_at = unit.started_at
        if not unit.invocation or started_at is None:
            return None
        return ServiceRun(id=unit.invocation, started_at=started_at, pid=unit.main_pid, age_seconds=unit.age_seconds)

    async def _look_for_news(self, scope: Scope, waiting: list[_Waiting]) -> None:
        names = sorted({one.unit for one in waiting})
        try:
            found = await self._systemctl[scope].show(names)
        except BrainOpsError:  # those who wait look again by themselves, more rarely
            return
        newest = {name: unit.invocation for name, unit in zip(names, found, strict=True)}
        for one in waiting:
            if newest[one.unit] not in ("", one.known):
                one.news.set()

    def _ctl(self, service: Service) -> Systemctl:
        return self._systemctl[_of(service).scope]

    def _journal(self, service: Service) -> Journal:
        return self._journals[_of(service).scope]

    def _marker_file(self, name: str, effect_key: str) -> Path:
        return self._folder / name / "units" / f"{effect_key}.json"

    def _marker(self, name: str, effect_key: str) -> _Marker | None:
        try:
            return _Marker.model_validate_json(self._marker_file(name, effect_key).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def _write_marker(self, name: str, effect_key: str, marker: _Marker) -> None:
        path = self._marker_file(name, effect_key)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = path.with_suffix(".tmp")
            temporary.write_text(marker.model_dump_json())
            temporary.replace(path)
            kept = sorted(path.parent.glob("*.json"), key=lambda one: one.stat().st_mtime_ns, reverse=True)
        except OSError as error:
            raise UnavailableError(f"{path} cannot be written: {error.strerror}; is the disk full?") from None
        for old in kept[_KEPT_MARKERS:]:
            old.unlink(missing_ok=True)


def _of(service: Service) -> SystemdRun:
    if not isinstance(service.run, SystemdRun):
        raise TypeError(f"a service of kind {service.run.kind} is no unit")
    return service.run


def _ending(unit: Unit, run: ServiceRun | None) -> ExitRecord | None:
    """How the newest run ended. What systemd has forgotten ended well."""
    if run is None:
        return None
    code, number = unit.exit_code, unit.exit_signal
    if code is None and number is None and unit.result == "success":
        code = 0
    if code is None and number is None:
        return None
    return ExitRecord(
        pid=unit.last_pid,
        effect_key=run.id,
        exit_code=code,
        signal=number,
        ended_at=unit.ended_at or datetime.now(UTC),
    )


def _process(unit: Unit, run: ServiceRun) -> ProcessRecord:
    process = procfs.stat(unit.main_pid) if unit.main_pid is not None else None
    return ProcessRecord(
        pid=unit.main_pid or unit.last_pid,
        start_ticks=process.start_ticks if process is not None else 0,
        effect_key=run.id,
        command=(unit.name,),
        started_at=run.started_at,
    )


def _supervisor(unit: Unit, *, running: bool) -> SupervisorFacts | None:
    if unit.load_state != "loaded" or not unit.policy:
        return None
    gave_up = unit.policy == "no" or (not running and not unit.awaits_restart)
    return SupervisorFacts(name="systemd", policy=unit.policy, restarts=unit.restarts, gave_up=gave_up)


_LOAD_FAULTS = {
    "not-found": "there is no unit {name}; correct run.unit, or install it: systemctl list-unit-files shows what there is",
    "masked": "the unit {name} is masked, so it cannot be started; systemctl unmask {name}",
    "bad-setting": "the unit {name} has a setting that systemd does not accept; systemd-analyze verify names it",
    "error": "the unit {name} cannot be loaded; systemctl status {name} says why",
}


def _detail(unit: Unit, status: ServiceStatus, end: ExitRecord | None) -> str:
    fault = _LOAD_FAULTS.get(unit.load_state, "").format(name=unit.name)
    if status is ServiceStatus.RUNNING:
        return fault or ("" if unit.active_state == "active" else f"{unit.active_state} ({unit.sub_state})")
    if status is ServiceStatus.NEVER_STARTED:
        return fault or f"{unit.name} was not started since the machine was"
    if status is ServiceStatus.STOPPED:
        return f"{unit.name} is frozen (systemctl freeze)" if unit.frozen else "the process is suspended (SIGSTOP)"
    parts = [describe_exit(end) if end is not None else "ended"]
    if unit.result not in ("success", "exit-code", "signal", ""):
        parts.append(f"result {unit.result}")
    if status is ServiceStatus.RESTARTING:
        parts.append("systemd is about to start it again")
    elif unit.policy not in ("no", "") and unit.restarts:
        parts.append(f"systemd had restarted it {unit.restarts} times and gave up")
    return "; ".join([*parts, *([fault] if fault else [])])


def _in_control_group(pid: int, group: str) -> bool:
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return False
    paths = [line.split(":", 2)[2] for line in lines if line.count(":") >= 2]
    return any(path == group or path.startswith(f"{group}/") for path in paths)


def _memory_bytes(unit: Unit) -> int | None:
    """What its cgroup holds without the file cache that the kernel would give back, as `docker stats` counts.

    Where the cgroup cannot be read, systemd's own count, and without that what the main process and its family have.
    """
    if unit.control_group:
        with contextlib.suppress(OSError, ValueError):
            folder = _CGROUPS / unit.control_group.lstrip("/")
            used = int((folder / "memory.current").read_text())
            fields = dict(line.split(" ", 1) for line in (folder / "memory.stat").read_text().splitlines())
            return max(0, used - int(fields.get("inactive_file", 0)))
    if unit.memory_bytes is not None:
        return unit.memory_bytes
    process = procfs.stat(unit.main_pid) if unit.main_pid is not None else None
    if process is None:
        return None
    return procfs.tree_rss_bytes(process.pid, procfs.everything_lately() | {process.pid: process})
