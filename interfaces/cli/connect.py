"""`brainops connect`: give a coding agent the memory of its project."""

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from brainops.config.paths import STATE_VARIABLE
from brainops.errors import BadInputError
from interfaces.cli.display import say
from interfaces.hooks.installation import (
    HOOK_PROGRAM,
    Change,
    Connection,
    connect,
    disconnect,
    local_connection,
    remote_connection,
)
from interfaces.hooks.project import scope_of_folder

app = typer.Typer(
    no_args_is_help=True,
    help="Give a coding agent the memory of its project.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _agents() -> None:
    """Give a coding agent the memory of its project."""


@app.command("claude-code")
def claude_code(
    project: Annotated[
        Path, typer.Option(help="The project's folder.", exists=True, file_okay=False, show_default="this folder")
    ] = Path(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take it out again; the rest stays as it is.")] = False,
    url: Annotated[
        str | None, typer.Option(help="A team's server instead of the stack of this machine.", metavar="URL")
    ] = None,
    key_env: Annotated[
        str, typer.Option(help="Environment variable with the key for --url.", metavar="NAME")
    ] = "BRAINOPS_KEY",
) -> None:
    """Hooks and the MCP server, in the project's .claude/settings.json and .mcp.json."""
    folder = project.absolute()
    changes = disconnect(folder) if remove else connect(folder, _connection(folder, url, key_env))
    todo = [change for change in changes if change.changes]
    if dry_run:
        typer.echo("".join(change.difference(folder) for change in todo), nl=False)
        return
    for change in todo:
        change.make()
        say(f"{_verb(change)}  {change.path.relative_to(folder)}")
    if not todo:
        say("There is nothing to do: it is connected." if not remove else "There is nothing of BrainOps here.")
    elif not remove:
        say(f"Claude Code remembers {scope_of_folder(str(folder))} from its next start in this folder.")


def _connection(folder: Path, url: str | None, key_variable: str) -> Connection:
    hook = _program(HOOK_PROGRAM)
    if url is None:
        named = os.environ.get(STATE_VARIABLE)
        return local_connection(hook, _program("brainops"), Path(named) if named else None)
    if not url.startswith(("http://", "https://")):
        raise BadInputError(f"--url is {url!r}; give an address such as https://brainops.example.com")
    if not key_variable.isidentifier():
        raise BadInputError(
            f"--key-env is {key_variable!r}; give the name of an environment variable, not the key itself"
        )
    return remote_connection(hook, url, key_variable, scope_of_folder(str(folder)))


def _program(name: str) -> str:
    """The name where it is on the PATH, so that the file suits colleagues too; else its whole path."""
    beside = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    if found is not None:
        return name
    return str(beside) if beside.exists() else name


def _verb(change: Change) -> str:
    if change.after is None:
        return "removed"
    return "written" if change.before is None else "changed"
