"""The API in the test's own process, with memory, and the hook as the process that a coding agent starts."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from brainops.access.keys import KeyStore, Scope
from brainops.config.paths import StatePaths
from brainops.database.engine import Database
from interfaces.api.main import serve
from interfaces.api.settings import ApiSettings
from interfaces.memory_client import MemoryClient

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@dataclass(frozen=True)
class HookRun:
    """What one hook process did."""

    code: int
    answer: dict[str, Any]
    errors: str
    seconds: float

    @property
    def context(self) -> str:
        """What it injects."""
        return str(self.answer.get("hookSpecificOutput", {}).get("additionalContext", ""))


@dataclass(frozen=True)
class Hooks:
    """Starts the hook with an environment of its own."""

    environment: Mapping[str, str]
    arguments: tuple[str, ...] = ()

    async def send(self, event: str, session: str, **payload: object) -> HookRun:
        """One event, as Claude Code tells it."""
        told = {"hook_event_name": event, "session_id": session, **payload}
        return await self.raw(json.dumps(told).encode())

    async def raw(self, body: bytes) -> HookRun:
        """Whatever comes on stdin."""
        began = asyncio.get_running_loop().time()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "interfaces.hooks.main",
            *self.arguments,
            cwd=ROOT,
            env=dict(self.environment),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await asyncio.wait_for(process.communicate(body), PATIENCE_SECONDS)
        seconds = asyncio.get_running_loop().time() - began
        return HookRun(process.returncode or 0, json.loads(out or b"{}"), errors.decode(), seconds)


@dataclass
class MemoryApi:
    """A running API and the ways to it."""

    url: str
    state: StatePaths
    home: Path
    keys: KeyStore
    client: MemoryClient
    http: aiohttp.ClientSession = field(repr=False)

    async def key(self, *scopes: Scope) -> str:
        """The secret of a new key."""
        _, secret = await self.keys.create("test", frozenset(scopes), None)
        return secret

    def hooks(self, *arguments: str, **variables: str) -> Hooks:
        """The hook of this machine; with `--url`, that of another one."""
        return Hooks(hook_environment(self.state, self.home) | variables, arguments)


def hook_environment(state: StatePaths, home: Path) -> dict[str, str]:
    """What the hook sees: nothing of the test's own environment but what Python needs."""
    kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE_")}
    patient = {"BRAINOPS_HOOK_DEBUG": "1", "BRAINOPS_HOOK_SECONDS": str(PATIENCE_SECONDS / 2)}
    return kept | {"BRAINOPS_STATE_DIR": str(state.root), "HOME": str(home)} | patient


@asynccontextmanager
async def running_memory_api(app_url: str, state: StatePaths, home: Path) -> AsyncGenerator[MemoryApi]:
    """Serve until the block ends. HOME and BRAINOPS_STATE_DIR must name `home` and the root of `state` already."""
    state.root.mkdir(exist_ok=True)
    port = free_port()
    serving = asyncio.create_task(serve(ApiSettings(app_url, port=port, socket=state.api_socket)))
    database = Database(app_url)
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as http, MemoryClient(str(state.api_socket)) as client:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    assert not serving.done(), serving.result()
                    try:
                        async with http.get(f"{url}/live") as answer:
                            assert answer.status == 200
                            break
                    except aiohttp.ClientConnectorError:
                        await asyncio.sleep(0.01)
            yield MemoryApi(url, state, home, KeyStore(database), client, http)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(serving, PATIENCE_SECONDS)
    finally:
        await database.close()
