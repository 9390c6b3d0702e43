"""The canonical message: one schema for the store, the HTTP API, MCP and the page."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, JsonValue

from brainops.contracts.base import Contract


class Role(StrEnum):
    """Who speaks."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    TOOL = "tool"


class TextPart(Contract):
    """What was said."""

    type: Literal["text"] = "text"
    text: str


class ToolCallPart(Contract):
    """The assistant asks for a tool."""

    type: Literal["tool_call"] = "tool_call"
    id: str
    name: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])


class ToolResultPart(Contract):
    """What a tool gave back; `call_id` is the call's `id`."""

    type: Literal["tool_result"] = "tool_result"
    call_id: str
    name: str = ""
    text: str
    is_error: bool = False


class ArtifactRefPart(Contract):
    """Content that lies in object storage; fetched on demand, its sha256 checked."""

    type: Literal["artifact_ref"] = "artifact_ref"
    key: str
    bytes: int
    """Of the content as it was, uncompressed."""
    media_type: str
    sha256: str
    """Of the content, 64 hexadecimal digits."""


class ErrorPart(Contract):
    """Something failed while the message was made."""

    type: Literal["error"] = "error"
    message: str
    code: str = ""


Part = Annotated[
    TextPart | ToolCallPart | ToolResultPart | ArtifactRefPart | ErrorPart,
    Field(discriminator="type"),
]


class Message(Contract):
    """What one participant said, called or got back, in parts."""

    role: Role
    parts: tuple[Part, ...]
    author: str = ""
    """The person's or agent's name, where there are several of a role."""

    @property
    def text(self) -> str:
        """What stands in its text parts and tool results, a paragraph each."""
        return "\n\n".join(part.text for part in self.parts if isinstance(part, TextPart | ToolResultPart))


class MessageStatus(StrEnum):
    """How far a message has come."""

    STREAMING = "streaming"
    COMPLETE = "complete"
    INTERRUPTED = "interrupted"
    """Its writer went away in the middle; what it had said is there."""


class StoredMessage(Message):
    """A message in its session."""

    id: UUID
    session_id: str
    seq: int
    """Its place in the session, from 1, without gaps."""
    at: datetime
    """When it was said; `created_at` is when it was stored."""
    created_at: datetime
    status: MessageStatus = MessageStatus.COMPLETE
    from_memory: bool = False
    """It was injected from memory: nothing is learned from it."""
