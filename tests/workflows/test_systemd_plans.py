"""Units that break, healed by whole plans; and those that systemd restarts by itself, left to it."""

import os
import signal
import sys
from typing import Any

from house import SERVICE, Builder, House
from systemd_stand_in import StandIn

from brainops.contracts.incident import IncidentStatus

LEAK = """
import os, time
kept = []
while True:
    if os.path.exists("leak"):
        os.remove("leak")
        kept.append(bytearray(90_000_000))
    time.sleep(0.02)
"""
PROCESS = {"process": {"kind": "process", "interval": "100ms", "timeout": "90ms"}}


def shop_unit(systemd: StandIn, builder: Builder, **unit: Any) -> dict[str, dict[str, Any]]:
    """The little service as a unit, and how it is declared."""
    (builder.folder / "shop").mkdir()
    command = [sys.executable, "-S", str(SERVICE), str(builder.port("shop")), str(builder.folder / "shop")]
    systemd.add("shop.service", command, **unit)
    return {"shop": {"run": {"kind": "systemd", "unit": "shop.service"}, "recover_within": "10s"}}


async def healed(house: House, remedy: str, count: int = 1) -> None:
    detail = await house.incident("shop", IncidentStatus.RESOLVED, timeout=40, count=count)
    assert detail.row.remedy == remedy


async def test_a_unit_that_crashes_and_then_hangs_is_restarted(systemd: StandIn, builder: Builder) -> None:
    declared = shop_unit(systemd, builder)
    systemd.start("shop.service")
    async with builder.house(declared) as house:
        await house.watched("shop")
        os.kill(systemd.pid("shop.service"), signal.SIGKILL)
        await healed(house, "restart")
        await house.answers("shop", 30)
        os.kill(systemd.pid("shop.service"), signal.SIGSTOP)
        await healed(house, "restart", count=2)
        await house.answers("shop", 30)
        assert systemd.asked("restart") == 2


async def test_a_unit_over_its_memory_limit_is_restarted(systemd: StandIn, builder: Builder) -> None:
    folder = builder.folder / "shop"
    folder.mkdir()
    systemd.add("shop.service", [sys.executable, "-S", "-c", f"import os; os.chdir({str(folder)!r})\n{LEAK}"])
    systemd.start("shop.service")
    run = {"kind": "systemd", "unit": "shop.service"}
    declared = {"run": run, "checks": PROCESS, "limits": {"memory": "60MB"}, "recover_within": "10s"}
    async with builder.house({"shop": declared}) as house:
        await house.watched("shop")
        (folder / "leak").touch()
        await healed(house, "restart")
        assert systemd.asked("restart") == 1


async def test_what_systemd_restarts_by_itself_is_watched_and_not_fought(systemd: StandIn, builder: Builder) -> None:
    declared = shop_unit(systemd, builder, restart="always", restart_seconds=3.0)
    systemd.start("shop.service")
    async with builder.house(declared) as house:
        await house.watched("shop")
        os.kill(systemd.pid("shop.service"), signal.SIGKILL)
        # on a slow machine systemd can be done before a remedy is chosen
        detail = await house.incident("shop", IncidentStatus.RESOLVED, IncidentStatus.RECOVERED, timeout=40)
        assert detail.row.remedy in ("await_supervisor", "")
        await house.answers("shop", 30)
        assert (systemd.asked("start"), systemd.asked("restart")) == (1, 0)
        assert systemd.state("shop.service")["NRestarts"] == "1"


async def test_a_unit_that_systemd_gave_up_is_healed(systemd: StandIn, builder: Builder) -> None:
    declared = shop_unit(systemd, builder, restart="on-failure", burst=1)
    systemd.start("shop.service")
    async with builder.house(declared) as house:
        await house.watched("shop")
        os.kill(systemd.pid("shop.service"), signal.SIGKILL)
        await healed(house, "restart")
        await house.answers("shop", 30)
        assert systemd.asked("reset-failed") == 1


async def test_a_unit_that_nobody_started_is_started(systemd: StandIn, builder: Builder) -> None:
    async with builder.house(shop_unit(systemd, builder)) as house:
        await healed(house, "start")
        await house.answers("shop", 30)
