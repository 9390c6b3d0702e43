"""Nothing that one tenant wrote is ever in an answer to another, through any public call."""

import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import psycopg
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from brainops.contracts.base import Contract
from brainops.database.engine import Database
from brainops.database.urls import connection_string
from brainops.errors import BrainOpsError, NotFoundError
from brainops.memory.calls import CALLS
from brainops.memory.ranking.embedding import WordLlamaEmbedder
from brainops.memory.service import MemoryService
from brainops.storage.objects import ObjectStore

MARKER = "xylophonequartz"


MEANINGS = WordLlamaEmbedder()


class Written:
    """What one tenant has: a service, and the ids by which its things are called."""

    def __init__(self, service: MemoryService, marker: str) -> None:
        self.service = service
        self.marker = marker
        self.session = "s1"
        self.memory = uuid4()
        self.message = uuid4()
        self.streamed = uuid4()
        self.todo = uuid4()
        self.work: UUID = uuid4()
        self.artifact = ""

    async def call(self, called: str, /, **request: Any) -> Any:  # answers of every type
        return await self.service.call(called, request)

    async def write(self) -> None:
        """Something by each call that writes."""
        mark = self.marker
        await self.call("session_start", session_id=self.session, scope="shop", title=mark, metadata={"note": mark})
        listing = "\n".join(f"{mark} file{number}.py" for number in range(2_000))
        parts = [
            {"type": "text", "text": f"{mark} was said"},
            {"type": "tool_result", "call_id": "c", "name": "Bash", "text": listing},
        ]
        await self.call(
            "session_append", session_id=self.session, messages=[{"id": self.message, "role": "tool", "parts": parts}]
        )
        await self.call("session_stream", session_id=self.session, message_id=self.streamed, text=f"{mark} is told")
        await self.call("session_save", session_id=self.session, context={"goal": mark})
        memory = {"id": self.memory, "content": f"{mark} is known", "name": mark, "scopes": ["shop"], "pinned": True}
        await self.call("remember", memory=memory)
        await self.call("todo_add", id=self.todo, title=f"{mark} is open", scope="shop")
        claimed = await self.call("work_claim", description=f"{mark} is being built", scope="shop", claimed_by=mark)
        self.work = claimed.item.id
        await self.call("decision_record", decision=f"{mark} was decided", name="database", scope="shop")
        await self.call("working_set", agent="coder", key="k", value=mark)
        page = await self.call("session_messages", session_id=self.session)
        keys = [part.key for message in page.messages for part in message.parts if part.type == "artifact_ref"]
        self.artifact = keys[0] if keys else ""


async def two(app_url: str, folder: Path) -> tuple[Written, Written]:
    objects = ObjectStore(folder)
    owner = Written(MemoryService(Database(app_url, tenant_id="a"), objects, MEANINGS), MARKER)
    other = Written(MemoryService(Database(app_url, tenant_id="b"), objects, MEANINGS), "bystander")
    return owner, other


@pytest_asyncio.fixture
async def tenants(app_url: str, tmp_path: Path) -> AsyncGenerator[tuple[Written, Written]]:
    owner, other = await two(app_url, tmp_path)
    await owner.write()
    yield owner, other
    for one in (owner, other):
        await one.service.sessions.close()
        await one.service.database.close()


