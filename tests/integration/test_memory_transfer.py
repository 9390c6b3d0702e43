"""Export and import: what comes back is what went, in whichever tenant."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from brainops.contracts.memory import (
    Append,
    Decide,
    NewMemory,
    NewMessage,
    Recall,
    Resolve,
    SessionSave,
    SessionStart,
    Supersede,
    TodoAdd,
    WorkClaim,
)
from brainops.contracts.message import ErrorPart, Role, TextPart, ToolCallPart, ToolResultPart
from brainops.database.engine import Database
from brainops.errors import BadInputError, ConflictError
from brainops.memory.artifacts import ArtifactStore
from brainops.memory.episodic import EpisodeStore
from brainops.memory.indexing import Indexer
from brainops.memory.persistent import PersistentStore
from brainops.memory.recall import Recaller
from brainops.memory.sessions import SessionStore
from brainops.memory.snapshots import SnapshotStore
from brainops.memory.statistics import read_stats
from brainops.memory.todos import TodoStore
from brainops.memory.transfer import export_memory, import_memory
from brainops.memory.verification import verify
from brainops.memory.work import WorkStore
from brainops.storage.objects import ObjectStore

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


async def fill(database: Database, objects: ObjectStore) -> None:
    """Something of everything, with odd characters, an archived session and memories at every stage."""
    artifacts = ArtifactStore(database, objects)
    sessions, persistent = SessionStore(database, artifacts), PersistentStore(database)
    for name, at in (("old", NOON - timedelta(days=60)), ("new", NOON)):
        await sessions.start(
            SessionStart(session_id=name, scope="shop", agent="coder", title="Ünïcode \N{SNOWMAN}", at=at)
        )
        reference = await artifacts.put(f"content of {name}".encode(), "text/plain", name)
        said = (
            NewMessage(role=Role.USER, author="Ada", parts=(TextPart(text='say "hi"\n\tto \N{SNOWMAN}'),), at=at),
            NewMessage(role=Role.ASSISTANT, parts=(ToolCallPart(id="c", name="ls", arguments={"n": 1.5}),), at=at),
            NewMessage(role=Role.TOOL, parts=(ToolResultPart(call_id="c", text="a.py"), reference), at=at),
            NewMessage(role=Role.ASSISTANT, parts=(ErrorPart(message="cut off"),), at=at),
        )
        await sessions.append(Append(session_id=name, messages=said))
    indexer = Indexer(database)
    await indexer.run_once()
    assert await EpisodeStore(database, objects).archive("old", NOON - timedelta(days=30), timedelta(days=90)) == 4
    old = await persistent.remember(NewMemory(content="port 8080", scopes=("shop", "other"), name="port", at=NOON))
    await persistent.remember(NewMemory(content="port 8080", scopes=("shop", "other")))
    await persistent.supersede(Supersede(id=old.id, memory=NewMemory(content="port 9090")))
    asked = await persistent.remember(NewMemory(content="which queue?", type="open_question", pinned=True))
    await persistent.resolve(Resolve(id=asked.id, reason="none"))
    await persistent.remember(NewMemory(content="frozen", at=NOON, expires_at=NOON + timedelta(hours=1), tags=("a",)))
    await persistent.decide(Decide(decision="SQLite", name="database", scope="shop", alternatives=("Postgres",)))
    await SnapshotStore(database).save(SessionSave(session_id="new", context={"goal": ["a", 1, None]}), "shop")
    await TodoStore(database).add(TodoAdd(title="a todo", scope="shop", blocker="Ada", progress=30))
    await WorkStore(database, None).claim(WorkClaim(description="add dark mode", scope="shop", claimed_by="ada"))
    await indexer.run_once()


async def exported(database: Database, objects: ObjectStore) -> list[str]:
    lines: list[str] = []
    await export_memory(database, objects, lines.append)
    return lines


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "here")


async def test_an_export_that_was_imported_elsewhere_exports_the_same(
    database: Database, app_url: str, objects: ObjectStore, tmp_path: Path
) -> None:
    await fill(database, objects)
    first = await exported(database, objects)
    elsewhere = Database(app_url, tenant_id="other")
    there = ObjectStore(tmp_path / "there")
    imported = await import_memory(elsewhere, there, first)
    assert imported.counts == {
        "session": 2, "message": 4, "delta": 0, "memory": 5, "snapshot": 1, "todo": 1, "work": 1, "artifact": 2, "episode": 1,
    }  # fmt: skip
    assert (await exported(elsewhere, there))[1:] == first[1:]
    await import_memory(elsewhere, there, first)
    assert (await exported(elsewhere, there))[1:] == first[1:], "twice is once"

    indexer = Indexer(elsewhere)
    await indexer.run_once()
    assert {problem.kind for problem in (await verify(elsewhere, there)).problems} == set()
    answer = await Recaller(elsewhere, None, indexer).recall(Recall(query="port", scopes=("other",)))
    assert [result.text for result in answer.results] == ["port 9090"]
    recaller = Recaller(elsewhere, None, indexer, EpisodeStore(elsewhere, there))
    answer = await recaller.recall(Recall(query="say hi", scopes=("shop",)))
    assert {result.session_id for result in answer.results} == {"old", "new"}, "archived or not"
    assert len(await EpisodeStore(elsewhere, there).read("old")) == 4
    stats = await read_stats(elsewhere)
    assert (stats.sessions, stats.messages, stats.memories, stats.current) == (2, 8, 5, 2)
    await elsewhere.close()


async def test_into_what_is_there_nothing_is_doubled(database: Database, objects: ObjectStore) -> None:
    await fill(database, objects)
    first = await exported(database, objects)
    await import_memory(database, objects, first)
    assert (await exported(database, objects))[1:] == first[1:]


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (1, "{}"),
        (1, '{"type": "header", "format": "brainops-memory", "version": 99}'),
        (3, "{"),
        (3, "[]"),
        (3, '{"type": "message"}'),
        (3, '{"type": "nonsense", "row": {}}'),
        (3, '{"type": "memory", "row": {"content": "x"}}'),
        (3, '{"type": "todo", "row": 5}'),
        (3, '{"type": "work", "row": {"id": "no uuid"}}'),
        (3, '{"type": "work", "row": {"id": "00000000-0000-4000-8000-000000000001", "scope": "a\\u0000"}}'),
        (3, '{"type": "artifact", "row": {"key": "artifacts/../../etc", "sha256": "aa"}}'),
        (3, '{"type": "episode", "row": {"key": "episodes/../x/y.json.gz"}}'),
    ],
)
async def test_a_broken_line_is_named_and_nothing_is_imported(
    database: Database, objects: ObjectStore, number: int, line: str
) -> None:
    good = {"id": "s", "scope": "a", "last_seq": 0, "started_at": NOON.isoformat(), "last_at": NOON.isoformat()}
    blank: dict[str, object] = {
        "agent": "",
        "owner": "",
        "title": "",
        "metadata": {},
        "understood": 0,
        "redacted": 0,
        "tokens_before": 0,
    }
    times = {"tokens_after": 0, "created_at": NOON.isoformat(), "updated_at": NOON.isoformat()}
    lines = [
        json.dumps({"type": "header", "format": "brainops-memory", "version": 1}),
        json.dumps({"type": "session", "row": good | blank | times}),
        "",
    ]
    lines[number - 1] = line
    with pytest.raises(BadInputError, match=f"line {number}:"):
        await import_memory(database, objects, lines)
    assert (await read_stats(database)).sessions == 0
    assert await objects.list() == []


async def test_a_changed_content_and_a_secret_do_not_come_in(
    database: Database, app_url: str, objects: ObjectStore
) -> None:
    await fill(database, objects)
    lines = await exported(database, objects)
    other = Database(app_url, tenant_id="other")
    tampered = [
        line.replace('"content": "H4sI', '"content": "H4sJ') if '"artifact"' in line else line for line in lines
    ]
    with pytest.raises(BadInputError, match="artifact"):
        await import_memory(other, objects, tampered)
    told = [line.replace("frozen", "the password is hunter2hunter2") for line in lines]
    await import_memory(other, objects, told)
    assert "hunter2hunter2" not in "".join(await exported(other, objects))
    assert (await verify(other, objects)).problems == ()
    await other.close()


async def test_a_session_that_went_another_way_is_not_mixed(
    database: Database, app_url: str, objects: ObjectStore
) -> None:
    async def say(database: Database, *texts: str) -> None:
        sessions = SessionStore(database, ArtifactStore(database, objects))
        await sessions.start(SessionStart(session_id="s", at=NOON))
        said = tuple(NewMessage(role=Role.USER, parts=(TextPart(text=one),), at=NOON) for one in texts)
        await sessions.append(Append(session_id="s", messages=said))

    other = Database(app_url, tenant_id="other")
    await say(database, "one")
    await import_memory(other, objects, await exported(database, objects))
    await say(database, "two")
    lines = await exported(database, objects)
    await import_memory(other, objects, lines)
    assert (await exported(other, objects))[2:] == lines[2:], "it is continued"
    await say(other, "three")
    await say(database, "four")
    with pytest.raises(ConflictError, match="'s'"):
        await import_memory(other, objects, await exported(database, objects))
    await other.close()


async def test_an_export_from_before_or_after_the_archive_adds_nothing_to_what_is_here(
    database: Database, app_url: str, objects: ObjectStore, tmp_path: Path
) -> None:
    await fill(database, objects)
    in_rows = await exported(database, objects)
    archive = EpisodeStore(database, objects)
    assert await archive.archive("new", NOON + timedelta(days=1), timedelta(days=90)) == 4
    in_episodes = await exported(database, objects)
    before = await archive.read("new")

    await import_memory(database, objects, in_rows)
    await import_memory(database, objects, in_episodes)
    assert await archive.read("new") == before
    assert (await verify(database, objects)).problems == ()

    elsewhere, there = Database(app_url, tenant_id="other"), ObjectStore(tmp_path / "there")
    await import_memory(elsewhere, there, in_rows)
    await import_memory(elsewhere, there, in_episodes)
    assert (await verify(elsewhere, there)).problems == ()
    other = [line.replace("a.py", "b.py") for line in in_episodes]
    other = [line.replace(str(before[0].id), str(uuid4())) for line in other]
    with pytest.raises(ConflictError, match="session 'new' is here with another message at 1"):
        await import_memory(database, objects, other)
    assert await archive.read("new") == before
    await elsewhere.close()
