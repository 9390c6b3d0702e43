"""`brainops mcp`: memory as tools for an agent that speaks the Model Context Protocol over stdin and stdout."""

import asyncio
import re
from pathlib import Path
from typing import Annotated

import typer

from brainops.contracts.memory import SCOPE_PATTERN
from brainops.errors import BadInputError

Scope = Annotated[
    str | None,
    typer.Option(
        help="What the tools are about by default, such as project:shop.", show_default="the project of this folder"
    ),
]


def mcp(scope: Scope = None) -> None:
    """Serve until stdin ends. An agent starts this; `brainops connect claude-code` tells it how."""
    if scope is not None and not re.fullmatch(SCOPE_PATTERN, scope):
        raise BadInputError(f"--scope is {scope!r}; give letters, digits and `: _ . / @ -`, such as project:shop")
    from interfaces.mcp.stdio import serve  # noqa: PLC0415 - `--help` does without the SDK

    asyncio.run(serve(str(Path.cwd()), scope))
