"""Canonical messages to and from the shapes of the OpenAI chat API and the Anthropic messages API.

Both ways lose nothing:

- canonical → shape → canonical is the identity. What a shape cannot say of itself (an author, an error part, a system
  message in the middle, the order of text after a tool call) stands beside it under the key `x_brainops`, which wins
  when the shape is read back. The APIs refuse unknown keys: send `without_marks(messages)`.
- shape → canonical → shape is the identity for shapes in their normal form: one text as a string and several as blocks,
  arguments as compact JSON. Other spellings of the same (`developer` for `system`, a list with one text) come back in
  the normal form.

A block that canonical messages have no part for (an image, thinking, audio) is refused with `UnknownBlockError`: a
silent loss would be found when the session is restored. Keys that carry nothing (`cache_control`, nulls) are dropped.
What stands in a text is data: it can be read as a reference to an artifact and as nothing else.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NotRequired, Protocol, TypedDict

from pydantic import JsonValue, ValidationError

from brainops.contracts.message import (
    ArtifactRefPart,
    ErrorPart,
    Message,
    Part,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from brainops.errors import BadInputError

Shape = dict[str, JsonValue]
"""One message of an API, as JSON."""

MARK = "x_brainops"
"""The key under which stands what a shape cannot say: the canonical message, and how many shapes it takes."""

MALFORMED = "$malformed"
"""The one argument of a tool call whose arguments were no JSON object: the text as the model wrote it."""

_DROPPED = frozenset(("cache_control", "citations", "annotations"))


class UnknownBlockError(BadInputError):
    """A message has a block, a role or a key that canonical messages cannot keep."""


class AnthropicRequest(TypedDict):
    """The part of a request to the Anthropic messages API that holds the conversation."""

    messages: list[Shape]
    system: NotRequired[JsonValue]


def to_openai(messages: Iterable[Message]) -> list[Shape]:
    """`messages` in the OpenAI chat shape: tool results are messages of the role `tool`, one each."""
    return _marked(messages, _openai_shapes, _openai_messages)


def from_openai(shapes: Sequence[Mapping[str, JsonValue]]) -> list[Message]:
    """The canonical messages of an OpenAI chat. Raises UnknownBlockError, or BadInputError for a broken shape."""
    return _unmarked(shapes, _openai_messages)


def to_anthropic(messages: Iterable[Message]) -> AnthropicRequest:
    """`messages` in the Anthropic shape: a leading system message becomes `system`, tool results stand in user messages."""
    shapes = _marked(messages, _anthropic_shapes, _anthropic_messages)
    if shapes and shapes[0].get("role") == "system":
        first = shapes[0]
        if MARK not in first:
            return {"system": first["content"], "messages": shapes[1:]}
        first["role"] = "user"
    return {"messages": shapes}


def from_anthropic(request: AnthropicRequest) -> list[Message]:
    """The canonical messages of an Anthropic request. Raises as `from_openai`."""
    shapes = list(request["messages"])
    if "system" in request:
        shapes.insert(0, {"role": "system", "content": request["system"]})
    return _unmarked(shapes, _anthropic_messages)


def without_marks(shapes: Iterable[Mapping[str, JsonValue]]) -> list[Shape]:
    """`shapes` as an API takes them: without what only we read."""
    return [{key: value for key, value in shape.items() if key != MARK} for shape in shapes]


# What the shapes cannot say


class _Writer(Protocol):
    """Gives the shapes of one message; `first`: it opens the conversation."""

    def __call__(self, message: Message, *, first: bool) -> list[Shape]: ...


_Reader = Callable[[Sequence[Mapping[str, JsonValue]], Mapping[str, str]], list[Message]]


class _Names(dict[str, str]):
    """The tool of each call seen so far: results name only the call."""

    def see(self, messages: Iterable[Message]) -> None:
        """Remember the calls of `messages`."""
        self.update(
            (part.id, part.name) for message in messages for part in message.parts if isinstance(part, ToolCallPart)
        )


def _marked(messages: Iterable[Message], write: _Writer, read: _Reader) -> list[Shape]:
    names = _Names()
    result: list[Shape] = []
    for message in messages:
        shapes = write(message, first=not result)
        if read(shapes, names) != [message]:
            shapes[0][MARK] = {"message": message.model_dump(mode="json"), "shapes": len(shapes)}
        result += shapes
        names.see([message])
    return result


def _unmarked(shapes: Sequence[Mapping[str, JsonValue]], read: _Reader) -> list[Message]:
    names = _Names()
    result: list[Message] = []
    at = 0
    while at < len(shapes):
        found, taken = _from_mark(shapes[at])
        if not taken:
            found, taken = read([shapes[at]], names), 1
        names.see(found)
        result += found
        at += taken
    return result


def _from_mark(shape: Mapping[str, JsonValue]) -> tuple[list[Message], int]:
    mark = shape.get(MARK)
    if not isinstance(mark, dict):
        return [], 0
    taken = mark.get("shapes")
    try:
        message = Message.model_validate_json(json.dumps(mark.get("message")))
    except ValidationError as error:
        raise BadInputError(
            f"{MARK} of a message is broken ({error.error_count()} mistakes); leave the key out"
        ) from None
    if not isinstance(taken, int) or isinstance(taken, bool) or taken < 1:
        raise BadInputError(f"{MARK}.shapes is {taken!r}; it counts the messages that belong together, from 1")
    return [message], taken


# OpenAI


def _openai_shapes(message: Message, *, first: bool) -> list[Shape]:  # noqa: ARG001 - the place matters to Anthropic alone
    results = [part for part in message.parts if isinstance(part, ToolResultPart)]
    shapes: list[Shape] = [{"role": "tool", "tool_call_id": part.call_id, "content": part.text} for part in results]
    others = [part for part in message.parts if not isinstance(part, ToolResultPart)]
    if not others and shapes:
        return shapes
    role = message.role.value if message.role is not Role.TOOL else "user"
    calls = [part for part in others if isinstance(part, ToolCallPart)] if role == "assistant" else []
    texts = [_as_text(part) for part in others if part not in calls]
    shape: Shape = {"role": role, "content": _content(texts, none=None if calls else [])}
    if message.author:
        shape["name"] = message.author
    if calls:
        shape["tool_calls"] = [
            {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": _written(part.arguments)}}
            for part in calls
        ]
    return [*shapes, shape]


def _openai_messages(shapes: Sequence[Mapping[str, JsonValue]], names: Mapping[str, str]) -> list[Message]:
    return [_openai_message(shape, names) for shape in shapes]


def _openai_message(shape: Mapping[str, JsonValue], names: Mapping[str, str]) -> Message:
    role = _text(shape, "role", "message")
    where = f"{role} message"
    if role == "tool":
        _refuse_unknown_keys(shape, {"role", "content", "tool_call_id", "name"}, where)
        call_id = _text(shape, "tool_call_id", where)
        text = "\n".join(_openai_texts(shape.get("content"), where))
        return Message(role=Role.TOOL, parts=(ToolResultPart(call_id=call_id, name=names.get(call_id, ""), text=text),))
    if role not in {"user", "assistant", "system", "developer"}:
        raise UnknownBlockError(f"role {role!r} of a message cannot be kept; use system, user, assistant or tool")
    _refuse_unknown_keys(shape, {"role", "content", "name", "tool_calls", "refusal"}, where)
    parts: list[Part] = [_as_part(text) for text in _openai_texts(shape.get("content"), where)]
    if shape.get("refusal"):
        parts.append(ErrorPart(message=_text(shape, "refusal", where), code="refusal"))
    parts += [_openai_call(call) for call in _objects(shape.get("tool_calls") or [], f"tool_calls of the {where}")]
    author = _text(shape, "name", where) if shape.get("name") else ""
    return Message(role=Role("system" if role == "developer" else role), parts=tuple(parts), author=author)


def _openai_texts(content: JsonValue, where: str) -> list[str]:
    if content is None:
        return []
    if isinstance(content, str):
        return [content]
    texts: list[str] = []
    for block in _objects(content, f"content of the {where}"):
        kind = block.get("type")
        if kind != "text":
            raise UnknownBlockError(
                f"a block of the type {kind!r} in the {where} cannot be kept; leave it out or store it as an artifact"
            )
        _refuse_unknown_keys(block, {"type", "text"}, f"text block of the {where}")
        texts.append(_text(block, "text", "text block"))
    return texts


def _openai_call(call: Mapping[str, JsonValue]) -> ToolCallPart:
    kind = call.get("type", "function")
    function = call.get("function")
    if kind != "function" or not isinstance(function, dict):
        raise UnknownBlockError(f"a tool call of the type {kind!r} cannot be kept; only function calls can")
    _refuse_unknown_keys(call, {"id", "type", "function", "index"}, "tool call")
    _refuse_unknown_keys(function, {"name", "arguments"}, "function of a tool call")
    arguments = _read_arguments(_text(function, "arguments", "tool call"))
    return ToolCallPart(
        id=_text(call, "id", "tool call"), name=_text(function, "name", "tool call"), arguments=arguments
    )


def _read_arguments(text: str) -> dict[str, JsonValue]:
    """The arguments that a model wrote; under `MALFORMED` as they are when they are no JSON object."""
    try:
        value: JsonValue = json.loads(text, object_pairs_hook=_without_repetition)
        if isinstance(value, dict):
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
            return value
    except (ValueError, RecursionError):
        pass
    return {MALFORMED: text}


def _without_repetition(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _written(arguments: Mapping[str, JsonValue]) -> str:
    if list(arguments) == [MALFORMED] and isinstance(raw := arguments[MALFORMED], str):
        return raw
    return json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))


# Anthropic


def _anthropic_shapes(message: Message, *, first: bool) -> list[Shape]:
    if message.role is Role.SYSTEM and first:
        return [{"role": "system", "content": _content([_as_text(part) for part in message.parts], none=[])}]
    role = "assistant" if message.role is Role.ASSISTANT else "user"
    blocks: list[JsonValue] = [_anthropic_block(part, role) for part in message.parts]
    if len(blocks) == 1 and isinstance(blocks[0], dict) and blocks[0]["type"] == "text":
        return [{"role": role, "content": blocks[0]["text"]}]
    return [{"role": role, "content": blocks}]


def _anthropic_block(part: Part, role: str) -> Shape:
    if isinstance(part, ToolCallPart) and role == "assistant":
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": dict(part.arguments)}
    if isinstance(part, ToolResultPart) and role == "user":
        block: Shape = {"type": "tool_result", "tool_use_id": part.call_id, "content": part.text}
        return {**block, "is_error": True} if part.is_error else block
    return {"type": "text", "text": _as_text(part)}


def _anthropic_messages(shapes: Sequence[Mapping[str, JsonValue]], names: Mapping[str, str]) -> list[Message]:
    return [_anthropic_message(shape, names) for shape in shapes]


def _anthropic_message(shape: Mapping[str, JsonValue], names: Mapping[str, str]) -> Message:
    role = _text(shape, "role", "message")
    if role not in {"user", "assistant", "system"}:
        raise UnknownBlockError(f"role {role!r} of a message cannot be kept; use user or assistant")
    _refuse_unknown_keys(shape, {"role", "content"}, f"{role} message")
    content = shape.get("content")
    if isinstance(content, str):
        return Message(role=Role(role), parts=(_as_part(content),))
    parts = tuple(_anthropic_part(block, role, names) for block in _objects(content, f"content of the {role} message"))
    only_results = bool(parts) and all(isinstance(part, ToolResultPart) for part in parts)
    return Message(role=Role.TOOL if only_results else Role(role), parts=parts)


def _anthropic_part(block: Mapping[str, JsonValue], role: str, names: Mapping[str, str]) -> Part:
    kind = block.get("type")
    if kind == "text":
        _refuse_unknown_keys(block, {"type", "text"}, "text block")
        return _as_part(_text(block, "text", "text block"))
    if kind == "tool_use" and role == "assistant":
        _refuse_unknown_keys(block, {"type", "id", "name", "input"}, "tool_use block")
        arguments = block.get("input")
        if not isinstance(arguments, dict):
            raise BadInputError(f"input of a tool_use block is {type(arguments).__name__}; it is an object")
        return ToolCallPart(
            id=_text(block, "id", "tool_use block"), name=_text(block, "name", "tool_use block"), arguments=arguments
        )
    if kind == "tool_result" and role == "user":
        _refuse_unknown_keys(block, {"type", "tool_use_id", "content", "is_error"}, "tool_result block")
        call_id = _text(block, "tool_use_id", "tool_result block")
        text = "\n".join(_openai_texts(block.get("content"), "tool_result block"))
        return ToolResultPart(
            call_id=call_id, name=names.get(call_id, ""), text=text, is_error=block.get("is_error") is True
        )
    raise UnknownBlockError(
        f"a block of the type {kind!r} in a {role} message cannot be kept; leave it out or store it as an artifact"
    )


# Shared


def _content(texts: Sequence[str], none: JsonValue) -> JsonValue:
    if not texts:
        return none
    return texts[0] if len(texts) == 1 else [{"type": "text", "text": text} for text in texts]


def _as_text(part: Part) -> str:
    """A part as a model reads it where the shape has no block for it."""
    if isinstance(part, TextPart | ToolResultPart):
        return part.text
    if isinstance(part, ErrorPart):
        return f"[error{f' {part.code}' if part.code else ''}: {part.message}]"
    return json.dumps(part.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":"))


def _as_part(text: str) -> TextPart | ArtifactRefPart:
    """The text, or the reference whose pointer it is, to the letter."""
    if text.startswith('{"type":"artifact_ref",'):
        try:
            part = ArtifactRefPart.model_validate_json(text)
        except ValidationError:
            return TextPart(text=text)
        if _as_text(part) == text:
            return part
    return TextPart(text=text)


def _text(shape: Mapping[str, JsonValue], key: str, where: str) -> str:
    value = shape.get(key)
    if not isinstance(value, str):
        raise BadInputError(f"{key} of a {where} is {type(value).__name__}; it is a text")
    return value


def _objects(value: JsonValue, where: str) -> list[dict[str, JsonValue]]:
    if not isinstance(value, list):
        raise BadInputError(f"{where} is {type(value).__name__}; it is a text or a list")
    objects = [item for item in value if isinstance(item, dict)]
    if len(objects) != len(value):
        raise BadInputError(f"{where} holds something that is no object; each block is one")
    return objects


def _refuse_unknown_keys(shape: Mapping[str, JsonValue], known: set[str], where: str) -> None:
    unknown = [
        key
        for key, value in shape.items()
        if key not in known and key not in _DROPPED and key != MARK and value not in (None, "", [], {})
    ]
    if unknown:
        raise UnknownBlockError(f"{', '.join(map(repr, unknown))} of a {where} cannot be kept; leave it out")
