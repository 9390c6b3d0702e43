"""Memory's tools for models: their schemas come from the contracts, and wrong arguments get a sentence."""

from typing import Any

import jsonschema
import pytest

from brainops.contracts.base import Contract
from brainops.errors import BadInputError, NotFoundError
from brainops.memory.calls import BY_NAME
from interfaces.mcp.tools import TOOLS, Asking, MemoryTool, needs_of, run_tool

EXPECTED = {
    "session_restore", "session_save", "remember", "recall", "fetch", "forget", "supersede", "decision_record",
    "todo_add", "todo_update", "todo_list", "work_check", "work_claim", "work_done",
}  # fmt: skip


async def unasked(name: str, _request: Contract) -> Any:
    raise AssertionError(f"{name} was called")


ASKING = Asking(unasked, "project:shop", "agent-1")


def test_these_are_the_tools() -> None:
    assert set(TOOLS) == EXPECTED


@pytest.mark.parametrize("tool", TOOLS.values(), ids=lambda tool: tool.name)
def test_a_tool_is_described_by_its_contract(tool: MemoryTool) -> None:
    schema = tool.input_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(tool.required) <= set(schema["properties"])
    assert all(about["description"] and len(about) > 1 for about in schema["properties"].values())
    assert tool.call in BY_NAME
    assert (tool.effect == "reads") == (needs_of(tool.name) == "read")


async def test_an_argument_that_it_does_not_take_is_named() -> None:
    with pytest.raises(BadInputError, match=r"recall takes no limit; it takes query, kinds, k, at, scope"):
        await run_tool(ASKING, "recall", {"query": "x", "limit": 3})


async def test_an_argument_that_is_missing_is_named() -> None:
    with pytest.raises(BadInputError, match="work_check needs description"):
        await run_tool(ASKING, "work_check", {"description": ""})


@pytest.mark.parametrize(
    ("tool", "arguments", "field"),
    [
        ("remember", {"content": "x", "kind": "gossip"}, "kind"),
        ("remember", {"content": "x", "importance": 7}, "importance"),
        ("recall", {"query": "x", "k": 0}, "k"),
        ("fetch", {"ids": ["that one"]}, "ids.0"),
        ("todo_add", {"title": "x", "scope": "\n"}, "scope"),
        ("session_save", {"context": "text", "session_id": "s"}, "context"),
    ],
)
async def test_a_wrong_value_is_named(tool: str, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInputError, match=field):
        await run_tool(ASKING, tool, arguments)


async def test_there_is_no_such_tool() -> None:
    with pytest.raises(NotFoundError, match="there is no tool 'shell'"):
        await run_tool(ASKING, "shell", {})
