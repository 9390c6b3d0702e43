"""The watch over the services of one host: probes on time, exits at once, changes told once.

It knows no engine and no database: what it sees goes to the callbacks that it is given, and what it must remember
beyond its own life is in `snapshot`. Time is monotonic throughout, so a change of the clock turns no check.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta

from brainops.checks.outbox import Changes, Reachability, Samples
from brainops.checks.probe import Prober
from brainops.checks.watched import CheckConfig, WatchedCheck
from brainops.config.models import LOCAL_HOST, ProcessCheck, Service
from brainops.contracts.base import DEFAULT_TENANT
from brainops.contracts.check import CheckState, CheckStatus, Observation, ProbeResult, Reason, Sample
from brainops.errors import UnavailableError
from brainops.services import procfs
from brainops.services.process import ProcessAdapter

CONCURRENT_PROBES = 256
_FIRST_PROBE_WITHIN = timedelta(seconds=10)
_STARTS_LOOK_SECONDS = 0.1
_START_SEEN_WITHIN_SECONDS = 5.0
_UPKEEP_SECONDS = 1.0

Look = Callable[[str, CheckConfig, Service], Awaitable[ProbeResult]]
"""One probe of a service's check."""
OnChange = Callable[[CheckState, Observation], Awaitable[None]]
OnSamples = Callable[[list[Sample]], Awaitable[None]]
OnHealthy = Callable[[str], Awaitable[None]]

GoodVersion = tuple[str, tuple[tuple[int, int, int] | None, ...]]
"""A start of a service and the versions of its declared files."""


class Watcher:
    """Watches `services` until `run` is cancelled.

    `previous`: states to go on from; known failures are not told again, sequence numbers continue.
    `on_change`: a check turned. `on_samples`: probe results, in batches. Both may raise UnavailableError and are then
    asked again. `on_healthy`: a service with declared files has passed all its checks for `keep_good_after`; once
    for each start and version of the files. `look`: how a probe is made; the network and the adapter by default.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        adapter: ProcessAdapter,
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
        self._adapter = adapter
        self._on_change = on_change
        self._on_healthy = on_healthy
        self._host = host
        self._tenant_id = tenant_id
        self._look = look
        self._reachability = Reachability()
        self._changes = Changes(self._tell_change, self._reachability)
        self._samples = Samples(on_samples, self._reachability)
        self._slots = asyncio.Semaphore(CONCURRENT_PROBES)
        self._started = {name: asyncio.Event() for name in self._services}
        self._healthy_since: dict[str, float] = {}
        self._kept: dict[str, GoodVersion] = {}
        known = {(state.service, state.check): state for state in previous}
        self._checks = {
            (name, check_name): WatchedCheck.resume(name, check_name, service, check, known.get((name, check_name)))
            for name, service in self._services.items()
            for check_name, check in service.all_checks().items()
        }

    async def run(self) -> None:
        """Watch for ever. Ends only by cancellation, or by an error of a callback other than UnavailableError."""
        async with Prober() as prober, asyncio.TaskGroup() as tasks:
            look = self._look or self._network_look(prober)
            for watched in self._checks.values():
                tasks.create_task(self._probe_for_ever(watched, look, tasks))
            for name in self._services:
                tasks.create_task(self._follow_process(name, look, tasks))
            tasks.create_task(self._notice_starts())
            tasks.create_task(self._samples.deliver_for_ever())
            tasks.create_task(self._keep_up())

    def snapshot(self) -> list[CheckState]:
        """All states as they are now, to be given to the next watcher."""
        return [watched.state for watched in self._checks.values()]

    @property
    def dropped_samples(self) -> int:
        """Samples that were lost because the other side was away for too long."""
        return self._samples.dropped

    def notify_started(self, name: str) -> None:
        """This process has just started the service: its exit is watched from now on, not from the next look."""
        if name in self._started:
            self._started[name].set()

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

    def _network_look(self, prober: Prober) -> Look:
        async def look(name: str, check: CheckConfig, service: Service) -> ProbeResult:
            return await prober.probe(name, check, service, self._adapter)

        return look

    async def _probe_for_ever(self, watched: WatchedCheck, look: Look, tasks: asyncio.TaskGroup) -> None:
        """Probe at `due`, `due + interval`, …: the duration of a probe moves no later one; missed ones are left out."""
        loop = asyncio.get_running_loop()
        interval = watched.check.interval.total_seconds()
        due = loop.time() + random.uniform(0, min(interval, _FIRST_PROBE_WITHIN.total_seconds()))  # noqa: S311
        while True:
            await asyncio.sleep(due - loop.time())
            async with self._slots:
                result = await look(watched.service_name, watched.check, watched.service)
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

    async def _follow_process(self, name: str, look: Look, tasks: asyncio.TaskGroup) -> None:
        """Wait for the end of each start of a service. An end is a fact, unless BrainOps was asked for it."""
        followed = ""
        started = self._started[name]
        while True:
            run = self._adapter.newest(name)
            if run is None or run.effect_key == followed:
                await self._wait_for_start(started)
                continue
            await self._adapter.exited(name)
            followed = run.effect_key
            if not self._adapter.meant_to_end(name):
                await self._exit_seen(name, look, tasks)

    async def _notice_starts(self) -> None:
        """One look for all services, so that those that do not run cost nothing."""
        seen = self._adapter.last_start()
        while True:
            await asyncio.sleep(_STARTS_LOOK_SECONDS)
            if (newest := self._adapter.last_start()) != seen:
                seen = newest
                for started in self._started.values():
                    started.set()

    async def _wait_for_start(self, started: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(_START_SEEN_WITHIN_SECONDS):
                await started.wait()
            started.clear()
        except TimeoutError:  # a start may have been overlooked after a change of the clock
            return

    async def _exit_seen(self, name: str, look: Look, tasks: asyncio.TaskGroup) -> None:
        for watched in self._checks.values():
            if watched.service_name == name and isinstance(watched.check, ProcessCheck):
                result = await look(name, watched.check, watched.service)
                self._seen(watched, result, tasks, fact=result.reason is Reason.EXITED)

    def _note_health(self, name: str) -> None:
        """Remember since when all checks of a service have passed."""
        service = self._services[name]
        if not service.files:
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
                await self._adapter.rotate_log(name)
                if name in self._healthy_since:
                    await self._tell_healthy(name, service)

    async def _tell_healthy(self, name: str, service: Service) -> None:
        run = self._adapter.newest(name)
        proven_after = service.keep_good_after.total_seconds()
        healthy_for = asyncio.get_running_loop().time() - self._healthy_since[name]
        if run is None or min(healthy_for, procfs.age_seconds(run.start_ticks)) < proven_after:
            return
        version = (run.effect_key, tuple(self._file_version(service, index) for index in range(len(service.files))))
        if self._kept.get(name) == version:
            return
        try:
            await self._on_healthy(name)
        except UnavailableError as error:
            self._reachability.lost(error)
            return
        self._kept[name] = version

    def _file_version(self, service: Service, index: int) -> tuple[int, int, int] | None:
        try:
            status = (self._adapter.directory / service.files[index].path).stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ctime_ns, status.st_size
