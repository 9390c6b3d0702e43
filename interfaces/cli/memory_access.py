"""How commands reach memory: the API that runs here, or that of a team; which scope and which time are meant.

What only some commands need of the database is imported by them: most ask the API, and start in a third of the time.
"""

import contextlib
import os
import re
import sys
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer
from rich.console import Console

from brainops.config.quantities import parse_duration
from brainops.contracts.memory import SCOPE_PATTERN, SessionPage
from brainops.errors import BadInputError, NotFoundError
from interfaces.hooks.project import scope_of_folder
from interfaces.memory_client import MemoryClient

if TYPE_CHECKING:
    from interfaces.cli.context import Connections

REMOTE = "BRAINOPS_URL"
SHORT_ID = 8
SHORTEST_PREFIX = 4
SEARCHED = 500
"""Sessions, the last used, among which one is found by its first characters."""

MOST_READ = 1_048_576
"""Bytes that are read from stdin."""

Json = Annotated[bool, typer.Option("--json", help="One JSON document for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Scope = Annotated[
    str | None,
    typer.Option(metavar="SCOPE", help="What it is about, such as project:shop.", show_default="this folder's project"),
]
Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="Repeat for several.")]


def is_remote() -> bool:
    """Whether a team's server is meant, whose database cannot be reached from here."""
    return bool(os.environ.get(REMOTE))


@contextlib.asynccontextmanager
async def memory(doing: str = "") -> AsyncGenerator[MemoryClient]:
    """The memory that is meant. What is being done stands on the terminal meanwhile, where it may take a while."""
    client = MemoryClient.found()
    with Console(stderr=True).status(doing) if doing else contextlib.nullcontext():
        async with client:
            yield client


@contextlib.asynccontextmanager
async def database_of(what: str) -> AsyncGenerator["Connections"]:
    """The stack, for `what` the API has no call for. Raises BadInputError where a team's server is meant."""
    if is_remote():
        raise BadInputError(
            f"{what} reads the database, which is not here: {REMOTE} names {os.environ[REMOTE]}; "
            "do it on that machine, or unset the variable for the memory of this one"
        )
    from interfaces.cli.context import connect  # noqa: PLC0415

    async with connect() as stack:
        yield stack


async def ids_of(given: Sequence[str]) -> list[UUID]:
    """The ids that are meant; here the first characters of one will do, of a team's server all are needed."""
    whole = [_whole(text) for text in given]
    if all(one is not None for one in whole):
        return [one for one in whole if one is not None]
    if is_remote():
        short = next(text for text, one in zip(given, whole, strict=True) if one is None)
        raise BadInputError(f"{short!r} is no whole id; give all of it, as `recall` prints it")
    from brainops.memory.listing import find_id  # noqa: PLC0415
    from interfaces.cli.context import connect  # noqa: PLC0415

    async with connect() as stack:
        return [await find_id(stack.database, text) for text in given]


async def session_of(client: MemoryClient, given: str) -> str:
    """The id that is meant: all of it, or its first characters. Raises NotFoundError or BadInputError."""
    try:
        await client.call("session_messages", {"session_id": given, "limit": 1})
    except NotFoundError:
        if len(given) < SHORTEST_PREFIX:
            raise
    else:
        return given
    listed: SessionPage = await client.call("session_list", {"limit": SEARCHED})
    found = [one.id for one in listed.sessions if one.id.startswith(given)]
    if not found:
        raise NotFoundError(f"there is no session {given!r}; `brainops session list --all` lists them")
    if len(found) > 1:
        raise BadInputError(f"{given!r} could be {', '.join(found[:5])}; give more characters")
    return found[0]


def _whole(text: str) -> UUID | None:
    try:
        return UUID(text.strip())
    except ValueError:
        return None


def shown_id(value: UUID) -> str:
    """As much of an id as is needed to name it again."""
    return str(value) if is_remote() else str(value)[:SHORT_ID]


def chosen_scope(scope: str | None) -> str:
    """The scope that is meant: that of the current folder, where none is named. Raises BadInputError."""
    if scope is None:
        return scope_of_folder(str(Path.cwd()))
    if not re.fullmatch(SCOPE_PATTERN, scope):
        raise BadInputError(f"--scope is {scope!r}; give letters, digits and `: _ . / @ -`, such as project:shop")
    return scope


def moment(text: str | None, option: str, *, ahead: bool) -> datetime | None:
    """A date, a time or a duration (`2w`: so long ago, or with `ahead` so long from now); without a zone it is local.

    Raises BadInputError.
    """
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        pass
    else:
        if ahead and at <= datetime.now(UTC):
            raise BadInputError(f"{option} is {text!r}, which is over; give a later time, or a duration such as 2w")
        return at
    try:
        duration = parse_duration(text)
    except ValueError:
        raise BadInputError(
            f"{option} is {text!r}; give a date such as 2026-03-04, a time such as 2026-03-04T12:00, or a duration "
            "such as 2w"
        ) from None
    return datetime.now(UTC) + (duration if ahead else timedelta(0) - duration)


def read_text(given: str) -> str:
    """What was given; `-`: what stdin says. Raises BadInputError when that is too long or not UTF-8."""
    if given != "-":
        return given
    raw = sys.stdin.buffer.read(MOST_READ + 1)
    if len(raw) > MOST_READ:
        raise BadInputError(f"stdin is longer than {MOST_READ:,} bytes; give it in parts")
    try:
        return raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise BadInputError(f"stdin: byte {error.start} is not UTF-8; give plain UTF-8 text") from None


def ask(question: str, *, yes: bool, silent: bool) -> None:
    """Have a person agree, unless `yes`. Raises BadInputError where nobody can be asked."""
    if yes:
        return
    if silent or not sys.stdin.isatty():
        raise BadInputError("nobody can be asked here; add --yes")
    typer.confirm(question, abort=True)
