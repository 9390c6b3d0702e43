"""Memory over HTTP: every call typed, keys with their scopes, errors with a name; the client says the same things."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from uuid import uuid4

import pytest
from memory_api import ROOT, MemoryApi, running_memory_api

from brainops.access.keys import Scope
from brainops.config.paths import StatePaths
from brainops.contracts import memory as m
from brainops.contracts.message import Role, TextPart
from brainops.errors import BadInputError, NotAllowedError, NotFoundError, UnavailableError
from brainops.memory.calls import CALLS
from interfaces.memory_client import MemoryClient


@pytest.fixture
async def api(
    app_url: str, state_paths: StatePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[MemoryApi]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("BRAINOPS_STATE_DIR", str(state_paths.root))
    async with running_memory_api(app_url, state_paths, tmp_path) as running:
        yield running


def test_an_api_that_is_not_asked_for_memory_imports_none_of_it() -> None:
    heavy = ("numpy", "mcp", "obstore", "detect_secrets", "brainops.contracts.memory", "brainops.memory.service")
    look = f"import interfaces.api.main, sys; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_every_call_is_described_with_its_types(api: MemoryApi) -> None:
    async with api.http.get(f"{api.url}/openapi.json") as answer:
        described = await answer.json()
    for call in CALLS:
        operation = described["paths"][f"/v1/memory/{call.name}"]["post"]
        assert operation["summary"] == call.summary
        asked = operation["requestBody"]["content"]["application/json"]["schema"]
        assert call.request.__name__ in str(asked)
        assert call.answer.__name__ in str(operation["responses"]["200"]["content"])


async def test_the_client_says_what_the_service_says(api: MemoryApi) -> None:
    async with MemoryClient(api.url, await api.key(Scope.READ, Scope.OPERATE)) as remote:
        for client in (api.client, remote):
            session = f"s-{uuid4()}"
            await client.call("session_start", m.SessionStart(session_id=session, scope="project:shop"))
            said = m.NewMessage(role=Role.USER, parts=(TextPart(text="hello"),))
            await client.call("session_append", m.Append(session_id=session, messages=(said,)))
            page: m.MessagePage = await client.call("session_messages", {"session_id": session})
            assert [message.text for message in page.messages] == ["hello"]
            port = m.NewMemory(content=f"The port is {session}.", name="port", scopes=("project:shop",))
            known: m.Remembered = await client.call("remember", m.Remember(memory=port))
            moved = m.NewMemory(content=f"The port has moved away from {session}.")
            after: m.Remembered = await client.call("supersede", m.Supersede(id=known.id, memory=moved))
            found: m.Fetched = await client.call("fetch", m.Fetch(ids=(after.id,)))
            # What the new one left unsaid stayed as it was.
            assert [(memory.name, memory.scopes) for memory in found.memories] == [("port", ("project:shop",))]
        with pytest.raises(NotFoundError):
            await remote.call("session_end", {"session_id": "nobody"})
        with pytest.raises(BadInputError, match="ttl_seconds"):
            await remote.call("working_set", {"agent": "a", "key": "k", "value": 1, "ttl_seconds": 1})
        with pytest.raises(NotFoundError, match="no call 'shout'"):
            await remote.call("shout", {})
    async with MemoryClient(str(api.state.root / "nothing.sock")) as nobody:
        with pytest.raises(UnavailableError, match=r"nothing\.sock does not answer"):
            await nobody.call("stats", {})


async def test_a_key_may_do_what_its_scopes_say(api: MemoryApi) -> None:
    memory = m.Remember(memory=m.NewMemory(content="The port is 8420.", scopes=("project:shop",)))
    async with MemoryClient(api.url, await api.key(Scope.READ)) as reader:
        with pytest.raises(NotAllowedError, match="scope operate"):
            await reader.call("remember", memory)
        assert (await reader.call("recall", m.Recall(query="port", scopes=("project:shop",)))).results == ()
    async with MemoryClient(api.url, await api.key(Scope.OPERATE)) as writer:
        assert (await writer.call("remember", memory)).created
        with pytest.raises(NotAllowedError):
            await writer.call("stats", m.Nothing())
    async with MemoryClient(api.url) as nobody:
        with pytest.raises(NotAllowedError):
            await nobody.call("stats", m.Nothing())


async def test_wrong_requests_are_problems_that_name_the_field(api: MemoryApi) -> None:
    headers = {"Authorization": f"Bearer {await api.key(Scope.ADMIN)}"}

    async def post(path: str, body: bytes) -> tuple[int, str]:
        typed = headers | {"Content-Type": "application/json"}
        async with api.http.post(f"{api.url}{path}", data=body, headers=typed) as answer:
            assert answer.content_type == "application/problem+json"
            return answer.status, (await answer.json())["detail"]

    status, detail = await post("/v1/memory/remember", b'{"memory": {"content": "x", "kind": "gossip"}}')
    assert (status, "memory.kind" in detail) == (422, True)
    assert (await post("/v1/memory/recall", b"{"))[0] == 422
    assert (await post("/v1/memory/shout", b"{}"))[0] == 404
    reader, writer = await asyncio.open_unix_connection(api.state.api_socket)
    writer.write(b"POST /v1/memory/remember HTTP/1.1\r\nHost: x\r\nContent-Length: 8388609\r\n\r\n")
    refused = await reader.read()
    writer.close()
    assert refused.startswith(b"HTTP/1.1 413")
    assert b"larger than 8388608 bytes" in refused
    status, detail = await post("/v1/memory/hooks/claude-code", b'{"hook_event_name": "Stop"}')
    assert (status, "session_id" in detail) == (400, True)


async def test_sessions_and_figures_can_be_looked_at(api: MemoryApi) -> None:
    await api.client.call("session_start", m.SessionStart(session_id="s/1", scope="project:shop"))
    for number in range(3):
        said = m.NewMessage(role=Role.USER, parts=(TextPart(text=f"number {number}"),))
        await api.client.call("session_append", m.Append(session_id="s/1", messages=(said,)))
    headers = {"Authorization": f"Bearer {await api.key(Scope.READ)}"}

    async def get(path: str) -> m.Json:
        async with api.http.get(f"{api.url}{path}", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    listed = m.SessionPage.model_validate(await get("/v1/sessions?scope=project:shop"))
    assert [(session.id, session.messages) for session in listed.sessions] == [("s/1", 3)]
    page = m.MessagePage.model_validate(await get("/v1/sessions/s/1/messages?limit=2"))
    assert [message.text for message in page.messages] == ["number 1", "number 2"]
    older = m.MessagePage.model_validate(await get(f"/v1/sessions/s/1/messages?limit=2&before={page.before}"))
    assert [message.text for message in older.messages] == ["number 0"]
    assert m.Stats.model_validate(await get("/v1/memory/stats")).messages == 3


NUL = "\x00"


WRONG: tuple[tuple[str, dict[str, object], int], ...] = (
    ("session_list", {"agent": NUL}, 422),
    ("working_get", {"agent": "a", "key": NUL}, 422),
    ("recall", {"query": "a", "owner": NUL}, 422),
    ("session_restore", {"owner": NUL}, 422),
    ("session_restore", {"session_id": NUL}, 422),
    ("session_restore", {"at": "0001-01-01T00:00:00Z"}, 422),
    ("fetch", {"artifact_keys": [NUL]}, 422),
    ("remember", {"memory": {"content": "x", "at": "9999-12-31T23:59:59-14:00"}}, 422),
    ("hooks/claude-code", {"hook_event_name": "Stop", "session_id": "s", "at": "0001-01-01T00:00:00+10:00"}, 400),
    ("hooks/claude-code", {"hook_event_name": "Stop", "session_id": "s", "tool_input": "DEEP"}, 400),
    ("forget", {"memory_ids": ["x"] * 10_000}, 422),
)


async def test_what_no_store_can_hold_or_look_for_is_refused_by_name(api: MemoryApi) -> None:
    headers = {"Authorization": f"Bearer {await api.key(Scope.ADMIN)}", "Content-Type": "application/json"}
    for path, body, status in WRONG:
        written = json.dumps(body).replace('"DEEP"', "[" * 900 + "]" * 900)
        async with api.http.post(f"{api.url}/v1/memory/{path}", data=written, headers=headers) as answer:
            told = await answer.text()
        assert (answer.status, len(told) < 10_000) == (status, True), (path, told)


async def test_a_key_that_may_not_read_is_told_nothing_by_an_event(api: MemoryApi) -> None:
    memory = m.NewMemory(content="The deploy port is 8443.", scopes=("project:shop",))
    await api.client.call("remember", m.Remember(memory=memory))
    event = {"hook_event_name": "UserPromptSubmit", "prompt": "go on", "session_id": "s", "scope": "project:shop"}
    answers: list[str] = []
    for scopes in ((Scope.OPERATE,), (Scope.READ, Scope.OPERATE)):
        headers = {"Authorization": f"Bearer {await api.key(*scopes)}"}
        path = f"{api.url}/v1/memory/hooks/claude-code"
        told = {**event, "session_id": f"s{len(scopes)}"}
        async with api.http.post(path, json=told, headers=headers) as answer:
            assert answer.status == 200
            answers.append(await answer.text())
    assert answers[0] == "{}"
    assert "8443" in answers[1]
    listed: m.SessionPage = await api.client.call("session_list", {})
    assert {session.id: session.messages for session in listed.sessions} == {"s1": 1, "s2": 1}


async def test_a_session_that_was_forgotten_while_it_runs_goes_on_as_a_new_one(api: MemoryApi) -> None:
    headers = {"Authorization": f"Bearer {await api.key(Scope.ADMIN)}"}
    path = f"{api.url}/v1/memory/hooks/claude-code"
    for place in range(2):
        event = {"hook_event_name": "PostToolUse", "session_id": "s", "tool_use_id": f"t{place}", "tool_name": "Bash"}
        async with api.http.post(path, json={**event, "tool_response": "done"}, headers=headers) as answer:
            assert answer.status == 200
        page: m.MessagePage = await api.client.call("session_messages", {"session_id": "s"})
        assert [message.seq for message in page.messages] == [1, 2]
        if not place:
            assert (await api.client.call("forget", {"session_id": "s"})).messages == 2
