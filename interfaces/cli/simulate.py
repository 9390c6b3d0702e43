"""`brainops simulate SERVICE --fault KIND`: what would be done, without doing it."""

import asyncio
import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from brainops.config.load import reload_config
from brainops.config.paths import StatePaths
from brainops.contracts.incident import FaultKind
from interfaces.cli.display import facts, plain, print_json, say, table
from interfaces.cli.names import unknown
from interfaces.setup.location import config_file, running_stack
from interfaces.setup.rehearsal import Rehearsal, rehearse

Service = Annotated[str, typer.Argument(help="Name of the service, as in the file.")]
Fault = Annotated[FaultKind, typer.Option("--fault", help="What is to be wrong.")]
Config = Annotated[
    Path | None, typer.Option(help="The configuration file.", show_default="the stack's, else ./brainops.yaml")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document for programs.")]


def simulate(service: Service, fault: Fault = FaultKind.CRASH, config: Config = None, json: Json = False) -> None:
    """Tell what BrainOps would do if this fault were seen now. Nothing is broken, started, stopped or written down."""
    loaded = reload_config(config_file(config))
    if service not in loaded.config.services:
        raise unknown("service", service, set(loaded.config.services))
    logging.getLogger("brainops").addHandler(logging.NullHandler())  # parts that cannot be seen are no news here
    stack = running_stack()
    url = stack.database_url if stack is not None else os.environ.get("BRAINOPS_DATABASE_URL")
    seen = asyncio.run(rehearse(loaded, service, fault, StatePaths.default(), url))
    if json:
        print_json(seen)
    else:
        _show(seen)


def _show(seen: Rehearsal) -> None:
    rows = [
        ("if", seen.headline),
        ("known as", f"{seen.signature}: {seen.description}"),
        ("cause", seen.choice.candidate.cause if seen.choice else "no remedy names one"),
        ("now", seen.now),
    ]
    say(plain(f"{seen.service}: {seen.fault.value.replace('_', ' ')}, simulated", "bold"), facts(rows), "")
    if seen.choice is not None:
        reasons = [seen.choice.reason, *seen.choice.alternatives]
        why = {text.partition(" (")[0]: text.partition(" (")[2].removesuffix(")") for text in reasons[1:]}
        cells = [
            (str(place), one.remedy.replace("_", " "), reasons[0] if place == 1 else why.get(one.remedy, ""))
            for place, one in enumerate(seen.ranked, 1)
        ]
        say(table("Remedies, in the order in which they would be tried", ("", "remedy", "why"), cells, elastic="why"))
        rungs = [(f"{rung.level.value}{' (now)' if rung.present else ''}", rung.what) for rung in seen.ladder]
        say(table("At each level of autonomy", ("level", "what BrainOps does"), rungs, elastic="what BrainOps does"))
    if not seen.with_memory:
        say("No stack runs, so nothing that was learned about such faults was asked.")
