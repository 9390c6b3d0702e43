"""`brainops apply`: the running stack goes by the file as it is now."""

from collections.abc import Mapping
from typing import Annotated

import typer
from pydantic import BaseModel

from brainops.config.load import load_config
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.database.engine import Database
from brainops.errors import SetupError, UnavailableError
from brainops.services.store import ServiceRow, ServiceStore
from interfaces.cli.context import complete
from interfaces.cli.display import console, print_json, say
from workers.stack.state import StackInfo
from workers.stack.stopping import apply_to_stack


class Applied(BaseModel):
    """`brainops apply --json`: services by what changed."""

    new: list[str]
    gone: list[str]
    autonomy: list[str]
    """Those whose autonomy differs from before."""
    kept: int
    """How many there are otherwise; what else changed in them holds as well."""


def apply(
    json: Annotated[bool, typer.Option("--json", help="One JSON document for programs.")] = False,
) -> None:
    """Have the running stack read brainops.yaml anew. A file with mistakes changes nothing; services go on running."""
    complete(_apply(json))


async def _apply(json: bool) -> None:
    paths = StatePaths.default()
    info = StackInfo.read(paths)
    if info is None:
        raise UnavailableError(f"no stack runs in {paths.root}; `brainops up` reads the file when it starts")
    if info.config_path is None:
        raise SetupError("the stack was started without a file; stop it and start it with `brainops up --config FILE`")
    services = load_config(info.config_path).config.services
    database = Database(info.database_url, pool_size=1)
    try:
        before = await ServiceStore(database).list()
    finally:
        await database.close()
    if json:
        apply_to_stack(paths, info)
    else:
        with console().status("workers are started again with the file as it is now …"):
            apply_to_stack(paths, info)
    applied = compared(before, services)
    if json:
        print_json(applied)
    else:
        say(f"The stack goes by {info.config_path}.", *described(applied))


def compared(before: list[ServiceRow], services: Mapping[str, Service]) -> Applied:
    """What is different in the file from what the stack knew."""
    known = {row.name: row for row in before}
    shared = sorted(set(known) & set(services))
    changed = [name for name in shared if services[name].model_dump(mode="json")["autonomy"] != known[name].autonomy]
    return Applied(
        new=sorted(set(services) - set(known)),
        gone=sorted(set(known) - set(services)),
        autonomy=changed,
        kept=len(shared) - len(changed),
    )


def described(applied: Applied) -> list[str]:
    """For people, a line each."""
    lines = [
        ("new", applied.new),
        ("no longer looked after (they go on running)", applied.gone),
        ("another autonomy", applied.autonomy),
    ]
    return [f"{what}: {', '.join(names)}" for what, names in lines if names]
