"""Makes what an agent told fit for memory: a hook cannot ask it to say it again in another way."""

import json
import math
from typing import cast

from pydantic import JsonValue

from brainops.memory.validation import MAX_MESSAGE_TEXT, MAX_VALUE

LONGEST_ARGUMENT = 20_000
"""Characters of each text in arguments that are too large as a whole: of a file that is written, its beginning."""


def storable(value: object) -> object:
    """`value` with what no database takes replaced: NUL and lone surrogates by U+FFFD, NaN and infinity by their names."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [storable(item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        return {str(storable(name)): storable(item) for name, item in cast("dict[object, object]", value).items()}
    return value


def fitting_text(text: str) -> str:
    """`text` if a message can hold it, else its beginning and how long it was."""
    written = text.encode()
    if len(written) <= MAX_MESSAGE_TEXT:
        return text
    note = f"\n[cut here: {len(text)} characters in all]"
    return written[: MAX_MESSAGE_TEXT - len(note)].decode(errors="ignore") + note


def fitting_arguments(given: JsonValue) -> dict[str, JsonValue]:
    """Arguments of a tool call; of those that are too large, the beginning of each long text."""
    arguments: dict[str, JsonValue] = given if isinstance(given, dict) else {"input": given}
    if _size(arguments) <= MAX_VALUE:
        return arguments
    cut = cast("dict[str, JsonValue]", _cut(arguments))
    if _size(cut) <= MAX_VALUE:
        return cut
    return {"input": _cut(json.dumps(arguments, ensure_ascii=False))}


def _size(value: JsonValue) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())


def _cut(value: JsonValue) -> JsonValue:
    if isinstance(value, str) and len(value) > LONGEST_ARGUMENT:
        return f"{value[:LONGEST_ARGUMENT]}\n[cut here: {len(value)} characters in all]"
    if isinstance(value, list):
        return [_cut(item) for item in value]
    if isinstance(value, dict):
        return {name: _cut(item) for name, item in value.items()}
    return value
