"""The hook as a real process: what it stores, what it injects, and that it never stands in the agent's way."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from memory_api import PATIENCE_SECONDS, Hooks, MemoryApi, hook_environment, running_memory_api

from brainops.access.keys import Scope
from brainops.config.paths import StatePaths
from brainops.contracts import memory as m
from brainops.contracts.message import StoredMessage
from brainops.memory.own_words import OPEN_TAG, wrapped
from interfaces.hooks.spool import Spool

PROJECT = "project:shop"


@pytest.fixture
def home(tmp_path: Path, state_paths: StatePaths, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with a project in it; the API and the hook share it."""
    folder = tmp_path / "home"
    (folder / "shop").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("BRAINOPS_STATE_DIR", str(state_paths.root))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    return folder


@pytest.fixture
async def api(app_url: str, state_paths: StatePaths, home: Path) -> AsyncGenerator[MemoryApi]:
    async with running_memory_api(app_url, state_paths, home) as running:
        yield running


async def said_in(api: MemoryApi, session: str) -> list[StoredMessage]:
    page: m.MessagePage = await api.client.call("session_messages", m.Messages(session_id=session, limit=500))
    return list(page.messages)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():
            await asyncio.sleep(0.02)


async def test_a_session_is_written_down_as_it_happens(api: MemoryApi, home: Path) -> None:
    transcript = home / "t.jsonl"
    transcript.write_text("")
    told = {"cwd": str(home / "shop" / "src"), "transcript_path": str(transcript)}
    (home / "shop" / ".git").mkdir()
    hooks = api.hooks()
    started = await hooks.send("SessionStart", "s1", source="startup", **told)
    assert (started.code, started.errors) == (0, "")
    await hooks.send("UserPromptSubmit", "s1", prompt="\nAdd a rate limiter to the public API.\nSoon.", **told)
    answer = {"type": "text", "text": "I will look at the middleware."}
    entry = {"type": "assistant", "uuid": "u1", "message": {"role": "assistant", "content": [answer]}}
    transcript.write_text(json.dumps(entry) + "\n")
    run = await hooks.send(
        "PostToolUse",
        "s1",
        tool_name="Bash",
        tool_use_id="t1",
        tool_input={"command": "ls"},
        tool_response={"stdout": "limiter.py", "stderr": ""},
        **told,
    )
    assert run.answer == {}
    await hooks.send("Stop", "s1", last_assistant_message="The limiter is in place.", **told)
    messages = await said_in(api, "s1")
    assert [(message.role.value, message.text) for message in messages] == [
        ("user", "\nAdd a rate limiter to the public API.\nSoon."),
        ("assistant", "I will look at the middleware."),
        ("assistant", ""),
        ("tool", "limiter.py"),
        ("assistant", "The limiter is in place."),
    ]
    listed: m.SessionPage = await api.client.call("session_list", m.ListSessions())
    assert [(session.id, session.scope, session.agent, session.title) for session in listed.sessions] == [
        ("s1", PROJECT, "claude-code", "Add a rate limiter to the public API.")
    ]


async def test_the_last_words_are_not_kept_twice_when_the_transcript_has_them_later(api: MemoryApi, home: Path) -> None:
    transcript = home / "t.jsonl"
    transcript.write_text("")
    told = {"cwd": str(home / "shop"), "transcript_path": str(transcript)}
    hooks = api.hooks()
    await hooks.send("Stop", "s1", last_assistant_message="Done.", **told)
    answer = {"type": "text", "text": "Done."}
    entry = {"type": "assistant", "uuid": "u1", "message": {"role": "assistant", "content": [answer]}}
    transcript.write_text(json.dumps(entry) + "\n")
    await hooks.send("Stop", "s1", **told)
    assert [message.text for message in await said_in(api, "s1")] == ["Done."]


async def test_a_stop_that_comes_again_adds_nothing_to_the_transcript(api: MemoryApi, home: Path) -> None:
    transcript = home / "t.jsonl"
    answer = {"type": "text", "text": "Done."}
    transcript.write_text("")
    told = {"cwd": str(home / "shop"), "transcript_path": str(transcript), "delivery_id": "d1"}
    hooks = api.hooks()
    await hooks.send("SessionStart", "s1", source="startup", **told)
    entry = {"type": "assistant", "uuid": "u1", "message": {"role": "assistant", "content": [answer]}}
    transcript.write_text(json.dumps(entry) + "\n")
    for _ in range(2):
        await hooks.send("Stop", "s1", last_assistant_message="Done.", **told)
    assert [message.text for message in await said_in(api, "s1")] == ["Done."]


