"""What is lost when BrainOps itself is killed in the middle of healing: `python benchmarks/durability.py --kills 200`.

Services are broken, and while their incidents are healed a worker, the Temporal server or Postgres gets kill -9:
half of the kills at random moments, half at named points around each write of the effect ledger. A worker reaches
such a point, finds a token of its name in the folder that `BRAINOPS_BENCH_KILL_POINTS` names, and kills itself.

The checker reads only the ledger and the start logs that the services write themselves.
"""

import argparse
import asyncio
import itertools
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from rich.table import Table
from sqlalchemy import text

from benchmarks import harness
from brainops.effects.fault_points import VARIABLE
from brainops.errors import UnavailableError
from interfaces.demo.experiment import Experiment
from interfaces.demo.faults import FAULTS
from interfaces.demo.layout import Role, Shop, Start
from interfaces.demo.prober import Prober, ProbeTarget
from interfaces.demo.stage import Stage, removing, running_stack, temporary_folder
from workers.stack.stack import CONTROL, HOST, POSTGRES, TEMPORAL

POINTS = ("before-begin", "after-begin", "before-finish", "after-finish")
"""Around the two writes of each effect's row. The worker of the host is what dies there."""
PARTS = (CONTROL, HOST, TEMPORAL, POSTGRES)
BROKEN_BY = ("crash", "crash", "bad_config")
LONGEST_DELAY_SECONDS = 0.6
"""Random kills come within this after the injection: while the incident is opened, healed, verified, documented."""
LOST_AFTER_SECONDS = 60.0
READY_SECONDS = 90.0
POLL_SECONDS = 0.01
MOST_MISSES = 3


@dataclass(frozen=True)
class Kill:
    """One kill, and how the service under repair fared."""

    what: str
    """A part of the stack, or a point of the ledger."""
    service: str
    fault: str
    injected_at: datetime
    healed_after: float | None
    """Seconds from the kill to the first good answer; None: not within a minute."""


@dataclass(frozen=True)
class Effect:
    """A row of the ledger."""

    key: str
    service: str
    kind: str
    state: str


@dataclass
class Verdict:
    """What the checker found."""

    lost: list[str] = field(default_factory=list[str])
    doubled: list[str] = field(default_factory=list[str])


async def measure(given: argparse.Namespace) -> tuple[list[Kill], Verdict]:
    """Kill `given.kills` times and check what is left."""
    chance = random.Random(given.seed)
    with temporary_folder("durability") as folder:
        tokens = folder / "kill-points"
        tokens.mkdir()
        shops = [
            Shop.create(folder / "shops", roles=(Role.API,), prefix=f"d{number}-") for number in range(given.services)
        ]
        services = {
            name: declared | {"escalate_after": {"incidents": 1000, "within": "10m"}, "flapping": {"turns": 10_000}}
            for shop in shops
            for name, declared in shop.declarations().items()
        }
        environment = {VARIABLE: str(tokens)}
        async with removing(shops), running_stack(folder, services, harness.say, environment) as stage:
            kills: list[Kill] = []
            misses = 0
            for number in itertools.count():
                if len(kills) == given.kills:
                    break
                kill = await kill_once(stage, shops[number % len(shops)], tokens, chance, at_point=len(kills) % 2 == 0)
                if kill is None:
                    misses += 1
                    if misses > MOST_MISSES:
                        raise RuntimeError("no worker reaches its kill points: is the switch in its environment?")
                    continue
                kills.append(kill)
                after = "NEVER" if kill.healed_after is None else f"{kill.healed_after:.2f} s"
                harness.say(f"{len(kills)}: {kill.fault} of {kill.service}, {kill.what} killed, healed after {after}")
            await settled(stage, shops)
            return kills, check(kills, await ledger(stage), {shop.service(Role.API): shop for shop in shops})


async def kill_once(stage: Stage, shop: Shop, tokens: Path, chance: random.Random, *, at_point: bool) -> Kill | None:
    """Break one service, kill a part while it is healed, and wait for the service. None: nothing was killed."""
    experiment = Experiment(stage.database, stage.client, shop)
    await until_ready(experiment)
    fault = FAULTS[chance.choice(BROKEN_BY)]
    what = chance.choice(POINTS if at_point else PARTS)
    with Prober(ProbeTarget(port=shop.ports[Role.API], patience_seconds=0.5)) as prober:
        if at_point:
            (tokens / what).touch()
        injection = await fault.inject(shop)
        killed = await at_the_point(tokens / what) if at_point else await at_a_moment(stage, what, chance)
        if killed is None:
            return None
        healed = await prober.good_after(killed, LOST_AFTER_SECONDS)
        if healed is not None and prober.first_bad_after(injection.monotonic) is None:
            # Killed before anybody saw the fault: the first good answer was of the time before it.
            bad = await prober.bad_after(injection.monotonic, LOST_AFTER_SECONDS)
            healed = None if bad is None else await prober.good_after(bad, LOST_AFTER_SECONDS)
    return Kill(
        what=what,
        service=shop.service(Role.API),
        fault=fault.kind,
        injected_at=injection.wall,
        healed_after=None if healed is None else healed - killed,
    )


