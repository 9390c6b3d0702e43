"""The watch: exits at once, failures after confirmation, nothing for noise, nothing lost while others are away."""

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from pathlib import Path

import pytest

from brainops.checks.base import Subject
from brainops.checks.outbox import Reachability, Samples
from brainops.checks.watched import CheckConfig
from brainops.checks.watcher import Look, Watcher
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.contracts.check import CheckState, CheckStatus, Observation, ProbeResult, Reason, Sample
from brainops.errors import ActionError, UnavailableError
from brainops.services.host import HostServices
from brainops.services.process import ProcessAdapter

OK = ProbeResult(ok=True, latency_ms=1)
BAD = ProbeResult(ok=False, reason=Reason.STATUS, detail="503", latency_ms=1)


def make_service(*, http_interval: str = "20ms", process_interval: str = "1h", **more: object) -> Service:
    return Service.model_validate(
        {
            "run": {"command": ["sleep", "600"]},
            "checks": {
                "web": {"kind": "http", "url": "http://127.0.0.1:1/", "interval": http_interval},
                "process": {"kind": "process", "interval": process_interval},
            },
            **more,
        }
    )


class Witness:
    """Takes what a watcher tells, and can be away."""

    def __init__(self) -> None:
        self.changes: list[Observation] = []
        self.samples: list[Sample] = []
        self.healthy: list[str] = []
        self.away = False
        self.refused = 0

    def _here(self) -> None:
        if self.away:
            self.refused += 1
            raise UnavailableError("the database does not answer")

    async def on_change(self, state: CheckState, observation: Observation) -> None:
        self._here()
        assert state.seq == observation.seq
        self.changes.append(observation)

    async def on_samples(self, samples: list[Sample]) -> None:
        self._here()
        self.samples += samples

    async def on_healthy(self, service: str) -> None:
        self._here()
        self.healthy.append(service)

    def of(self, check: str) -> list[tuple[int, bool, Reason]]:
        return [(seen.seq, seen.failing, seen.reason) for seen in self.changes if seen.check == check]

    async def until(self, condition: Callable[[], object], seconds: float = 5) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.002)


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[HostServices]:
    paths = StatePaths(tmp_path / "state")
    host = HostServices(paths, tmp_path)
    yield host
    for folder in paths.services.glob("*"):
        await host.stop(folder.name, make_service())


@pytest.fixture
def adapter(host: HostServices) -> ProcessAdapter:
    return host.processes.adapter


@asynccontextmanager
async def watching(
    witness: Witness,
    host: HostServices,
    service: Service,
    look: Look | None = None,
    previous: list[CheckState] | None = None,
) -> AsyncGenerator[Watcher]:
    watcher = Watcher(
        {"shop": service},
        host,
        on_change=witness.on_change,
        on_samples=witness.on_samples,
        on_healthy=witness.on_healthy,
        previous=previous or (),
        look=look,
    )
    running = asyncio.create_task(watcher.run())
    try:
        yield watcher
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def scripted(answer: Callable[[int], ProbeResult]) -> tuple[Look, dict[str, int]]:
    """Answers the n-th probe of the http check with `answer(n)`, and the process check with ok."""
    counts: dict[str, int] = defaultdict(int)

    async def look(subject: Subject, check: CheckConfig) -> ProbeResult:
        counts[check.kind] += 1
        return answer(counts["http"]) if check.kind == "http" else OK

    return look, counts


async def test_an_exit_is_told_at_once_and_with_its_cause(
    host: HostServices, adapter: ProcessAdapter, witness: Witness
) -> None:
    service = make_service()
    record = await adapter.start("shop", service, "key-1")
    async with watching(witness, host, service):
        await asyncio.sleep(0.05)
        killed_at = time.perf_counter()
        os.kill(record.pid, signal.SIGKILL)
        await witness.until(lambda: witness.of("process"))
        assert time.perf_counter() - killed_at < 0.5  # the next probe is an hour away
    [exit_seen] = [seen for seen in witness.changes if seen.check == "process"]
    assert (exit_seen.failing, exit_seen.reason, exit_seen.detail) == (True, Reason.EXITED, "killed by SIGKILL")