async def test_an_event_that_comes_again_is_stored_once(api: MemoryApi, home: Path) -> None:
    hooks = api.hooks()
    for _ in range(2):
        event = {"cwd": str(home / "shop"), "delivery_id": "d1"}
        await hooks.send("UserPromptSubmit", "s1", prompt="continue", **event)
        await hooks.send("PostToolUse", "s1", tool_name="Read", tool_use_id="t1", tool_response="text", **event)
    await hooks.send("UserPromptSubmit", "s1", prompt="continue", cwd=str(home / "shop"))
    assert [message.text for message in await said_in(api, "s1")] == ["continue", "", "text", "continue"]


async def test_what_came_from_memory_is_not_learned_from_again(api: MemoryApi, home: Path) -> None:
    hooks = api.hooks()
    own = wrapped("- the port is 8080")
    await hooks.send("UserPromptSubmit", "s1", prompt=f"{own}\nIs that so?", cwd=str(home / "shop"))
    await hooks.send(
        "PostToolUse",
        "s1",
        tool_name="mcp__brainops__recall",
        tool_use_id="t1",
        tool_response=own,
        cwd=str(home / "shop"),
    )
    texts = [message.text for message in await said_in(api, "s1")]
    assert texts[0] == "Is that so?"
    assert not any("8080" in text for text in texts)


async def test_odd_text_is_kept_as_far_as_a_database_can(api: MemoryApi, home: Path) -> None:
    body = json.dumps(
        {"hook_event_name": "UserPromptSubmit", "session_id": "s1", "prompt": "a\x00b\ud800c", "cwd": "/"}
    )
    run = await api.hooks().raw(body.encode())
    assert (run.code, run.errors) == (0, "")
    assert [message.text for message in await said_in(api, "s1")] == ["a\ufffdb\ufffdc"]


async def test_a_prompt_and_a_result_of_any_size_are_kept(api: MemoryApi, home: Path) -> None:
    hooks = api.hooks()
    pasted = "What does this log mean? " + "a line of the log\n" * 20_000
    for prompt in (pasted, pasted):
        run = await hooks.send("UserPromptSubmit", "s1", prompt=prompt, cwd=str(home / "shop"))
        assert (run.code, run.errors) == (0, "")
    for response in ("x" * 9_000_000, {"stdout": "", "stderr": "", "interrupted": False}):
        run = await hooks.send("PostToolUse", "s1", tool_name="Bash", tool_response=response, cwd=str(home / "shop"))
        assert (run.code, run.errors) == (0, "")
    assert [message.role.value for message in await said_in(api, "s1")] == [
        *("user", "user"),
        *("assistant", "tool", "assistant", "tool"),
    ]


async def test_what_comes_while_the_api_is_away_is_stored_when_it_is_back(
    app_url: str, state_paths: StatePaths, home: Path
) -> None:
    state_paths.root.mkdir()
    hooks = Hooks(hook_environment(state_paths, home))
    transcript = home / "t.jsonl"
    told = {"cwd": str(home / "shop"), "transcript_path": str(transcript)}
    for prompt in ("first", "second"):
        run = await hooks.send("UserPromptSubmit", "s1", prompt=prompt, **told)
        assert (run.code, run.answer) == (0, {})
        answer = {"type": "text", "text": f"{prompt} is done"}
        entry = {"type": "assistant", "uuid": prompt, "message": {"role": "assistant", "content": [answer]}}
        with transcript.open("a") as file:
            file.write(json.dumps(entry | {"timestamp": datetime.now(UTC).isoformat()}) + "\n")
        await hooks.send("Stop", "s1", last_assistant_message=f"{prompt} is done", **told)
    await hooks.send("SessionEnd", "s1", reason="other", **told)
    assert len(Spool(str(state_paths.root / "spool")).names()) == 5
    async with running_memory_api(app_url, state_paths, home) as api:

        async def drained() -> bool:
            return not Spool(str(state_paths.root / "spool")).names()

        await until(drained)
        listed: m.SessionPage = await api.client.call("session_list", m.ListSessions())
        assert [session.ended_at is not None for session in listed.sessions] == [True]
        messages = await said_in(api, "s1")
        assert [message.text for message in messages] == ["first", "first is done", "second", "second is done"]
        assert sorted(messages, key=lambda message: message.at) == messages