def asked_of(owner: Written) -> dict[str, list[dict[str, Any]]]:
    """For each call the requests by which somebody would reach for what `owner` has."""
    session, message, memory, streamed = owner.session, owner.message, owner.memory, owner.streamed
    said = {"role": "user", "parts": [{"type": "text", "text": "mine"}]}
    new = {"content": "mine", "scopes": ["shop"]}
    return {
        "session_start": [{"session_id": "elsewhere", "scope": "shop"}],
        "session_append": [{"session_id": session, "messages": [said]}, {"session_id": session, "messages": [{**said, "id": message}]}],
        "session_stream": [{"session_id": session, "message_id": streamed, "text": "mine"}],
        "session_stream_end": [{"session_id": session, "message_id": streamed}],
        "session_messages": [{"session_id": session}, {"session_id": session, "limit": 500}],
        "session_end": [{"session_id": session}],
        "session_list": [{}, {"scope": "shop"}],
        "session_save": [{"session_id": session, "context": {"a": 1}}],
        "session_restore": [{"scope": "shop", "prompt": f"build {owner.marker}", "session_id": session}, {"scope": "shop"}],
        "remember": [{"memory": new}, {"memory": {**new, "content": f"{owner.marker[:-1]} is known"}}],
        "supersede": [{"id": memory, "memory": new}],
        "resolve": [{"id": memory}],
        "recall": [
            {"query": owner.marker, "scopes": ["shop", "default"], "k": 100},
            {"query": owner.marker, "scopes": ["shop"], "precise": True},
            {"query": owner.marker, "scopes": ["shop"], "kinds": ["message"], "explain": False, "filters": {"session_id": session}},
        ],
        "fetch": [{"ids": [memory, message, streamed, owner.todo], "artifact_keys": [owner.artifact] if owner.artifact else []}],
        "forget": [{"memory_ids": [memory]}, {"session_id": session}, {"scope": "shop"}],
        "todo_add": [{"title": "mine", "scope": "shop"}],
        "todo_update": [{"id": owner.todo, "status": "done"}],
        "todo_list": [{"include_done": True}, {"scope": "shop"}],
        "work_check": [{"description": f"{owner.marker} is being built", "scope": "shop"}],
        "work_claim": [{"description": "something else entirely", "scope": "shop", "claimed_by": "eve"}],
        "work_done": [{"id": owner.work, "scope": "shop"}],
        "decision_record": [{"decision": "mine", "name": "database", "scope": "shop"}, {"decision": "mine", "supersedes": memory}],
        "working_set": [{"agent": "coder", "key": "other", "value": 1}],
        "working_get": [{"agent": "coder"}, {"agent": "coder", "key": "k"}],
        "working_delete": [{"agent": "coder", "key": "k"}],
        "stats": [{}],
        "verify": [{}],
    }  # fmt: skip


BY_ID = {
    "session_append", "session_stream", "session_stream_end", "session_messages", "session_end", "session_save",
    "supersede", "resolve", "todo_update", "work_done",
}  # fmt: skip
"""Calls that name a thing, and so find none."""


def rows_of(owner_url: str, tenant: str) -> dict[str, list[str]]:
    """Everything that a tenant has, as the owner of the database sees it."""
    found: dict[str, list[str]] = {}
    with psycopg.connect(connection_string(owner_url)) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.columns WHERE table_schema = 'brainops' AND column_name = 'tenant_id'"
        ).fetchall()
        for (table,) in tables:
            query = sql.SQL("SELECT to_jsonb(t)::text FROM brainops.{} AS t WHERE tenant_id = {}").format(
                sql.Identifier(table), sql.Literal(tenant)
            )
            found[table] = sorted(row[0] for row in connection.execute(query).fetchall())
    return {table: rows for table, rows in found.items() if rows}


async def answer_of(asker: Written, name: str, request: dict[str, Any]) -> str:
    """The answer, or what was raised, as text."""
    try:
        answer = await asker.call(name, **request)
    except BrainOpsError as error:
        return f"{type(error).__name__}: {error}"
    assert isinstance(answer, Contract)
    return answer.model_dump_json()


def without_requests(answer: str, request: dict[str, Any]) -> str:
    """The answer without what the asker said themselves."""
    for said in (*_texts(request), json.dumps(request, default=str)):
        answer = answer.replace(said, "")
    return answer


def _texts(value: Any) -> list[str]:  # any request
    if isinstance(value, dict):
        return [text for one in cast("dict[str, Any]", value).values() for text in _texts(one)]
    if isinstance(value, list):
        return [text for one in cast("list[Any]", value) for text in _texts(one)]
    return [str(value)] if isinstance(value, str | UUID) and len(str(value)) > 3 else []


async def test_every_public_call_is_tried(tenants: tuple[Written, Written]) -> None:
    assert set(asked_of(tenants[0])) == {call.name for call in CALLS}


