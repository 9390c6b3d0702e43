"""`brainops knowledge`: what is known about faults, what people add to it, and how it travels."""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.table import Table

from brainops.contracts.incident import FaultKind, Signature
from brainops.errors import BadInputError
from brainops.incidents.signature import sign, signature_key
from brainops.incidents.store import IncidentStore
from brainops.memory.exchange import MAX_BYTES, Key, Line, RemedyName, read_lines
from brainops.memory.knowledge import Imported, KnowledgeRow, KnowledgeStore, ToldKnowledge
from brainops.remedies.registry import remedy_names
from brainops.telemetry.redaction import clean
from brainops.telemetry.templates import template
from interfaces.cli.context import Connections, complete, connect
from interfaces.cli.display import ago, facts, plain, print_json, say, state, table, when
from interfaces.cli.names import unknown

app = typer.Typer(
    help="What is known about faults: list, show, add, edit, retire, import, export.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Signed = Annotated[str, typer.Argument(metavar="KEY", help="A signature, as listed.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document for programs.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most this many.")]
Remedy = Annotated[str | None, typer.Option(help="What helps, such as restart or run_command:compact.")]
Solution = Annotated[str | None, typer.Option(help="The same as a sentence, for people.")]
File = Annotated[Path | None, typer.Option("--file", "-f", help="YAML with these options as keys; - reads stdin.")]


class OnConflict(StrEnum):
    """What becomes of an entry whose signature is known already."""

    KEEP = "keep"
    REPLACE = "replace"


class KnowledgeList(BaseModel):
    """`brainops knowledge list --json`."""

    knowledge: list[KnowledgeRow]


class Told(BaseModel):
    """What a person says of a fault: the options of `add` and `edit`, and the keys of their file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    signature: Key | None = None
    incident: str | None = None
    kind: FaultKind | None = None
    check: str = "process"
    reason: str = "exited"
    ending: str = ""
    line: str = ""
    remedy: RemedyName | None = None
    solution: str | None = None


@app.callback()
def knowledge(context: typer.Context, json: Json = False) -> None:
    """List the faults that are known and what helps."""
    if context.invoked_subcommand is None:
        complete(_list(50, json, retired=False))


@app.command("list")
def list_known(
    limit: Limit = 50,
    retired: Annotated[bool, typer.Option("--retired", help="The retired ones, too.")] = False,
    json: Json = False,
) -> None:
    """List the faults that are known and what helps."""
    complete(_list(limit, json, retired=retired))


@app.command()
def show(key: Signed, json: Json = False) -> None:
    """All that is known of one fault."""
    complete(_show(key, json))


@app.command()
def add(
    signature: Annotated[str | None, typer.Option(help="Of a fault whose signature you know.")] = None,
    incident: Annotated[str | None, typer.Option(help="Of the fault of this incident.")] = None,
    kind: Annotated[FaultKind | None, typer.Option(help="Of a fault that has not happened yet.")] = None,
    check: Annotated[str, typer.Option(help="With --kind: kind of the failing check.")] = "process",
    reason: Annotated[str, typer.Option(help="With --kind: why it fails.")] = "exited",
    ending: Annotated[str, typer.Option(help="With --kind: how the process ends, such as 'exit 1'.")] = "",
    line: Annotated[str, typer.Option(help="With --kind: the error line of the log.")] = "",
    remedy: Remedy = None,
    solution: Solution = None,
    file: File = None,
) -> None:
    """Say what helps against a fault. Without options, your editor opens."""
    given = {"signature": signature, "incident": incident, "kind": kind, "remedy": remedy, "solution": solution}
    given = {name: value for name, value in given.items() if value is not None}
    with_kind = {"check": check, "reason": reason, "ending": ending, "line": line}
    if kind is not None:
        given |= with_kind
    told = _told(file, given, _NEW)
    complete(_add(told))


@app.command()
def edit(key: Signed, remedy: Remedy = None, solution: Solution = None, file: File = None) -> None:
    """Say something else of a known fault. Without options, your editor opens."""
    given = {name: value for name, value in {"remedy": remedy, "solution": solution}.items() if value is not None}
    complete(_edit(key, given, file))


@app.command()
def retire(
    key: Signed,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Shown with the entry.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Use it again.")] = False,
) -> None:
    """Keep an entry, but never use it again."""
    complete(_retire(key, reason, undo=undo))


@app.command("import")
def import_lines(
    file: Annotated[Path, typer.Argument(help="JSON lines, as `export` writes them; - reads stdin.")],
    on_conflict: Annotated[OnConflict, typer.Option(help="What to do with what is known already.")] = OnConflict.KEEP,
    json: Json = False,
) -> None:
    """Take over what another BrainOps knows: all of the file, or nothing if one line is wrong."""
    complete(_import(file, on_conflict, json))


@app.command("export")
def export_lines(
    file: Annotated[Path | None, typer.Argument(help="Where to. Default: stdout.")] = None,
) -> None:
    """Write what is known as JSON lines, for another BrainOps."""
    complete(_export(file))


async def _list(limit: int, json: bool, *, retired: bool) -> None:
    async with connect() as stack:
        rows = list(await KnowledgeStore(stack.database).list(limit, retired=retired))
    if json:
        print_json(KnowledgeList(knowledge=rows))
    elif rows:
        say(knowledge_table(rows, datetime.now(UTC)))
    else:
        say("Nothing has been learned yet: the first healed incident is the first entry.")


def knowledge_table(rows: Sequence[KnowledgeRow], now: datetime) -> Table:
    """What is known, for people."""
    cells = [
        (
            row.problem_signature,
            row.remedy.replace("_", " "),
            f"{row.success_rate * 100:.0f} %",
            str(row.usage_count),
            ago(row.last_used, now) if row.last_used else "never",
            _origin(row),
        )
        for row in rows
    ]
    columns = ("signature", "helps", "how often", "used", "last", "by")
    return table("Knowledge", columns, cells, elastic="signature")


def _origin(row: KnowledgeRow) -> str:
    return "retired" if row.retired_at else row.origin


async def _show(key: str, json: bool) -> None:
    async with connect() as stack:
        row = await KnowledgeStore(stack.database).get(key)
    if json:
        print_json(row)
        return
    now = datetime.now(UTC)
    helped = f"{row.success_rate * 100:.0f} % of {row.usage_count} times" if row.usage_count else "not used yet"
    say(
        plain(row.problem_signature, "bold"),
        facts(
            [
                ("problem", row.problem_description),
                ("log line", row.template),
                ("solution", row.solution),
                ("remedy", row.remedy.replace("_", " ")),
                ("helped", helped),
                ("last used", when(row.last_used, now) if row.last_used else ""),
                ("learned" if row.origin == "learned" else "told", when(row.created_at, now)),
                ("by", f"{row.author} ({row.origin})" if row.author else ""),
                ("retired", f"{when(row.retired_at, now)} {row.retired_reason}" if row.retired_at else ""),
            ]
        ),
    )


async def _add(told: Told) -> None:
    async with connect() as stack:
        signature = await _signature(stack, told)
        entry = _entry(signature, told.remedy, told.solution)
        await KnowledgeStore(stack.database).add(entry, _author())
    say(f"Known: {signature.key}: {entry.remedy}.")


async def _edit(key: str, given: Mapping[str, object], file: Path | None) -> None:
    async with connect() as stack:
        store = KnowledgeStore(stack.database)
        row = await store.get(key)
        now_said = yaml.safe_dump({"remedy": row.remedy, "solution": row.solution}, allow_unicode=True)
        told = _told(file, given, now_said)
        signature = Signature(
            key=row.problem_signature,
            kind=FaultKind(row.problem_signature.split("/")[0]),
            description=row.problem_description,
            ending=row.ending,
            template=row.template,
            facts=row.facts,
        )
        entry = _entry(signature, told.remedy or row.remedy, told.solution or row.solution)
        await store.replace(entry, _author())
    say(f"Known: {key}: {entry.remedy}.")


async def _retire(key: str, reason: str, *, undo: bool) -> None:
    async with connect() as stack:
        store = KnowledgeStore(stack.database)
        if undo:
            await store.bring_back(key)
        else:
            await store.retire(key, clean(reason, 500))
    say(f"{key} is used again." if undo else f"{key} is never used again; --undo brings it back.")


async def _import(file: Path, on_conflict: OnConflict, json: bool) -> None:
    text = _read(file, MAX_BYTES)
    entries, mistakes = read_lines(text, str(file), remedy_names())
    if mistakes:
        told = "\n".join(f"  {mistake}" for mistake in mistakes)
        raise BadInputError(f"nothing was imported, the file has mistakes:\n{told}")
    async with connect() as stack:
        store = KnowledgeStore(stack.database)
        done = await store.take_over(entries, _author(), replace=on_conflict is OnConflict.REPLACE)
    if json:
        print_json(done)
    else:
        _tell_import(done)


def _tell_import(done: Imported) -> None:
    say(f"{len(done.added)} added, {len(done.replaced)} replaced, {len(done.kept)} kept as they were.")
    if done.kept:
        rows = [(key, state("kept")) for key in done.kept[:50]]
        say(table("Known here already", ("signature", "what became of it"), rows, elastic="signature"))
        say("--on-conflict replace puts the file's in their place.")


async def _export(file: Path | None) -> None:
    async with connect() as stack:
        lines = [Line.of(told).model_dump_json() async for told in KnowledgeStore(stack.database).all_told()]
    text = "".join(f"{line}\n" for line in lines)
    if file is None:
        sys.stdout.write(text)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInputError(f"{file} cannot be written ({error.strerror}); name another file") from error
    say(f"{len(lines)} entries in {file}.")


async def _signature(stack: Connections, told: Told) -> Signature:
    """The signature that is meant, in the one of three ways that was used."""
    ways = [way for way in (told.signature, told.incident, told.kind) if way is not None]
    if len(ways) != 1:
        raise BadInputError("say which fault is meant by one of --signature, --incident and --kind (with --line)")
    if told.incident is not None:
        evidence = (await IncidentStore(stack.database).get(told.incident)).evidence
        if evidence is None:
            raise BadInputError(f"incident {told.incident} has no evidence yet; wait a moment, or use --kind")
        return sign(evidence)
    if told.signature is not None:
        kind = told.signature.split("/")[0]
        if kind not in set(FaultKind):
            raise unknown("kind of fault", kind, FaultKind)
        return Signature(key=told.signature, kind=FaultKind(kind), description="told by a person")
    kind = told.kind or FaultKind.CRASH
    pattern = template(clean(told.line))
    return Signature(
        key=signature_key(kind, told.check, told.reason, told.ending, pattern),
        kind=kind,
        description=clean(f"told by a person: {told.line}" if told.line else "told by a person", 500),
        ending=told.ending,
        template=pattern,
    )


def _entry(signature: Signature, remedy: str | None, solution: str | None) -> ToldKnowledge:
    if remedy is None:
        raise BadInputError(f"say what helps: --remedy, one of {', '.join(remedy_names())}")
    if (name := remedy.partition(":")[0]) not in remedy_names():
        raise unknown("remedy", name, remedy_names())
    return ToldKnowledge(signature=signature, remedy=remedy, solution=clean(solution or remedy, 500))


def _told(file: Path | None, given: Mapping[str, object], template_text: str) -> Told:
    """Options, else the file, else what the editor leaves. Raises BadInputError naming the key."""
    if file is not None and given:
        raise BadInputError("give the options or --file, not both")
    if not given:
        text = _read(file, 64 * 1024) if file is not None else _edited(template_text)
        try:
            loaded: object = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise BadInputError(f"that is no YAML: {error}") from error
        if not isinstance(loaded, dict):
            raise BadInputError("write keys and values, such as `remedy: restart`")
        given = {str(name): value for name, value in loaded.items() if value is not None}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # YAML of a person; Told checks it
    try:
        return Told.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise BadInputError(f"{name}: {first['msg']}; known: {', '.join(Told.model_fields)}") from error


def _edited(text: str) -> str:
    """`text` as the person's editor leaves it."""
    if not sys.stdin.isatty():
        raise BadInputError("say what is known by options or --file; `--help` lists them")
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="brainops-") as folder:
        path = Path(folder) / "knowledge.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            subprocess.run([*shlex.split(editor), str(path)], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise BadInputError(f"the editor {editor!r} failed ({error}); set EDITOR, or use options") from error
        return path.read_text(encoding="utf-8")


def _read(file: Path, limit: int) -> str:
    try:
        if str(file) == "-":
            raw = sys.stdin.buffer.read(limit + 1)
        else:
            with file.open("rb") as opened:
                raw = opened.read(limit + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise BadInputError(f"{file} cannot be read ({error.strerror}); name a file that can") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"{file} is not UTF-8 text; save it as plain UTF-8 text") from error
    if len(raw) > limit:
        raise BadInputError(f"{file} is larger than {limit // 1000:,} kB; give it in parts")
    return text


_NEW = """\
# Which fault: one of these three.
signature:          # crash/process/exited/5f1c2a9b
incident:           # 3f2a9c01
kind:               # crash, with the lines below
check: process
reason: exited
line: ""            # the error line of the log
# What helps.
remedy:             # restart
solution:           # the same as a sentence
"""


def _author() -> str:
    """Who is at the keyboard: `person:mira`."""
    # Imported here: it costs half a second, and most commands only read.
    from workers.runtime import person  # noqa: PLC0415

    try:
        return str(person())
    except ValueError as error:
        raise BadInputError(f"BRAINOPS_ACTOR cannot be used: {error}") from error
