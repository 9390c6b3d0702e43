"""The contract of a tool of a package."""

import re
from pathlib import Path
from typing import Any

from brainops.config.plugins import PluginKind
from brainops.plugin_contract.loading import plugin_named, require
from brainops.tools.base import ToolContext
from brainops.tools.registry import ToolBox, load_tool

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


async def assert_tool_contract(name: str, parameters: dict[str, Any], directory: Path) -> str:
    """The tool loads, says what it does, has a JSON schema, and answers `parameters` with text.

    Answers with what it said, redacted and bounded as an agent gets it. Raises AssertionError.
    """
    plugin = plugin_named(PluginKind.TOOL, name)
    kind = load_tool(plugin)
    require(
        _NAME.fullmatch(name), f"{name!r} is no name that models can call; use letters, digits, - and _, at most 64"
    )
    require(len(kind.description) >= 20, f"{name} says too little of itself; write what it answers and when to ask it")
    schema = kind.parameters.model_json_schema()
    require(schema.get("type") == "object", "the parameters must be a mapping")
    return await ToolBox({name: kind(ToolContext(directory))}).run(name, parameters)