async def test_each_start_is_followed_however_short_it_lives(
    host: HostServices, adapter: ProcessAdapter, witness: Witness
) -> None:
    service = make_service(process_interval="20ms")
    async with watching(witness, host, service) as watcher:
        for index in range(3):
            record = await adapter.start("shop", service, f"key-{index}")
            await witness.until(lambda: watcher.snapshot()[0].status is CheckStatus.PASSING)
            os.kill(record.pid, signal.SIGKILL)
            await witness.until(lambda: watcher.snapshot()[0].status is CheckStatus.FAILING)
    failures = [seen for seen in witness.of("process") if seen[2] is Reason.EXITED]
    assert len(failures) == 3


async def test_an_exit_that_happened_while_nobody_watched_is_told_at_once(
    host: HostServices, adapter: ProcessAdapter, witness: Witness
) -> None:
    service = make_service()
    record = await adapter.start("shop", service, "key-1")
    os.kill(record.pid, signal.SIGKILL)
    await adapter.exited("shop")
    was = CheckState(service="shop", check="process", status=CheckStatus.PASSING, seq=7, since=datetime.now(UTC))
    async with watching(witness, host, service, previous=[was]):
        await witness.until(lambda: witness.of("process"))
    assert witness.of("process") == [(8, True, Reason.EXITED)]


async def test_a_stop_by_brainops_is_no_failure_unless_nothing_follows(
    host: HostServices, adapter: ProcessAdapter, witness: Witness
) -> None:
    service = make_service(process_interval="400ms")
    await adapter.start("shop", service, "key-1")
    async with watching(witness, host, service):
        await witness.until(lambda: witness.of("process"))
        await adapter.stop("shop", service)
        await adapter.start("shop", service, "key-2")
        await asyncio.sleep(0.9)
        assert witness.of("process") == [(1, False, Reason.NONE)]
        await adapter.stop("shop", service)
        await witness.until(lambda: len(witness.of("process")) == 2)
    assert witness.of("process")[1] == (2, True, Reason.EXITED)


async def test_a_service_that_was_never_started_fails_after_confirmation(host: HostServices, witness: Witness) -> None:
    async with watching(witness, host, make_service(process_interval="20ms")):
        await witness.until(lambda: witness.of("process"))
    assert witness.of("process") == [(1, True, Reason.NOT_RUNNING)]


async def test_noise_turns_nothing(host: HostServices, witness: Witness) -> None:
    slow_within_limits = ProbeResult(ok=True, latency_ms=900)
    look, counts = scripted(lambda n: BAD if n % 3 == 0 else slow_within_limits)
    async with watching(witness, host, make_service(), look):
        await witness.until(lambda: counts["http"] > 30)
    assert witness.of("web") == [(1, False, Reason.NONE)]


async def test_a_failure_and_its_end_are_told_once_each(host: HostServices, witness: Witness) -> None:
    look, counts = scripted(lambda n: BAD if 5 <= n < 15 else OK)
    async with watching(witness, host, make_service(), look):
        await witness.until(lambda: counts["http"] > 25)
    assert witness.of("web") == [(1, False, Reason.NONE), (2, True, Reason.STATUS), (3, False, Reason.NONE)]


async def test_another_watch_goes_on_without_telling_known_failures_again(host: HostServices, witness: Witness) -> None:
    look, counts = scripted(lambda n: BAD if n < 10 else OK)
    was = CheckState(
        service="shop", check="web", status=CheckStatus.FAILING, seq=41, reason=Reason.RESET, since=datetime.now(UTC)
    )
    async with watching(witness, host, make_service(), look, [was]) as watcher:
        await witness.until(lambda: counts["http"] > 5)
        assert witness.of("web") == []
        known = watcher.snapshot()[1]
        assert (known.status, known.seq, known.reason, known.since) == (
            CheckStatus.FAILING,
            41,
            Reason.STATUS,
            was.since,
        )
        await witness.until(lambda: witness.of("web"))
    assert witness.of("web") == [(42, False, Reason.NONE)]


