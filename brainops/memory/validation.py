"""What may be stored: sizes, characters, names. The same rules for every store.

Each refusal names the field, the size or place of what was given, the limit, and what to do. Sizes are bytes of
UTF-8: that is what the database keeps.
"""

import json
import re
from collections.abc import Sequence

from pydantic import JsonValue

from brainops.contracts.message import ArtifactRefPart, ErrorPart, Message, TextPart, ToolCallPart
from brainops.errors import BadInputError

MAX_MESSAGE_TEXT = 1_048_576
"""Of one text of a message, 1 MB."""

MAX_MEMORY_TEXT = 65_536
"""Of one memory, 64 KB."""

MAX_VALUE = 262_144
"""Of one JSON value, written compactly, 256 KB."""

MAX_VALUE_DEPTH = 100

MAX_PARTS = 500
"""Of one message."""

MAX_TAGS = 50
MAX_TAG_LENGTH = 100
MAX_NAME_LENGTH = 200

_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_SCOPE = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.@/:+-]{0,198}[A-Za-z0-9_])?")


def checked_text(text: str | bytes, field: str, limit: int, *, may_be_blank: bool = False) -> str:
    """`text` if it can be stored in `field`; bytes are read as UTF-8.

    Raises BadInputError when it is blank, longer than `limit` bytes, or holds NUL, a lone surrogate or bytes that are
    no UTF-8.
    """
    if isinstance(text, bytes):
        _refuse_size(len(text), field, limit)
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise BadInputError(f"{field}: byte {error.start} is not UTF-8; send text encoded as UTF-8") from None
    if not may_be_blank and not text.strip():
        raise BadInputError(f"{field}: {'blank' if text else 'empty'}, 0 of at most {limit:,} bytes; give it a text")
    if len(text) > limit:
        _refuse_size(len(text.encode("utf-8", "surrogatepass")), field, limit)
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError as error:
        raise BadInputError(
            f"{field}: character {error.start} is half of a surrogate pair (U+{ord(text[error.start]):04X}); send both halves or none"
        ) from None
    _refuse_size(size, field, limit)
    if (at := text.find("\x00")) >= 0:
        raise BadInputError(f"{field}: character {at} is NUL, which a text cannot hold; leave it out")
    return text


def checked_memory(text: str | bytes, field: str = "text") -> str:
    """The text of a memory; see `checked_text`."""
    return checked_text(text, field, MAX_MEMORY_TEXT)


def checked_value(value: JsonValue, field: str = "value", limit: int = MAX_VALUE) -> str:
    """`value` as compact JSON if it can be stored.

    Raises BadInputError when it is larger than `limit` bytes, deeper than `MAX_VALUE_DEPTH`, not JSON (NaN among it), or
    one of its texts or keys holds NUL or a lone surrogate.
    """
    _refuse_depth(value, field)
    try:
        written = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInputError(
            f"{field}: not JSON ({error}); give null, true, false, numbers, texts, lists and objects"
        ) from None
    if _ESCAPED_NUL.search(written):
        raise BadInputError(f"{field}: one of its texts holds NUL, which the database cannot keep; leave it out")
    return checked_text(written, field, limit)


def checked_tags(tags: Sequence[str], field: str = "tags") -> tuple[str, ...]:
    """`tags` without the blanks around them, each once, in their order.

    Raises BadInputError for more than `MAX_TAGS`, and for one that is blank or longer than `MAX_TAG_LENGTH` characters.
    """
    if len(tags) > MAX_TAGS:
        raise BadInputError(f"{field}: {len(tags)} tags; at most {MAX_TAGS}")
    found: dict[str, None] = {}
    for place, tag in enumerate(tags):
        name = f"{field}[{place}]"
        if len(tag) > MAX_TAG_LENGTH:
            raise BadInputError(f"{name}: {len(tag)} characters; at most {MAX_TAG_LENGTH}")
        found[checked_text(tag.strip(), name, 4 * MAX_TAG_LENGTH)] = None
    return tuple(found)


def checked_scope(name: str, field: str = "scope") -> str:
    """`name` if it can name a scope: `project/shop`, `user:ada`.

    Raises BadInputError unless it is 1 to 200 letters, digits or `_ . @ / : + -` that begin and end with a letter, a
    digit or `_`.
    """
    if _SCOPE.fullmatch(name) is None:
        shown = name if len(name) <= 60 else f"{name[:60]}… ({len(name)} characters)"
        raise BadInputError(
            f"{field}: {shown!a} cannot name a scope; use 1 to {MAX_NAME_LENGTH} letters, digits or _ . @ / : + -, such as project/shop"
        )
    return name


def checked_message(message: Message, field: str = "message") -> Message:
    """`message` if it can be stored.

    Raises BadInputError when it has no part or more than `MAX_PARTS`, or when one of them, or all texts together, break
    the rules above. A tool result may be empty: a command that prints nothing says so.
    """
    if not message.parts:
        raise BadInputError(f"{field}.parts: 0 parts; at least 1, at most {MAX_PARTS}")
    if len(message.parts) > MAX_PARTS:
        raise BadInputError(f"{field}.parts: {len(message.parts)} parts; at most {MAX_PARTS}; split the message")
    _checked_name(message.author, f"{field}.author")
    total = 0
    for place, part in enumerate(message.parts):
        name = f"{field}.parts[{place}]"
        if isinstance(part, ToolCallPart):
            _checked_name(part.id, f"{name}.id")
            _checked_name(part.name, f"{name}.name")
            total += len(checked_value(part.arguments, f"{name}.arguments", MAX_MESSAGE_TEXT))
        elif isinstance(part, ArtifactRefPart):
            for key in ("key", "media_type", "sha256"):
                checked_text(getattr(part, key), f"{name}.{key}", 1_000)
        elif isinstance(part, ErrorPart):
            _checked_name(part.code, f"{name}.code")
            total += len(checked_text(part.message, f"{name}.message", MAX_MESSAGE_TEXT))
        elif isinstance(part, TextPart):
            alone = len(message.parts) == 1
            total += len(checked_text(part.text, f"{name}.text", MAX_MESSAGE_TEXT, may_be_blank=not alone))
        else:
            _checked_name(part.call_id, f"{name}.call_id")
            _checked_name(part.name, f"{name}.name")
            total += len(checked_text(part.text, f"{name}.text", MAX_MESSAGE_TEXT, may_be_blank=True))
    _refuse_size(total, field, MAX_MESSAGE_TEXT)
    return message


def _checked_name(name: str, field: str) -> None:
    checked_text(name, field, 4 * MAX_NAME_LENGTH, may_be_blank=True)


def _refuse_size(size: int, field: str, limit: int) -> None:
    if size > limit:
        raise BadInputError(f"{field}: {size:,} bytes; at most {limit:,}; shorten it, or store it as an artifact")


def _refuse_depth(value: JsonValue, field: str) -> None:
    level: list[JsonValue] = [value]
    for _ in range(MAX_VALUE_DEPTH + 1):
        level = [
            item
            for container in level
            if isinstance(container, list | dict)
            for item in (container if isinstance(container, list) else container.values())
        ]
        if not level:
            return
    raise BadInputError(f"{field}: more than {MAX_VALUE_DEPTH} levels; flatten it")
