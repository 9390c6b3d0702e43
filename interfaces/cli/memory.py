"""`brainops memory`: what is remembered, found, looked through, forgotten, and whether all of it is in order."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import typer

from brainops.contracts.memory import (
    Fetched,
    Forgotten,
    Memory,
    MemoryKind,
    MessagePage,
    RecallKind,
    RecallResult,
    Remembered,
    SessionPage,
    Stats,
    Verified,
)
from brainops.contracts.message import ArtifactRefPart
from brainops.errors import BadInputError, NotFoundError
from interfaces.cli.display import plain, print_json, say, table
from interfaces.cli.errors import ExitCode
from interfaces.cli.memory_access import (
    Json,
    Scope,
    Tags,
    Yes,
    ask,
    chosen_scope,
    database_of,
    ids_of,
    memory,
    moment,
    read_text,
    session_of,
    shown_id,
)
from interfaces.cli.memory_import import export_file, import_files
from interfaces.cli.memory_views import (
    memory_table,
    memory_view,
    message_view,
    one_line,
    recalled_views,
    receipt_view,
    stats_view,
)
from interfaces.memory_client import MemoryClient

app = typer.Typer(
    no_args_is_help=True,
    help="What is remembered: add to it, search it, look through it, forget.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

MOST_ELSEWHERE = 50
"""Other scopes in which `explain` looks when nothing is found."""

SHOWN_PROBLEMS = 50

MOST_APART = 10
"""Texts that were kept apart, of all messages that are shown at once."""

Query = Annotated[str, typer.Argument(help="In your own words; - reads stdin.")]
Kinds = Annotated[list[RecallKind] | None, typer.Option("--kind", help="Only this; repeat for several.")]
At = Annotated[
    str | None, typer.Option("--at", metavar="WHEN", help="What held then: a date, or 2w for two weeks ago.")
]
Precise = Annotated[
    bool, typer.Option("--precise", help="Only memories that are called by name: nothing rather than noise.")
]


@app.command(
    epilog="Example: brainops memory remember 'The API listens on 8420.' --name api_port --why 'the proxy has 8080'"
)
def remember(
    text: Annotated[str, typer.Argument(help="One fact that stands on its own; - reads stdin.")],
    kind: Annotated[MemoryKind, typer.Option(help="What it is.")] = MemoryKind.KNOWLEDGE,
    type_: Annotated[
        str, typer.Option("--type", help="Finer: fact, decision, constraint, preference, fix, state, open_question …")
    ] = "fact",
    name: Annotated[str, typer.Option(help="A short name by which it is called, such as api_port.")] = "",
    aliases: Annotated[list[str] | None, typer.Option("--alias", help="A further name; repeat for several.")] = None,
    tags: Tags = None,
    importance: Annotated[float, typer.Option(min=0, max=1, help="From 0 to 1.")] = 0.5,
    pin: Annotated[bool, typer.Option("--pin", help="Give it back whatever is asked.")] = False,
    expires: Annotated[
        str | None, typer.Option(metavar="WHEN", help="When it stops being true: 2w, or a date.", show_default="never")
    ] = None,
    why: Annotated[str, typer.Option(help="Why it matters.")] = "",
    scope: Scope = None,
    json: Json = False,
) -> None:
    """Remember one thing. What is known already is only reinforced; secrets are taken out."""
    told = {
        "content": read_text(text),
        "kind": kind,
        "type": type_,
        "name": name,
        "aliases": aliases or (),
        "tags": tags or (),
        "importance": importance,
        "pinned": pin,
        "expires_at": moment(expires, "--expires", ahead=True),
        "why": why,
        "scopes": (chosen_scope(scope),),
        "provenance": {"agent": "brainops memory"},
    }
    asyncio.run(_remember(told, json))


@app.command(epilog="Example: brainops memory recall 'which port does the API use' -n 3")
def recall(
    query: Query,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, max=1000, help="At most this many.", show_default="10")
    ] = None,
    budget: Annotated[
        int | None, typer.Option(min=1, max=100_000, metavar="TOKENS", help="As much as fits into so many tokens.")
    ] = None,
    kinds: Kinds = None,
    at: At = None,
    precise: Precise = False,
    tags: Tags = None,
    scope: Scope = None,
    json: Json = False,
) -> None:
    """Find what is known about something, the best first."""
    asked = _asked(query, kinds, at, scope, tags, precise=precise)
    asyncio.run(_recall(asked | {"k": limit, "token_budget": budget}, json))


@app.command(epilog="Example: brainops memory explain 'which port does the API use'")
def explain(
    query: Query,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most this many.")] = 10,
    kinds: Kinds = None,
    at: At = None,
    precise: Precise = False,
    tags: Tags = None,
    scope: Scope = None,
    json: Json = False,
) -> None:
    """Recall, and tell how the answer came about: words, candidates, the parts of each score, what was left out."""
    asked = _asked(query, kinds, at, scope, tags, precise=precise)
    asyncio.run(_explain(asked | {"k": limit, "explain": True}, json))


@app.command(epilog="Example: brainops memory show 1f2e3d4c")
def show(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="As listed; the first characters will do.")],
    json: Json = False,
) -> None:
    """All of a memory or a message: text, state, source; of a long result also what was kept apart."""
    asyncio.run(_show(ids, json))


@app.command("list", epilog="Example: brainops memory list --kind task --past")
def list_(
    kinds: Annotated[list[MemoryKind] | None, typer.Option("--kind", help="Only this; repeat for several.")] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="Only this, such as decision.")
    ] = None,
    tags: Tags = None,
    past: Annotated[bool, typer.Option("--past", help="What holds no longer, too.")] = False,
    scope: Scope = None,
    everywhere: Annotated[bool, typer.Option("--all", help="Of every scope.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most this many.")] = 20,
    json: Json = False,
) -> None:
    """Look through what is remembered, the newest first."""
    if everywhere and scope is not None:
        raise BadInputError("give --scope or --all, not both")
    asked = {
        "scope": None if everywhere else chosen_scope(scope),
        "kinds": tuple(kinds or ()),
        "types": tuple(types or ()),
        "tags": tuple(tags or ()),
        "past": past,
        "limit": limit,
    }
    asyncio.run(_list(asked, json))


@app.command(epilog="Example: brainops memory forget --session 3f2a9c01-77aa-4c10-b0a5-6f1e2d3c4b5a")
def forget(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID…]", help="Memories, as listed; the first characters will do.")
    ] = None,
    session: Annotated[
        str | None, typer.Option(metavar="ID", help="A whole session, and what was learned from it.")
    ] = None,
    scope: Annotated[str | None, typer.Option(metavar="SCOPE", help="Everything of a scope.")] = None,
    why: Annotated[str, typer.Option(help="Written on the receipt.")] = "",
    yes: Yes = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document for programs; needs --yes.")] = False,
) -> None:
    """Remove for good: rows, index, artifacts and episodes. The receipt proves it."""
    if sum(1 for one in (ids, session, scope) if one) != 1:
        raise BadInputError("say what to forget by one of: ids, --session ID, --scope SCOPE")
    if scope is not None:
        chosen_scope(scope)
    asyncio.run(_forget(ids or [], session, scope, why, yes=yes, json=json))


app.command("export", epilog="Example: brainops memory export memory.jsonl")(export_file)
app.command("import", epilog="Example: brainops memory import --from claude-code --project ~/shop")(import_files)


@app.command(epilog="Example: brainops memory stats --json | jq .outbox")
def stats(json: Json = False) -> None:
    """How much is kept, how far the index is behind, what pruning saves, what was redacted."""
    asyncio.run(_stats(json))


@app.command(epilog="Example: brainops memory verify || echo 'see the remedies above'")
def verify(json: Json = False) -> None:
    """Whether everything that belongs together is there. Exit code 1 when something is wrong."""
    asyncio.run(_verify(json))


def _asked(
    query: str,
    kinds: Sequence[RecallKind] | None,
    at: str | None,
    scope: str | None,
    tags: Sequence[str] | None,
    *,
    precise: bool,
) -> dict[str, Any]:
    """What both `recall` and `explain` ask; a request's fields, so Any. Raises BadInputError."""
    question = read_text(query)
    if not question.strip():
        raise BadInputError(
            "the question is empty; say in a few words what you look for, or use `brainops memory list`"
        )
    return {
        "query": question,
        "kinds": tuple(kinds or ()),
        "at": moment(at, "--at", ahead=False),
        "scopes": (chosen_scope(scope),),
        "filters": {"tags": tuple(tags or ())},
        "precise": precise,
    }


