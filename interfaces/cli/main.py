"""The `brainops` command."""

import os
from pathlib import Path
from typing import Annotated

import typer

from brainops.config.paths import STATE_VARIABLE
from brainops.errors import BadInputError
from interfaces.cli.lazy import Entry, lazy_group
from interfaces.version import brainops_version

STACK = "The stack"
LOOK = "Look"
DECIDE = "Decide"
SET_UP = "Set up"
KEEP = "Keep"

COMMANDS = (
    Entry("up", "interfaces.cli.stack", "up", "Start the stack: Postgres, Temporal, workers, API.", STACK),
    Entry("apply", "interfaces.cli.apply", "apply", "Have the running stack read brainops.yaml anew.", STACK),
    Entry("down", "interfaces.cli.stack", "down", "Stop the stack; your services go on running.", STACK),
    Entry("demo", "interfaces.demo.command", "demo", "Break a small shop eight ways and watch it heal.", STACK),
    Entry("status", "interfaces.cli.status", "status", "What runs, what fails, what waits for you.", LOOK),
    Entry("incidents", "interfaces.cli.incidents", "incidents", "List incidents, or tell one's story.", LOOK),
    Entry("logs", "interfaces.cli.logs", "logs", "Last lines of a service's output.", LOOK),
    Entry("agents", "interfaces.cli.agents", "agents", "The agents and what they are doing.", LOOK),
    Entry("knowledge", "interfaces.cli.knowledge", "app", "What is known about faults; add to it.", LOOK),
    Entry("memory", "interfaces.cli.memory", "app", "What is remembered: search it, add to it, forget.", LOOK),
    Entry("session", "interfaces.cli.sessions", "app", "What agents said, and what the next is told.", LOOK),
    Entry("history", "interfaces.cli.history", "history", "Every recorded action: who, what, result.", LOOK),
    Entry("approvals", "interfaces.cli.approvals", "approvals", "Questions that wait for your answer.", DECIDE),
    Entry("approve", "interfaces.cli.decide", "approve", "Let a waiting action be done.", DECIDE),
    Entry("reject", "interfaces.cli.decide", "reject", "Forbid a waiting action.", DECIDE),
    Entry("proposals", "interfaces.cli.proposals", "app", "What repeats, and what to do about it.", DECIDE),
    Entry("retry", "interfaces.cli.incident_orders", "retry", "Have an open incident looked at anew.", DECIDE),
    Entry("dismiss", "interfaces.cli.incident_orders", "dismiss", "Close an open incident as it is.", DECIDE),
    Entry("pause", "interfaces.cli.pause", "pause", "Let a service or an agent be.", DECIDE),
    Entry("resume", "interfaces.cli.pause", "resume", "Take a paused service or agent up again.", DECIDE),
    Entry("maintenance", "interfaces.cli.maintenance", "app", "Let services be for a while.", DECIDE),
    Entry("run", "interfaces.cli.run_workflow", "run", "Start a workflow by hand.", DECIDE),
    Entry("notify", "interfaces.cli.notify", "app", "Try the channels; list what was delivered.", SET_UP),
    Entry("init", "interfaces.cli.init", "init", "Write a first brainops.yaml from what runs here.", SET_UP),
    Entry("doctor", "interfaces.cli.doctor", "doctor", "Is everything in place, and what to do.", SET_UP),
    Entry("check", "interfaces.cli.check", "check", "Look at one service now, without the stack.", SET_UP),
    Entry("simulate", "interfaces.cli.simulate", "simulate", "What would be done about a fault.", SET_UP),
    Entry("promote", "interfaces.cli.promote", "promote", "Let a service be healed, by what was seen.", SET_UP),
    Entry("config", "interfaces.cli.config", "app", "Check brainops.yaml; print its JSON schema.", SET_UP),
    Entry("plugins", "interfaces.cli.plugins", "plugins", "Checks, remedies and tools of packages.", SET_UP),
    Entry("keys", "interfaces.cli.keys", "app", "Create, list and revoke API keys.", SET_UP),
    Entry("connect", "interfaces.cli.connect", "app", "Give a coding agent the memory of its project.", SET_UP),
    Entry("mcp", "interfaces.cli.mcp", "mcp", "Memory as tools for an agent, over stdin and stdout.", SET_UP),
    Entry("backup", "interfaces.cli.backup", "backup", "Save BrainOps' own state in one file.", KEEP),
    Entry("restore", "interfaces.cli.backup", "restore", "Bring a backup back into an empty folder.", KEEP),
    Entry("upgrade", "interfaces.cli.upgrade", "upgrade", "Take up a new version, and go back if it fails.", KEEP),
    Entry("service", "interfaces.cli.service_units", "app", "Run the stack under systemd.", KEEP),
    Entry("uninstall", "interfaces.cli.uninstall", "uninstall", "Remove BrainOps; your services go on.", KEEP),
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


def _refuse_foreign(folder: Path) -> None:
    """Another user's state folder: its stack is theirs."""
    try:
        if not folder.exists() or os.access(folder, os.R_OK | os.X_OK):
            return
        owner = folder.owner()
    except (OSError, KeyError):  # a folder on the way to it may not be entered, or the owner has no name
        owner = "its owner"
    whose = f"as {owner}" if owner == "its owner" else f"as its owner (sudo -u {owner} brainops …)"
    raise BadInputError(
        f"the state folder {folder} may not be read: run this {whose}, or name another with --state-dir"
    )


@app.callback()
def brainops(
    state_dir: Annotated[
        Path | None,
        typer.Option(
            envvar=STATE_VARIABLE,
            readable=False,  # `_refuse_foreign` says it in our words
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
        _refuse_foreign(state_dir)
        # The stack's processes and every command find their folder by this one variable.
        os.environ[STATE_VARIABLE] = str(state_dir.absolute())


def run() -> None:
    """Entry point of the installed command."""
    app()


if __name__ == "__main__":
    run()
