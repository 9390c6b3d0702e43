"""`brainops memory import` and `export`: what coding agents have already written down, and all of memory as a file."""

import asyncio
import json as json_lines
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel, Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from brainops.errors import BadInputError, SetupError
from brainops.memory.importing import InstructionsImported, Transcript, TranscriptImporter, TranscriptsImported, look_at
from brainops.memory.instruction_files import instruction_files
from brainops.memory.transcripts import find_transcripts
from interfaces.cli.display import facts, plain, print_json, say, table
from interfaces.cli.memory_access import Json, chosen_scope, database_of, is_remote, memory, moment
from interfaces.hooks.project import scope_of_folder

if TYPE_CHECKING:
    from brainops.storage.objects import ObjectStore
    from interfaces.cli.context import Connections

SHOWN_BROKEN = 20
"""Broken lines on the screen; `--json` has up to 100."""

OBJECTS = "BRAINOPS_OBJECTS"


class Agent(StrEnum):
    """Whose transcripts are looked for."""

    CLAUDE_CODE = "claude-code"
    CODEX = "codex"


class ImportedAll(BaseModel):
    """`brainops memory import --json`."""

    transcripts: TranscriptsImported = TranscriptsImported()
    instructions: list[InstructionsImported] = Field(default_factory=list[InstructionsImported])
    rows: dict[str, int] = Field(default_factory=dict[str, int])
    """Of exports, by their type."""
    notes: list[str] = Field(default_factory=list[str])


class Exported(BaseModel):
    """`brainops memory export --json`."""

    file: str
    rows: dict[str, int]


@dataclass(frozen=True)
class _Wanted:
    """What is to be imported."""

    exports: tuple[Path, ...] = ()
    transcripts: tuple[Transcript, ...] = ()
    instructions: tuple[tuple[Path, Path], ...] = ()
    """Each with the folder of its project."""
    notes: tuple[str, ...] = ()


def export_file(
    file: Annotated[Path, typer.Argument(help="Where to; - writes to stdout.")],
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    json: Json = False,
) -> None:
    """Write all of memory as JSON lines, with sessions, states and artifacts."""
    if str(file) == "-" and json:
        raise BadInputError("the export itself goes to stdout; give a file, or leave --json away")
    asyncio.run(_export(file, force=force, json=json))


