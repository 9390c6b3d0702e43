"""Nothing is lost between canonical messages and the shapes of the two APIs."""

import json
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from brainops.contracts.message import ArtifactRefPart, ErrorPart, Message, Role, TextPart, ToolCallPart, ToolResultPart
from brainops.errors import BadInputError
from brainops.memory.conversions import (
    MALFORMED,
    MARK,
    AnthropicRequest,
    Shape,
    UnknownBlockError,
    from_anthropic,
    from_openai,
    to_anthropic,
    to_openai,
    without_marks,
)

WORDS = st.text(max_size=12)
IDS = st.sampled_from(["c1", "c2", "c3"])
ARGUMENTS = st.dictionaries(
    st.text(max_size=5) | st.just(MALFORMED),
    st.recursive(
        st.none() | st.booleans() | st.integers(-99, 99) | WORDS,
        lambda inner: st.lists(inner, max_size=2),
        max_leaves=4,
    ),
    max_size=2,
)
REF = ArtifactRefPart(key="a/b", bytes=7, media_type="text/plain", sha256="0" * 64)
POINTER = '{"type":"artifact_ref","key":"a/b","bytes":7,"media_type":"text/plain","sha256":"' + "0" * 64 + '"}'
PARTS = st.one_of(
    st.builds(TextPart, text=WORDS | st.just(POINTER)),
    st.builds(ToolCallPart, id=IDS, name=st.sampled_from(["Read", "Bash"]), arguments=ARGUMENTS),
    st.builds(
        ToolResultPart, call_id=IDS, name=st.sampled_from(["", "Read", "Bash"]), text=WORDS, is_error=st.booleans()
    ),
    st.just(REF),
    st.builds(ErrorPart, message=WORDS, code=WORDS),
)
MESSAGES = st.lists(
    st.builds(
        Message,
        role=st.sampled_from(Role),
        parts=st.lists(PARTS, max_size=4).map(tuple),
        author=st.sampled_from(["", "", "mira"]),
    ),
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(MESSAGES)
def test_canonical_messages_survive_both_shapes(messages: list[Message]) -> None:
    assert from_openai(json.loads(json.dumps(to_openai(messages)))) == messages
    assert from_anthropic(json.loads(json.dumps(to_anthropic(messages)))) == messages


Strategies = dict[str, st.SearchStrategy[Any]]
"""Of values of any JSON type."""


def shape_of(required: Strategies, optional: Strategies | None = None) -> st.SearchStrategy[Shape]:
    return cast("st.SearchStrategy[Shape]", st.fixed_dictionaries(required, optional=optional or {}))


def texts(least: int) -> st.SearchStrategy[JsonValue]:
    block = WORDS.map(lambda text: cast("JsonValue", {"type": "text", "text": text}))
    return st.lists(block, min_size=least, max_size=4).map(lambda blocks: cast("JsonValue", blocks))


CONTENT = WORDS | st.just(POINTER) | texts(2)
WRITTEN = WORDS | ARGUMENTS.filter(lambda given: MALFORMED not in given).map(
    lambda given: json.dumps(given, ensure_ascii=False, separators=(",", ":"))
)
OPENAI_CALL = shape_of(
    {"id": IDS, "type": st.just("function"), "function": shape_of({"name": WORDS, "arguments": WRITTEN})}
)
OPENAI = st.lists(
    st.one_of(
        shape_of({"role": st.sampled_from(["user", "system", "assistant"]), "content": CONTENT}, optional={"name": st.just("mira")}),
        shape_of({
            "role": st.just("assistant"), "content": CONTENT | st.none(), "tool_calls": st.lists(OPENAI_CALL, min_size=1, max_size=3),
        }),
        shape_of({"role": st.just("tool"), "tool_call_id": IDS, "content": WORDS}),
    ),
    max_size=5,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(OPENAI)
def test_openai_shape_survives_without_marks(shapes: list[Shape]) -> None:
    assert to_openai(from_openai(shapes)) == shapes


RESULT = shape_of(
    {"type": st.just("tool_result"), "tool_use_id": IDS, "content": WORDS}, optional={"is_error": st.just(value=True)}
)
TOOL_USE = shape_of({"type": st.just("tool_use"), "id": IDS, "name": WORDS, "input": ARGUMENTS})
TEXT = shape_of({"type": st.just("text"), "text": WORDS})
ANTHROPIC = shape_of(
    {
        "messages": st.lists(
            st.one_of(
                shape_of({"role": st.sampled_from(["user", "assistant"]), "content": CONTENT}),
                shape_of({"role": st.just("user"), "content": st.lists(RESULT, min_size=1, max_size=3)}),
                shape_of({"role": st.just("user"), "content": st.tuples(RESULT, TEXT, RESULT).map(list)}),
                shape_of(
                    {"role": st.just("assistant"), "content": st.tuples(TEXT, TOOL_USE, TEXT, TOOL_USE).map(list)}
                ),
            ),
            max_size=5,
        )
    },
    optional={"system": WORDS | texts(2)},
)


@settings(max_examples=40, deadline=None)
@given(ANTHROPIC)
def test_anthropic_shape_survives_without_marks(request: Shape) -> None:
    assert to_anthropic(from_anthropic(cast("AnthropicRequest", request))) == request


CALL = ToolCallPart(id="c1", name="Read", arguments={"path": "a.py"})
TALK = [
    Message(role=Role.SYSTEM, parts=(TextPart(text="be brief"),)),
    Message(role=Role.USER, parts=(TextPart(text="read a.py"),)),
    Message(role=Role.ASSISTANT, parts=(TextPart(text="ok"), CALL)),
    Message(role=Role.TOOL, parts=(ToolResultPart(call_id="c1", name="Read", text="x = 1"),)),
    Message(role=Role.ASSISTANT, parts=(TextPart(text="done"), REF)),
]


def test_usual_talk_is_what_openai_takes() -> None:
    assert to_openai(TALK) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "read a.py"},
        {
            "role": "assistant",
            "content": "ok",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "Read", "arguments": '{"path":"a.py"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "x = 1"},
        {"role": "assistant", "content": [{"type": "text", "text": "done"}, {"type": "text", "text": POINTER}]},
    ]


def test_usual_talk_is_what_anthropic_takes() -> None:
    assert to_anthropic(TALK) == {
        "system": "be brief",
        "messages": [
            {"role": "user", "content": "read a.py"},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "ok"},
                    {"type": "tool_use", "id": "c1", "name": "Read", "input": {"path": "a.py"}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "x = 1"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "done"}, {"type": "text", "text": POINTER}]},
        ],
    }


