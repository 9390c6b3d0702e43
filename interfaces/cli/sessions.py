"""`brainops session`: what was said, what the next session is told, and where a session stands."""

import asyncio
import json as json_values
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, cast

import typer
from rich.table import Table
from rich.text import Text

from brainops.config.quantities import format_size
from brainops.contracts.memory import ContextType, MessagePage, Restored, SessionInfo, SessionPage, Snapshot
from brainops.contracts.message import (
    ArtifactRefPart,
    ErrorPart,
    MessageStatus,
    Part,
    Role,
    StoredMessage,
    TextPart,
    ToolCallPart,
)
from brainops.errors import BadInputError
from interfaces.cli.display import ago, clock, plain, print_json, say, table
from interfaces.cli.memory_access import (
    SHORT_ID,
    Json,
    Scope,
    Tags,
    chosen_scope,
    memory,
    moment,
    read_text,
    session_of,
    shown_id,
)
from interfaces.cli.memory_views import one_line, with_scope

app = typer.Typer(
    no_args_is_help=True,
    help="Sessions of agents: list, show, restore, save.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

LONGEST_RESULT = 12
"""Lines of a tool result on the screen; `--full` shows all."""

SessionId = Annotated[str, typer.Argument(metavar="ID", help="As listed; the first characters will do.")]


@app.command("list", epilog="Example: brainops session list --all --agent claude-code -n 5")
def list_(
    scope: Scope = None,
    everywhere: Annotated[bool, typer.Option("--all", help="Of every scope.")] = False,
    agent: Annotated[str | None, typer.Option(help="Only of this agent, such as claude-code.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="At most this many.")] = 20,
    before: Annotated[str | None, typer.Option(metavar="CURSOR", help="Those before a page.")] = None,
    json: Json = False,
) -> None:
    """List sessions, the last used first."""
    if everywhere and scope is not None:
        raise BadInputError("give --scope or --all, not both")
    chosen = None if everywhere else chosen_scope(scope)
    asyncio.run(_list({"scope": chosen, "agent": agent, "limit": limit, "before": before}, json))


@app.command(epilog="Example: brainops session show 3f2a9c01 -n 50")
def show(
    session: SessionId,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="The last so many messages.")] = 20,
    before: Annotated[str | None, typer.Option(metavar="CURSOR", help="Those before a page.")] = None,
    full: Annotated[bool, typer.Option("--full", help="All of what tools gave back.")] = False,
    json: Json = False,
) -> None:
    """What was said in a session, oldest first. What is still being said, and what was cut off, is marked."""
    asyncio.run(_show(session, limit, before, full=full, json=json))


@app.command(epilog="Example: brainops session restore --prompt 'go on with the dark mode' --budget 1000")
def restore(
    prompt: Annotated[str, typer.Option(help="The first prompt of the new session; - reads stdin.")] = "",
    budget: Annotated[int, typer.Option(min=50, max=100_000, metavar="TOKENS", help="As much as fits.")] = 2000,
    session: Annotated[
        str, typer.Option(metavar="ID", help="A session to continue.", show_default="the last ones")
    ] = "",
    scope: Scope = None,
    json: Json = False,
) -> None:
    """Print exactly what the next session of this project would be told."""
    asked = {"scope": chosen_scope(scope), "prompt": read_text(prompt), "session_id": session, "budget_tokens": budget}
    asyncio.run(_restore(asked, json))


@app.command(epilog="Example: brainops session save 3f2a9c01 goal='dark mode' next='style the dialogs'")
def save(
    session: SessionId,
    context: Annotated[
        list[str],
        typer.Argument(metavar="KEY=VALUE…|JSON", help="What the next session should know; - reads JSON from stdin."),
    ],
    type_: Annotated[ContextType, typer.Option("--type", help="What it is of.")] = ContextType.TASK,
    tags: Tags = None,
    importance: Annotated[float, typer.Option(min=0, max=1, help="From 0 to 1.")] = 0.5,
    expires: Annotated[str | None, typer.Option(metavar="WHEN", help="2w, or a date.", show_default="never")] = None,
    json: Json = False,
) -> None:
    """Save where a session stands. The next restore tells it."""
    asked = {
        "context_type": type_,
        "context": context_of(context),
        "tags": tuple(tags or ()),
        "importance": importance,
        "expires_at": moment(expires, "--expires", ahead=True),
    }
    asyncio.run(_save(session, asked, json))


def context_of(given: Sequence[str]) -> dict[str, Any]:
    """What was given as one JSON object, or as keys with texts. Raises BadInputError. Any: JSON."""
    if len(given) == 1 and (given[0] == "-" or given[0].lstrip().startswith("{")):
        try:
            told: object = json_values.loads(read_text(given[0]))
        except (ValueError, RecursionError) as error:
            raise BadInputError(f"that is no JSON: {error}; give an object, or KEY=VALUE pairs") from None
        if not isinstance(told, dict):
            raise BadInputError(f"that is JSON of a {type(told).__name__}; give an object, or KEY=VALUE pairs")
        return cast("dict[str, Any]", told)
    pairs: dict[str, Any] = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise BadInputError(f"{pair!r} is no KEY=VALUE; write for example next='style the dialogs'")
        if key.strip() in pairs:
            raise BadInputError(f"{key.strip()} is given twice; join its values, or give a list as JSON")
        pairs[key.strip()] = value
    return pairs


async def _list(asked: dict[str, Any], json: bool) -> None:
    async with memory() as client:
        found: SessionPage = await client.call("session_list", asked)
    if json:
        print_json(found)
    elif found.sessions:
        say(session_table(found.sessions, datetime.now(UTC), scopes=asked["scope"] is None))
        if found.before:
            typer.echo(f"Older ones: --before {found.before}")
    else:
        of = f" of {asked['scope']}" if asked["scope"] else ""
        say(f"There is no session{of}; `brainops connect claude-code` records them, --all lists those of other scopes.")


def session_table(found: Sequence[SessionInfo], now: datetime, *, scopes: bool) -> Table:
    """Sessions for people."""
    rows = [
        (
            one.id[:SHORT_ID],
            one.agent,
            with_scope(plain(one_line(one.title, 160) or "no title"), one.scope if scopes else ""),
            str(one.messages),
            _state(one),
            ago(one.last_at, now),
        )
        for one in found
    ]
    return table("Sessions", ("id", "agent", "title", "said", "state", "last"), rows, elastic="title")


def _state(session: SessionInfo) -> Text:
    if session.archived_at is not None:
        return plain("archived", "dim")
    return plain("ended", "dim") if session.ended_at is not None else plain("open", "green")


async def _show(given: str, limit: int, before: str | None, *, full: bool, json: bool) -> None:
    async with memory() as client:
        session = await session_of(client, given)
        page: MessagePage = await client.call(
            "session_messages", {"session_id": session, "limit": limit, "before": before}
        )
    if json:
        print_json(page)
        return
    now = datetime.now(UTC)
    for message in page.messages:
        say(*transcript(message, now, full=full), "")
    if not page.messages:
        say(f"Nothing is kept of what was said in {session}.")
    if page.before:
        typer.echo(f"Older messages: --before {page.before}")


def transcript(message: StoredMessage, now: datetime, *, full: bool) -> Iterator[Text]:
    """A message for people: who and when, then its parts."""
    who = message.author or message.role.value
    head = (
        plain(f"#{message.seq} ", "dim")
        + plain(who, _COLOURS.get(message.role, ""))
        + plain(f"  {clock(message.at, now)}", "dim")
    )
    if message.status is MessageStatus.STREAMING:
        head += plain("  still being said", "yellow")
    elif message.status is MessageStatus.INTERRUPTED:
        head += plain("  cut off", "red")
    yield head
    for part in message.parts:
        yield from _said(part, shown_id(message.id), full=full)


_COLOURS = {Role.USER: "bold green", Role.ASSISTANT: "bold cyan", Role.SYSTEM: "bold", Role.TOOL: "bold magenta"}


def _said(part: Part, message: str, *, full: bool) -> Iterator[Text]:
    if isinstance(part, TextPart):
        yield _lines(part.text)
    elif isinstance(part, ToolCallPart):
        yield plain(f"→ {part.name} {_arguments(part.arguments, full=full)}", "magenta")
    elif isinstance(part, ArtifactRefPart):
        yield plain(f"  all {format_size(part.bytes)} of it: brainops memory show {message}", "dim")
    elif isinstance(part, ErrorPart):
        yield plain(f"✗ {part.code} {part.message}".replace("  ", " "), "red")
    else:
        lines = part.text.splitlines()
        shown = lines if full else lines[:LONGEST_RESULT]
        yield plain(
            f"← {part.name or 'result'}{' failed' if part.is_error else ''}", "red" if part.is_error else "magenta"
        )
        if shown:
            yield _lines("\n".join(shown), "dim")
        if len(lines) > len(shown):
            yield plain(f"  … {len(lines) - len(shown):,} more lines; --full shows them", "dim")


def _arguments(arguments: Mapping[str, object], *, full: bool) -> str:
    """What a tool was called with; in short, the shortest values first: they tell most."""
    if full:
        return json_values.dumps(arguments, ensure_ascii=False)
    values = {
        name: value if isinstance(value, str) else json_values.dumps(value, ensure_ascii=False)
        for name, value in arguments.items()
    }
    return one_line(
        " · ".join(f"{name}: {values[name]}" for name in sorted(values, key=lambda one: len(values[one]))), 160
    )


def _lines(text: str, style: str = "") -> Text:
    """A text of several lines: each escaped, their breaks kept."""
    return Text("\n").join(plain(line.expandtabs(4), style) for line in text.splitlines())


async def _restore(asked: dict[str, Any], json: bool) -> None:
    async with memory("Looking …") as client:
        found: Restored = await client.call("session_restore", asked)
    if json:
        print_json(found)
    elif found.text:
        sys.stdout.write(f"{found.text}\n")
    else:
        typer.echo(f"Nothing is known of {asked['scope']} yet: a new session is told nothing.", err=True)


async def _save(given: str, asked: dict[str, Any], json: bool) -> None:
    async with memory() as client:
        session = await session_of(client, given)
        saved: Snapshot = await client.call("session_save", asked | {"session_id": session})
    if json:
        print_json(saved)
    else:
        say(f"Saved for {saved.scope}: {', '.join(sorted(saved.context_data))}. The next restore tells it.")
