"""Containers of a real engine as services: looked at, started, stopped, broken."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from docker_engine import IMAGE, DockerEngine
from house import eventually, free_port

from brainops.checks.base import Subject
from brainops.checks.probe import Prober
from brainops.config.checks import HealthCheck
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.config.runs import DockerRun
from brainops.contracts.check import ProbeResult, Reason
from brainops.contracts.service import ServiceState, ServiceStatus
from brainops.errors import ActionError, UnavailableError
from brainops.services import procfs
from brainops.services.host import HostServices

PATIENCE = 30.0
_GREEDY = "sleep 1; exec dd if=/dev/zero of=/dev/null bs=64M"
"""The engine does not notice the limit of what dies in the same instant as it starts."""


@pytest.fixture
async def host(tmp_path: Path) -> AsyncGenerator[HostServices]:
    services = HostServices(StatePaths(tmp_path / "state"), tmp_path)
    yield services
    await services.close()


def shop(engine: DockerEngine, **run: object) -> Service:
    fields = {"container": "shop", "endpoint": engine.endpoint, "stop_timeout": timedelta(seconds=1), **run}
    return Service(run=DockerRun.model_validate({"kind": "docker", **fields}))


async def at(host: HostServices, service: Service, *wanted: ServiceStatus) -> ServiceState:
    """The state of `shop` once it is one of `wanted`."""

    async def seen() -> ServiceState | None:
        state = await host.state("shop", service)
        return state if state.status in wanted else None

    return await eventually(seen, f"shop is {[one.value for one in wanted]}", PATIENCE)


async def test_a_running_container_is_seen_with_its_memory_and_its_limit(
    docker_engine: DockerEngine, host: HostServices
) -> None:
    docker_engine.serve("shop", free_port(), mem_limit="64m")
    state = await host.state("shop", shop(docker_engine))
    assert state.status is ServiceStatus.RUNNING
    assert state.run is not None
    assert state.run.pid == docker_engine.pid("shop")
    assert state.memory_limit_bytes == 64 * 2**20
    assert state.rss_bytes is not None
    assert 0 < state.rss_bytes < 64 * 2**20
    assert state.supervisor is None


async def test_a_container_that_does_not_exist_was_never_started_and_says_how_to_make_it(
    docker_engine: DockerEngine, host: HostServices
) -> None:
    state = await host.state("shop", shop(docker_engine))
    assert state.status is ServiceStatus.NEVER_STARTED
    assert state.detail == "there is no container shop; make it with docker run or docker compose up"
    with pytest.raises(ActionError, match="there is no container shop"):
        await host.start("shop", shop(docker_engine), "k1")


async def test_the_beginning_of_an_id_is_no_name(docker_engine: DockerEngine, host: HostServices) -> None:
    container = docker_engine.serve("other", free_port())
    state = await host.state("shop", shop(docker_engine, container=container[:12]))
    assert state.status is ServiceStatus.NEVER_STARTED


async def test_a_killed_process_is_an_exit_by_its_signal_told_at_once(
    docker_engine: DockerEngine, host: HostServices
) -> None:
    service = shop(docker_engine)
    docker_engine.serve("shop", free_port())
    assert await host.newest("shop", service) is not None
    ended = asyncio.create_task(host.ended("shop", service))
    await asyncio.sleep(0)
    assert not ended.done()
    os.kill(docker_engine.pid("shop"), signal.SIGKILL)
    await asyncio.wait_for(ended, PATIENCE)
    state = await host.state("shop", service)
    assert (state.status, state.detail) == (ServiceStatus.EXITED, "killed by SIGKILL")
    assert state.exit is not None
    assert state.exit.signal == signal.SIGKILL
    assert not state.memory_killed
    assert not await host.meant_to_end("shop", service)


async def test_an_exit_code_is_told(docker_engine: DockerEngine, host: HostServices) -> None:
    docker_engine.run("shop", ["sh", "-c", "echo broken; exit 3"])
    state = await at(host, shop(docker_engine), ServiceStatus.EXITED)
    assert state.exit is not None
    assert (state.exit.exit_code, state.exit.signal, state.detail) == (3, None, "ended with exit code 3")


async def test_a_container_over_its_memory_limit_is_killed_by_it_and_the_limit_can_be_raised(
    docker_engine: DockerEngine, host: HostServices
) -> None:
    service = shop(docker_engine)
    docker_engine.run("shop", ["sh", "-c", _GREEDY], mem_limit="16m", memswap_limit="16m")

    async def killed() -> ServiceState | None:
        state = await host.state("shop", service)
        return state if state.memory_killed else None

    state = await eventually(killed, "the kernel's limit killed it", PATIENCE)
    assert (state.status, state.detail.partition(" of ")[0]) == (
        ServiceStatus.EXITED,
        "killed by SIGKILL: its memory limit",
    )
    assert await host.set_memory_limit("shop", service, 128 * 2**20) == 16 * 2**20
    await host.start("shop", service, "k1")
    state = await at(host, service, ServiceStatus.RUNNING)
    assert state.memory_limit_bytes == 128 * 2**20


async def test_a_paused_container_and_one_that_is_suspended_by_a_signal_hang(
    docker_engine: DockerEngine, host: HostServices
) -> None:
    service = shop(docker_engine)
    docker_engine.serve("shop", free_port())
    await at(host, service, ServiceStatus.RUNNING)
    docker_engine.client.pause("shop")
    await at(host, service, ServiceStatus.STOPPED)
    ended, run = await host.restart("shop", service, "k1")
    assert ended == "stopped container shop"
    assert run.id == (await at(host, service, ServiceStatus.RUNNING)).run.id  # type: ignore[union-attr]
    os.kill(docker_engine.pid("shop"), signal.SIGSTOP)
    await at(host, service, ServiceStatus.STOPPED)
    await host.restart("shop", service, "k2")
    await at(host, service, ServiceStatus.RUNNING)


async def test_a_restart_happens_once_for_an_effect_key_whoever_asks(
    docker_engine: DockerEngine, host: HostServices, tmp_path: Path
) -> None:
    service = shop(docker_engine)
    docker_engine.serve("shop", free_port())
    assert await host.happened("shop", service, "k1") is None
    _, run = await host.restart("shop", service, "k1")
    other = HostServices(StatePaths(tmp_path / "state"), tmp_path)
    try:
        known = await other.happened("shop", service, "k1")
        ended, again = await other.restart("shop", service, "k1")
    finally:
        await other.close()
    assert known is not None
    assert (known.id, again.id, ended) == (run.id, run.id, "")
    assert docker_engine.pid("shop") == run.pid


async def test_a_start_that_died_before_it_was_written_down_is_found_by_its_run(
    docker_engine: DockerEngine, host: HostServices, tmp_path: Path
) -> None:
    service = shop(docker_engine)
    docker_engine.serve("shop", free_port(), start=False)
    await host.start("shop", service, "k1")
    marker = tmp_path / "state" / "services" / "shop" / "effects" / "k1.containers.json"
    unfinished = marker.read_text().partition('"run":')[0] + '"run":null}'
    marker.write_text(unfinished)
    pid = docker_engine.pid("shop")
    assert await host.happened("shop", service, "k1") is not None
    await host.start("shop", service, "k1")
    assert docker_engine.pid("shop") == pid


async def test_a_service_that_runs_is_not_started_again(docker_engine: DockerEngine, host: HostServices) -> None:
    docker_engine.serve("shop", free_port())
    with pytest.raises(ActionError, match="runs already as container shop"):
        await host.start("shop", shop(docker_engine), "k1")


async def test_docker_stop_is_meant_and_docker_kill_is_not(docker_engine: DockerEngine, host: HostServices) -> None:
    service = shop(docker_engine)
    docker_engine.serve("shop", free_port())
    await at(host, service, ServiceStatus.RUNNING)
    docker_engine.client.stop("shop", timeout=0)
    await at(host, service, ServiceStatus.EXITED)
    assert await host.meant_to_end("shop", service)
    docker_engine.client.start("shop")
    await at(host, service, ServiceStatus.RUNNING)
    docker_engine.client.kill("shop")
    await at(host, service, ServiceStatus.EXITED)
    assert not await host.meant_to_end("shop", service)


async def test_what_docker_restarts_by_itself_is_told_and_judged(
    docker_engine: DockerEngine, host: HostServices
) -> None:
    service = shop(docker_engine)
    policy = {"Name": "on-failure", "MaximumRetryCount": 2}
    docker_engine.run("shop", ["sh", "-c", "exit 7"], restart_policy=policy)

    async def gave_up() -> ServiceState | None:
        state = await host.state("shop", service)
        return state if state.supervisor is not None and state.supervisor.gave_up else None

    state = await eventually(gave_up, "docker gave up", PATIENCE)
    assert state.status is ServiceStatus.EXITED
    assert state.supervisor is not None
    assert (state.supervisor.name, state.supervisor.policy, state.supervisor.restarts) == ("docker", "on-failure", 2)


async def test_a_start_by_somebody_else_is_told(docker_engine: DockerEngine, host: HostServices) -> None:
    service = shop(docker_engine)
    docker_engine.serve("shop", free_port(), start=False)
    assert await host.newest("shop", service) is None
    started = asyncio.create_task(host.started("shop", service, ""))
    await asyncio.sleep(0)
    docker_engine.client.start("shop")
    await asyncio.wait_for(started, PATIENCE)
    assert await host.newest("shop", service) is not None


async def test_the_log_is_that_of_the_newest_run_and_bounded(docker_engine: DockerEngine, host: HostServices) -> None:
    service = shop(docker_engine)
    said = "test -e /seen && echo second || echo first; touch /seen; sleep 600"
    docker_engine.run("shop", ["sh", "-c", said])

    async def written(word: bytes) -> bytes | None:
        text = await host.tail("shop", service, 1000)
        return text if word in text else None

    await eventually(lambda: written(b"first"), "the first line", PATIENCE)
    await host.restart("shop", service, "k1")
    text = await eventually(lambda: written(b"second"), "the second line", PATIENCE)
    assert b"first" not in text
    assert b"first" in await host.tail("shop", service, 1000, since_start=False)
    assert await host.tail("shop", service, 4) == b"ond\n"


async def test_a_port_is_the_containers_own(docker_engine: DockerEngine, host: HostServices) -> None:
    port, other = free_port(), free_port()
    docker_engine.serve("shop", port)
    docker_engine.serve("else", other)

    async def listening(number: int) -> procfs.Listener | None:
        return next(iter(procfs.listeners(number)), None)

    own = await eventually(lambda: listening(port), "shop listens", PATIENCE)
    strange = await eventually(lambda: listening(other), "the other listens", PATIENCE)
    assert await host.owns("shop", shop(docker_engine), own)
    assert not await host.owns("shop", shop(docker_engine), strange)


async def test_health_is_what_the_containers_own_check_says(
    docker_engine: DockerEngine, host: HostServices, tmp_path: Path
) -> None:
    service, check = shop(docker_engine), HealthCheck(kind="health")
    every = {"test": ["CMD", "test", "!", "-e", "/ill"], "interval": 300_000_000, "retries": 1, "timeout": 5 * 10**9}
    docker_engine.serve("shop", free_port(), healthcheck=every)

    async with Prober(host, tmp_path) as prober:

        async def looks(*, ok: bool) -> ProbeResult | None:
            result = await prober.look(Subject("shop", "health", service), check)
            return result if result.ok is ok and not result.detail.startswith("its health check is") else None

        await eventually(lambda: looks(ok=True), "healthy", PATIENCE)
        wanted = HealthCheck(kind="health", conditions=("[HEALTH] == starting",))
        assert (await prober.look(Subject("shop", "health", service), wanted)).reason is Reason.HEALTH
        run = docker_engine.client.exec_create("shop", ["touch", "/ill"])
        docker_engine.client.exec_start(run["Id"])
        result = await eventually(lambda: looks(ok=False), "unhealthy", PATIENCE)
        assert result.reason is Reason.HEALTH
        docker_engine.remove_all()
        docker_engine.serve("shop", free_port())

        async def says_what_to_declare() -> bool:
            result = await prober.look(Subject("shop", "health", service), check)
            return "has no health check; declare a HEALTHCHECK" in result.detail

        await eventually(says_what_to_declare, "a container without a health check", PATIENCE)


async def test_an_engine_that_goes_away_is_named_and_found_again(
    docker_engine: DockerEngine, host: HostServices
) -> None:
    service = shop(docker_engine)
    docker_engine.serve("shop", free_port())
    await at(host, service, ServiceStatus.RUNNING)
    docker_engine.stop()
    try:
        state = await at(host, service, ServiceStatus.UNSEEN)
        assert docker_engine.endpoint in state.detail
        assert await host.newest("shop", service) is None
        with pytest.raises(UnavailableError, match=docker_engine.endpoint):
            await host.start("shop", service, "k1")
        ended = asyncio.create_task(host.ended("shop", service))
        await asyncio.sleep(0.1)
        assert not ended.done()
    finally:
        docker_engine.start()
    # it was stopped together with its engine, which is seen without any event of it
    await asyncio.wait_for(ended, PATIENCE)
    assert (await at(host, service, ServiceStatus.EXITED)).exit is not None


async def test_an_engine_that_is_stuck_is_named_and_found_again(
    docker_engine: DockerEngine, host: HostServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brainops.services.docker_events.SILENCE_SECONDS", 0.2)
    monkeypatch.setattr("brainops.services.docker_events.ANSWER_SECONDS", 0.5)
    service = shop(docker_engine)
    docker_engine.serve("shop", free_port())
    await at(host, service, ServiceStatus.RUNNING)
    assert docker_engine.process is not None
    docker_engine.process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(20):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    await host.tail("shop", service, 1000)
        # what it holds are threads of its own: nobody else waits for one
        await asyncio.wait_for(asyncio.to_thread(os.getpid), 10)
        state = await at(host, service, ServiceStatus.UNSEEN)
        assert "gave no answer" in state.detail
    finally:
        docker_engine.process.send_signal(signal.SIGCONT)
    await at(host, service, ServiceStatus.RUNNING)


async def test_an_engine_that_was_never_there_says_what_to_do(tmp_path: Path, host: HostServices) -> None:
    service = Service(run=DockerRun(kind="docker", container="shop", endpoint=f"unix://{tmp_path}/none.sock"))
    state = await host.state("shop", service)
    assert state.status is ServiceStatus.UNSEEN
    assert "no Docker engine listens at unix://" in state.detail
    assert "systemctl start docker" in state.detail


async def test_a_container_is_kept_when_good_and_what_differs_is_named_without_values(
    docker_engine: DockerEngine, host: HostServices, tmp_path: Path
) -> None:
    service, port = shop(docker_engine), free_port()
    docker_engine.serve("shop", port, environment={"PASSWORD": "first-secret"})
    await host.keep_good("shop", service)
    facts = await host.container("shop", service)
    assert facts is not None
    assert (facts.known_good, facts.drifted, facts.image) == (True, (), IMAGE)
    kept = list((tmp_path / "state" / "services" / "shop" / "good-containers").iterdir())
    assert [oct(path.stat().st_mode & 0o777) for path in kept] == ["0o600"]
    docker_engine.remove_all()
    docker_engine.serve("shop", port, environment={"PASSWORD": "second-secret"}, mem_limit="64m")

    async def drifted() -> tuple[str, ...] | None:
        found = await host.container("shop", service)
        return found.drifted if found is not None and not found.missing else None

    names = await eventually(drifted, "drift", PATIENCE)
    assert "environment variable PASSWORD" in names
    assert "HostConfig.Memory" in names
    assert "secret" not in " ".join(names)
