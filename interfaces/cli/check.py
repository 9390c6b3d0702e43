"""`brainops check SERVICE`: look at each check of one service now, without the stack."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from brainops.config.load import LoadedConfig, reload_config
from brainops.config.paths import StatePaths
from brainops.contracts.check import ProbeResult
from brainops.contracts.service import ServiceState
from interfaces.cli.display import duration, plain, print_json, say, state, table
from interfaces.cli.errors import ExitCode
from interfaces.cli.names import unknown
from interfaces.setup.location import config_file
from interfaces.setup.look import look_at, on_this_host

Service = Annotated[str, typer.Argument(help="Name of the service, as in the file.")]
Config = Annotated[
    Path | None, typer.Option(help="The configuration file.", show_default="the stack's, else ./brainops.yaml")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document for programs.")]


class CheckAnswer(BaseModel):
    """`brainops check --json`."""

    service: str
    ok: bool
    state: ServiceState
    checks: dict[str, ProbeResult]


def check(service: Service, config: Config = None, json: Json = False) -> None:
    """Look once at every check of a service. Exit code 1 if one fails. Needs no stack, and changes nothing."""
    loaded = reload_config(config_file(config))
    if service not in loaded.config.services:
        raise unknown("service", service, set(loaded.config.services))
    answer = asyncio.run(_look(loaded, service))
    if json:
        print_json(answer)
    else:
        _show(answer, loaded)
    if not answer.ok:
        raise typer.Exit(ExitCode.FAILURE)


async def _look(loaded: LoadedConfig, name: str) -> CheckAnswer:
    service = loaded.config.services[name]
    async with on_this_host(loaded, StatePaths.default()) as (here, prober):
        results = await look_at(prober, name, service)
        seen = await here.state(name, service)
    return CheckAnswer(service=name, ok=all(result.ok for result in results.values()), state=seen, checks=results)


def _show(answer: CheckAnswer, loaded: LoadedConfig) -> None:
    kinds = {name: one.kind for name, one in loaded.config.services[answer.service].all_checks().items()}
    rows = [
        (
            name,
            kinds[name],
            state("ok" if result.ok else "failing"),
            duration(result.latency_ms / 1000) if result.latency_ms else "-",
            plain("" if result.ok and not result.detail else result.detail or result.reason.value),
        )
        for name, result in answer.checks.items()
    ]
    if rows:
        say(table(answer.service, ("check", "kind", "now", "took", "seen"), rows, elastic="seen"))
    else:
        say(
            f"{answer.service} has no checks, so nothing of it is seen; add some under services.{answer.service}.checks"
        )
    status = answer.state.status.value.replace("_", " ")
    say(f"{answer.service} is {status}" + (f": {answer.state.detail}" if answer.state.detail else ""))
