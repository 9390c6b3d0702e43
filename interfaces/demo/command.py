"""`brainops demo`: a shop is broken eight ways, and heals."""

import asyncio
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from brainops.errors import BadInputError, SetupError
from interfaces.demo.experiment import Experiment, Outcome
from interfaces.demo.faults import FAULTS
from interfaces.demo.layout import Shop
from interfaces.demo.report import Display, LiveDisplay, PlainDisplay, Trial, second_times, write_report
from interfaces.demo.stage import Stage, removing, running_stack, temporary_folder
from workers.stack.stack import Stack

REPEATED = ("bad_config", "slow")
"""Kinds that are met twice: their first healing has more to find out than their second."""
READY_SECONDS = 30.0
UNFINISHED_EXIT_CODE = 1
INTERRUPTED_EXIT_CODE = 130


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running at the end, until Ctrl-C.")] = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what happened there, as JSON.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a live table.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help=f"Only this fault; may be repeated: {', '.join(FAULTS)}.")
    ] = None,
) -> None:
    """Break a small shop of three real processes eight ways, one after the other, and watch it heal.

    Everything runs on free ports in a temporary folder and is removed at the end, the shop's processes too.
    Exits 0 only if every fault was healed and verified.
    """
    kinds = tuple(only or FAULTS)
    unknown = [kind for kind in kinds if kind not in FAULTS]
    if unknown:
        raise BadInputError(f"no such fault: {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    if report is not None and not report.absolute().parent.is_dir():
        raise BadInputError(f"{report.absolute().parent} is not a folder; --report needs a file in one that exists")
    console = Console()
    try:
        finished = asyncio.run(_run(console, kinds, report, keep=keep, plain=plain or not console.is_terminal))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("stopped; everything the demo made is removed")
        raise typer.Exit(INTERRUPTED_EXIT_CODE) from None
    if not finished:
        raise typer.Exit(UNFINISHED_EXIT_CODE)


async def _run(console: Console, kinds: Sequence[str], report: Path | None, *, keep: bool, plain: bool) -> bool:
    """Run the demo. Returns whether every fault was healed and verified."""
    current = asyncio.current_task()
    if current is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, current.cancel)
    begun = time.monotonic()

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    with temporary_folder("demo") as folder:
        shop = await asyncio.to_thread(Shop.create, folder / "shop")
        trials = planned(shop, kinds)
        async with removing([shop]), running_stack(folder, shop.declarations(), say) as stage:
            outcomes = await _meet(console, stage, shop, trials, plain=plain)
            if report is not None:
                write_report(report, trials, outcomes)
            _sum_up(console, stage.stack, trials, outcomes, time.monotonic() - begun, keep=keep)
            if keep:
                await asyncio.Event().wait()
    return all(outcome.good for outcome in outcomes) and len(outcomes) == len(trials)


def planned(shop: Shop, kinds: Sequence[str]) -> list[Trial]:
    """The faults to meet, in order: each kind once, then the repeated ones again."""
    chosen = [fault for kind, fault in FAULTS.items() if kind in kinds]
    once = [Trial(fault, shop.service(fault.role), 1) for fault in chosen]
    return once + [Trial(fault, shop.service(fault.role), 2) for fault in chosen if fault.kind in REPEATED]


async def _meet(console: Console, stage: Stage, shop: Shop, trials: Sequence[Trial], *, plain: bool) -> list[Outcome]:
    """Meet every fault in turn. Ends early when one does not heal."""
    experiment = Experiment(stage.database, stage.client, shop)
    if missing := await experiment.until_whole(READY_SECONDS):
        raise SetupError(f"the shop did not come up within {READY_SECONDS:.0f} s: {missing}")
    stack = stage.stack
    console.print(f"The shop runs: {', '.join(shop.declarations())}. Temporal UI: {stack.ui_url}", soft_wrap=True)
    if plain:
        return await _meet_each(experiment, trials, PlainDisplay(console))
    display = LiveDisplay(console, trials)
    with display.live:
        return await _meet_each(experiment, trials, display)


async def _meet_each(experiment: Experiment, trials: Sequence[Trial], display: Display) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for trial in trials:
        display.begun(trial)
        if missing := await experiment.until_whole(READY_SECONDS):
            problem = f"the shop was not whole before it: {missing}"
            outcome = Outcome(trial.fault.kind, trial.service, trial.occurrence, problem=problem)
        else:
            outcome = await experiment.run(
                trial.fault, trial.occurrence, lambda delay, now=trial: display.detected(now, delay)
            )
        outcomes.append(outcome)
        display.ended(trial, outcome)
        if not outcome.good:
            break
    return outcomes


def _sum_up(
    console: Console, stack: Stack, trials: Sequence[Trial], outcomes: Sequence[Outcome], seconds: float, *, keep: bool
) -> None:
    """The demo's end: how many healed, what was learned, and how to look closer."""
    healed = sum(outcome.good for outcome in outcomes)
    verdict = "bold green" if healed == len(trials) else "bold red"
    console.print(f"healed {healed} of {len(trials)} in {seconds:.0f} s, without a model", style=verdict)
    if len(outcomes) < len(trials):
        console.print(f"{len(trials) - len(outcomes)} faults were not tried, since the one before did not heal")
    for line in second_times(outcomes):
        console.print(f"second time: {line}", markup=False, highlight=False, soft_wrap=True)
    look = f"brainops --state-dir {stack.paths.root} incidents {outcomes[0].plan_id[:8]}" if outcomes else ""
    if keep:
        console.print(f"Temporal UI: {stack.ui_url}", soft_wrap=True)
        console.print(f"one incident: {look}", markup=False, highlight=False, soft_wrap=True)
        console.print("Ctrl-C stops everything and removes it")
    else:
        console.print(f"Temporal UI: {stack.ui_url} (gone with the demo: add --keep)", soft_wrap=True)
        console.print("with --keep, `brainops incidents ID` tells one incident's story", soft_wrap=True)