async def _remember(told: dict[str, Any], json: bool) -> None:
    async with memory() as client:
        done: Remembered = await client.call("remember", {"memory": told})
    if json:
        print_json(done)
        return
    say(
        f"{'Remembered' if done.created else 'Known already, and reinforced'}: {shown_id(done.id)} in {told['scopes'][0]}."
    )
    if done.redacted:
        say(f"{done.redacted} {'secret was' if done.redacted == 1 else 'secrets were'} taken out.")


async def _recall(asked: dict[str, Any], json: bool) -> None:
    async with memory("Looking …") as client:
        found: RecallResult = await client.call("recall", asked)
    if json:
        print_json(found)
        return
    say(*recalled_views(found, datetime.now(UTC)))
    if not found.results:
        say(f"Nothing is known of that in {asked['scopes'][0]}; `brainops memory explain QUERY` tells why.")


async def _explain(asked: dict[str, Any], json: bool) -> None:
    async with memory("Looking …") as client:
        found: RecallResult = await client.call("recall", asked)
        if json:
            print_json(found)
            return
        kept: Stats = await client.call("stats", {})
        advice = await _advice(client, asked, kept) if not found.results else []
    now = datetime.now(UTC)
    say(f"In {asked['scopes'][0]}, {found.took_ms:.1f} ms:")
    say(*(f"  {note}" for note in found.notes))
    if kept.outbox:
        say(f"  the index is behind: {kept.outbox:,} rows wait, the oldest for {kept.outbox_seconds:.0f} s")
    if found.results:
        say("", *recalled_views(found, now, parts=True))
    if advice:
        say("", plain("Nothing was found. What helps:", "bold"), *(f"  {one}" for one in advice))


