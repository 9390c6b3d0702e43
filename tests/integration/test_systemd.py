"""Units through the adapter: what each state looks like, what is done once, and what a refusal says."""

import asyncio
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from systemd_stand_in import StandIn

from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.contracts.service import ServiceState, ServiceStatus
from brainops.errors import ActionError, NotAllowedError
from brainops.services.systemd import SystemdServices

UNIT = "shop.service"
SLEEP = [sys.executable, "-S", "-c", "import time; print('open', flush=True); time.sleep(600)"]
CRASH = [sys.executable, "-S", "-c", "import sys; print('no such table: items'); sys.exit(3)"]


def shop(**run: Any) -> Service:
    return Service.model_validate({"run": {"kind": "systemd", "unit": UNIT, **run}})


SHOP = shop()


@pytest.fixture
def services(tmp_path: Path) -> SystemdServices:
    return SystemdServices(StatePaths(tmp_path / "state"))


async def once(services: SystemdServices, wanted: ServiceStatus, service: Service = SHOP) -> ServiceState:
    """The state when it is `wanted`."""
    async with asyncio.timeout(20):
        while (state := await services.state("shop", service)).status is not wanted:
            await asyncio.sleep(0.02)
    return state


async def test_a_started_unit_runs_with_its_process_and_its_memory(systemd: StandIn, services: SystemdServices) -> None:
    systemd.add(UNIT, SLEEP)
    before = await services.state("shop", SHOP)
    run = await services.start("shop", SHOP, "plan.1.1")
    state = await services.state("shop", SHOP)
    assert before.status is ServiceStatus.NEVER_STARTED
    assert state.status is ServiceStatus.RUNNING
    assert state.run is not None
    assert (state.run.id, state.run.pid) == (run.id, systemd.pid(UNIT))
    assert state.rss_bytes is not None
    assert state.rss_bytes > 100_000
    assert state.supervisor is not None
    assert state.supervisor.gave_up


async def test_a_unit_whose_name_looks_like_an_option_is_a_unit(systemd: StandIn, services: SystemdServices) -> None:
    service = shop(unit="--force.service")
    systemd.add("--force.service", SLEEP)
    await services.start("shop", service, "plan.1.1")
    assert (await services.stop("shop", service)) == "stopped --force.service"


async def test_one_effect_key_starts_a_unit_once(systemd: StandIn, services: SystemdServices, tmp_path: Path) -> None:
    systemd.add(UNIT, SLEEP)
    first = await services.start("shop", SHOP, "plan.1.1")
    os.kill(systemd.pid(UNIT), signal.SIGKILL)
    await once(services, ServiceStatus.EXITED)
    again = await SystemdServices(StatePaths(tmp_path / "state")).start("shop", SHOP, "plan.1.1")
    assert again.id == first.id
    assert systemd.asked("start") == 1


async def test_a_restart_whose_worker_died_before_noting_it_is_found(
    systemd: StandIn, services: SystemdServices, tmp_path: Path
) -> None:
    systemd.add(UNIT, SLEEP)
    await services.start("shop", SHOP, "plan.1.1")
    _, run = await services.restart("shop", SHOP, "plan.2.1")
    mark = tmp_path / "state" / "services" / "shop" / "units" / "plan.2.1.json"
    mark.write_text('{"before": "another", "run": null}')
    found = await SystemdServices(StatePaths(tmp_path / "state")).happened("shop", SHOP, "plan.2.1")
    assert found is not None
    assert found.id == run.id
    assert await services.happened("shop", SHOP, "plan.3.1") is None


async def test_the_end_of_the_main_process_is_seen_as_it_happens(systemd: StandIn, services: SystemdServices) -> None:
    systemd.add(UNIT, SLEEP)
    await services.start("shop", SHOP, "plan.1.1")
    waiting = asyncio.create_task(services.ended("shop", SHOP))
    await asyncio.sleep(0)
    asked = systemd.asked("show")
    os.kill(systemd.pid(UNIT), signal.SIGKILL)
    await asyncio.wait_for(waiting, 20)
    state = await once(services, ServiceStatus.EXITED)
    assert state.exit is not None
    assert state.exit.signal == signal.SIGKILL
    assert state.detail == "killed by SIGKILL"
    assert asked < systemd.asked("show")
    assert not await services.meant_to_end("shop", SHOP)


async def test_a_suspended_unit_is_suspended(systemd: StandIn, services: SystemdServices) -> None:
    systemd.add(UNIT, SLEEP)
    await services.start("shop", SHOP, "plan.1.1")
    os.kill(systemd.pid(UNIT), signal.SIGSTOP)
    await once(services, ServiceStatus.STOPPED)
    _, run = await services.restart("shop", SHOP, "plan.2.1")
    state = await once(services, ServiceStatus.RUNNING)
    assert state.run is not None
    assert state.run.id == run.id


