"""Commands that are imported when they are called, and only then.

`brainops --help` and completion of command names read the table alone, and a command whose module cannot be
imported takes no other command with it.
"""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from brainops.errors import BrainOpsError, SetupError
from interfaces.cli.errors import leave


@dataclass(frozen=True)
class Entry:
    """One command: its name, where it stands, and its line in `brainops --help`."""

    name: str
    module: str
    attribute: str
    """A function, or a `typer.Typer` with commands of its own."""
    summary: str
    panel: str


def load(entry: Entry) -> Any:
    """The click command of `entry`. Raises SetupError when its module is not installed.

    Any: typer keeps click's classes in a private module.
    """
    try:
        module = importlib.import_module(entry.module)
    except ModuleNotFoundError as error:
        raise SetupError(
            f"`brainops {entry.name}` cannot be loaded: the module {error.name} is not installed here; "
            "reinstall BrainOps"
        ) from error
    found: typer.Typer | Callable[..., Any] = getattr(module, entry.attribute)
    if isinstance(found, typer.Typer):
        command = get_command(found)
    else:
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        single.command(entry.name)(found)
        command = get_command(single)
    command.name = entry.name
    return command


def lazy_group(entries: Iterable[Entry]) -> type[TyperGroup]:
    """A group class with `entries` as its commands; it turns our errors into sentences and exit codes."""
    table = {entry.name: entry for entry in entries}

    class LazyGroup(TyperGroup):
        """Holds a name and a line for each command until one is called."""

        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            for entry in table.values():
                self.add_command(TyperCommand(entry.name, help=entry.summary, rich_help_panel=entry.panel))

        def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
            """Load the command that is called. Any: click's context and command, private in typer."""
            name, command, rest = super().resolve_command(ctx, args)
            if name in table:
                command = load(table[name])
                # The name stays the table's; the group keeps it for a second look in the same process.
                self.commands[name] = command
            return name, command, rest

        def invoke(self, ctx: Any) -> Any:
            """Run the command. Any: as above, and commands return nothing of use."""
            try:
                return cast("Any", super()).invoke(ctx)
            except BrainOpsError as error:
                leave(error)
            except PermissionError as error:
                what = error.filename or "something that the command needs"
                leave(SetupError(f"{what}: {error.strerror or 'permission denied'}; run it as a user who may do that"))

    return LazyGroup