async def test_a_failure_that_nobody_works_on_is_counted_anew(host: HostServices, witness: Witness) -> None:
    look, _ = scripted(lambda _: BAD)
    async with watching(witness, host, make_service(), look) as watcher:
        await witness.until(lambda: witness.of("web"))
        again = watcher.announce_again("shop", "web")
        assert again is not None
        observation = watcher.observation_for(again)
        assert (observation.seq, observation.failing, observation.detail) == (2, True, "503")
        assert watcher.announce_again("shop", "process") is None
        assert watcher.announce_again("shop", "unknown") is None
        assert watcher.snapshot()[1].seq == 2


async def test_while_the_database_is_away_the_newest_change_and_the_samples_wait(
    host: HostServices, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brainops.checks.outbox.SAMPLES_INTERVAL_SECONDS", 0.05)
    look, counts = scripted(lambda n: BAD if n < 12 else OK)
    witness.away = True
    async with watching(witness, host, make_service(), look) as watcher:
        await witness.until(lambda: counts["http"] > 15)
        assert witness.refused > 2
        assert watcher.announce_again("shop", "web") is None
        witness.away = False
        await witness.until(lambda: witness.of("web") and len(witness.samples) > 15)
    assert witness.of("web")[-1] == (2, False, Reason.NONE)  # 1 was superseded or told before
    times = [sample.at for sample in witness.samples if sample.check == "web"]
    assert times == sorted(times)
    assert [sample.ok for sample in witness.samples if sample.check == "web"][:12] == [False] * 11 + [True]


async def test_waiting_samples_are_bounded_and_the_oldest_go(witness: Witness) -> None:
    samples = Samples(witness.on_samples, Reachability(), kept=3)
    witness.away = True
    every = [Sample(service="shop", check="web", at=datetime.now(UTC), ok=True, latency_ms=index) for index in range(5)]
    for sample in every:
        samples.put(sample)
        await samples.deliver()
    witness.away = False
    await samples.deliver()
    assert witness.samples == every[2:]
    assert samples.dropped == 2


async def test_probes_keep_their_schedule_however_long_they_take(host: HostServices, witness: Witness) -> None:
    begun: list[float] = []

    async def look(subject: Subject, check: CheckConfig) -> ProbeResult:
        if check.kind == "http":
            begun.append(time.monotonic())
            await asyncio.sleep(0.12 if len(begun) == 3 else 0.02)  # the third one misses the slot of the next
        return OK

    async with watching(witness, host, make_service(http_interval="50ms"), look):
        await witness.until(lambda: len(begun) > 12)
    slots = [(moment - begun[0]) / 0.05 for moment in begun]
    late = sorted(slot - int(slot + 0.1) for slot in slots)
    assert late[len(late) // 2] < 0.3
    assert slots[12] > 13.9


async def test_what_cannot_be_kept_of_a_healthy_service_stops_no_watch(
    host: HostServices, adapter: ProcessAdapter, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brainops.checks.watcher._UPKEEP_SECONDS", 0.02)
    tried: list[str] = []

    async def refused(service: str) -> None:
        tried.append(service)
        raise ActionError("the engine refuses to remove the container that was replaced")

    monkeypatch.setattr(witness, "on_healthy", refused)
    service = make_service(files=[{"path": "missing"}], keep_good_after="1ms", process_interval="20ms")
    look, _ = scripted(lambda _: OK)
    await adapter.start("shop", service, "key-1")
    async with watching(witness, host, service, look):
        await witness.until(lambda: tried)
        await asyncio.sleep(0.1)
        assert tried == ["shop"]


async def test_a_healthy_service_is_told_once_for_each_start_and_version_of_its_files(
    host: HostServices, adapter: ProcessAdapter, witness: Witness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brainops.checks.watcher._UPKEEP_SECONDS", 0.02)
    settings = tmp_path / "settings.json"
    settings.write_text("{}")
    service = make_service(files=[{"path": "settings.json"}, {"path": "missing"}], keep_good_after="100ms")
    healthy = True
    look, _ = scripted(lambda _: OK if healthy else BAD)
    begun = time.monotonic()
    await adapter.start("shop", service, "key-1")
    async with watching(witness, host, make_service(keep_good_after="100ms"), look):
        await asyncio.sleep(0.15)
    assert witness.healthy == []  # it declares no files

    service = service.model_copy(update={"checks": make_service(process_interval="20ms").checks})
    async with watching(witness, host, service, look):
        await witness.until(lambda: witness.healthy)
        assert time.monotonic() - begun > 0.1
        await asyncio.sleep(0.1)
        assert witness.healthy == ["shop"]
        settings.write_text('{"changed": true}')
        await witness.until(lambda: len(witness.healthy) == 2)
        healthy = False
        await witness.until(lambda: any(seen[1] for seen in witness.of("web")))
        settings.write_text("broken")
        await asyncio.sleep(0.15)
        assert len(witness.healthy) == 2
        healthy = True
        witness.away = True
        await witness.until(lambda: witness.refused > 3)
        witness.away = False
        await witness.until(lambda: len(witness.healthy) == 3)


async def test_a_mistake_in_a_callback_ends_the_watch(host: HostServices) -> None:
    async def broken(state: CheckState, observation: Observation) -> None:
        raise ValueError("mistake")

    witness = Witness()
    look, _ = scripted(lambda _: OK)
    watcher = Watcher(
        {"shop": make_service()},
        host,
        on_change=broken,
        on_samples=witness.on_samples,
        on_healthy=witness.on_healthy,
        look=look,
    )
    with pytest.raises(ExceptionGroup) as raised:
        await watcher.run()
    assert raised.group_contains(ValueError, match="mistake")


async def test_a_jump_of_the_clock_turns_no_check_and_moves_no_probe(
    host: HostServices, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wall clock cannot be set here: what the watch reads of it is shifted, by a year forth and back."""
    shift = timedelta()

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + shift

    for module in ("watcher", "watched"):
        monkeypatch.setattr(f"brainops.checks.{module}.datetime", Jumping)
    begun: list[float] = []

    async def look(subject: Subject, check: CheckConfig) -> ProbeResult:
        if check.kind == "http":
            begun.append(time.monotonic())
        return OK

    async with watching(witness, host, make_service(http_interval="50ms"), look):
        for jump in (timedelta(days=365), timedelta(days=-365), timedelta()):
            shift, count = jump, len(begun)
            await witness.until(lambda count=count: len(begun) > count + 5)
    assert witness.of("web") == [(1, False, Reason.NONE)]
    gaps = sorted(after - before for before, after in pairwise(begun))
    assert gaps[len(gaps) // 2] < 0.5


async def test_checks_that_hang_delay_no_others(host: HostServices, witness: Witness) -> None:
    hanging = {f"h{number}": {"kind": "tcp", "port": 1, "interval": "20ms", "timeout": "60s"} for number in range(400)}
    quick = {"kind": "http", "url": "http://127.0.0.1:1/", "interval": "20ms"}
    service = Service.model_validate({"run": {"kind": "external"}, "checks": {**hanging, "web": quick}})
    held, seen = 0, 0

    async def look(_: Subject, check: CheckConfig) -> ProbeResult:
        nonlocal held, seen
        if check.kind == "tcp":
            held += 1
            await asyncio.Event().wait()
        seen += 1
        return OK

    async with watching(witness, host, service, look):
        await witness.until(lambda: held == 400)
        already = seen
        await witness.until(lambda: seen > already + 5)
