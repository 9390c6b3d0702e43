"""What of a message or a memory is indexed, and the passage of it that is shown.

Chunks remember characters of these texts, so what makes them here is also what reads them back.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from brainops.memory.ranking.rows import document

MOST_SHOWN = 1_000
"""Characters of a result."""


def message_document(author: str, parts: Sequence[Mapping[str, Any]]) -> str:
    """A message as it is indexed: what was said, given back by tools, and what failed. `parts` as they stand in the row."""
    return document(author, message_text(parts))


def message_text(parts: Sequence[Mapping[str, Any]]) -> str:
    """The words of a message's parts; calls of tools and references say nothing that people search for."""
    said = (cast("str", part.get(_TEXTS.get(part["type"], ""), "")) for part in parts)
    return "\n\n".join(text for text in said if text)


_TEXTS = {"text": "text", "tool_result": "text", "error": "message"}


def memory_document(row: Mapping[str, Any]) -> str:
    """A memory as it is indexed: what it is called, what it says, and why it matters."""
    return f"{_called(row)}{row['content']}{_because(row)}"


def memory_passage(row: Mapping[str, Any], first: int, last: int) -> str:
    """What is shown of a memory: of a short one all that it says, of a long one the passage from `first` to `last`."""
    says = f"{row['content']}{_because(row)}"
    before = len(_called(row))
    if len(says) <= MOST_SHOWN or last <= before:
        return says[:MOST_SHOWN]
    return says[max(0, first - before) : last - before][:MOST_SHOWN]


def _called(row: Mapping[str, Any]) -> str:
    names = ", ".join(name for name in (row["name"], *row["aliases"]) if name)
    return f"{names}: " if names else ""


def _because(row: Mapping[str, Any]) -> str:
    return f" ({row['why']})" if row["why"] else ""
