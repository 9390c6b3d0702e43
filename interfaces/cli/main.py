"""The `brainops` command."""

import os
from pathlib import Path
from typing import Annotated

import typer

from brainops.config.paths import STATE_VARIABLE
from interfaces.cli.lazy import Entry, lazy_group
from interfaces.version import brainops_version

STACK = "The stack"
LOOK = "Look"
DECIDE = "Decide"
SET_UP = "Set up"

COMMANDS = (
    Entry("up", "interfaces.cli.stack", "up", "Start the stack: Postgres, Temporal, workers, API.", STACK),
    Entry("down", "interfaces.cli.stack", "down", "Stop the stack; your services go on running.", STACK),
    Entry("demo", "interfaces.demo.command", "demo", "Break a small shop eight ways and watch it heal.", STACK),
    Entry("status", "interfaces.cli.status", "status", "What runs, what fails, what waits for you.", LOOK),
    Entry("incidents", "interfaces.cli.incidents", "incidents", "List incidents, or tell one's story.", LOOK),
    Entry("logs", "interfaces.cli.logs", "logs", "Last lines of a service's output.", LOOK),
    Entry("agents", "interfaces.cli.agents", "agents", "The agents and what they are doing.", LOOK),
    Entry("knowledge", "interfaces.cli.knowledge", "knowledge", "What was learned about faults.", LOOK),
    Entry("history", "interfaces.cli.history", "history", "Every recorded action: who, what, result.", LOOK),
    Entry("approvals", "interfaces.cli.approvals", "approvals", "Questions that wait for your answer.", DECIDE),
    Entry("approve", "interfaces.cli.decide", "approve", "Let a waiting action be done.", DECIDE),
    Entry("reject", "interfaces.cli.decide", "reject", "Forbid a waiting action.", DECIDE),
    Entry("retry", "interfaces.cli.incident_orders", "retry", "Have an open incident looked at anew.", DECIDE),
    Entry("dismiss", "interfaces.cli.incident_orders", "dismiss", "Close an open incident as it is.", DECIDE),
    Entry("pause", "interfaces.cli.pause", "pause", "Let a service or an agent be.", DECIDE),
    Entry("resume", "interfaces.cli.pause", "resume", "Take a paused service or agent up again.", DECIDE),
    Entry("run", "interfaces.cli.run_workflow", "run", "Start a workflow by hand.", DECIDE),
    Entry("config", "interfaces.cli.config", "app", "Check brainops.yaml; print its JSON schema.", SET_UP),
    Entry("keys", "interfaces.cli.keys", "app", "Create, list and revoke API keys.", SET_UP),
)

EPILOG = (
    "Exit codes: 0 done · 1 failed · 2 wrong input · 3 the stack cannot be reached. "
    "Every reading command takes --json. Completion: brainops --install-completion."
)

app = typer.Typer(
    name="brainops",
    cls=lazy_group(COMMANDS),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog=EPILOG,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"brainops {brainops_version()}")
        raise typer.Exit


@app.callback()
def brainops(
    state_dir: Annotated[
        Path | None,
        typer.Option(
            envvar=STATE_VARIABLE,
            help="The state folder of the stack that is meant.",
            show_default="/var/lib/brainops as root, else ~/.local/share/brainops",
        ),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Watch services, heal them, and tell what was done."""
    if state_dir is not None:
        # The stack's processes and every command find their folder by this one variable.
        os.environ[STATE_VARIABLE] = str(state_dir.absolute())


def run() -> None:
    """Entry point of the installed command."""
    app()


if __name__ == "__main__":
    run()
