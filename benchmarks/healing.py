"""How fast, how surely and how quietly BrainOps heals: `python benchmarks/healing.py --repeat 20 --check`.

Every kind of fault of the demo is met twice by a service of a fresh name, with an empty knowledge base before the
first time. An independent prober holds the stopwatch. Between the tries the bare start of the crashed command is
measured, and at the end healthy services are watched through minutes of noise, in which nothing may happen.
"""

import argparse
import asyncio
import contextlib
import random
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from rich.table import Table
from sqlalchemy import text

from benchmarks import harness, peers
from benchmarks.noise import IdleResult, watch_noise
from brainops.database.embedded import EmbeddedPostgres
from brainops.database.engine import Database
from interfaces.demo.experiment import Experiment, Outcome
from interfaces.demo.faults import FAULTS, Fault
from interfaces.demo.layout import Role, Shop
from interfaces.demo.prober import Prober, ProbeTarget
from interfaces.demo.stage import Stage, removing, running_stack, temporary_folder

READY_SECONDS = 60.0
WIDE_RECURRENCE = {"incidents": 1000, "within": "10m"}
"""The loop breaker is proven elsewhere; here it must not end the run."""


@dataclass
class Measured:
    """Everything that a run saw."""

    pairs: list[tuple[Outcome, Outcome | None]] = field(default_factory=list[tuple[Outcome, Outcome | None]])
    bare_starts: list[float] = field(default_factory=list[float])
    idle: IdleResult | None = None

    @property
    def outcomes(self) -> list[Outcome]:
        """First and second occurrences alike."""
        return [outcome for pair in self.pairs for outcome in pair if outcome is not None]


async def measure(given: argparse.Namespace) -> Measured:
    """Run the whole benchmark."""
    measured = Measured()
    chance = random.Random(given.seed)
    for number in range(given.repeat):
        await meet_all(number, given.kinds, chance, measured)
    if given.idle_seconds > 0:
        measured.idle = await watch_noise(given.idle_seconds, chance)
    return measured


async def meet_all(number: int, kinds: Sequence[str], chance: random.Random, measured: Measured) -> None:
    """One repetition: each kind twice, by a shop of its own, all under one stack."""
    with temporary_folder("healing") as folder:
        shops = {
            kind: Shop.create(folder / "shops", roles=FAULTS[kind].needs, prefix=f"r{number}-{kind.replace('_', '-')}-")
            for kind in kinds
        }
        services = {
            name: declared | {"escalate_after": WIDE_RECURRENCE, "flapping": {"turns": 10_000}}
            for shop in shops.values()
            for name, declared in shop.declarations().items()
        }
        bare = Shop.create(folder / "bare", roles=(Role.API,))
        async with removing([*shops.values(), bare]), running_stack(folder, services) as stage, owner(stage) as tables:
            order = list(kinds)
            chance.shuffle(order)
            for kind in order:
                pair = await meet_twice(stage, tables, shops[kind], FAULTS[kind], bare, measured)
                measured.pairs.append(pair)
                harness.say(f"{number + 1}: {describe(pair)}")


async def meet_twice(
    stage: Stage, tables: Database, shop: Shop, fault: Fault, bare: Shop, measured: Measured
) -> tuple[Outcome, Outcome | None]:
    """The first and the second occurrence of a fault. The second is not tried when the first did not heal."""
    await forget(tables)
    experiment = Experiment(stage.database, stage.client, shop)
    first = await meet_once(experiment, shop, fault, 1, bare, measured)
    if not first.good:
        return first, None
    return first, await meet_once(experiment, shop, fault, 2, bare, measured)


async def meet_once(
    experiment: Experiment, shop: Shop, fault: Fault, occurrence: int, bare: Shop, measured: Measured
) -> Outcome:
    """One try, beside the bare start of the same command where that is compared."""
    if missing := await experiment.until_whole(READY_SECONDS):
        problem = f"the shop was not whole before it: {missing}"
        return Outcome(fault.kind, shop.service(fault.role), occurrence, problem=problem)
    if fault.kind == "crash":
        measured.bare_starts.append(await bare_start(bare))
    return await experiment.run(fault, occurrence)


async def bare_start(shop: Shop) -> float:
    """Seconds from starting the API's command by hand to its first good answer."""
    with Prober(ProbeTarget(port=shop.ports[Role.API]), interval_seconds=0.005) as prober:
        begun = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *shop.command(Role.API), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        good = await prober.good_after(begun, timeout_seconds=10)
        process.kill()
        await process.wait()
    if good is None:
        raise RuntimeError(f"the bare command did not answer: {' '.join(shop.command(Role.API))}")
    return good - begun


@contextlib.asynccontextmanager
async def owner(stage: Stage) -> AsyncGenerator[Database]:
    """The stage's database as the role that owns it: the application's own may not forget."""
    postgres = EmbeddedPostgres(stage.stack.paths)
    await asyncio.to_thread(postgres.prepare)
    database = Database(postgres.owner_url)
    try:
        yield database
    finally:
        await database.close()


