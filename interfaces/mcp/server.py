"""The MCP server: memory's tools as the official SDK serves them, over stdio and over HTTP alike."""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from mcp.server.lowlevel.server import Server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from brainops.errors import BrainOpsError
from interfaces.mcp.tools import INSTRUCTIONS, TOOLS, Asking, MemoryTool, as_json, run_tool
from interfaces.version import brainops_version

logger = structlog.get_logger("mcp")

Context = Any  # the SDK's ServerRequestContext: its parameters differ by transport, and only `request` is looked at

Authorize = Callable[[Context, str], Awaitable[Asking]]
"""Who asks for a tool by its name. Raises NotAllowedError when they may not."""


def make_server(authorize: Authorize) -> Server[Any]:
    """A server whose requests are answered for whom `authorize` says."""

    async def list_tools(_context: Context, _params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[_shown(tool) for tool in TOOLS.values()])

    async def call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
        try:
            asking = await authorize(context, params.name)
            return _result(await run_tool(asking, params.name, as_json(params.arguments)))
        except BrainOpsError as error:
            return _result(str(error), is_error=True)
        except Exception:  # the model gets a sentence, the log gets the cause
            logger.exception("a tool failed", tool=params.name)
            return _result(f"{params.name} failed inside BrainOps; its log has the cause.", is_error=True)

    return Server(
        "brainops",
        version=brainops_version(),
        title="BrainOps memory",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _shown(tool: MemoryTool) -> Tool:
    return Tool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.input_schema(),
        annotations=ToolAnnotations(
            read_only_hint=tool.effect == "reads",
            destructive_hint=tool.effect == "removes",
            open_world_hint=False,
        ),
    )


def _result(text: str, *, is_error: bool = False) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)], is_error=is_error)