async def at_the_point(token: Path) -> float | None:
    """Wait until a worker has taken the token, which it does right before its end.

    Returns that moment; None when none did within a minute: the token is then taken back.
    """
    deadline = time.monotonic() + LOST_AFTER_SECONDS
    while token.exists():
        if time.monotonic() > deadline:
            token.unlink(missing_ok=True)
            return None
        await asyncio.sleep(POLL_SECONDS)
    return time.monotonic()


async def at_a_moment(stage: Stage, part: str, chance: random.Random) -> float:
    """Kill a part, with all of its processes, after a random delay. Returns that moment."""
    await asyncio.sleep(chance.uniform(0, LONGEST_DELAY_SECONDS))
    deadline = time.monotonic() + LOST_AFTER_SECONDS
    while (pid := stage.stack.pid_of(part)) is None and time.monotonic() < deadline:  # noqa: ASYNC110 - it restarts
        await asyncio.sleep(POLL_SECONDS)
    if pid is None:
        raise RuntimeError(f"{part} does not run")
    moment = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    return moment


async def until_ready(experiment: Experiment) -> None:
    """Wait until the service is whole again and its incident is closed, whatever was killed meanwhile."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if not await experiment.until_whole(deadline - time.monotonic()):
                return
        except UnavailableError:
            await asyncio.sleep(POLL_SECONDS)


async def settled(stage: Stage, shops: Sequence[Shop]) -> None:
    """Wait until nothing is open any more."""
    for shop in shops:
        await until_ready(Experiment(stage.database, stage.client, shop))


async def ledger(stage: Stage) -> list[Effect]:
    """Every row of the effect ledger."""
    async with stage.database.transaction() as connection:
        rows = await connection.execute(text("SELECT key, service, action->>'kind', state FROM brainops.effects"))
        return [Effect(*row) for row in rows]


def check(kills: Sequence[Kill], effects: Sequence[Effect], shops: dict[str, Shop]) -> Verdict:
    """Compare the ledger with the start logs.

    Lost: a fault after which the service was not healthy within a minute, or that no start followed, and an effect
    that was begun and never finished. Doubled: an
    effect key that started more than once, a start that no effect stands for, or more starts than the ledger has.
    """
    verdict = Verdict()
    verdict.lost += [f"{effect.service}: {effect.key} was begun only" for effect in effects if effect.state == "begun"]
    starting = {effect.key: effect for effect in effects if effect.kind in ("start_service", "restart_service")}
    for service, shop in shops.items():
        starts = shop.starts(Role.API)
        allowed = sum(effect.service == service for effect in starting.values())
        if len(starts) > allowed:
            verdict.doubled.append(f"{service}: {len(starts)} starts, {allowed} in the ledger")
        for key, count in Counter(start.effect_key for start in starts).items():
            if count > 1:
                verdict.doubled.append(f"{service}: effect {key!r} started it {count} times")
            if key not in starting:
                verdict.doubled.append(f"{service}: was started by {key!r}, which the ledger does not know")
        for kill in (kill for kill in kills if kill.service == service):
            if kill.healed_after is None or not started_again(kill, starts):
                verdict.lost.append(f"{service}: {kill.fault} at {kill.injected_at:%H:%M:%S}, {kill.what} killed")
    return verdict


def started_again(kill: Kill, starts: Sequence[Start]) -> bool:
    """Whether the service's own log has a start within a minute after the fault."""
    injected = kill.injected_at.timestamp()
    return any(injected <= start.at <= injected + LOST_AFTER_SECONDS for start in starts)


def figures(kills: Sequence[Kill], verdict: Verdict) -> dict[str, float]:
    """The benchmark's figures."""
    times = [kill.healed_after if kill.healed_after is not None else float("inf") for kill in kills]
    return {
        "kills": len(kills),
        "lost_incidents": len(verdict.lost),
        "doubled_effects": len(verdict.doubled),
        "kill_to_healed_p50": harness.percentile(times, 0.5),
        "kill_to_healed_p95": harness.percentile(times, 0.95),
    }


def by_target(kills: Sequence[Kill]) -> Table:
    """A row for each part and point that was killed."""
    table = Table("killed", "times", "healed p50", "healed p95", "worst")
    for what in (*PARTS, *POINTS):
        times = [kill.healed_after or float("inf") for kill in kills if kill.what == what]
        if times:
            shown = (harness.percentile(times, 0.5), harness.percentile(times, 0.95), max(times))
            table.add_row(what, str(len(times)), *(f"{value:.2f} s" for value in shown))
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program. Returns the exit code."""
    parser = harness.arguments("What is lost when BrainOps itself is killed in the middle of healing.")
    parser.add_argument("--kills", type=int, default=200, metavar="N")
    parser.add_argument("--services", type=int, default=4, metavar="N", help="that are broken in turn")
    given = parser.parse_args(arguments)
    begun = time.monotonic()
    kills, verdict = asyncio.run(measure(given))
    harness.say(f"{len(kills)} kills in {time.monotonic() - begun:.0f} s")
    console = harness.wide_console()
    console.print(by_target(kills))
    for line in (*verdict.lost, *verdict.doubled):
        console.print(line, style="red", markup=False, soft_wrap=True)
    return harness.finish("durability", figures(kills, verdict), given)


if __name__ == "__main__":
    sys.exit(main())
