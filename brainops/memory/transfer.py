"""All of a tenant's memory as lines of JSON, and back: with the time during which each memory holds, and its contents.

The first line says what the file is; each further one is a row, or an artifact or episode with its content. Names of
the tenant are taken out, so that an import into another one exports the same lines. Working memory is not exported: it
ends within a day. Words and vectors are made anew.
"""

import asyncio
import base64
import binascii
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import psycopg
from psycopg.rows import TupleRow
from pydantic import JsonValue, ValidationError
from sqlalchemy import Table, TextClause, text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from brainops.contracts.base import DEFAULT_TENANT, Contract
from brainops.contracts.memory import Memory, SessionInfo, Snapshot, Todo
from brainops.contracts.message import StoredMessage
from brainops.database.engine import Database
from brainops.errors import BadInputError, ConflictError, NotFoundError
from brainops.memory import tier_tables as tables
from brainops.memory.episodic import MOST_BYTES, Episode
from brainops.memory.indexing import LOCK_INDEX, Indexer, index_archived
from brainops.memory.memory_rows import hash_of_row
from brainops.memory.redaction import redact_json
from brainops.storage.objects import ObjectStore

FORMAT = "brainops-memory"
VERSION = 1

MOST_LINE = 64_000_000
"""Characters of one line: an artifact of 16 MB, or an episode, with room to spare."""

_PAGE = 500
_BATCH_CHARACTERS = 4_000_000

_GZIP = 16 + zlib.MAX_WBITS
_TENANT = "{tenant}"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_EPISODE_KEY = re.compile(r"episodes/[A-Za-z0-9_.-]+/[0-9-]+/[A-Za-z0-9_.-]+\.json\.gz")


@dataclass(frozen=True)
class _Kind:
    """One type of line."""

    table: Table
    order: str
    without_secrets: tuple[str, ...] = ()
    """Columns that people and programs filled with words."""
    contract: type[Contract] | None = None
    """What a row must be, to be read again."""

    @property
    def columns(self) -> str:
        return ", ".join(column.name for column in self.table.columns if column.name != "tenant_id")


_KINDS: Mapping[str, _Kind] = {
    "session": _Kind(tables.sessions, 'id COLLATE "C"', ("title", "metadata"), SessionInfo),
    "message": _Kind(tables.messages, 'session_id COLLATE "C", seq', ("parts",), StoredMessage),
    "delta": _Kind(tables.message_deltas, "message_id, characters", ("text",)),
    "memory": _Kind(
        tables.persistent_memory, "id", ("content", "why", "name", "aliases", "data", "provenance", "tags"), Memory
    ),
    "snapshot": _Kind(tables.context_snapshots, "id", ("context_data",), Snapshot),
    "todo": _Kind(tables.todos, "id", ("title", "blocker"), Todo),
    "work": _Kind(tables.work_items, "id", ("description", "outcome", "context")),
    "artifact": _Kind(tables.artifacts, 'key COLLATE "C"'),
    "episode": _Kind(tables.episodes, 'key COLLATE "C"'),
}

# One statement sees one moment. Its parts come one after the other, each in its order: a cursor has no parallel plan.
_EXPORT = " UNION ALL ".join(
    f"(SELECT '{name}' AS type, (to_jsonb(kept) - 'tenant_id')::text AS line FROM brainops.{kind.table.name} AS kept"  # noqa: S608
    f" ORDER BY {kind.order})"
    for name, kind in _KINDS.items()
)


_ARCHIVED = """
    SELECT FROM brainops.episodes WHERE episodes.session_id = {given}.session_id
        AND ids[{given}.seq - first_seq + 1] = {given}.id AND {given}.seq >= first_seq
"""
"""An episode in which a message stands already, at its place."""


def _insert(name: str, kind: _Kind) -> TextClause:
    wanted = f"WHERE NOT EXISTS ({_ARCHIVED.format(given='kept')})" if name == "message" else ""
    return text(f"""
        INSERT INTO brainops.{kind.table.name} ({kind.columns})
        SELECT {", ".join(f"kept.{name}" for name in kind.columns.split(", "))}
        FROM unnest(CAST(:lines AS text[])) WITH ORDINALITY AS given(line, place)
        CROSS JOIN LATERAL jsonb_populate_record(NULL::brainops.{kind.table.name}, CAST(given.line AS jsonb)) AS kept
        {wanted} ORDER BY given.place
        ON CONFLICT DO NOTHING
    """)  # noqa: S608 - made of constants


