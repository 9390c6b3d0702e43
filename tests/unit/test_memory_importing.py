"""What an import makes of messages that are too large, that are memory's own words, or that have no usable id."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainops.contracts.message import Message, Part, Role, TextPart, ToolCallPart, ToolResultPart
from brainops.errors import BadInputError
from brainops.memory.importing import LONGEST_TEXT, look_at, session_id, storable
from brainops.memory.instruction_files import statements
from brainops.memory.instruction_import import content_of
from brainops.memory.own_words import wrapped
from brainops.memory.transcripts import TranscriptMessage, TranscriptSession
from brainops.memory.validation import checked_message
from interfaces.cli.memory_access import moment
from interfaces.cli.sessions import context_of

AT = datetime(2026, 3, 4, 12, tzinfo=UTC)


def read(*parts: Part) -> TranscriptMessage:
    return TranscriptMessage(uuid4(), "s1", AT, Message(role=Role.USER, parts=parts), 7)


def text_of(*parts: Part) -> str:
    stored = storable(read(*parts))
    assert stored is not None
    return stored.text


def test_a_message_keeps_its_id_and_its_time() -> None:
    told = read(TextPart(text="Bake."))
    stored = storable(told)
    assert stored is not None
    assert (stored.id, stored.at, stored.text, stored.from_memory) == (told.id, AT, "Bake.", False)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3_000_000), min_size=1, max_size=3), st.sampled_from("aé€"))
def test_a_message_that_is_too_large_is_cut_so_that_it_can_be_stored(sizes: list[int], letter: str) -> None:
    parts = [ToolResultPart(call_id=str(place), text=letter * size) for place, size in enumerate(sizes)]
    stored = storable(read(*parts))
    assert stored is not None
    checked_message(stored)
    fits = sum(sizes) * len(letter.encode()) < 1_000_000
    assert (stored.parts == tuple(parts)) or not fits


def test_head_and_tail_of_a_text_that_is_cut_stay() -> None:
    told = text_of(TextPart(text="first " + "x" * 2_000_000 + " last"))
    assert told.startswith("first ")
    assert told.endswith(" last")
    assert "characters were left out" in told
    assert len(told) < LONGEST_TEXT + 200


def test_what_cannot_be_cut_is_refused() -> None:
    call = ToolCallPart(id="c1", name="Write", arguments={"content": "x" * 2_000_000})
    with pytest.raises(BadInputError, match="arguments"):
        storable(read(call))


def test_memorys_own_words_are_not_stored_again() -> None:
    own = wrapped("- the port is 9100")
    assert text_of(TextPart(text=f"{own}\nIs that so?")) == "Is that so?"
    assert storable(read(TextPart(text=own))) is None
    recalled = storable(read(ToolResultPart(call_id="c1", name="mcp__brainops__recall", text=own)))
    assert recalled is not None
    assert recalled.from_memory


def test_a_session_keeps_its_id_where_it_can() -> None:
    assert session_id(TranscriptSession("3f2a-77", "codex")) == "3f2a-77"
    made = session_id(TranscriptSession("my session!", "codex"))
    assert made == session_id(TranscriptSession("my session!", "codex"))
    assert made.startswith("codex-")


def test_a_transcript_tells_when_it_began_and_was_last_used(tmp_path: Path) -> None:
    file = tmp_path / "s1.jsonl"
    told = '{"type":"user","uuid":"%d","sessionId":"s1","timestamp":"%s","cwd":"/srv/shop","message":{"content":"Go on."}}\n'
    later = AT + timedelta(hours=1)
    file.write_text(told % (1, AT.isoformat()) + told % (2, later.isoformat().replace("+00:00", "Z")) + "{broken")
    found = look_at(file)
    assert found is not None
    assert (found.began, found.used, found.folder, found.agent) == (AT, later, "/srv/shop", "claude-code")
    file.write_text("\n")
    assert look_at(file) is None


def test_a_statement_stands_under_its_headings() -> None:
    file = "# Shop\n\nPrices are in cents.\n\n## Tests\n\n### Slow\n- Run them at night.\n"
    assert [content_of(one) for one in statements(file, "CLAUDE.md")] == [
        "Prices are in cents.",
        "Tests > Slow: Run them at night.",
    ]


@pytest.mark.parametrize(
    ("given", "context"),
    [
        (["goal=bread", "next=a=b"], {"goal": "bread", "next": "a=b"}),
        (['{"files": ["a.py"]}'], {"files": ["a.py"]}),
        (["note={not json}"], {"note": "{not json}"}),
    ],
)
def test_a_context_is_json_or_pairs(given: list[str], context: dict[str, object]) -> None:
    assert context_of(given) == context


@pytest.mark.parametrize("given", [["{"], ["[1]"], ["=x"], ["a=1", "a=2"]])
def test_a_context_that_is_neither_is_refused(given: list[str]) -> None:
    with pytest.raises(BadInputError):
        context_of(given)


def test_a_moment_is_a_date_or_a_distance_from_now() -> None:
    assert moment("2026-03-04T12:00:00+00:00", "--at", ahead=False) == AT
    past, future = moment("2w", "--at", ahead=False), moment("2w", "--expires", ahead=True)
    assert past is not None
    assert future is not None
    assert timedelta(days=27) < future - past < timedelta(days=29)
