"""`brainops backup` and `brainops restore`: BrainOps' own state in one file, and out of it again."""

import asyncio
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from brainops.config.paths import StatePaths
from brainops.config.quantities import format_size
from interfaces.cli.display import print_json, say, when
from interfaces.version import brainops_version

Json = Annotated[bool, typer.Option("--json", help="One JSON document for programs.")]


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write; it must not exist. Ends in .tar.gz by custom.")],
    config: Annotated[
        Path | None,
        typer.Option(
            envvar="BRAINOPS_CONFIG",
            help="The configuration file to include.",
            show_default="the running stack's, else brainops.yaml if it is there",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Save what BrainOps knows and has done, while the stack runs or not. Your services' own data is not in it."""
    from workers.upkeep.backup import back_up  # noqa: PLC0415 - alembic and psycopg take a third of a second

    paths = StatePaths.default()
    done = asyncio.run(back_up(paths, file, brainops_version(), chosen_configuration(paths, config), _tell))
    if json:
        print_json(done)
        return
    say(
        f"{done.file}: {format_size(done.bytes)}, read back and whole. {done.incidents} incidents, {done.rows} rows, "
        f"{done.files} files. It can be read by you alone; restore it with `brainops restore {done.file}`."
    )


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `brainops backup` wrote.")],
    state_dir: Annotated[
        Path | None,
        typer.Option(help="An empty folder, or one to be made.", show_default="that of `brainops --state-dir`"),
    ] = None,
    json: Json = False,
) -> None:
    """Bring a backup back, all of it or nothing, into an empty state folder. Nothing is ever overwritten."""
    from workers.upkeep.restore import restore as bring_back  # noqa: PLC0415 - as above

    paths = StatePaths(state_dir.absolute()) if state_dir else StatePaths.default()
    done = asyncio.run(bring_back(paths, file, _tell))
    if json:
        print_json(done)
        return
    say(
        f"{done.state_folder}: restored as of {when(datetime.fromisoformat(done.made_at))}: {done.incidents} incidents, "
        f"{done.rows} rows, {done.files} files."
    )
    if done.revision != done.migrated_to:
        say(f"The database was brought from revision {done.revision} to {done.migrated_to}.")
    if done.configuration:
        say(
            f"The configuration, which stood at {done.configuration_was}, is in {done.configuration}. Paths in it are "
            "relative to its folder: put it where it belongs before `up`."
        )
    say(f"Next: brainops --state-dir {done.state_folder} up --config FILE")


def chosen_configuration(paths: StatePaths, named: Path | None) -> Path | None:
    """The configuration that is meant: the named one, the running stack's, or the one that is here."""
    from interfaces.cli.stack import DEFAULT_CONFIG  # noqa: PLC0415 - it loads the Temporal SDK
    from workers.stack.state import StackInfo  # noqa: PLC0415 - as above

    if named is not None:
        return named.absolute()
    if (info := StackInfo.read(paths)) is not None:
        return info.config_path
    return DEFAULT_CONFIG.absolute() if DEFAULT_CONFIG.exists() else None


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
