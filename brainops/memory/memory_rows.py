"""A memory on its way into its row, without secrets, and back."""

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from brainops.contracts.memory import Memory, NewMemory
from brainops.errors import BadInputError
from brainops.memory.redaction import redact, redact_json
from brainops.memory.validation import (
    MAX_MEMORY_TEXT,
    MAX_NAME_LENGTH,
    checked_memory,
    checked_tags,
    checked_text,
    checked_value,
)

DECISION = "decision"

MAX_ALIASES = 50
MAX_SCOPES = 50


@dataclass(frozen=True)
class Kept:
    """The row of a new memory."""

    id: UUID
    values: Mapping[str, Any]
    """By columns, as JSON takes them. Any: values of every sort."""
    redacted: int

    @property
    def key(self) -> tuple[object, ...]:
        """What may be current once only; of a row that is closed as it is written, the row itself."""
        if self.values["valid_to"] is not None:
            return (self.id,)
        return self.values["owner"], tuple(self.values["scopes"]), self.values["content_hash"]

    def ended(self, at: datetime, *, resolved: bool) -> "Kept":
        """The row of a memory that holds no longer since `at`, or since it began if that was later."""
        end = max(at, datetime.fromisoformat(self.values["valid_from"])).isoformat()
        return replace(self, values={**self.values, "valid_to": end, "resolved_at": end if resolved else None})


class _Redactor:
    """Takes secrets out of one memory and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def text(self, value: str) -> str:
        found = redact(value)
        self.count += found.count
        return found.text

    def texts(self, values: Sequence[str]) -> list[str]:
        return [self.text(value) for value in values]

    def json(self, value: Any) -> Any:  # any JSON value
        found = redact_json(value)
        self.count += found.count
        return found.value


def prepared(memory: NewMemory, now: datetime) -> Kept:
    """The row of `memory`, validated and without secrets. Raises BadInputError, naming field and limit."""
    _check(memory)
    clean = _Redactor()
    content = clean.text(memory.content)
    name = clean.text(memory.name).strip()
    at = memory.at or now
    memory_id = memory.id or uuid4()
    values = memory.model_dump(mode="json", include=_AS_THEY_ARE) | {
        "id": str(memory_id),
        "scopes": sorted(set(memory.scopes)),
        "content": content,
        "name": name,
        "why": clean.text(memory.why),
        "aliases": list(dict.fromkeys(alias for alias in clean.texts(memory.aliases) if alias.strip())),
        "tags": sorted(set(clean.texts(checked_tags(memory.tags)))),
        "data": clean.json(memory.data),
        "provenance": clean.json(memory.provenance.model_dump(mode="json", exclude_defaults=True)),
        "source_session": memory.provenance.session_id,
        "content_hash": hash_of_row({"type": memory.type, "name": name, "content": content}).hex(),
        "at": at.isoformat(),
        "valid_from": (memory.valid_from or at).isoformat(),
        "valid_to": None,
        "resolved_at": None,
    }
    return Kept(id=memory_id, values=values, redacted=clean.count)


_AS_THEY_ARE = {"kind", "type", "owner", "importance", "confidence", "pinned", "expires_at"}


def _check(memory: NewMemory) -> None:
    checked_memory(memory.content, "content")
    checked_text(memory.why, "why", MAX_MEMORY_TEXT, may_be_blank=True)
    if not 1 <= len(memory.scopes) <= MAX_SCOPES:
        raise BadInputError(f"scopes: {len(memory.scopes)} scopes; give 1 to {MAX_SCOPES}")
    if len(memory.aliases) > MAX_ALIASES:
        raise BadInputError(f"aliases: {len(memory.aliases)} aliases; at most {MAX_ALIASES}")
    names = {"type": memory.type, "owner": memory.owner, "name": memory.name}
    names |= {f"aliases[{place}]": alias for place, alias in enumerate(memory.aliases)}
    for field, name in names.items():
        if len(checked_text(name, field, 4 * MAX_NAME_LENGTH, may_be_blank=True)) > MAX_NAME_LENGTH:
            raise BadInputError(f"{field}: {len(name)} characters; at most {MAX_NAME_LENGTH}")
    checked_value(memory.data, "data")
    checked_value(memory.provenance.model_dump(mode="json"), "provenance")


def prepared_reason(reason: str) -> tuple[str, int]:
    """A reason without secrets, and how many were taken out."""
    found = redact(checked_text(reason, "reason", MAX_MEMORY_TEXT, may_be_blank=True))
    return found.text, found.count


def hash_of_row(row: Mapping[str, Any]) -> bytes:
    """By which a memory is known again: white space and Unicode forms do not count, the case of letters does.

    A decision is known by its name, too: to choose the same for two things is to decide twice.
    """
    told = row["content"] if row["type"] != DECISION or not row["name"] else f"{row['name']}\x1f{row['content']}"
    return hashlib.sha256(" ".join(unicodedata.normalize("NFC", told).split()).encode()).digest()


def as_memory(row: Mapping[Any, Any]) -> Memory:
    """A memory from its row. Any: columns of every sort."""
    return Memory.model_validate(dict(row))