async def test_systemds_own_restart_is_seen_as_such(systemd: StandIn, services: SystemdServices) -> None:
    systemd.add(UNIT, SLEEP, restart="always", restart_seconds=1.5)
    first = await services.start("shop", SHOP, "plan.1.1")
    os.kill(systemd.pid(UNIT), signal.SIGKILL)
    state = await once(services, ServiceStatus.RESTARTING)
    assert state.supervisor is not None
    assert (state.supervisor.policy, state.supervisor.gave_up) == ("always", False)
    assert "about to start it again" in state.detail
    watching = asyncio.create_task(services.watch())
    await asyncio.wait_for(services.started("shop", SHOP, first.id), 20)
    watching.cancel()
    state = await once(services, ServiceStatus.RUNNING)
    assert state.run is not None
    assert state.run.id != first.id
    assert state.supervisor is not None
    assert state.supervisor.restarts == 1


async def test_a_unit_that_systemd_gave_up_is_started_all_the_same(systemd: StandIn, services: SystemdServices) -> None:
    systemd.add(UNIT, CRASH, restart="on-failure", restart_seconds=0.02, burst=3)
    await services.start("shop", SHOP, "plan.1.1")
    async with asyncio.timeout(20):
        while systemd.state(UNIT)["ActiveState"] != "failed":
            await asyncio.sleep(0.02)
    state = await services.state("shop", SHOP)
    assert state.status is ServiceStatus.EXITED
    assert state.exit is not None
    assert state.exit.exit_code == 3
    assert state.supervisor is not None
    assert state.supervisor.gave_up
    assert "gave up" in state.detail
    starts = await services.starts("shop", SHOP, timedelta(minutes=1))
    assert [start.exit.exit_code for start in starts if start.exit is not None] == [3, 3, 3]
    assert b"no such table: items" in await services.tail("shop", SHOP, 1000)
    systemd.add(UNIT, SLEEP)
    await services.start("shop", SHOP, "plan.2.1")
    assert (await services.state("shop", SHOP)).status is ServiceStatus.RUNNING


async def test_a_person_who_stops_a_unit_means_it(systemd: StandIn, services: SystemdServices) -> None:
    systemd.add(UNIT, SLEEP)
    await services.start("shop", SHOP, "plan.1.1")
    await services.state("shop", SHOP)
    await services.stop("shop", SHOP)  # as `systemctl stop` of a person: systemd forgets the run
    state = await services.state("shop", SHOP)
    assert state.status is ServiceStatus.EXITED
    assert await services.meant_to_end("shop", SHOP)


async def test_a_unit_that_ends_well_by_itself_was_not_stopped(systemd: StandIn, services: SystemdServices) -> None:
    systemd.add(UNIT, [sys.executable, "-S", "-c", "pass"])
    await services.start("shop", SHOP, "plan.1.1")
    state = await once(services, ServiceStatus.EXITED)
    assert state.exit is not None
    assert state.exit.exit_code == 0
    assert not await services.meant_to_end("shop", SHOP)


async def test_reload_keeps_the_process_and_needs_to_be_declared(systemd: StandIn, services: SystemdServices) -> None:
    systemd.add(UNIT, SLEEP)
    await services.start("shop", SHOP, "plan.1.1")
    with pytest.raises(NotAllowedError, match=r"services\.shop\.run\.reload"):
        await services.reload("shop", SHOP)
    with pytest.raises(ActionError, match="not applicable"):
        await services.reload("shop", shop(reload=True))


async def test_the_memory_limit_is_set_and_the_old_one_told(systemd: StandIn, services: SystemdServices) -> None:
    systemd.add(UNIT, SLEEP)
    await services.start("shop", SHOP, "plan.1.1")
    with pytest.raises(ActionError, match="MemoryMax"):
        await services.set_memory_limit("shop", SHOP, 2_000_000)
    with (systemd.folder / "state" / UNIT).open() as state:
        values = state.read().replace("{", '{"MemoryMax": "1000000", ', 1)
    (systemd.folder / "state" / UNIT).write_text(values)
    assert await services.set_memory_limit("shop", SHOP, 2_000_000) == 1_000_000
    assert (await services.state("shop", SHOP)).memory_limit_bytes == 2_000_000


REFUSALS = [
    ("missing", "there is no unit shop.service", "not found.*list-unit-files"),
    ("masked", "shop.service is masked", "is masked.*unmask"),
]


@pytest.mark.parametrize(("load", "seen", "refused"), REFUSALS, ids=[row[0] for row in REFUSALS])
async def test_a_unit_that_cannot_be_loaded_says_why(
    systemd: StandIn, services: SystemdServices, load: str, seen: str, refused: str
) -> None:
    if load != "missing":
        systemd.add(UNIT, SLEEP, load=load)
    state = await services.state("shop", SHOP)
    assert state.status is ServiceStatus.NEVER_STARTED
    assert seen in state.detail
    with pytest.raises(ActionError, match=refused):
        await services.start("shop", SHOP, "plan.1.1")


async def test_a_missing_permission_is_named_with_its_remedy(systemd: StandIn, services: SystemdServices) -> None:
    systemd.add(UNIT, SLEEP)
    systemd.forbid()
    with pytest.raises(ActionError, match=r"authentication required.*run BrainOps as root"):
        await services.start("shop", SHOP, "plan.1.1")


async def test_where_systemd_does_not_run_the_unit_is_unseen(
    services: SystemdServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    state = await services.state("shop", SHOP)
    assert state.status is ServiceStatus.UNSEEN
    assert "systemctl" in state.detail
    assert await services.newest("shop", SHOP) is None
