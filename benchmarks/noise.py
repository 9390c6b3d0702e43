"""Healthy services in a noisy world: answers that are slow within limits, and a failed probe now and then."""

import asyncio
import os
import random
import signal
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from benchmarks import harness
from interfaces.demo.experiment import Experiment
from interfaces.demo.layout import Role, Shop
from interfaces.demo.stage import Stage, removing, running_stack, temporary_folder

PROBE_INTERVAL = "100ms"
LONGEST_PAUSE_SECONDS = 0.06
"""A process that is held this long answers late, but within its limits."""
ABSENCE_SECONDS = 0.09
"""A folder that is away this long fails one probe at most, at 100 ms from probe to probe."""
READY_SECONDS = 60.0


@dataclass(frozen=True)
class IdleResult:
    """What BrainOps did while nothing was wrong, and how much it had to overlook."""

    incidents: int
    actions: int
    failed_probes: int


async def watch_noise(seconds: float, chance: random.Random) -> IdleResult:
    """Watch a healthy shop through `seconds` of noise."""
    with temporary_folder("noise") as folder:
        shop = Shop.create(folder / "shop", prefix="idle-")
        services = shop.declarations()
        for declared in services.values():
            _probe_often(declared)
        async with removing([shop]), running_stack(folder, services) as stage:
            if missing := await Experiment(stage.database, stage.client, shop).until_whole(READY_SECONDS):
                raise RuntimeError(f"the shop did not come up: {missing}")
            before = await _counts(stage)
            harness.say(f"noise for {seconds:.0f} s")
            await _make_noise(shop, seconds, chance)
            after = await _counts(stage)
    return IdleResult(
        incidents=after.incidents - before.incidents,
        actions=after.actions - before.actions,
        failed_probes=after.failed_probes - before.failed_probes,
    )


def _probe_often(declared: dict[str, Any]) -> None:
    """Any: values of `brainops.yaml`."""
    for check in declared["checks"].values():
        check["interval"] = PROBE_INTERVAL


async def _make_noise(shop: Shop, seconds: float, chance: random.Random) -> None:
    """Disturb one service after another, never two at once, with pauses longer than two probes between."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(chance.uniform(0.4, 1.2))
        if chance.random() < 0.3:
            await _fail_one_probe(shop)
        else:
            await _answer_late(shop, chance)


async def _answer_late(shop: Shop, chance: random.Random) -> None:
    pid = shop.pid(chance.choice(shop.roles))
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(chance.uniform(0.01, LONGEST_PAUSE_SECONDS))
    finally:
        os.kill(pid, signal.SIGCONT)


async def _fail_one_probe(shop: Shop) -> None:
    scratch = shop.directory(Role.API) / "scratch"
    away = scratch.with_name("scratch-away")
    scratch.rename(away)
    try:
        await asyncio.sleep(ABSENCE_SECONDS)
    finally:
        away.rename(scratch)


async def _counts(stage: Stage) -> IdleResult:
    """Everything so far."""
    async with stage.database.transaction() as connection:
        incidents = await connection.scalar(text("SELECT count(*) FROM brainops.incidents"))
        actions = await connection.scalar(text("SELECT count(*) FROM brainops.effects"))
        failed = await connection.scalar(text("SELECT count(*) FROM brainops.samples WHERE NOT ok"))
    return IdleResult(incidents=incidents or 0, actions=actions or 0, failed_probes=failed or 0)
