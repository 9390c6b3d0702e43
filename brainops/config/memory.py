"""The section `memory`: where big things lie, what compares meanings, how long what is remembered."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from brainops.config.quantities import Duration
from brainops.config.section import Section


class Embeddings(Section):
    """A server that turns text into vectors: any with OpenAI's `/embeddings`."""

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]
    """Up to and without `/embeddings`, such as `https://api.openai.com/v1`."""
    model: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """The model's name there."""
    dimensions: int = Field(ge=8, le=4000)
    """Length of its vectors. Others are refused."""
    key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Name of the environment variable with the API key. Default: none is sent."""


class MemorySettings(Section):
    """What agents and sessions remember, and for how long. Read when the stack starts."""

    objects: Annotated[str, StringConstraints(min_length=1)] | None = None
    """Where artifacts and episodes lie: a folder, or a URL (`s3://bucket/prefix`, `gs://…`, `az://…`). A relative folder
    starts from that of the file. Default: the state folder. Credentials come from the environment."""
    embeddings: Embeddings | None = None
    """What compares meanings. Default: WordLlama, on this machine."""
    archive_after: Duration = Field(default=timedelta(days=30), ge=timedelta(days=1))
    """Messages of sessions that were quiet for this long move to object storage, where they can still be read."""
    purge_after: Duration = Field(default=timedelta(days=90), ge=timedelta(days=1))
    """Archived sessions, and memories that no longer hold, are removed this long after; tagged `legal-hold`: never."""

    @model_validator(mode="after")
    def _archived_before_purged(self) -> "MemorySettings":
        if self.purge_after < self.archive_after:
            raise ValueError("purge_after is shorter than archive_after; nothing may be removed before it is archived")
        return self

    def place(self, directory: Path) -> str | None:
        """Where artifacts and episodes lie; a folder as the file in `directory` means it. None: in the state folder."""
        if self.objects is None or "://" in self.objects:
            return self.objects
        return str(directory / self.objects)

    def variables(self, directory: Path) -> dict[str, str]:
        """How the API process is told; `directory`: of the file."""
        told = {
            "BRAINOPS_OBJECTS": self.place(directory) or "",
            "BRAINOPS_ARCHIVE_AFTER": str(int(self.archive_after.total_seconds())),
            "BRAINOPS_PURGE_AFTER": str(int(self.purge_after.total_seconds())),
        }
        if self.embeddings is not None:
            told |= {
                "BRAINOPS_EMBEDDINGS_URL": self.embeddings.url,
                "BRAINOPS_EMBEDDINGS_MODEL": self.embeddings.model,
                "BRAINOPS_EMBEDDINGS_DIMENSIONS": str(self.embeddings.dimensions),
                "BRAINOPS_EMBEDDINGS_KEY_ENV": self.embeddings.key or "",
            }
        return told