async def _advice(client: MemoryClient, asked: dict[str, Any], kept: Stats) -> list[str]:
    """In words, what finds something instead; each piece of it was tried. Any: fields of a request."""

    async def finds(**other: object) -> int:
        answer: RecallResult = await client.call("recall", asked | {"k": 3, "explain": False} | other)
        return len(answer.results)

    advice: list[str] = []
    if asked["precise"] and await finds(precise=False):
        advice.append("leave --precise away: nothing is called by a name in this question, but words are found")
    if asked["kinds"] and await finds(kinds=()):
        advice.append("leave --kind away: there is something of another kind")
    if asked["filters"]["tags"] and await finds(filters={}):
        advice.append("leave --tag away: there is something without these tags")
    if asked["at"] is not None and await finds(at=None):
        advice.append("leave --at away: there is something that holds now and did not then")
    listed: SessionPage = await client.call("session_list", {"limit": 500})
    others = [name for name in dict.fromkeys(one.scope for one in listed.sessions) if name not in asked["scopes"]]
    if others:
        answer: RecallResult = await client.call("recall", asked | {"k": 20, "scopes": others[:MOST_ELSEWHERE]})
        where = list(dict.fromkeys(one.scope for one in answer.results if one.scope))
        advice += [f"--scope {name}: there is something about it" for name in where[:3]]
    if kept.outbox:
        advice.append(f"wait a moment: {kept.outbox:,} rows are not in the index yet")
    if not advice:
        advice.append(
            "other words: those of the text itself are found best; `brainops memory list` shows what there is"
        )
    return advice


