"""MCP over streamable HTTP, in the API process: the same tools, for a team. Each request stands alone.

Who may is decided as for every route: a key with its scopes, or the Unix socket. The SDK (25 MB) is imported at the
first request.
"""

import asyncio
import contextlib
import importlib
import os
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from brainops.access.keys import Scope as KeyScope
from brainops.contracts import memory as m
from brainops.errors import BadInputError, NotAllowedError
from interfaces.api.access import Caller, identify, on_unix_socket
from interfaces.api.middleware import MAX_MEMORY_BYTES
from interfaces.api.resources import Resources
from interfaces.mcp.tools import Asking, needs_of

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

SCOPE_HEADER = "x-brainops-scope"
"""What the tools are about by default, such as `project:owner/name`."""

HOSTS_VARIABLE = "BRAINOPS_API_HOSTS"
"""Further names by which the API may be called, separated by commas; behind a proxy, the name that people use."""

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_CALLER = "brainops.caller"


class McpEndpoint:
    """The ASGI app of `/mcp`."""

    def __init__(self) -> None:
        self._making = asyncio.Lock()
        self._manager: StreamableHTTPSessionManager | None = None
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. Raises HTTPException for one without a valid key."""
        request = Request(scope)
        held: Resources = scope["app"].state.resources
        scope[_CALLER] = await identify(request, held.keys, held.failure_limit)
        manager = self._manager or await self._made(held)
        if on_unix_socket(scope):
            scope = {**scope, "headers": [(b"host", b"localhost"), *_without_host(scope["headers"])]}
        await manager.handle_request(scope, receive, send)

    async def _made(self, held: Resources) -> "StreamableHTTPSessionManager":
        async with self._making:
            if self._manager is None:  # nobody else has made it meanwhile
                module: Any = await asyncio.to_thread(importlib.import_module, "interfaces.mcp.http_sessions")
                manager = module.session_manager(_authorize, allowed_hosts(held.settings.bind), MAX_MEMORY_BYTES)
                started = asyncio.Event()
                self._running = asyncio.create_task(_run(manager, started))
                await started.wait()
                held.memory.ends_with(self._running)
                self._manager = manager
            return cast("StreamableHTTPSessionManager", self._manager)


async def _run(manager: "StreamableHTTPSessionManager", started: asyncio.Event) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        async with manager.run():
            started.set()
            await asyncio.Event().wait()


async def _authorize(context: Any, tool: str) -> Asking:  # the SDK's context: see `make_server`
    request: Request = context.request
    caller: Caller = request.scope[_CALLER]
    needed = KeyScope.READ if needs_of(tool) == "read" else KeyScope.OPERATE
    if not caller.may(needed):
        raise NotAllowedError(f"{tool} needs a key with the scope {needed.value}; the key {caller.name!r} has it not")
    held: Resources = request.scope["app"].state.resources
    named = request.headers.get(SCOPE_HEADER, m.DEFAULT_SCOPE)
    return Asking(held.memory.call, _checked(named), f"{caller.name}-{uuid4().hex[:8]}")


def _checked(scope: str) -> str:
    try:
        return m.TodoList(scope=scope).scope or m.DEFAULT_SCOPE
    except ValueError as error:
        raise BadInputError(f"{SCOPE_HEADER} is {scope!r}, which is no scope; give one such as project:shop") from error


def allowed_hosts(bind: str) -> list[str]:
    """Names by which the API may be called, for the protection from DNS rebinding: loopback, `bind` and those of
    BRAINOPS_API_HOSTS."""
    further = [name.strip() for name in os.environ.get(HOSTS_VARIABLE, "").split(",") if name.strip()]
    bound = f"[{bind}]" if ":" in bind else bind
    return list(dict.fromkeys([*_LOOPBACK, bound, *further]))


def _without_host(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name != b"host"]