async def forget(tables: Database) -> None:
    """Empty what healing learns from."""
    async with tables.transaction() as connection:
        await connection.execute(text("DELETE FROM brainops.knowledge_base"))
        await connection.execute(text("DELETE FROM brainops.remediations"))


def figures(measured: Measured) -> dict[str, float]:
    """The benchmark's figures from what was seen. A figure without a measurement is left out."""
    outcomes = measured.outcomes
    result: dict[str, float] = {
        "healed_share": sum(outcome.good for outcome in outcomes) / len(outcomes) if outcomes else 0.0,
        "model_calls": sum(outcome.model_calls for outcome in outcomes),
        "unrecorded": sum(outcome.good and not outcome.recorded for outcome in outcomes),
    }
    crashes = healing_times(outcomes, "crash")
    if crashes and measured.bare_starts:
        bare = statistics.median(measured.bare_starts)
        result["bare_start_p50"] = bare
        result["crash_over_start_p50"] = harness.percentile(crashes, 0.5) - bare
        result["crash_over_start_p95"] = harness.percentile(crashes, 0.95) - bare
    if hangs := healing_times(outcomes, "hang"):
        result["hang_p95"] = harness.percentile(hangs, 0.95)
    if ratios := second_over_first(measured.pairs):
        result["second_over_first"] = statistics.median(ratios)
    if measured.idle is not None:
        result["idle_actions"] = measured.idle.actions
        result["idle_incidents"] = measured.idle.incidents
        result["idle_failed_probes"] = measured.idle.failed_probes
    return result


def healing_times(outcomes: Sequence[Outcome], kind: str) -> list[float]:
    """Injection to the first good answer, of each try of `kind`; a try that did not heal counts as endless."""
    return [
        outcome.healed if outcome.healed is not None else float("inf") for outcome in outcomes if outcome.kind == kind
    ]


def second_over_first(pairs: Sequence[tuple[Outcome, Outcome | None]]) -> list[float]:
    """How long the second healing took beside the first, for each pair whose first remedy was wrong."""
    ratios: list[float] = []
    for first, second in pairs:
        if second is None or len(first.tried) < 2 or first.healed is None:
            continue
        ratios.append((second.healed if second.healed is not None else float("inf")) / first.healed)
    return ratios


def describe(pair: tuple[Outcome, Outcome | None]) -> str:
    """A line of progress."""
    parts = [
        f"{outcome.healed:.2f} s by {' → '.join(outcome.tried)}"
        if outcome.good and outcome.healed is not None
        else f"NOT HEALED: {outcome.problem}"
        for outcome in pair
        if outcome is not None
    ]
    return f"{pair[0].kind}: {', then '.join(parts)}"


def by_kind(measured: Measured) -> Table:
    """A row for each kind: tries, healed, and times."""
    table = Table("kind", "tries", "healed", "detected", "first p50", "second p50", "p95", "remedies of a first time")
    for kind in dict.fromkeys(outcome.kind for outcome in measured.outcomes):
        tries = [outcome for outcome in measured.outcomes if outcome.kind == kind]
        detected = [outcome.detected for outcome in tries if outcome.detected is not None]
        first = healing_times([outcome for outcome in tries if outcome.occurrence == 1], kind)
        second = healing_times([outcome for outcome in tries if outcome.occurrence == 2], kind)
        ways = {" → ".join(outcome.tried) for outcome in tries if outcome.occurrence == 1}
        times = (
            harness.percentile(detected, 0.5),
            harness.percentile(first, 0.5),
            harness.percentile(second, 0.5),
            harness.percentile(first + second, 0.95),
        )
        healed = sum(outcome.good for outcome in tries)
        table.add_row(kind, str(len(tries)), str(healed), *(f"{value:.3f} s" for value in times), " | ".join(ways))
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program. Returns the exit code."""
    parser = harness.arguments("How fast, how surely and how quietly BrainOps heals.")
    parser.add_argument("--kinds", nargs="+", choices=list(FAULTS), default=list(FAULTS), metavar="KIND")
    parser.add_argument("--repeat", type=int, default=20, metavar="N", help="pairs of each kind")
    parser.add_argument("--idle-seconds", type=float, default=180.0, help="of noise without a fault; 0: none")
    parser.add_argument("--peers", action="store_true", help="compare with Monit, Docker and systemd, at the end")
    parser.add_argument("--peer-repeat", type=int, default=3, metavar="N", help="tries of each peer and fault")
    given = parser.parse_args(arguments)
    measured = asyncio.run(measure(given))
    harness.wide_console().print(by_kind(measured))
    found = asyncio.run(peers.compare(peers.peers(), given.peer_repeat, harness.say)) if given.peers else {}
    if found:
        harness.wide_console().print(peers.table(found))
    return harness.finish("healing", figures(measured) | peers.figures(found), given)


if __name__ == "__main__":
    sys.exit(main())