def test_what_a_shape_cannot_say_stands_under_the_mark_and_can_be_taken_off() -> None:
    message = Message(role=Role.TOOL, parts=(ErrorPart(message="timed out", code="timeout"),), author="mira")
    shapes = to_openai([message])
    assert MARK in shapes[0]
    assert without_marks(shapes) == [{"role": "user", "content": "[error timeout: timed out]", "name": "mira"}]


@pytest.mark.parametrize(
    "arguments", ["", "{", "[1]", '{"a": NaN}', '{"a": 1e999}', "null", '"x"', '{"a": 1, "a": 2}', '{"a": "\\ud800"}']
)
def test_arguments_that_are_no_object_are_kept_to_the_letter(arguments: str) -> None:
    shapes: list[Shape] = [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "a", "arguments": arguments}}],
        }
    ]
    part = from_openai(shapes)[0].parts[0]
    assert isinstance(part, ToolCallPart)
    assert part.arguments == {MALFORMED: arguments}
    assert to_openai(from_openai(shapes)) == shapes


UNKNOWN: list[tuple[Shape, str]] = [
    ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "'image_url'"),
    ({"role": "function", "content": "x"}, "'function'"),
    ({"role": "assistant", "content": "x", "audio": {"id": "1"}}, "'audio'"),
    (
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "custom", "custom": {}}]},
        "'custom'",
    ),
]


@pytest.mark.parametrize(("shape", "named"), UNKNOWN)
def test_block_that_cannot_be_kept_is_refused_by_name(shape: Shape, named: str) -> None:
    with pytest.raises(UnknownBlockError, match=named):
        from_openai([shape])


@pytest.mark.parametrize("kind", ["image", "thinking", "document", "server_tool_use", "tool_result"])
def test_anthropic_block_that_cannot_be_kept_is_refused_by_name(kind: str) -> None:
    with pytest.raises(UnknownBlockError, match=f"'{kind}' in a assistant message"):
        from_anthropic({"messages": [{"role": "assistant", "content": [{"type": kind}]}]})


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"role": 1},
        {"role": "user", "content": 7},
        {"role": "user", "content": ["x"]},
        {"role": "tool", "content": "x"},
        {"role": "assistant", "tool_calls": [7]},
        {"role": "user", "content": "x", MARK: {"message": {"role": "king"}, "shapes": 1}},
        {"role": "user", "content": "x", MARK: {"message": {"role": "user", "parts": []}, "shapes": 0}},
    ],
)
def test_broken_shape_is_refused(shape: Shape) -> None:
    with pytest.raises(BadInputError):
        from_openai([shape])


def test_other_spellings_are_read() -> None:
    shapes: list[Shape] = [
        {
            "role": "developer",
            "content": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        },
        {"role": "assistant", "content": None, "refusal": "I will not", "annotations": [], "audio": None},
    ]
    assert from_openai(shapes) == [
        Message(role=Role.SYSTEM, parts=(TextPart(text="be brief"),)),
        Message(role=Role.ASSISTANT, parts=(ErrorPart(message="I will not", code="refusal"),)),
    ]
    results: JsonValue = [
        {
            "type": "tool_result",
            "tool_use_id": "c1",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        }
    ]
    assert from_anthropic({"messages": [{"role": "user", "content": results}]})[0].text == "a\nb"
