"""The tool: what a marker file says."""

import asyncio

from pydantic import BaseModel, ConfigDict

from brainops.errors import NotFoundError
from brainops.tools.base import Tool

_LIMIT = 4096


class Parameters(BaseModel):
    """What an agent must say."""

    model_config = ConfigDict(extra="forbid")

    path: str
    """The marker file, relative to the folder of brainops.yaml."""


class ReadMarker(Tool[Parameters]):
    """Reads the beginning of a marker file inside the folder of brainops.yaml."""

    name = "read_marker"
    description = "What the marker file of a service says: which action wrote it last. Ask it when one is missing."
    parameters = Parameters

    async def run(self, parameters: Parameters, /) -> str:
        return await asyncio.to_thread(self._read, parameters.path)

    def _read(self, named: str) -> str:
        folder = self.context.directory.resolve()
        path = (folder / named).resolve()
        if not path.is_relative_to(folder) or not path.is_file():
            raise NotFoundError(f"there is no marker file {named!r} in the folder of brainops.yaml")
        with path.open(errors="replace") as file:
            return file.read(_LIMIT)
