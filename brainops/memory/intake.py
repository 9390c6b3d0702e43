"""What becomes of a message before it is stored: checked, without secrets, tool results pruned."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import cast
from uuid import UUID, uuid4

from pydantic import JsonValue

from brainops.contracts.memory import NewMessage
from brainops.contracts.message import ArtifactRefPart, ErrorPart, Message, Part, Role, ToolCallPart
from brainops.errors import BadInputError, UnavailableError
from brainops.memory.artifacts import ArtifactStore
from brainops.memory.message_log import MessageRow
from brainops.memory.pruner import Pruned, prune, tokens
from brainops.memory.redaction import redact, redact_json
from brainops.memory.validation import checked_message

LONG_CHARACTERS = 20_000
"""From here on messages are read in a thread, so that others need not wait for it."""

MOST_TOGETHER = 16 * 1024 * 1024
"""Characters of all messages of one call."""

STORAGE_PAUSE_SECONDS = 30.0
"""After object storage failed, tool results are kept whole for so long, instead of each waiting for it."""


@dataclass(frozen=True)
class _Reduced:
    """A tool result that was pruned, and what it was."""

    place: int
    """Of the part in its message."""
    pruned: Pruned


@dataclass(frozen=True)
class _Admitted:
    """A message without secrets, tool results whole."""

    parts: tuple[Part, ...]
    redacted: int
    reduced: tuple[_Reduced, ...]


class Intake:
    """Turns messages into rows. What a tool result loses goes to object storage first.

    While object storage is away the result is kept whole: it is at most 1 MB, and nothing is lost.
    """

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts
        self._storage_again_at = 0.0

    async def rows(self, session_id: str, messages: Sequence[NewMessage]) -> list[MessageRow]:
        """The rows of messages, in order. Raises BadInputError, which names the message, the field and the limit."""
        for place, message in enumerate(messages):
            checked_message(message, f"messages[{place}]")
        calls = {part.id: part.arguments for message in messages for part in message.parts if part.type == "tool_call"}
        length = sum(map(_length, messages))
        if length > MOST_TOGETHER:
            raise BadInputError(
                f"messages: some {length:,} characters together; at most {MOST_TOGETHER:,}; append them in several calls"
            )
        if length > LONG_CHARACTERS:
            admitted = await asyncio.to_thread(_admit_all, messages, calls)
        else:
            admitted = _admit_all(messages, calls)
        return [await self._row(session_id, *pair) for pair in zip(messages, admitted, strict=True)]

    async def _row(self, session_id: str, message: NewMessage, admitted: _Admitted) -> MessageRow:
        id_ = message.id or uuid4()
        parts: list[Part] = []
        reduced = {one.place: one.pruned for one in admitted.reduced}
        for place, part in enumerate(admitted.parts):
            pruned = reduced.get(place)
            reference = None if pruned is None else await self._kept(pruned, session_id, id_)
            if pruned is None or reference is None:
                parts.append(part)
            else:
                parts += [part.model_copy(update={"text": pruned.text}), reference]
        return MessageRow(
            id=id_,
            role=message.role.value,
            author=message.author,
            parts=parts_as_json(parts),
            at=message.at or datetime.now(UTC),
            from_memory=message.from_memory,
            indexed=not message.from_memory and is_indexed(message),
            redacted=admitted.redacted,
            tokens_before=parts_tokens(message.parts),
            tokens_after=parts_tokens(parts),
        )

    async def _kept(self, pruned: Pruned, session_id: str, message_id: UUID) -> ArtifactRefPart | None:
        """Where the whole lies. None: object storage does not answer."""
        if pruned.original is None or monotonic() < self._storage_again_at:
            return None
        try:
            return await self._artifacts.put(pruned.original, pruned.media_type, session_id, message_id)
        except UnavailableError:
            self._storage_again_at = monotonic() + STORAGE_PAUSE_SECONDS
            return None


def is_indexed(message: Message) -> bool:
    """Whether recall should find it: what people and the assistant say, and what tools gave back as it is kept.

    Not the system's texts, which are the same in every session, nor calls and references without words.
    """
    return message.role is not Role.SYSTEM and bool(message.text.strip())


def without_secrets(part: Part) -> tuple[Part, int]:
    """A part without its secrets, and how many there were."""
    if isinstance(part, ToolCallPart):
        arguments = redact_json(cast("JsonValue", part.arguments))
        return part.model_copy(update={"arguments": arguments.value}) if arguments.count else part, arguments.count
    if isinstance(part, ArtifactRefPart):
        return part, 0
    field = "message" if isinstance(part, ErrorPart) else "text"
    found = redact(getattr(part, field))
    return part.model_copy(update={field: found.text}) if found.count else part, found.count


async def value_without_secrets(value: JsonValue, size: int) -> JsonValue:
    """A JSON value of so many bytes without its secrets; a long one is read in a thread."""
    if size <= LONG_CHARACTERS:
        return redact_json(value).value
    return (await asyncio.to_thread(redact_json, value)).value


def parts_as_json(parts: Sequence[Part]) -> JsonValue:
    """Parts as they stand in a row."""
    return [part.model_dump(mode="json") for part in parts]


def parts_tokens(parts: Sequence[Part]) -> int:
    """An estimate of the tokens of parts; a reference costs none."""
    return sum(map(_tokens, parts))


def _tokens(part: Part) -> int:
    if isinstance(part, ToolCallPart):
        return tokens(part.name) + tokens(part.model_dump_json(include={"arguments"}))
    if isinstance(part, ArtifactRefPart):
        return 0
    return tokens(part.message if isinstance(part, ErrorPart) else part.text)


def _length(message: NewMessage) -> int:
    return sum(4 * _tokens(part) for part in message.parts)


def _admit_all(messages: Sequence[NewMessage], calls: Mapping[str, Mapping[str, JsonValue]]) -> list[_Admitted]:
    return [_admit(message, calls) for message in messages]


def _admit(message: NewMessage, calls: Mapping[str, Mapping[str, JsonValue]]) -> _Admitted:
    found = [without_secrets(part) for part in message.parts]
    parts = tuple(part for part, _ in found)
    reduced: list[_Reduced] = []
    for place, part in enumerate(parts):
        if part.type == "tool_result":
            pruned = prune(part.name, calls.get(part.call_id, {}), part.text)
            if pruned.original is not None:
                reduced.append(_Reduced(place, pruned))
    return _Admitted(parts, sum(count for _, count in found), tuple(reduced))
