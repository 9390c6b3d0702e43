"""`brainops service`: run the stack under systemd, as a user of its own, from the machine's start on."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from brainops.config.load import load_config
from brainops.config.paths import StatePaths
from brainops.errors import BadInputError, SetupError
from interfaces.cli.display import say
from workers.upkeep.units import SystemdHost, UnitPlan

app = typer.Typer(
    no_args_is_help=True,
    help="Run the stack under systemd.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command("install")
def install(
    config: Annotated[
        Path,
        typer.Option(envvar="BRAINOPS_CONFIG", help="The configuration file: it says which privileges are needed."),
    ] = Path("brainops.yaml"),
    show: Annotated[
        bool, typer.Option("--show", help="Print the files and the privileges, and change nothing.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Make the user brainops and a unit with exactly the privileges that the file needs, and start it."""
    path = config.absolute()
    host = SystemdHost.of(os.environ)
    plan = host.plan(load_config(path), path, StatePaths.default())
    if show:
        for file, text in plan.files.items():
            typer.echo(f"# {file}\n{text}")
    _tell(plan)
    if show:
        return
    if plan.unreachable:
        raise SetupError("the unit could not run:\n" + "\n".join(f"- {why}" for why in plan.unreachable))
    if not yes:
        _ask("Grant this, install and start")
    for line in host.install(plan):
        say(line)
    say("It starts with the machine. Look: systemctl status brainops; journalctl -u brainops; brainops status")


@app.command("uninstall")
def uninstall(yes: Yes = False) -> None:
    """Stop the stack and remove its unit and its rights. State and services stay as they are."""
    if not yes:
        _ask("Stop the stack and remove its unit")
    removed = SystemdHost.of(os.environ).remove()
    for line in removed:
        say(f"removed  {line}")
    if not removed:
        say("There is no unit that `brainops service install` made.")


def _tell(plan: UnitPlan) -> None:
    say(f"User: {plan.user} (made if it is not there), owner of {plan.state}")
    for grant in plan.privileges.grants:
        say(f"Granted: {grant.what}", f"         because {grant.why}")
    if not plan.privileges.grants:
        say("Granted: nothing beyond that")
    for note in plan.privileges.notes:
        say(f"Note: {note}")
    for why in plan.unreachable:
        say(f"In the way: {why}")


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise BadInputError("nobody can be asked here; add --yes")
    typer.confirm(f"{question}?", abort=True)