_INSERTS = {name: _insert(name, kind) for name, kind in _KINDS.items()}

# A session that is there and shorter is continued; what differs is found by its messages.
_CONTINUED = text("""
    UPDATE brainops.sessions AS known
    SET last_seq = given.last_seq, last_at = greatest(known.last_at, given.last_at), updated_at = given.updated_at
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(id text, last_seq int, last_at timestamptz, updated_at timestamptz)
    WHERE known.id = given.id AND known.last_seq < given.last_seq
""")

_DIFFERENT = text(f"""
    SELECT given.session_id, given.seq FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(id uuid, session_id text, seq int)
    WHERE NOT EXISTS (
        SELECT FROM brainops.messages AS kept
        WHERE kept.id = given.id AND kept.session_id = given.session_id AND kept.seq = given.seq
    ) AND NOT EXISTS ({_ARCHIVED.format(given="given")})
    LIMIT 1
""")  # noqa: S608 - made of constants

# What is here of the places of an episode, in rows or archived.
_HERE = text("""
    SELECT seq, id FROM brainops.messages WHERE session_id = :session AND seq BETWEEN :first AND :last
    UNION
    SELECT first_seq + one.nth::int - 1, one.id
    FROM brainops.episodes CROSS JOIN LATERAL unnest(ids) WITH ORDINALITY AS one (id, nth)
    WHERE session_id = :session AND first_seq + one.nth - 1 BETWEEN :first AND :last
""")

_QUEUE = text("""
    INSERT INTO brainops.memory_outbox (source, source_id)
    SELECT :source, id FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS given(id, place)
    WHERE NOT EXISTS (SELECT FROM brainops.memory_chunks WHERE source_id = id AND NOT removed) ORDER BY place
""")


class Transferred(Contract):
    """How many rows of each type a file has."""

    counts: dict[str, int]


async def export_memory(database: Database, objects: ObjectStore, write: Callable[[str], object]) -> Transferred:
    """Give every line, with its line feed, to `write`: all of one moment, a page at a time.

    An object that is lost is exported as its row alone. Raises UnavailableError.
    """
    counts = dict.fromkeys(_KINDS, 0)
    head = {"type": "header", "format": FORMAT, "version": VERSION, "exported_at": datetime.now(UTC).isoformat()}
    write(json.dumps(head) + "\n")
    async with database.transaction() as connection:
        await connection.execute(text("SET LOCAL timezone TO 'UTC'"))
        raw = (await connection.get_raw_connection()).driver_connection
        driver = cast("psycopg.AsyncConnection[TupleRow]", raw)
        async with driver.cursor("memory_export") as cursor:
            await cursor.execute(_EXPORT.encode())
            while page := await cursor.fetchmany(_PAGE):
                for name, line in page:
                    counts[name] += 1
                    content = await _content(objects, name, line)
                    row = _neutral(database.tenant_id, name, line)
                    write(
                        f'{{"type": "{name}", "row": {row}{content and _neutral(database.tenant_id, name, content)}}}\n'
                    )
    return Transferred(counts=counts)


async def import_memory(database: Database, objects: ObjectStore, lines: Iterable[str]) -> Transferred:
    """Take over the lines of an export, all of them or none; what is there already stays as it is.

    Raises BadInputError for a line that is broken, by its number; ConflictError where a session is there with other
    messages; UnavailableError. Secrets are taken out as of anything that comes in.
    """
    numbered = enumerate(lines, 1)
    _check_header(next(numbered, (1, "")))
    taken = _Import(database.tenant_id, objects)
    await Indexer(database).prepare()
    async with database.transaction() as connection:
        await connection.execute(text("SET LOCAL timezone TO 'UTC'"))
        for number, line in numbered:
            if line.strip():
                await taken.add(connection, number, line)
        await taken.flush(connection)
    return Transferred(counts=taken.counts)


