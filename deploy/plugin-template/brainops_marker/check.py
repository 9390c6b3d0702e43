"""The check: a marker file is there, and is not empty."""

import asyncio
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from brainops.checks.base import Subject
from brainops.checks.plugin import PackageProbe, Seen
from brainops.contracts.check import ProbeResult, Reason


class MarkerFileOptions(BaseModel):
    """What stands under `options` in brainops.yaml."""

    model_config = ConfigDict(extra="forbid")

    path: Path
    """The marker file; a relative path starts from the folder of brainops.yaml."""


class MarkerFileProbe(PackageProbe[MarkerFileOptions]):
    """Looks at the marker file. Its value for conditions is `[BYTES]`, in bytes."""

    options = MarkerFileOptions

    async def look(self, _subject: Subject, options: MarkerFileOptions, /) -> ProbeResult | Seen:
        size = await asyncio.to_thread(_size, self.tools.directory / options.path)
        if size is None:
            return ProbeResult(ok=False, reason=Reason.ERROR, detail=f"there is no marker file {options.path}")
        return Seen(ProbeResult(ok=True), {"BYTES": size})


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
