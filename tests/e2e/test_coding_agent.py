"""Two sessions of a coding agent: recorded hook events through the real hook, and the official MCP client on both doors."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from memory_api import PATIENCE_SECONDS, ROOT, Hooks, hook_environment

from brainops.access.keys import KeyStore, Scope
from brainops.config.paths import StatePaths
from brainops.database.engine import Database
from interfaces.memory_client import MemoryClient

PROJECT = "project:acme/parcels"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A developer's home with one project under git."""
    git = tmp_path / "home" / "work" / "parcels" / ".git"
    git.mkdir(parents=True)
    (git / "config").write_text('[remote "origin"]\n\turl = git@git.example.com:acme/parcels.git\n')
    return tmp_path / "home"


@pytest.fixture
def api(app_url: str, state_paths: StatePaths, home: Path) -> Iterator[str]:
    """The API as a process of its own; its URL."""
    state_paths.root.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    environment = os.environ | {
        "BRAINOPS_DATABASE_URL": app_url,
        "BRAINOPS_API_PORT": str(port),
        "BRAINOPS_API_SOCKET": str(state_paths.api_socket),
        "BRAINOPS_STATE_DIR": str(state_paths.root),
        "BRAINOPS_ONLY": "memory",
        "HOME": str(home),
    }
    log = state_paths.root / "api.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "interfaces.api.main"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        while not state_paths.api_socket.is_socket():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0, log.read_text()
    assert "Traceback" not in log.read_text()


class CodingAgent:
    """Sends the events of one session as Claude Code does, and keeps its transcript."""

    def __init__(self, hooks: Hooks, home: Path, session: str) -> None:
        self._hooks = hooks
        self._session = session
        self._transcript = home / ".claude" / f"{session}.jsonl"
        self._transcript.parent.mkdir(exist_ok=True)
        self._transcript.touch()
        self._told = {"cwd": str(home / "work" / "parcels" / "src"), "transcript_path": str(self._transcript)}
        self._count = 0

    async def start(self) -> str:
        return (await self._sent("SessionStart", source="startup")).strip()

    async def asks(self, prompt: str) -> str:
        return await self._sent("UserPromptSubmit", prompt=prompt)

    async def runs(self, command: str, output: str) -> None:
        self._count += 1
        await self._sent(
            "PostToolUse",
            tool_name="Bash",
            tool_use_id=f"{self._session}-{self._count}",
            tool_input={"command": command},
            tool_response={"stdout": output, "stderr": "", "interrupted": False},
        )

    async def says(self, text: str) -> None:
        self._count += 1
        message = {"role": "assistant", "content": [{"type": "text", "text": text}]}
        entry = {"type": "assistant", "uuid": f"{self._session}-{self._count}", "message": message}
        with self._transcript.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        await self._sent("Stop", last_assistant_message=text)

    async def end(self) -> None:
        await self._sent("SessionEnd", reason="prompt_input_exit")

    async def _sent(self, event: str, **payload: object) -> str:
        run = await self._hooks.send(event, self._session, **self._told, **payload)
        assert (run.code, run.errors) == (0, "")
        return run.context


async def said(client: Client, tool: str, **arguments: Any) -> str:
    """The text of a tool's answer."""
    result = await client.call_tool(tool, arguments)
    text = "".join(getattr(block, "text", "") for block in result.content)
    assert not result.is_error, text
    return text


def stdio(state: StatePaths, home: Path) -> Client:
    command = ["-c", "from interfaces.cli.main import run; run()", "mcp"]
    environment = hook_environment(state, home) | {"PYTHONPATH": str(ROOT)}
    return Client(
        StdioServerParameters(command=sys.executable, args=command, env=environment, cwd=home / "work" / "parcels")
    )


@pytest.fixture
async def http_client(api: str, database: Database) -> AsyncGenerator[httpx2.AsyncClient]:
    _, secret = await KeyStore(database).create("agent", frozenset({Scope.READ, Scope.OPERATE}), None)
    headers = {"Authorization": f"Bearer {secret}", "X-BrainOps-Scope": PROJECT}
    async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE_SECONDS) as client:
        yield client