async def test_no_call_gives_another_tenant_anything_or_changes_it(
    tenants: tuple[Written, Written], owner_url: str
) -> None:
    owner, other = tenants
    found = await owner.call("recall", query=MARKER, scopes=["shop"])
    assert len(found.results) >= 2
    await owner.service.indexer.embed_once()
    before = rows_of(owner_url, "a")
    assert sum(map(len, before.values())) > 10
    for name, requests in asked_of(owner).items():
        for request in requests:
            answer = await answer_of(other, name, request)
            assert MARKER not in without_requests(answer, request), (name, request)
            if name in BY_ID:
                assert answer.startswith(NotFoundError.__name__), (name, answer)
            if name == "fetch":
                assert (
                    json.loads(answer)["memories"]
                    == json.loads(answer)["messages"]
                    == json.loads(answer)["artifacts"]
                    == []
                )
    assert rows_of(owner_url, "a") == before, "nothing of it was changed"
    again = await owner.call("recall", query=MARKER, scopes=["shop"])
    assert {one.id for one in again.results} == {one.id for one in found.results}


async def test_the_same_names_in_two_tenants_are_two_things(tenants: tuple[Written, Written]) -> None:
    owner, other = tenants
    await other.write()
    for one, foreign in ((owner, other), (other, owner)):
        for name, requests in asked_of(one).items():
            if name in {"forget", "session_end", "supersede", "resolve"}:
                continue
            for request in requests:
                answer = await answer_of(one, name, request)
                assert foreign.marker not in without_requests(answer, request), (name, request)
    receipt = await other.call("forget", session_id="s1")
    assert receipt.left == 0
    assert (await owner.call("session_messages", session_id="s1")).messages
    assert MARKER in (await owner.call("recall", query=MARKER, scopes=["shop"], kinds=["message"])).results[0].text


async def test_a_partition_that_is_named_directly_is_closed(
    tenants: tuple[Written, Written], app_url: str, owner_url: str
) -> None:
    owner, _ = tenants
    await owner.call("recall", query=MARKER, scopes=["shop"])
    with psycopg.connect(connection_string(owner_url)) as connection:
        query = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'brainops.memory_chunks'::regclass"
        partitions = [row[0] for row in connection.execute(query).fetchall()]
    assert partitions
    with psycopg.connect(connection_string(app_url), autocommit=True) as connection:
        connection.execute("SELECT set_config('brainops.tenant_id', 'b', false)")
        for partition in partitions:
            for statement in ("SELECT * FROM {}", "DELETE FROM {}", "UPDATE {} SET terms = ''"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(sql.SQL(statement).format(sql.Identifier(*partition.split("."))))


_STEPS: dict[str, Callable[[Written, str], dict[str, Any]]] = {
    "remember": lambda one, word: {"memory": {"content": f"{one.marker} {word}", "scopes": ["shop"]}},
    "session_append": lambda one, word: {
        "session_id": "s1",
        "messages": [{"role": "user", "parts": [{"type": "text", "text": f"{one.marker} {word}"}]}],
    },
    "todo_add": lambda one, word: {"title": f"{one.marker} {word}", "scope": "shop"},
    "decision_record": lambda one, word: {"decision": f"{one.marker} {word}", "name": word, "scope": "shop"},
    "working_set": lambda one, word: {"agent": "coder", "key": word, "value": one.marker},
    "recall": lambda _, word: {"query": word, "scopes": ["shop"], "k": 100},
    "session_messages": lambda _, _word: {"session_id": "s1", "limit": 100},
    "todo_list": lambda _, _word: {},
    "working_get": lambda _, _word: {"agent": "coder"},
    "session_restore": lambda _, word: {"scope": "shop", "prompt": word},
    "session_list": lambda _, _word: {},
    "forget": lambda _, _word: {"scope": "shop"},
}

_STEP = st.tuples(st.booleans(), st.sampled_from(sorted(_STEPS)), st.sampled_from(["parser", "lexer", "queue"]))


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(steps=st.lists(_STEP, min_size=5, max_size=12))
async def test_whatever_two_tenants_do_by_turns_they_see_their_own(
    app_url: str, tmp_path: Path, steps: list[tuple[bool, str, str]]
) -> None:
    pair = await two(app_url, tmp_path)
    try:
        for one in pair:
            await one.call("session_start", session_id="s1", scope="shop")
        for first, name, word in steps:
            asker, foreign = pair if first else pair[::-1]
            answer = await answer_of(asker, name, _STEPS[name](asker, word))
            assert foreign.marker not in answer, (name, word)
    finally:
        for one in pair:
            await one.service.sessions.close()
            await one.service.database.close()
