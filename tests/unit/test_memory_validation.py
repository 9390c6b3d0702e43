"""Every refusal names the field, the size and the limit."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from brainops.contracts.message import ErrorPart, Message, Role, TextPart, ToolCallPart, ToolResultPart
from brainops.errors import BadInputError
from brainops.memory.validation import (
    MAX_MEMORY_TEXT,
    MAX_MESSAGE_TEXT,
    MAX_PARTS,
    MAX_VALUE,
    checked_memory,
    checked_message,
    checked_scope,
    checked_tags,
    checked_text,
    checked_value,
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"text: empty, 0 of at most 65,536 bytes"),
        (" \n\t", r"text: blank"),
        ("x" * (MAX_MEMORY_TEXT + 1), r"text: 65,537 bytes; at most 65,536"),
        ("é" * MAX_MEMORY_TEXT, r"text: 131,072 bytes; at most 65,536"),
        ("\ud800" * (MAX_MEMORY_TEXT + 1), r"text: 196,611 bytes"),
        ("a\x00b", r"text: character 1 is NUL"),
        ("ab\ud83d", r"text: character 2 is half of a surrogate pair \(U\+D83D\)"),
        (b"ab\xff", r"text: byte 2 is not UTF-8"),
        (b"x" * (MAX_MEMORY_TEXT + 1), r"text: 65,537 bytes"),
    ],
)
def test_text_that_cannot_be_stored_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        checked_memory(text)


@pytest.mark.parametrize("text", ["x", "é🎉", "x" * MAX_MEMORY_TEXT, "\u2028 line", "a\x01b"])
def test_other_text_passes_as_it_is(text: str) -> None:
    assert checked_memory(text) == text
    assert checked_memory(text.encode()) == text


def kept_or_refusal(text: str | bytes) -> tuple[str | None, str]:
    try:
        return checked_text(text, "text", 20), ""
    except BadInputError as refused:
        return None, str(refused)


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=())) | st.binary(max_size=50))
def test_what_passes_can_be_stored(text: str | bytes) -> None:
    kept, refusal = kept_or_refusal(text)
    if kept is None:
        assert refusal.startswith("text: ")
    else:
        assert kept.strip()
        assert "\x00" not in kept
        assert len(kept.encode()) <= 20


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("x" * MAX_VALUE, r"value: 262,146 bytes; at most 262,144"),
        ({"a": float("nan")}, r"value: not JSON"),
        ({"a": ["b\x00"]}, r"value: one of its texts holds NUL"),
        ({"a\x00": 1}, r"value: one of its texts holds NUL"),
        (["\ud800"], r"value: character 2 is half of a surrogate pair"),
        ({1, 2}, r"value: not JSON"),
    ],
)
def test_value_that_cannot_be_stored_is_refused(value: JsonValue, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        checked_value(value)


def test_value_that_is_too_deep_is_refused() -> None:
    deep: JsonValue = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(BadInputError, match="more than 100 levels"):
        checked_value(deep)


@pytest.mark.parametrize("value", [None, 0, "", [], {}, {"a": [1, "é\n\\u0000"]}, "\\u0000", "\\\\u0000"])
def test_value_is_given_back_as_compact_json(value: JsonValue) -> None:
    assert json.loads(checked_value(value)) == value


def test_tags_are_trimmed_and_each_kept_once() -> None:
    assert checked_tags([" ops ", "db", "ops"]) == ("ops", "db")


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (["x"] * 51, r"tags: 51 tags; at most 50"),
        (["ok", "x" * 101], r"tags\[1\]: 101 characters; at most 100"),
        ([" "], r"tags\[0\]: empty"),
        (["a\x00"], r"tags\[0\]: character 1 is NUL"),
    ],
)
def test_tags_that_cannot_be_stored_are_refused(tags: list[str], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        checked_tags(tags)


@pytest.mark.parametrize("name", ["a", "project/shop", "user:ada@example.com", "x" * 200, "_1"])
def test_scope_names(name: str) -> None:
    assert checked_scope(name) == name


@pytest.mark.parametrize("name", ["", " ", "a b", "/a", "a/", "a\n", "é", "x" * 201, "a\x00", "\ud800"])
def test_other_scope_names_are_refused(name: str) -> None:
    with pytest.raises(BadInputError, match=r"scope: .* cannot name a scope"):
        checked_scope(name)


TEXT = TextPart(text="hi")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Message(role=Role.USER, parts=()), r"message\.parts: 0 parts"),
        (Message(role=Role.USER, parts=(TEXT,) * (MAX_PARTS + 1)), r"message\.parts: 501 parts; at most 500"),
        (Message(role=Role.USER, parts=(TextPart(text=" "),)), r"message\.parts\[0\]\.text: blank"),
        (
            Message(role=Role.USER, parts=(TEXT, TextPart(text="a\x00"))),
            r"message\.parts\[1\]\.text: character 1 is NUL",
        ),
        (Message(role=Role.USER, parts=(TextPart(text="x" * (MAX_MESSAGE_TEXT + 1)),)), r"at most 1,048,576"),
        (Message(role=Role.USER, parts=(TextPart(text="x" * 800_000),) * 2), r"message: 1,600,000 bytes"),
        (
            Message(role=Role.ASSISTANT, parts=(ToolCallPart(id="1", name="a", arguments={"x": "\x00"}),)),
            r"arguments: .*NUL",
        ),
        (Message(role=Role.USER, parts=(TEXT,), author="a\x00"), r"message\.author"),
        (Message(role=Role.TOOL, parts=(ErrorPart(message=""),)), r"parts\[0\]\.message: empty"),
    ],
)
def test_message_that_cannot_be_stored_is_refused(message: Message, expected: str) -> None:
    with pytest.raises(BadInputError, match=expected):
        checked_message(message)


def test_result_of_a_tool_may_be_empty() -> None:
    message = Message(role=Role.TOOL, parts=(ToolResultPart(call_id="1", text=""),))
    assert checked_message(message) == message