def import_files(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE…]", help="Exports, transcripts (.jsonl), CLAUDE.md and AGENTS.md."),
    ] = None,
    agent: Annotated[
        Agent | None, typer.Option("--from", help="Find what this agent has kept on this machine.")
    ] = None,
    project: Annotated[
        Path | None,
        typer.Option(
            help="Of the project in this folder only.", exists=True, file_okay=False, show_default="this folder"
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Of all projects.")] = False,
    since: Annotated[
        str, typer.Option(metavar="WHEN", help="Sessions that were used since: a duration such as 90d, or a date.")
    ] = "90d",
    scope: Annotated[
        str | None,
        typer.Option(
            metavar="SCOPE", help="For all of it, such as project:shop.", show_default="each one's own project"
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Take over what is there already. Once more changes nothing."""
    if bool(files) == (agent is not None):
        raise BadInputError("name files, or have them found with --from claude-code")
    if everything and project is not None:
        raise BadInputError("give --project or --all, not both")
    if scope is not None:
        chosen_scope(scope)
    folder = (project or Path.cwd()).resolve()
    if agent is None:
        wanted = _named(files or [], folder)
    else:
        earliest = moment(since, "--since", ahead=False)
        wanted = _found(agent, None if everything else folder, earliest or datetime.min.replace(tzinfo=UTC))
    asyncio.run(_import(wanted, scope, json))


# What is meant


def _named(files: Sequence[Path], folder: Path) -> _Wanted:
    exports: list[Path] = []
    transcripts: list[Transcript] = []
    instructions: list[tuple[Path, Path]] = []
    for file in files:
        if file.is_dir():
            raise BadInputError(f"{file} is a folder; name files, or use --from claude-code --project {file}")
        if file.suffix.lower() in {".md", ".markdown", ".mdc"}:
            path = file.resolve()
            instructions.append((path, folder if path.is_relative_to(folder) else path.parent))
        elif _is_export(file):
            exports.append(file)
        elif (transcript := _looked_at(file)) is not None:
            transcripts.append(transcript)
        else:
            raise BadInputError(
                f"{file} is no export of memory, no transcript of Claude Code or Codex, and no .md file; "
                "nothing was imported"
            )
    return _Wanted(tuple(exports), _in_order(transcripts), tuple(instructions))


def _found(agent: Agent, folder: Path | None, since: datetime) -> _Wanted:
    """What an agent keeps below the home folder and in the project; of all projects without `folder`."""
    candidates = [path for path in find_transcripts(Path.home()) if _agent_of(path) is agent]
    # A file that was not touched since then need not be read; one that was may only have been copied.
    touched = [path for path in candidates if datetime.fromtimestamp(path.stat().st_mtime, UTC) >= since]
    with Console(stderr=True).status(f"Looking at {len(touched):,} transcripts …"):
        seen = [one for one in map(_looked_at, touched) if one is not None and one.used >= since]
    own = [one for one in seen if folder is None or _belongs(one, folder)]
    notes: list[str] = []
    if len(own) < len(seen):
        notes.append(f"Left out, of other projects: {len(seen) - len(own):,}; --all imports them, too.")
    if len(seen) < len(candidates):
        notes.append(f"Left out, older than --since or empty: {len(candidates) - len(seen):,}.")
    folders = (
        [folder] if folder else sorted({Path(one.folder) for one in own if one.folder and Path(one.folder).is_dir()})
    )
    files = [(path, each) for each in folders for path in instruction_files(each)]
    return _Wanted((), _in_order(own), tuple(files), tuple(notes))


def _agent_of(path: Path) -> Agent:
    return Agent.CODEX if path.name.startswith("rollout-") else Agent.CLAUDE_CODE


def _belongs(transcript: Transcript, folder: Path) -> bool:
    """Whether the agent worked in the folder, below it, or in another checkout of the same project."""
    if not transcript.folder:
        return False
    return Path(transcript.folder).is_relative_to(folder) or scope_of_folder(transcript.folder) == scope_of_folder(
        str(folder)
    )


def _in_order(transcripts: Sequence[Transcript]) -> tuple[Transcript, ...]:
    """As they began: what a later session says is read against what earlier ones said."""
    return tuple(sorted(transcripts, key=lambda one: (one.began, one.path)))


def _is_export(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            first = json_lines.loads(opened.readline(4096))
    except OSError as error:
        raise BadInputError(f"{file} cannot be read ({error.strerror}); name a file that can") from error
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and "format" in first


def _looked_at(file: Path) -> Transcript | None:
    try:
        return look_at(file)
    except OSError as error:
        raise BadInputError(f"{file} cannot be read ({error.strerror}); name a file that can") from error


# What is done


async def _import(wanted: _Wanted, scope: str | None, json: bool) -> None:
    done = ImportedAll(notes=list(wanted.notes))
    if wanted.exports:
        async with database_of("import of an export") as stack:
            for file in wanted.exports:
                await _import_export(stack, file, done)
    if wanted.transcripts:
        done.transcripts = await _import_transcripts(wanted.transcripts, scope)
    if wanted.instructions and is_remote():
        done.notes.append("CLAUDE.md and AGENTS.md are left out: their memories need the database, which is not here.")
    elif wanted.instructions:
        async with database_of("import of instructions") as stack:
            for path, folder in wanted.instructions:
                name = str(path.relative_to(folder))
                of = scope or scope_of_folder(str(folder))
                done.instructions.append(await _import_instructions(stack, path, name, of))
    if json:
        print_json(done)
    else:
        _tell(done)


async def _import_export(stack: "Connections", file: Path, done: ImportedAll) -> None:
    from brainops.memory.transfer import import_memory  # noqa: PLC0415 - pulls in every tier

    try:
        with file.open(encoding="utf-8") as lines, Console(stderr=True).status(f"Importing {file} …"):
            imported = await import_memory(stack.database, _objects(stack), _bounded(lines))
    except UnicodeDecodeError as error:
        raise BadInputError(f"{file}: not UTF-8 at byte {error.start}; nothing was imported") from None
    except BadInputError as error:
        raise BadInputError(f"{file}: {error}") from error
    for name, count in imported.counts.items():
        done.rows[name] = done.rows.get(name, 0) + count


def _bounded(lines: IO[str]) -> Iterator[str]:
    """Line by line; a longer one than is allowed comes cut, and is refused by its number."""
    from brainops.memory.transfer import MOST_LINE  # noqa: PLC0415 - as above

    while line := lines.readline(MOST_LINE + 1):
        yield line


async def _import_transcripts(transcripts: Sequence[Transcript], scope: str | None) -> TranscriptsImported:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    quiet = not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as progress:
        bar = progress.add_task("Importing", total=len(transcripts))
        async with memory() as client:
            importer = TranscriptImporter(
                client,
                (lambda folder: scope or scope_of_folder(folder or str(Path.cwd()))),
                lambda: progress.update(bar, description=f"{importer.done.messages:,} messages"),
            )
            for one in transcripts:
                try:
                    await importer.take_over(one.path)
                except BadInputError as error:
                    raise BadInputError(f"{one.path}: {error}; what was named before it is imported") from error
                except OSError as error:
                    raise BadInputError(
                        f"{one.path} cannot be read ({error.strerror}); the others can be named"
                    ) from error
                progress.advance(bar)
    return importer.done


async def _import_instructions(stack: "Connections", path: Path, name: str, scope: str) -> InstructionsImported:
    from brainops.memory.instruction_import import import_instructions  # noqa: PLC0415 - as above

    try:
        return await import_instructions(stack.database, path, name, scope)
    except OSError as error:
        raise BadInputError(f"{path} cannot be read ({error.strerror}); name a file that can") from error


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _tell(done: ImportedAll) -> None:
    told = done.transcripts
    if told.files:
        say(
            plain("Transcripts", "bold"),
            facts(
                [
                    ("read", f"{told.files:,}"),
                    ("imported", f"{_counted(told.sessions, 'session')}, {_counted(told.messages, 'message')}"),
                    ("known", f"{_counted(told.known, 'session')}, here already" if told.known else ""),
                    ("recorded", f"{_counted(told.recorded, 'session')} by the hooks" if told.recorded else ""),
                    ("redacted", _counted(told.redacted, "secret") if told.redacted else ""),
                    ("left out", ", ".join(f"{count:,} {what}" for what, count in sorted(told.left_out.items()))),
                    ("broken", _counted(told.broken, "line") if told.broken else ""),
                ]
            ),
        )
    if told.broken_lines:
        rows = [(str(one.line), Path(one.file).name, one.reason) for one in told.broken_lines[:SHOWN_BROKEN]]
        say(table("Broken lines", ("line", "file", "why"), rows, elastic="why"))
    if done.instructions:
        rows = [
            (one.file, one.scope, *(str(count) for count in (one.statements, one.new, one.replaced, one.gone)))
            for one in done.instructions
        ]
        columns = ("file", "scope", "says", "new", "replaced", "gone")
        say(table("Instructions", columns, rows, elastic="scope"))
    if done.rows:
        say(plain("Read from exports; what was here already stays as it is", "bold"), _counts(done.rows))
    if not (told.files or done.instructions or done.rows):
        say("Nothing was found to import.")
    for note in done.notes:
        say(note)


def _counts(rows: dict[str, int]) -> object:
    return facts([(name, f"{count:,}") for name, count in rows.items() if count])


async def _export(file: Path, *, force: bool, json: bool) -> None:
    from brainops.memory.transfer import export_memory  # noqa: PLC0415 - as above

    async with database_of("export") as stack:
        if str(file) == "-":
            await export_memory(stack.database, _objects(stack), sys.stdout.write)
            return
        beside = file.with_name(f".{file.name}.{os.getpid()}.new")
        if file.exists() and not force:
            raise BadInputError(f"{file} is there already; name another file, or write over it with --force")
        try:
            # The secrets are out of it, but nothing else: it is for its owner's eyes.
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as opened, Console(stderr=True).status("Exporting …"):
                    done = await export_memory(stack.database, _objects(stack), opened.write)
                beside.replace(file)
            finally:
                beside.unlink(missing_ok=True)
        except OSError as error:
            raise BadInputError(f"{file} cannot be written ({error.strerror}); name another file") from error
    if json:
        print_json(Exported(file=str(file), rows=done.counts))
        return
    say(plain(f"{file}", "bold"), _counts(done.counts) if any(done.counts.values()) else "nothing is kept yet")


def _objects(stack: "Connections") -> "ObjectStore":
    """Where the running stack keeps what is too big for a row."""
    from brainops.config.load import reload_config  # noqa: PLC0415 - as above
    from brainops.storage.objects import ObjectStore  # noqa: PLC0415 - as above

    named = os.environ.get(OBJECTS) if stack.info is None else None
    if stack.info is not None and stack.info.config_path is not None:
        loaded = reload_config(stack.info.config_path)
        named = loaded.config.memory.place(loaded.directory)
    try:
        return ObjectStore(named or stack.paths.objects)
    except OSError as error:
        raise SetupError(f"{error.filename} cannot be used ({error.strerror}); be the user of the stack") from error
