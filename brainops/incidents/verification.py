"""Verification: whether a remedy helped, by the check that failed and its neighbours.

Checks are polled quickly at first and then ever more slowly, so that proof costs little beyond what the service needs
to come up. It is not waited for what cannot come: a process that has ended again is the end of it.
"""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta

from brainops.checks.probe import Prober
from brainops.config.checks import HttpCheck, TcpCheck
from brainops.config.models import Service
from brainops.contracts.check import ProbeResult, Reason
from brainops.contracts.incident import Evidence, FaultKind, Verification
from brainops.contracts.service import ServiceStatus
from brainops.errors import NotFoundError
from brainops.incidents.beating import Beat, beating
from brainops.incidents.fresh_look import FreshLook
from brainops.incidents.signature import classify
from brainops.services.host import HostServices
from brainops.telemetry.redaction import clean
from brainops.telemetry.templates import error_line

FIRST_DELAY_SECONDS = 0.015
_GROWTH = 1.4

STABLE_SECONDS = 0.3
STABLE_ROUNDS = 2
"""Checks must go on passing this long, and this often, after they first passed: crash loops and slow ones pass, too."""

_DEPENDENT_SECONDS = 3.0
_LOOK_SECONDS = 1.0
_LOG_BYTES = 16 * 1024


class Verifier:
    """Verifies on one host. `services`: all that are configured."""

    def __init__(self, prober: Prober, host: HostServices, services: Mapping[str, Service]) -> None:
        self._look_at = FreshLook(prober, services)
        self._host = host
        self._services = services

    async def verify(
        self, service_name: str, check_name: str, dependents: Iterable[str], before: Evidence, beat: Beat
    ) -> Verification:
        """Whether all checks of the service pass now, and stay so.

        `check_name`: the incident's own check, told first where several fail. `dependents`: services that failed
        because of this one; they get a moment after it passes, and those that still fail are only named. `before`:
        the evidence on which the remedy was chosen; what passed then and fails now is harm. `beat`: see `Beat`.
        Takes at most the service's `recover_within` and one probe, and about four seconds for the others.
        """
        service = self._services.get(service_name)
        if service is None:
            raise NotFoundError(f"there is no service {service_name} in the configuration; it may have been removed")
        return await beating(self._verify(service_name, check_name, service, tuple(dependents), before), beat)

    async def _verify(
        self, name: str, check_name: str, service: Service, dependents: tuple[str, ...], before: Evidence
    ) -> Verification:
        loop = asyncio.get_running_loop()
        began = loop.time()
        watch = _Watch(self, name, check_name, service)
        seen = await watch.run()
        broken, unwell = await asyncio.gather(
            self._broken_dependencies(before), self._failing_dependents(dependents) if seen.ok else _nothing()
        )
        harmed = broken or (not seen.ok and _harmed(service, before, seen.failing))
        failing = tuple(f"{name}/{check}" for check in seen.failing) + unwell + broken
        return Verification(
            ok=seen.ok,
            summary=seen.summary[:500],
            failing=failing,
            seconds=loop.time() - began,
            harmful=bool(harmed),
        )

    async def look(self, name: str, check: str, within: timedelta | None = None) -> ProbeResult | None:
        """One probe. None: no answer in time."""
        return await self._look_at.at(name, check, within)

    async def ended(self, name: str, service: Service) -> None:
        """Wait until the service has no process."""
        await self._host.ended(name, service)

    async def last_words(self, name: str, service: Service) -> str:
        """How the process ended, and the last error of its log."""
        state = await self._host.state(name, service, memory=False)
        raw = await self._host.tail(name, service, _LOG_BYTES)
        line = error_line(clean(raw, _LOG_BYTES), exited=True)
        how = state.detail or ("it was never started" if state.status is ServiceStatus.NEVER_STARTED else "it ended")
        return f"{how}{': ' if line else ''}{line}"

    async def _failing_dependents(self, dependents: tuple[str, ...]) -> tuple[str, ...]:
        """`service/check` of dependents' checks that do not pass within a moment."""
        known = [name for name in dependents if name in self._services]
        found = await asyncio.gather(
            *(self._fails_for(name, check) for name in known for check in self._services[name].all_checks())
        )
        return tuple(one for one in found if one)

    async def _fails_for(self, name: str, check_name: str) -> str:
        check = self._services[name].all_checks()[check_name]
        patience = min(max(1.0, 2 * check.interval.total_seconds() * check.fail_after), _DEPENDENT_SECONDS)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        delay = FIRST_DELAY_SECONDS
        while True:
            result = await self.look(name, check_name, timedelta(seconds=_LOOK_SECONDS))
            if result is not None and result.ok:
                return ""
            if loop.time() + delay >= deadline:
                return f"{name}/{check_name}"
            await asyncio.sleep(delay)
            delay = min(delay * _GROWTH, check.interval.total_seconds())

    async def _broken_dependencies(self, before: Evidence) -> tuple[str, ...]:
        """Checks of dependencies that passed before and fail now, for as long as their check needs to be believed."""
        passed = [fact.service for fact in before.dependencies if fact.passing and fact.service in self._services]
        return await self._failing_dependents(tuple(passed))


