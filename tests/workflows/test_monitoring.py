"""The watch goes on where another worker stopped, and finds again what was lost on the way."""

import os
import signal

from house import Builder, eventually

from brainops.checks.store import CheckStore
from brainops.contracts.check import CheckStatus
from brainops.contracts.incident import IncidentStatus
from brainops.contracts.names import monitoring_workflow_id
from brainops.services.store import ServiceStore


async def test_crash_while_nobody_watches_is_found_and_healed_by_the_next_watch(builder: Builder) -> None:
    async with builder.house({"shop": {}}) as house:
        await house.answers("shop")
        pid = await house.pid("shop")
    os.kill(pid, signal.SIGKILL)
    async with builder.house({"shop": {}}) as house:
        await house.incident("shop", IncidentStatus.RESOLVED)
        await house.answers("shop")
        assert house.starts("shop") == 2


async def test_samples_and_states_are_kept(builder: Builder) -> None:
    async with builder.house({"shop": {}}) as house:
        await house.answers("shop")
        checks = CheckStore(house.database)

        async def passing() -> bool:
            states = await checks.states("local")
            return len(states) == 2 and all(state.status is CheckStatus.PASSING for state in states)

        await eventually(passing, "both checks pass")
        start = (await house.client.get_workflow_handle(monitoring_workflow_id("local")).describe()).start_time

        async def sampled() -> float | None:
            return await checks.uptime("shop", start)

        assert 0 < await eventually(sampled, "samples are kept") <= 1


async def test_paused_service_is_watched_and_left_alone_until_it_is_resumed(builder: Builder) -> None:
    async with builder.house({"shop": {}}) as house:
        await house.answers("shop")
        services = ServiceStore(house.database)
        await services.set_paused("shop", True, "moving it")
        await house.crash("shop")
        detail = await house.incident("shop", IncidentStatus.OBSERVING)
        assert any("moving it" in line.note for line in detail.timeline)
        assert house.starts("shop") == 1
        await services.set_paused("shop", False)
        await house.handle("shop").signal("reconsider")
        await house.incident("shop", IncidentStatus.RESOLVED)
