"""What every contract shares."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

DEFAULT_TENANT = "default"
"""The one tenant of a single-team installation; every table carries it from the first migration on."""

ShortText = Annotated[str, StringConstraints(max_length=500)]
"""Text that may enter workflow history: redacted already, one or two sentences."""


class Contract(BaseModel):
    """A frozen message. Unknown fields are ignored, so that an older worker can read a newer message."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ActorKind(StrEnum):
    """Who caused an action. The share of manual intervention is counted from it."""

    AGENT = "agent"
    PERSON = "person"
    SCHEDULE = "schedule"
    WEBHOOK = "webhook"


class Actor(Contract):
    """The cause of an action: kind and name, such as `agent:system_monitor` or `person:mira`."""

    kind: ActorKind
    name: ShortText

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> "Actor":
        """Read what `str()` wrote. Raises ValueError when it is not `kind:name`."""
        kind, _, name = text.partition(":")
        return cls(kind=ActorKind(kind), name=name)
