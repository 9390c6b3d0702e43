"""`brainops up` and `brainops down`."""

import asyncio
import signal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from brainops.config.paths import StatePaths
from brainops.errors import BrainOpsError
from interfaces.cli.errors import leave
from workers.stack.screen import PatientConsole, Screen
from workers.stack.stack import Stack
from workers.stack.stopping import APPLY_SIGNAL, stop_stack

DEFAULT_CONFIG = Path("brainops.yaml")


class Parts(StrEnum):
    """Which parts of the stack."""

    EVERYTHING = "everything"
    MEMORY = "memory"


class Ports(StrEnum):
    """How ports are chosen."""

    DEFAULT = "default"
    AUTO = "auto"


def up(
    config: Annotated[
        Path | None,
        typer.Option(
            envvar="BRAINOPS_CONFIG", help="The configuration file.", show_default="brainops.yaml, if it is there"
        ),
    ] = None,
    ports: Annotated[
        Ports, typer.Option(help="default: the known ports, or free ones where those are taken. auto: free ones.")
    ] = Ports.DEFAULT,
    temporal_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Temporal's port, and no other.")] = None,
    ui_port: Annotated[int | None, typer.Option(min=1, max=65535, help="The Temporal UI's port, and no other.")] = None,
    only: Annotated[
        Parts, typer.Option(help="memory: Postgres and the API alone, for coding agents; nothing is watched.")
    ] = Parts.EVERYTHING,
) -> None:
    """Start the stack and stay: Postgres, Temporal, workers, API. Ctrl-C stops it; your services go on running.

    TEMPORAL_ADDRESS or BRAINOPS_DATABASE_URL name a server of your own, which is then used instead.
    """
    try:
        stack = Stack(
            StatePaths.default(),
            _config_path(config),
            ports=ports.value,
            temporal_port=temporal_port,
            ui_port=ui_port,
            only=only.value,
        )
        asyncio.run(_run(stack, PatientConsole()))
    except BrainOpsError as error:
        leave(error)


def down() -> None:
    """Stop the stack that runs on the state folder, and wait until it is gone. Your services go on running."""
    paths = StatePaths.default()
    try:
        pid = stop_stack(paths)
    except BrainOpsError as error:
        leave(error)
    typer.echo(f"stopped (pid {pid})" if pid else f"nothing runs on {paths.root}")


def _config_path(named: Path | None) -> Path | None:
    if named is not None:
        return named
    return DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None


async def _apply_whenever(stack: Stack, asked: asyncio.Event) -> None:
    """Read the file anew each time that `brainops apply` asks for it."""
    while True:
        await asked.wait()
        asked.clear()
        await stack.apply()


async def _run(stack: Stack, console: Console) -> None:
    """Run the stack until a signal; then stop it. A further signal changes nothing: stopping is bounded."""
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, asked_to_stop.set)
    asked_to_apply = asyncio.Event()
    loop.add_signal_handler(APPLY_SIGNAL, asked_to_apply.set)
    with Screen(stack, console) as screen:
        starting = asyncio.create_task(stack.start(screen.say))
        stopping = asyncio.create_task(asked_to_stop.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            screen.say("stopping before everything has started")
            starting.cancel()
            await asyncio.wait((starting,))
        elif starting.exception() is None:
            screen.announce_ready()
            applying = asyncio.create_task(_apply_whenever(stack, asked_to_apply))
            await stopping
            applying.cancel()
            await asyncio.wait((applying,))
            screen.say("stopping")
            await stack.stop()
            screen.say("stopped; your services go on running")
        stopping.cancel()
    if not starting.cancelled():
        starting.result()
