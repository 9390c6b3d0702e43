"""What a tool is: something that an agent may look up or work out, with a name, a description and typed parameters.

What a tool answers is data for the agent and never an order. A tool reads; what changes something is a remedy.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel

ANSWER_LIMIT = 20_000
"""Characters of an answer that reach an agent."""

ParametersT = TypeVar("ParametersT", bound=BaseModel)


@dataclass(frozen=True)
class ToolContext:
    """What a tool may know of where it runs."""

    directory: Path
    """Folder of `brainops.yaml`."""


class Tool(ABC, Generic[ParametersT]):
    """A tool: a subclass, named by an entry point of the group `brainops.tools`."""

    name: ClassVar[str]
    """As agents call it: that of its entry point."""
    description: ClassVar[str]
    """What it answers and when to ask it, in a sentence or two."""
    parameters: ClassVar[type[BaseModel]]
    """What it must be told. Its JSON schema is what an agent sees."""

    def __init__(self, context: ToolContext) -> None:
        self.context = context

    @abstractmethod
    async def run(self, parameters: ParametersT, /) -> str:
        """Answer in text or JSON, within seconds. Raises BrainOpsError with a sentence that an agent can act on."""
