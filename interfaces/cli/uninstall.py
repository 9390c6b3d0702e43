"""`brainops uninstall`: remove what BrainOps has put on this machine."""

import os
import sys
from typing import Annotated

import typer

from brainops.config.paths import StatePaths
from brainops.errors import BadInputError
from interfaces.cli.display import print_json, say


def uninstall(
    purge: Annotated[
        bool, typer.Option("--purge", help="Remove the state folder, the cache and our OS user too. Back up first.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document for programs; needs --yes.")] = False,
) -> None:
    """Stop the stack and remove its systemd unit; your services go on running. Without --purge the state stays."""
    from workers.upkeep.removal import refuse_foreign, remove  # noqa: PLC0415 - alembic takes its time
    from workers.upkeep.units import SystemdHost  # noqa: PLC0415 - as above

    paths = StatePaths.default()
    if purge:
        refuse_foreign(paths)
    if not yes:
        _ask(paths, purge=purge, silent=json)
    unit = SystemdHost.of(os.environ).remove()
    done = remove(paths, purge=purge)
    done = done.model_copy(update={"removed": (*unit, *done.removed)})
    if json:
        print_json(done)
        return
    for line in done.removed or ("nothing was there to remove",):
        say(f"removed  {line}")
    for line in done.kept:
        say(f"kept     {line}")
    for service in done.running:
        say(f"running  {service.name} (pid {service.pid}) goes on; nobody watches it now")
    say("The program itself: uv tool uninstall brainops")


def _ask(paths: StatePaths, *, purge: bool, silent: bool) -> None:
    if silent or not sys.stdin.isatty():
        raise BadInputError("nobody can be asked here; add --yes")
    what = f"Remove BrainOps and everything in {paths.root}, for good" if purge else "Stop BrainOps and remove its unit"
    typer.confirm(f"{what}? Your services go on running.", abort=True)
