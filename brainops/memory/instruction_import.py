"""CLAUDE.md and AGENTS.md as memories: one a statement, with its file and line; a changed file changes what is known.

What a file says no longer holds no longer: where a similar statement stands in its place it is superseded, otherwise
resolved. Reading the same file again changes nothing.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from rapidfuzz import fuzz, process
from sqlalchemy import text

from brainops.contracts.memory import Memory, MemoryKind, NewMemory, Provenance
from brainops.database.engine import Database
from brainops.database.values import to_json
from brainops.memory.importing import InstructionsImported
from brainops.memory.instruction_files import Statement, read_instructions
from brainops.memory.persistent import Closing, PersistentStore
from brainops.memory.redaction import redact

INSTRUCTION = "instruction"
"""Type of these memories."""

MOST_KNOWN = 5_000
"""Instructions of one scope that a file is compared with: the newest."""

_LIKE = 60.0
"""Share of characters, of 100, from which a new statement takes the place of one that is gone."""

# The text is the same, so no reader of words need look at it again.
_MOVED = text("""
    UPDATE brainops.persistent_memory AS known
    SET provenance = known.provenance || jsonb_build_object('source', moved.source), updated_at = clock_timestamp()
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS moved(id uuid, source text) WHERE known.id = moved.id
""")


async def import_instructions(database: Database, path: Path, name: str, scope: str) -> InstructionsImported:
    """Take the file over; `name` is how its memories call it, the same each time, such as `CLAUDE.md`.

    Raises OSError when it cannot be read, BadInputError when it is too large or not UTF-8.
    """
    said = await asyncio.to_thread(_said, path)
    store = PersistentStore(database)
    rows = await store.current((scope,), types=(INSTRUCTION,), limit=MOST_KNOWN)
    known = {memory.content: memory for memory in rows if _file_of(memory) == name}
    new = [_memory(content_of(one), one, name, scope) for content, one in said.items() if content not in known]
    gone = [memory for content, memory in known.items() if content not in said]
    closed = _closings(gone, new, datetime.now(UTC))
    remembered = await store.apply(new, closed)
    await _move(database, name, [(known[content], one) for content, one in said.items() if content in known])
    replaced = sum(ending.superseded_by is not None for ending in closed)
    created = sum(one.created for one in remembered)
    return InstructionsImported(
        file=name,
        scope=scope,
        statements=len(said),
        new=created,
        replaced=replaced,
        gone=len(closed) - replaced,
        known=len(said) - created,
        redacted=sum(one.redacted for one in remembered),
    )


def content_of(statement: Statement) -> str:
    """The statement so that it stands on its own: under the nearest two headings, the file's title left out."""
    above = " > ".join(statement.headings[1:][-2:])
    return f"{above}: {statement.text}" if above and not statement.text.startswith(above) else statement.text


def _said(path: Path) -> dict[str, Statement]:
    """The statements of the file by their content as it is stored, without secrets: so they are known again."""
    said: dict[str, Statement] = {}
    for statement in read_instructions(path):
        said.setdefault(redact(content_of(statement)).text, statement)
    return said


def _memory(content: str, statement: Statement, name: str, scope: str) -> NewMemory:
    return NewMemory(
        id=uuid4(),
        content=content,
        kind=MemoryKind.KNOWLEDGE,
        type=INSTRUCTION,
        scopes=(scope,),
        data={"file": name, "headings": list(statement.headings)},
        provenance=Provenance(source=f"{name}:{statement.line}"),
    )


def _file_of(memory: Memory) -> str:
    return memory.provenance.source.rpartition(":")[0]


def _closings(gone: Sequence[Memory], new: Sequence[NewMemory], at: datetime) -> list[Closing]:
    """The ends of what is gone: each new statement takes the place of one of them at most."""
    left = {place: memory.content for place, memory in enumerate(new)}
    endings: list[Closing] = []
    for memory in gone:
        match = process.extractOne(memory.content, left, scorer=fuzz.ratio, score_cutoff=_LIKE)
        if match is None:
            endings.append(Closing(id=memory.id, at=at, resolved=True, reason="the file says it no longer"))
        else:
            left.pop(match[2])
            endings.append(Closing(id=memory.id, at=at, superseded_by=new[match[2]].id))
    return endings


async def _move(database: Database, name: str, kept: Iterable[tuple[Memory, Statement]]) -> None:
    """Have what the file still says name the line where it now stands."""
    sources = [(memory, f"{name}:{statement.line}") for memory, statement in kept]
    moved = [
        {"id": str(memory.id), "source": source} for memory, source in sources if memory.provenance.source != source
    ]
    if moved:
        await database.write(_MOVED, {"rows": to_json(moved)})