@dataclass
class _Import:
    """Lines of one type on their way into its table."""

    tenant_id: str
    objects: ObjectStore
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_KINDS, 0))
    _name: str = ""
    _rows: list[tuple[int, dict[str, Any]]] = field(default_factory=list[tuple[int, dict[str, Any]]])
    _episodes: list[Episode] = field(default_factory=list[Episode])
    _characters: int = 0

    async def add(self, connection: AsyncConnection, number: int, line: str) -> None:
        name, row, content = _read(number, line, self.tenant_id)
        if name != self._name or len(self._rows) >= _PAGE or self._characters >= _BATCH_CHARACTERS:
            await self.flush(connection)
        if name == "artifact":
            await self._put_artifact(number, row, content)
        elif name == "episode":
            row = await self._put_episode(connection, number, row, content)
        self.counts[name] += 1
        if row is not None:
            self._name = name
            self._rows.append((number, row))
            self._characters += len(line)

    async def flush(self, connection: AsyncConnection) -> None:
        if not self._rows:
            return
        written = [json.dumps(row) for _, row in self._rows]
        try:
            async with connection.begin_nested():
                await connection.execute(_INSERTS[self._name], {"lines": written})
        except (DataError, IntegrityError):
            await self._name_the_broken(connection, written)
            raise
        await self._follow_up(connection)
        self._rows, self._characters = [], 0

    async def _name_the_broken(self, connection: AsyncConnection, written: list[str]) -> None:
        """Find the line by which Postgres refused the batch."""
        for (number, _), line in zip(self._rows, written, strict=True):
            try:
                async with connection.begin_nested():
                    await connection.execute(_INSERTS[self._name], {"lines": [line]})
            except (DataError, IntegrityError) as error:
                reason = (str(error.orig).strip().splitlines() or ["refused"])[0]
                raise _broken(number, f"a {self._name} that cannot be stored ({reason[:200]})") from None

    async def _follow_up(self, connection: AsyncConnection) -> None:
        rows = [row for _, row in self._rows]
        if self._name == "session":
            wanted = [{name: row[name] for name in ("id", "last_seq", "last_at", "updated_at")} for row in rows]
            await connection.execute(_CONTINUED, {"rows": json.dumps(wanted)})
        elif self._name == "message":
            places = [{name: row[name] for name in ("id", "session_id", "seq")} for row in rows]
            different = (await connection.execute(_DIFFERENT, {"rows": json.dumps(places)})).first()
            if different is not None:
                raise _different(different[0], different[1])
            ids = [row["id"] for row in rows if not row["from_memory"] and row["role"] != "system"]
            await connection.execute(_QUEUE, {"source": "message", "ids": ids})
        elif self._name == "memory":
            await connection.execute(_QUEUE, {"source": "memory", "ids": [row["id"] for row in rows]})
        elif self._name == "episode":
            await connection.execute(LOCK_INDEX)
            for episode in self._episodes:
                await index_archived(connection, episode.session, episode.messages)
            self._episodes.clear()

    async def _put_artifact(self, number: int, row: Mapping[str, Any], content: object) -> None:
        sha256 = str(row.get("sha256", ""))
        if not _SHA256.fullmatch(sha256) or row.get("key") != f"artifacts/{self.tenant_id}/{sha256[:2]}/{sha256}":
            raise _broken(number, "an artifact whose key is not made of its sha256")
        if content is None:
            return
        try:
            packed = base64.b64decode(str(content), validate=True)
            plain = zlib.decompressobj(_GZIP).decompress(packed, int(row["bytes"]) + 1)
        except (binascii.Error, zlib.error, ValueError, KeyError, TypeError):
            raise _broken(number, "an artifact whose content is not gzip in base64") from None
        if hashlib.sha256(plain).hexdigest() != sha256:
            raise _broken(number, "an artifact whose content is not that of its sha256")
        await self.objects.put(str(row["key"]), packed)

    async def _put_episode(
        self, connection: AsyncConnection, number: int, row: dict[str, Any], content: object
    ) -> dict[str, Any] | None:
        """The row of an episode whose object was put; None: its messages are here already."""
        if not _EPISODE_KEY.fullmatch(str(row.get("key", ""))):
            raise _broken(number, "an episode with a key of another form")
        key = row["key"] if self.tenant_id == DEFAULT_TENANT else f"tenants/{self.tenant_id}/{row['key']}"
        if content is None:
            return {**row, "key": key}
        try:
            episode = Episode.model_validate(content)
        except ValidationError:
            raise _broken(number, "an episode whose messages cannot be read") from None
        if await _is_here(connection, number, episode):
            return None
        self._episodes.append(episode)
        cleaned = cast("dict[str, Any]", content)
        cleaned["messages"] = [{**message, "parts": _clean_parts(message["parts"])} for message in cleaned["messages"]]
        packed = await asyncio.to_thread(lambda: gzip.compress(_compact(cleaned).encode(), mtime=0))
        await self.objects.put(key, packed)
        told = {"key": key, "sha256": hashlib.sha256(packed).hexdigest(), "bytes": len(packed)}
        return row | told | {"ids": [str(message.id) for message in episode.messages]}