async def test_what_one_session_did_the_next_one_knows(
    api: str, state_paths: StatePaths, home: Path, http_client: httpx2.AsyncClient
) -> None:
    hooks = Hooks(hook_environment(state_paths, home))

    # The first session: a decision, a fact that changes, work that is done, work that stays open.
    first = CodingAgent(hooks, home, "first")
    assert await first.start() == ""
    await first.asks("Add rate limiting to the public tracking API. The dev gateway listens on port 4173.")
    await first.runs("ls src/middleware", "auth.ts\nquota.ts")
    async with stdio(state_paths, home) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"session_restore", "recall", "fetch", "work_claim"} <= names
        claim = await said(client, "work_claim", description="Add rate limiting to the public tracking API")
        work = claim.split("id ")[1].split(" ")[0]
        await said(
            client,
            "decision_record",
            decision="Rate limiting uses a sliding window kept in Redis.",
            reason="A fixed window lets bursts through at its edges.",
            name="rate_limit_window",
        )
        port = await said(client, "remember", content="The dev gateway listens on port 4173.", name="gateway_port")
        await said(client, "todo_add", title="Load test of the limiter", blocker="the staging cluster is rebuilt")
        await said(
            client,
            "supersede",
            id=port.split("id ")[1].split(" ")[0],
            content="The dev gateway listens on port 4190.",
            why="4173 collided with the preview server",
        )
        await said(client, "work_done", id=work, outcome="sliding window, 120 requests a minute")
        wrong = await client.call_tool("work_done", {"id": "nothing"})
        assert wrong.is_error
    await first.says("Rate limiting is in place: 120 requests a minute for each key.")
    await first.end()

    # The second session is told by its hooks.
    second = CodingAgent(hooks, home, "second")
    injected = await second.start()
    injected += await second.asks("Where were we? Go on with what is open.")
    assert "sliding window kept in Redis" in injected
    assert "Load test of the limiter" in injected
    assert "staging cluster" in injected
    assert "4190" in injected
    assert "listens on port 4173" not in injected
    offered = await second.asks("Please implement rate limits for the public tracking API.")
    assert "done on" in offered

    # And may ask: over HTTP, with a key.
    async with Client(streamable_http_client(f"{api}/mcp", http_client=http_client)) as client:
        index = await said(client, "recall", query="which port has the dev gateway")
        assert "4190" in index
        assert "listens on port 4173" not in index
        line = next(line for line in index.splitlines() if "4190" in line)
        assert "collided" in await said(client, "fetch", ids=[line.split(" ")[0]])
        assert "done on" in await said(client, "work_check", description="implement rate limits for the tracking API")
        assert "Load test" in await said(client, "todo_list")


async def test_mcp_over_http_lets_in_who_may(api: str, state_paths: StatePaths, database: Database) -> None:
    keys = KeyStore(database)
    _, reader = await keys.create("reader", frozenset({Scope.READ}), None)
    list_tools = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    remember = {"name": "remember", "arguments": {"content": "x"}}
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": remember}
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS, headers=headers) as client:
        assert (await client.post(f"{api}/mcp", json=list_tools)).status_code == 401
        client.headers["Authorization"] = f"Bearer {reader}"
        assert len((await client.post(f"{api}/mcp", json=list_tools)).json()["result"]["tools"]) == 14
        refused = (await client.post(f"{api}/mcp", json=call)).json()["result"]
        assert refused["isError"]
        assert "scope operate" in refused["content"][0]["text"]
        # A page in a browser that names this address by its own host.
        rebound = await client.post(f"{api}/mcp", json=list_tools, headers={"Host": "evil.example.com"})
        assert rebound.status_code == 421
        crossing = await client.post(f"{api}/mcp", json=list_tools, headers={"Origin": "https://evil.example.com"})
        assert crossing.status_code == 403
        assert (await client.get(f"{api}/mcp")).status_code == 405
    owner = httpx2.AsyncHTTPTransport(uds=str(state_paths.api_socket))
    async with httpx2.AsyncClient(transport=owner, timeout=PATIENCE_SECONDS, headers=headers) as client:
        assert not (await client.post("http://any/mcp", json=call)).json()["result"].get("isError")
    async with MemoryClient(str(state_paths.api_socket)) as memory:
        assert (await memory.call("stats", {})).memories == 1
