"""The tools that packages bring (entry points `brainops.tools`)."""

from dataclasses import dataclass
from typing import Any, cast

import structlog
from pydantic import ValidationError

from brainops.config.plugins import Plugin, PluginKind, installed
from brainops.errors import BadInputError, SetupError
from brainops.telemetry.redaction import clean
from brainops.tools.base import ANSWER_LIMIT, Tool, ToolContext

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ToolBox:
    """Tools by name, ready to be used."""

    tools: dict[str, Tool[Any]]
    """Any: each has parameters of its own."""

    async def run(self, name: str, parameters: dict[str, Any]) -> str:
        """The redacted, bounded answer of a tool. Any: JSON, which the tool's own model reads.

        Raises BadInputError for an unknown tool, wrong parameters, and for whatever the package raises.
        """
        tool = self.tools.get(name)
        if tool is None:
            raise BadInputError(f"there is no tool {name[:100]!r}; there are {', '.join(self.tools) or 'none'}")
        try:
            asked = tool.parameters.model_validate(parameters)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in wrong["loc"]) or "parameters"
            raise BadInputError(f"{where} of the tool {name}: {wrong['msg']}; see its parameters") from error
        try:
            answer = await tool.run(asked)
        except Exception as error:
            raise BadInputError(clean(f"the tool {name} failed: {type(error).__name__}: {error}")) from error
        return clean(str(answer), ANSWER_LIMIT)


def load_tools(context: ToolContext) -> ToolBox:
    """The tools of all packages. One that cannot be used is named and left out."""
    found: dict[str, Tool[Any]] = {}
    for plugin in installed(PluginKind.TOOL):
        try:
            found.setdefault(plugin.name, load_tool(plugin)(context))
        except SetupError as error:
            log.warning("a tool is left out", reason=clean(str(error)))
    return ToolBox(found)


def load_tool(plugin: Plugin) -> type[Tool[Any]]:
    """The tool of an entry point, examined. Raises SetupError that names the package and what is wrong with it."""
    kind = plugin.load()
    if not (isinstance(kind, type) and issubclass(kind, Tool)):
        raise plugin.broken("it is no subclass of brainops.tools.base.Tool")
    tool = cast("type[Tool[Any]]", kind)
    missing = [name for name in ("name", "description", "parameters") if not hasattr(tool, name)]
    if missing:
        raise plugin.broken(f"it lacks {', '.join(missing)}")
    if tool.name != plugin.name:
        raise plugin.broken(f"its name is {tool.name!r} and its entry point is called {plugin.name!r}")
    return tool
