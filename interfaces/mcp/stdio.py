"""MCP over stdin and stdout, for an agent that starts it: it talks to the running API through `MemoryClient`."""

import os
from typing import Any
from uuid import uuid4

from mcp.server.stdio import stdio_server

from interfaces.hooks.project import scope_of_folder
from interfaces.mcp.server import make_server
from interfaces.mcp.tools import Asking
from interfaces.memory_client import MemoryClient


async def serve(folder: str, scope: str | None = None) -> None:
    """Serve until stdin ends. `scope`: what it is about by default; else the project of `folder`.

    The API is looked for at each call, so that it may be started later: a tool says what is missing meanwhile.
    """
    default_scope = scope or scope_of_folder(folder)
    agent = f"{os.environ.get('BRAINOPS_AGENT') or 'agent'}-{uuid4().hex[:8]}"
    clients: list[MemoryClient] = []

    async def authorize(_context: Any, _tool: str) -> Asking:
        if not clients:
            clients.append(MemoryClient.found())
        return Asking(clients[0].call, default_scope, agent)

    server = make_server(authorize)
    try:
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())
    finally:
        for client in clients:
            await client.close()