class _Seen:
    """What watching came to."""

    def __init__(self, summary: str, failing: tuple[str, ...] = ()) -> None:
        self.ok = not failing
        self.summary = summary
        self.failing = failing


class _Watch:
    """Watches one service until its checks pass, cannot pass any more, or time is over."""

    def __init__(self, verifier: Verifier, name: str, check_name: str, service: Service) -> None:
        self._verifier = verifier
        self._name = name
        self._service = service
        checks = service.all_checks()
        self._checks = dict(sorted(checks.items(), key=lambda item: item[0] != check_name))
        self._in_a_row = dict.fromkeys(self._checks, 0)
        self._last: dict[str, ProbeResult | None] = dict.fromkeys(self._checks)

    async def run(self) -> _Seen:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._service.recover_within.total_seconds()
        longest_delay = min(check.interval.total_seconds() for check in self._checks.values())
        exited = asyncio.ensure_future(self._verifier.ended(self._name, self._service))
        passing_since: float | None = None
        delay, rounds = FIRST_DELAY_SECONDS, 0
        try:
            while True:
                if not await self._look_at_all(exited):
                    words = await self._verifier.last_words(self._name, self._service)
                    return _Seen(f"{self._name} {words}", tuple(self._checks))
                now = loop.time()
                if self._all_pass():
                    passing_since, rounds = (now, 0) if passing_since is None else (passing_since, rounds + 1)
                    if now - passing_since >= STABLE_SECONDS and rounds >= STABLE_ROUNDS:
                        return _Seen(f"all {len(self._checks)} checks of {self._name} pass")
                else:
                    passing_since = None
                if now + delay >= deadline and passing_since is None:
                    return self._failed()
                await asyncio.wait({exited}, timeout=delay)
                delay = min(delay * _GROWTH, longest_delay) if passing_since is None else STABLE_SECONDS / STABLE_ROUNDS
        finally:
            exited.cancel()
            await asyncio.gather(exited, return_exceptions=True)

    async def _look_at_all(self, exited: "asyncio.Future[None]") -> bool:
        """Probe every check once; False when the process has ended before all have answered."""
        looking = asyncio.ensure_future(
            asyncio.gather(*(self._verifier.look(self._name, check) for check in self._checks))
        )
        await asyncio.wait({looking, exited}, return_when=asyncio.FIRST_COMPLETED)
        if exited.done():
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            return False
        for check, result in zip(self._checks, looking.result(), strict=True):
            self._last[check] = result
            self._in_a_row[check] = self._in_a_row[check] + 1 if result is not None and result.ok else 0
        return True

    def _all_pass(self) -> bool:
        return all(self._in_a_row[name] >= check.pass_after for name, check in self._checks.items())

    def _failed(self) -> _Seen:
        failing = tuple(name for name, check in self._checks.items() if self._in_a_row[name] < check.pass_after)
        result = self._last[failing[0]]
        why = (result.detail or result.reason.value) if result is not None and not result.ok else "not yet steady"
        return _Seen(f"{self._name}/{failing[0]} still fails: {why}", failing)


def _harmed(service: Service, before: Evidence, failing: Iterable[str]) -> bool:
    """Whether something that served users before fails now.

    A live process serves nobody by living, and the kernel accepts connections for one that hangs.
    """
    hung = classify(before) is FaultKind.HANG
    checks = service.all_checks()
    serving = {
        name
        for name in failing
        if isinstance(checks[name], HttpCheck) or (isinstance(checks[name], TcpCheck) and not hung)
    }
    return any(before.probes.get(name) is Reason.NONE for name in serving)


async def _nothing() -> tuple[str, ...]:
    return ()