async def _is_here(connection: AsyncConnection, number: int, episode: Episode) -> bool:
    """Whether the messages of an episode are here; what is here is not written over. Raises as `import_memory`."""
    if not episode.messages:
        raise _broken(number, "an episode without messages")
    session = episode.session.id
    places = {message.seq: message.id for message in episode.messages}
    values = {"session": session, "first": min(places), "last": max(places)}
    rows = (await connection.execute(_HERE, values)).mappings()
    here = {row["seq"]: row["id"] for row in rows}
    for seq, id_ in places.items():
        if here and here.get(seq) != id_:
            raise _different(session, seq)
    return bool(here)


def _different(session: str, seq: int) -> ConflictError:
    return ConflictError(
        f"session {session!r} is here with another message at {seq}, or without it; nothing was imported: "
        "forget the session, or import into another tenant"
    )


def _check_header(first: tuple[int, str]) -> None:
    try:
        head = json.loads(first[1])
        known = head["type"] == "header" and head["format"] == FORMAT
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise _broken(1, f'no header; an export begins with {{"type": "header", "format": "{FORMAT}", …}}')
    if json.loads(first[1]).get("version") != VERSION:
        raise _broken(1, f"a version that is not known; this BrainOps reads version {VERSION}")


def _read(number: int, line: str, tenant_id: str) -> tuple[str, dict[str, Any], object]:
    """Type, row and content of a line, validated and without secrets."""
    if len(line) > MOST_LINE:
        raise _broken(number, f"{len(line):,} characters; at most {MOST_LINE:,}")
    line = line.replace(f'"artifacts/{_TENANT}/', f'"artifacts/{tenant_id}/')
    try:
        told = json.loads(line)
        name, row = told["type"], told["row"]
        kind = _KINDS[name]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _broken(number, f"no JSON object with a `row` and a `type` of {', '.join(_KINDS)}") from None
    if not isinstance(row, dict):
        raise _broken(number, "a row that is no object")
    row = _without_secrets(kind, cast("dict[str, Any]", row))
    try:
        if kind.contract is not None:
            kind.contract.model_validate(row | {"messages": row.get("last_seq", 0)})
        if name == "memory":
            row["content_hash"] = "\\x" + hash_of_row(row).hex()
            row["scopes"] = sorted(set(row["scopes"]))
    except (ValidationError, KeyError, TypeError, AttributeError) as error:
        what = (
            f"{error.errors()[0]['loc']}: {error.errors()[0]['msg']}" if isinstance(error, ValidationError) else error
        )
        raise _broken(number, f"a {name} that is none ({what})") from None
    return name, row, told.get("content")


def _without_secrets(kind: _Kind, row: dict[str, Any]) -> dict[str, Any]:
    return row | {
        name: _clean_parts(row[name]) if name == "parts" else redact_json(row[name]).value
        for name in kind.without_secrets
        if row.get(name)
    }


def _clean_parts(parts: Any) -> Any:  # what should be a list of parts; the contract looks at it afterwards
    """Parts without secrets; a reference has none, and its key and hash look like some."""
    if not isinstance(parts, list):
        return parts
    return [_clean_part(part) for part in cast("list[Any]", parts)]


def _clean_part(part: Any) -> Any:  # as above
    if isinstance(part, dict) and cast("dict[str, Any]", part).get("type") == "artifact_ref":
        return cast("dict[str, Any]", part)
    return redact_json(cast("JsonValue", part)).value


async def _content(objects: ObjectStore, name: str, line: str) -> str:
    """What a line says beside its row; empty where there is nothing."""
    if name not in {"artifact", "episode"}:
        return ""
    try:
        packed = await objects.get(json.loads(line)["key"])
    except NotFoundError:
        return ', "content": null'
    if name == "artifact":
        return f', "content": "{base64.b64encode(packed).decode()}"'
    return f', "content": {_compact(json.loads(zlib.decompressobj(_GZIP).decompress(packed, MOST_BYTES)))}'


def _neutral(tenant_id: str, name: str, line: str) -> str:
    """A line without the name of its tenant, and without what follows from its object."""
    line = line.replace(f'"artifacts/{tenant_id}/', f'"artifacts/{_TENANT}/')
    if name != "episode" or not line.startswith("{"):
        return line
    row = json.loads(line)
    key = "episodes/" + row["key"].partition("episodes/")[2]
    return json.dumps({**row, "key": key, "sha256": "", "bytes": 0})


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _broken(number: int, what: str) -> BadInputError:
    return BadInputError(f"line {number}: {what}; nothing was imported: repair the line, or export anew")
