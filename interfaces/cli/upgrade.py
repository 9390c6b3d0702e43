"""`brainops upgrade`: after `uv tool upgrade brainops`, take the new version up; go back if it does not run."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from brainops.config.paths import StatePaths
from interfaces.cli.backup import chosen_configuration
from interfaces.cli.display import plain, print_json, say, table
from interfaces.cli.errors import ExitCode
from interfaces.version import brainops_version


def upgrade(
    check: Annotated[bool, typer.Option("--check", help="Only look whether anything is in the way.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            envvar="BRAINOPS_CONFIG",
            help="The configuration file.",
            show_default="the running stack's, else brainops.yaml if it is there",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document for programs.")] = False,
) -> None:
    """Back up, migrate the database, start the installed version; everything back as it was if that fails.

    Install the new version first: uv tool upgrade brainops. Your services go on running, and open plans are kept.
    """
    from workers.upkeep.upgrade import preflight, take_up  # noqa: PLC0415 - alembic takes its time

    paths = StatePaths.default()
    path = chosen_configuration(paths, config)
    if check:
        found = asyncio.run(preflight(paths, path, os.environ))
        if json:
            print_json(found)
        else:
            marks = {True: plain("ok", "green"), False: plain("in the way", "red")}
            lines = [(finding.what, marks[finding.ok], finding.detail) for finding in found.findings]
            say(table(f"Upgrade to BrainOps {brainops_version()}", ("what", "", "detail"), lines, elastic="detail"))
        if not found.ok:
            raise typer.Exit(ExitCode.FAILURE)
        return
    done = asyncio.run(take_up(paths, brainops_version(), path, _tell, os.environ))
    if json:
        print_json(done)
        return
    say(
        f"BrainOps {brainops_version()}: database at revision {done.revision} (was {done.revision_before}), "
        f"{done.open_plans} open plans kept. The backup from before: {done.backup}"
    )
    say("The stack runs again." if done.started else "No stack ran: start it with `brainops up`.")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
