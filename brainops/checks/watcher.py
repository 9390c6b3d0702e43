"""The watch over the services of one host: probes on time, exits at once, changes told once.

It knows no engine and no database: what it sees goes to the callbacks that it is given, and what it must remember
beyond its own life is in `snapshot`. Time is monotonic throughout, so a change of the clock turns no check.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import islice

import structlog

from brainops.checks.base import Subject
from brainops.checks.descriptors import concurrent_probes
from brainops.checks.outbox import Changes, Reachability, Samples
from brainops.checks.probe import Prober
from brainops.checks.watched import CheckConfig, WatchedCheck
from brainops.config.checks import ProcessCheck
from brainops.config.models import LOCAL_HOST, Service
from brainops.contracts.base import DEFAULT_TENANT
from brainops.contracts.check import CheckState, CheckStatus, Observation, ProbeResult, Reason, Sample
from brainops.errors import ActionError, UnavailableError
from brainops.services.host import HostServices
from brainops.telemetry.redaction import clean

_FIRST_PROBE_WITHIN = timedelta(seconds=10)
_UPKEEP_SECONDS = 1.0
_MOST_UNTOLD = 1000

Look = Callable[[Subject, CheckConfig], Awaitable[ProbeResult]]
"""One probe of a service's check."""
OnChange = Callable[[CheckState, Observation], Awaitable[None]]
OnSamples = Callable[[list[Sample]], Awaitable[None]]
OnHealthy = Callable[[str], Awaitable[None]]

_KEPT_KINDS = frozenset({"docker", "compose"})
"""Kinds of which more than declared files is kept while they are healthy: how the container was made."""

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)

GoodVersion = tuple[str, tuple[tuple[int, int, int] | None, ...]]
"""A start of a service and the versions of its declared files."""


