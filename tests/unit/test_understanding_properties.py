"""Whatever is said: nothing raises, ids stay, the budget is kept, the same input gives the same bytes."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainops.contracts.message import Role
from brainops.memory.understanding.briefing import brief
from brainops.memory.understanding.model import Event, Speaker, Statement, StatementKind
from brainops.memory.understanding.reading import apply, read_session
from brainops.memory.understanding.text import sentences

NOW = datetime(2025, 6, 2, 10, 0, tzinfo=UTC)
PHRASES = st.sampled_from(
    [
        "not ",
        "until ",
        "31 February ",
        "use X. ",
        "no, ",
        "back to ",
        "`a",
        "(",
        "\0",
        "\ud800",
        "12:99 ",
        "- ",
        "\n",
        "1.2.3 ",
        "wait for Y ",
        "instead ",
    ]
)
TEXTS = st.one_of(st.text(max_size=80), st.lists(PHRASES, max_size=14).map("".join))


def _session(rows: list[tuple[Role, str, int]]) -> list[Event]:
    return [
        Event(at=NOW + timedelta(minutes=minutes), role=role, text=text, source=str(place))
        for place, (role, text, minutes) in enumerate(rows)
    ]


SESSIONS = st.lists(st.tuples(st.sampled_from(list(Role)), TEXTS, st.integers(-500_000, 500_000)), max_size=8).map(
    _session
)


@settings(max_examples=40, deadline=None)
@given(SESSIONS, TEXTS, st.integers(0, 80))
def test_any_session_is_read_and_briefed(said: list[Event], prompt: str, budget: int) -> None:
    known = apply((), read_session(said))
    again = apply(known, read_session(said, known))
    assert [statement.id for statement in again] == [statement.id for statement in known]
    first = brief(known, prompt=prompt, now=NOW, budget_tokens=budget)
    assert len(first.text) <= 4 * budget
    assert first == brief(again, prompt=prompt, now=NOW, budget_tokens=budget)


@pytest.mark.parametrize(
    "piece",
    ["`", "(", ". ", "a.", "not ", "until ", "x, then ", "- \n", "from 1 ", "A b c ", '"', "9" * 50 + " ", "é\0"],
)
def test_an_enormous_line_costs_time_in_proportion(piece: str) -> None:
    def seconds(characters: int) -> float:
        text = (piece * characters)[:characters]
        said = [
            Event(at=NOW, role=role, text=text, source=role.value) for role in (Role.USER, Role.ASSISTANT, Role.TOOL)
        ]
        begin = time.process_time()
        sentences(text)
        read_session(said)
        return time.process_time() - begin

    seconds(1_000)
    # Twentyfold input: a quadratic step would cost four hundredfold.
    assert seconds(100_000) <= 60 * seconds(5_000) + 1


def test_ten_thousand_statements_cost_little_more_than_reading_them() -> None:
    statements = [
        Statement(
            id=str(number),
            kind=StatementKind.CONSTRAINT,
            text=f"machine m-{number} stays on line {number % 90}",
            speaker=Speaker.USER,
            at=NOW - timedelta(minutes=number),
            source=str(number),
        )
        for number in range(10_000)
    ]
    found = brief(statements, prompt="what about machine m-4711?", now=NOW, budget_tokens=500)
    assert "m-4711" in found.text
    assert found.tokens <= 500