async def test_a_payload_that_is_none_is_set_aside(state_paths: StatePaths, home: Path) -> None:
    state_paths.root.mkdir()
    loud = Hooks(hook_environment(state_paths, home))
    quiet = Hooks({name: value for name, value in loud.environment.items() if name != "BRAINOPS_HOOK_DEBUG"})
    for body in (b"{", b"[]", b'{"session_id": "s1"}', b"\xff\xfe", b'{"hook_event_name": 7}'):
        run = await quiet.raw(body)
        assert (run.code, run.answer, run.errors) == (0, {}, "")
    assert "no event" in (await loud.raw(b"{")).errors
    assert len(list((state_paths.root / "spool" / "broken").iterdir())) == 6


async def test_an_event_that_the_api_refuses_is_set_aside(api: MemoryApi, home: Path) -> None:
    run = await api.hooks().send("Stop", "no session id!", cwd=str(home / "shop"))
    assert run.code == 0
    assert "session_id" in run.errors
    assert len(list((api.state.root / "spool" / "broken").iterdir())) == 1
    assert Spool(str(api.state.root / "spool")).names() == []


async def test_an_api_that_says_nothing_does_not_hold_the_agent_up(state_paths: StatePaths, home: Path) -> None:
    state_paths.root.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(str(state_paths.api_socket))
        silent.listen()
        hooks = Hooks(hook_environment(state_paths, home) | {"BRAINOPS_HOOK_SECONDS": "1"})
        noted, asked = await asyncio.gather(
            hooks.send("PostToolUse", "s1", tool_name="Read", tool_response="x", cwd="/"),
            hooks.send("UserPromptSubmit", "s1", prompt="hello", cwd="/"),
        )
    assert (noted.code, asked.code, asked.answer) == (0, 0, {})
    assert max(noted.seconds, asked.seconds) < PATIENCE_SECONDS / 2
    assert len(Spool(str(state_paths.root / "spool")).names()) == 2


async def test_a_team_server_is_told_after_the_agent_has_gone_on(api: MemoryApi, home: Path) -> None:
    key = await api.key(Scope.OPERATE)
    hooks = api.hooks("--url", api.url, "--key-env", "TEAM_KEY", TEAM_KEY=key)
    outside = home / "t.jsonl"
    outside.write_text('{"type":"assistant","uuid":"u","message":{"content":"of this machine"}}\n')
    told = {"cwd": str(home / "shop"), "transcript_path": str(outside)}
    run = await hooks.send("UserPromptSubmit", "s1", prompt="hello", **told)
    assert run.errors == ""
    await hooks.send("PostToolUse", "s1", tool_name="Read", tool_use_id="t1", tool_response="text", **told)

    async def arrived() -> bool:
        return len(await said_in(api, "s1")) == 3

    await until(arrived)
    # Who is not on this machine for sure has no file of it read.
    assert [message.text for message in await said_in(api, "s1")] == ["hello", "", "text"]
    wrong = api.hooks("--url", api.url, "--key-env", "TEAM_KEY", TEAM_KEY="bok_wrong")
    assert "401" in (await wrong.send("UserPromptSubmit", "s1", prompt="again", **told)).errors


async def test_a_compaction_saves_where_the_session_stands(api: MemoryApi, home: Path) -> None:
    hooks = api.hooks()
    told = {"cwd": str(home / "shop")}
    await hooks.send("UserPromptSubmit", "s1", prompt="Move the sessions to Redis.", **told)
    for _ in range(2):
        await hooks.send("PreCompact", "s1", trigger="auto", delivery_id="c1", **told)

    async def stored() -> bool:
        return not Spool(str(api.state.root / "spool")).names()

    await until(stored)
    run = await hooks.send("SessionStart", "s1", source="compact", **told)
    assert OPEN_TAG in run.context
    assert run.context.count("last request: Move the sessions to Redis.") == 1