class Watcher:
    """Watches `services` until `run` is cancelled.

    `previous`: states to go on from; known failures are not told again, sequence numbers continue.
    `on_change`: a check turned. `on_samples`: probe results, in batches. Both may raise UnavailableError and are then
    asked again. `on_healthy`: a service with declared files or a container has passed all its checks for `keep_good_after`; once
    for each start and version of the files. `look`: how a probe is made; `Prober.look` of a prober of its own by default.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        here: HostServices,
        *,
        on_change: OnChange,
        on_samples: OnSamples,
        on_healthy: OnHealthy,
        previous: Iterable[CheckState] = (),
        host: str = LOCAL_HOST,
        tenant_id: str = DEFAULT_TENANT,
        look: Look | None = None,
    ) -> None:
        self._services = dict(services)
        self._here = here
        self._on_change = on_change
        self._on_healthy = on_healthy
        self._host = host
        self._tenant_id = tenant_id
        self._look = look
        self._reachability = Reachability()
        self._changes = Changes(self._tell_change, self._reachability)
        self._samples = Samples(on_samples, self._reachability)
        self._healthy_since: dict[str, float] = {}
        self._kept: dict[str, GoodVersion] = {}
        known = {(state.service, state.check): state for state in previous}
        self._checks = {
            (name, check_name): WatchedCheck.resume(name, check_name, service, check, known.get((name, check_name)))
            for name, service in self._services.items()
            for check_name, check in service.all_checks().items()
        }
        self._slots = asyncio.Semaphore(concurrent_probes(len(self._checks)))

    async def run(self) -> None:
        """Watch for ever. Ends only by cancellation, or by an error of a callback other than UnavailableError."""
        async with AsyncExitStack() as held:
            look = self._look or (await held.enter_async_context(Prober(self._here, self._here.directory))).look
            tasks = await held.enter_async_context(asyncio.TaskGroup())
            for watched in self._checks.values():
                tasks.create_task(self._probe_for_ever(watched, look, tasks))
            for name, service in self._services.items():
                if service.has_process:
                    tasks.create_task(self._follow_process(name, service, look, tasks))
            tasks.create_task(self._here.watch())
            tasks.create_task(self._samples.deliver_for_ever())
            tasks.create_task(self._keep_up())

    def snapshot(self) -> list[CheckState]:
        """All states as they are now, to be given to the next watcher."""
        return [watched.state for watched in self._checks.values()]

    def untold(self) -> list[CheckState]:
        """Failures that nobody has taken yet: all that would be lost with this process. At most a thousand."""
        waiting = (watched for watched in self._checks.values() if self._changes.waits(watched.key))
        failing = (watched.state for watched in waiting if watched.status is CheckStatus.FAILING)
        return list(islice(failing, _MOST_UNTOLD))

    def due(self, service: str, check: str) -> float:
        """When the newest probe of a check was or is due, on the event loop's clock. Raises KeyError for an unknown one."""
        return self._checks[service, check].due

    def any_failing(self) -> bool:
        """Whether any check is believed to fail."""
        return any(watched.status is CheckStatus.FAILING for watched in self._checks.values())

    def announce_again(self, service: str, check: str) -> CheckState | None:
        """Count a failure that nobody works on as a new change, and answer with it for the caller to tell.

        None when the check does not fail, or when its last change is still to be told.
        """
        watched = self._checks.get((service, check))
        if watched is None or watched.state.status is not CheckStatus.FAILING or self._changes.waits(watched.key):
            return None
        watched.seq += 1
        return watched.state

    def observation_for(self, state: CheckState) -> Observation:
        """The observation that tells `state`. Raises ValidationError for one that never turned (`seq` 0)."""
        return Observation(
            tenant_id=self._tenant_id,
            host=self._host,
            service=state.service,
            check=state.check,
            seq=state.seq,
            failing=state.status is CheckStatus.FAILING,
            reason=state.reason,
            detail=state.detail,
            at=state.since,
        )

    async def _tell_change(self, state: CheckState) -> None:
        await self._on_change(state, self.observation_for(state))

    async def _probe_for_ever(self, watched: WatchedCheck, look: Look, tasks: asyncio.TaskGroup) -> None:
        """Probe at `due`, `due + interval`, …: the duration of a probe moves no later one; missed ones are left out."""
        loop = asyncio.get_running_loop()
        interval = watched.check.interval.total_seconds()
        due = loop.time() + random.uniform(0, min(interval, _FIRST_PROBE_WITHIN.total_seconds()))  # noqa: S311
        subject = watched.subject
        while True:
            watched.due = due
            await asyncio.sleep(due - loop.time())
            async with self._slots:
                result = await look(subject, watched.check)
            self._seen(watched, result, tasks)
            due += interval
            late = loop.time() - due
            if late > 0:
                due += interval * (late // interval + 1)

    def _seen(
        self, watched: WatchedCheck, result: ProbeResult, tasks: asyncio.TaskGroup, *, fact: bool = False
    ) -> None:
        now = datetime.now(UTC)
        turned = watched.seen(result, fact=fact)
        self._samples.put(
            Sample(service=watched.service_name, check=watched.name, at=now, ok=result.ok, latency_ms=result.latency_ms)
        )
        self._note_health(watched.service_name)
        if turned:
            self._changes.put(watched.state, tasks)

    async def _follow_process(self, name: str, service: Service, look: Look, tasks: asyncio.TaskGroup) -> None:
        """Wait for the end of each run of a service. An end is a fact, unless BrainOps was asked for it."""
        followed = ""
        while True:
            run = await self._here.newest(name, service)
            if run is None or run.id == followed:
                await self._here.started(name, service, followed)
                continue
            await self._here.ended(name, service)
            followed = run.id
            for watched in self._checks.values():
                if watched.service_name == name:
                    watched.process_ended()
            if not await self._here.meant_to_end(name, service):
                await self._exit_seen(name, look, tasks)

    async def _exit_seen(self, name: str, look: Look, tasks: asyncio.TaskGroup) -> None:
        for watched in self._checks.values():
            if watched.service_name == name and isinstance(watched.check, ProcessCheck):
                result = await look(watched.subject, watched.check)
                self._seen(watched, result, tasks, fact=result.reason is Reason.EXITED)

    def _note_health(self, name: str) -> None:
        """Remember since when all checks of a service have passed."""
        service = self._services[name]
        if not service.files and service.run.kind not in _KEPT_KINDS:
            return
        if all(self._checks[name, check_name].passing for check_name in service.all_checks()):
            self._healthy_since.setdefault(name, asyncio.get_running_loop().time())
        else:
            self._healthy_since.pop(name, None)

    async def _keep_up(self) -> None:
        """Bound the logs, and tell which services are proven to be healthy."""
        while True:
            await asyncio.sleep(_UPKEEP_SECONDS)
            for name, service in self._services.items():
                await self._here.keep_up(name, service)
                if name in self._healthy_since:
                    await self._tell_healthy(name, service)

    async def _tell_healthy(self, name: str, service: Service) -> None:
        run = await self._here.newest(name, service)
        proven_after = service.keep_good_after.total_seconds()
        healthy_for = asyncio.get_running_loop().time() - self._healthy_since[name]
        if run is None or min(healthy_for, run.age_seconds) < proven_after:
            return
        version = (run.id, tuple(self._file_version(service, index) for index in range(len(service.files))))
        if self._kept.get(name) == version:
            return
        try:
            await self._on_healthy(name)
        except UnavailableError as error:
            self._reachability.lost(error)
            return
        except ActionError as error:  # it is healthy all the same: tried again when it is another one
            log.warning("what makes a healthy service cannot be kept", service=name, reason=clean(str(error)))
        self._kept[name] = version

    def _file_version(self, service: Service, index: int) -> tuple[int, int, int] | None:
        try:
            status = (self._here.directory / service.files[index].path).stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ctime_ns, status.st_size