async def _show(given: Sequence[str], json: bool) -> None:
    ids = await ids_of(given)
    async with memory() as client:
        found: Fetched = await client.call("fetch", {"ids": ids})
        keys = [part.key for one in found.messages for part in one.parts if isinstance(part, ArtifactRefPart)]
        if keys:
            apart: Fetched = await client.call("fetch", {"artifact_keys": keys[:MOST_APART]})
            found = found.model_copy(update={"artifacts": apart.artifacts})
    if not found.memories and not found.messages:
        raise NotFoundError(f"nothing that is kept has the id {', '.join(found.unknown)}")
    if json:
        print_json(found)
        return
    now = datetime.now(UTC)
    for one in found.memories:
        say(one.content, "", memory_view(one, now), "")
    for message in found.messages:
        say(message.text or "(no text)", "", message_view(message, now), "")
    for artifact in found.artifacts:
        say(plain("All of it:", "bold"))
        for line in (artifact.text or "(no text)").splitlines():
            typer.echo(plain(line.expandtabs(4)).plain)  # as it was, whatever the width of the screen
    for name in found.unknown:
        say(f"{name} is not kept.")


async def _list(fields: dict[str, Any], json: bool) -> None:
    from brainops.memory.listing import ListMemories, list_memories  # noqa: PLC0415 - as in `memory_access`

    asked = ListMemories.model_validate(fields)
    async with database_of("list") as stack:
        found = await list_memories(stack.database, asked)
    if json:
        print_json(found)
        return
    of = f"of {asked.scope} " if asked.scope else ""
    if not found.memories:
        say(f"Nothing {of}is remembered that fits; --past and --all show more.")
        return
    say(memory_table(found.memories, datetime.now(UTC), scopes=asked.scope is None))
    if found.more:
        say(f"There are more; -n {min(1000, asked.limit * 5)} shows them, `brainops memory export` writes all.")


async def _forget(
    given: Sequence[str], session: str | None, scope: str | None, why: str, *, yes: bool, json: bool
) -> None:
    ids = await ids_of(given)
    async with memory("Forgetting …" if yes else "") as client:
        if session is not None:
            session = await _named(client, session)
        if not yes:
            ask(f"{await _meant(client, ids, session, scope)} It cannot be brought back. Go on?", yes=yes, silent=json)
        request = {"memory_ids": ids, "session_id": session, "scope": scope, "reason": why}
        done: Forgotten = await client.call("forget", request)
    if json:
        print_json(done)
    else:
        say(receipt_view(done))
    if done.left:
        raise typer.Exit(ExitCode.FAILURE)


async def _named(client: MemoryClient, session: str) -> str:
    """The session's id. One that was purged is named whole: what it left behind can be forgotten, too."""
    try:
        return await session_of(client, session)
    except NotFoundError:
        return session


async def _meant(client: MemoryClient, ids: Sequence[UUID], session: str | None, scope: str | None) -> str:
    """What would be forgotten, as a sentence."""
    if scope is not None:
        return f"Forget everything of {scope}: memories, sessions, messages, todos."
    if session is not None:
        page: MessagePage = await client.call("session_messages", {"session_id": session, "limit": 1})
        last = page.messages[-1].seq if page.messages else 0
        return f"Forget session {session} with its {last:,} messages and what was learned from it."
    found: Fetched = await client.call("fetch", {"ids": ids[:50]})
    return f"Forget {len(ids)} memor{'y' if len(ids) == 1 else 'ies'}: {_gists(found.memories)}"


def _gists(memories: Sequence[Memory]) -> str:
    shown = [f"“{one_line(one.content, 60)}”" for one in memories[:3]]
    return ", ".join([*shown, *(["…"] if len(memories) > 3 else [])]) + "."


async def _stats(json: bool) -> None:
    async with memory("Counting …") as client:
        found: Stats = await client.call("stats", {})
    if json:
        print_json(found)
    else:
        say(*stats_view(found))


async def _verify(json: bool) -> None:
    async with memory("Looking through everything …") as client:
        found: Verified = await client.call("verify", {})
    if json:
        print_json(found)
    elif not found.problems:
        say(f"All in order: {found.looked_at:,} things were looked at.")
    else:
        shown = found.problems[:SHOWN_PROBLEMS]
        rows = [(one.kind.replace("_", " "), one.what, one.remedy) for one in shown]
        say(table(f"{found.count:,} problems", ("problem", "what", "remedy"), rows, elastic="what"))
        if found.count > len(shown):
            say(f"Those are the first {len(shown)}; --json has up to 1,000.")
    if found.problems:
        raise typer.Exit(ExitCode.FAILURE)
