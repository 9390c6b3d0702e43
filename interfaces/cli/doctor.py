"""`brainops doctor`: is everything in place, and what is to be done."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from brainops.config.load import LoadedConfig, reload_config
from brainops.config.models import LOCAL_HOST
from brainops.config.paths import StatePaths
from brainops.errors import ConfigError
from interfaces.cli.display import plain, print_json, say, table
from interfaces.cli.errors import ExitCode
from interfaces.setup.diagnosis import Diagnosis, Level, machine
from interfaces.setup.location import find_config_file, running_stack
from interfaces.setup.service_diagnosis import file_lines, service_lines
from interfaces.setup.stack_diagnosis import stack_lines

Config = Annotated[
    Path | None, typer.Option(help="The configuration file.", show_default="the stack's, else ./brainops.yaml")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document for programs.")]

_STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


class DoctorAnswer(BaseModel):
    """`brainops doctor --json`."""

    ok: bool
    machine: list[Diagnosis]
    stack: list[Diagnosis]
    services: list[Diagnosis]


def doctor(config: Config = None, json: Json = False) -> None:
    """Look at everything that BrainOps needs and at every service. Exit code 1 if something fails. Changes nothing."""
    answer = asyncio.run(_examine(config))
    if json:
        print_json(answer)
    else:
        _show(answer)
    if not answer.ok:
        raise typer.Exit(ExitCode.FAILURE)


async def _examine(named: Path | None) -> DoctorAnswer:
    paths, stack, file = StatePaths.default(), running_stack(), find_config_file(named)
    loaded: LoadedConfig | None = None
    of_file = await asyncio.to_thread(file_lines, file)
    if file is not None:
        try:
            loaded = reload_config(file)
        except ConfigError:
            loaded = None  # its mistakes are told line by line
    of_machine = await machine(loaded, paths, stack)
    of_stack = await stack_lines(stack, os.environ.get("BRAINOPS_HOST") or LOCAL_HOST)
    of_services = [*of_file, *(await service_lines(loaded, paths) if loaded is not None else [])]
    lines = [*of_machine, *of_stack, *of_services]
    return DoctorAnswer(
        ok=all(line.level is not Level.FAIL for line in lines),
        machine=of_machine,
        stack=of_stack,
        services=of_services,
    )


def _show(answer: DoctorAnswer) -> None:
    for title, lines in (("This machine", answer.machine), ("Stack", answer.stack), ("Services", answer.services)):
        rows = [(plain(line.level.value, _STYLES[line.level]), line.subject, _sentence(line)) for line in lines]
        say(table(title, ("", "what", "found"), rows, elastic="found"))
    lines = [*answer.machine, *answer.stack, *answer.services]
    failing = sum(line.level is Level.FAIL for line in lines)
    warnings = sum(line.level is Level.WARN for line in lines)
    if failing:
        say(plain(f"{failing} to mend, {warnings} worth knowing.", "red"))
    else:
        say(plain("Everything is in place" + (f"; {warnings} worth knowing." if warnings else "."), "green"))


def _sentence(line: Diagnosis) -> str:
    return f"{line.found} → {line.to_do}" if line.to_do else line.found
