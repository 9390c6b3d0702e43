"""Cursors: what they were made of comes back, and nothing else is taken for one."""

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainops.errors import BadInputError
from brainops.memory.cursors import message_cursor, message_place, session_cursor, session_place

SESSIONS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9:_./@-]{0,127}", fullmatch=True)


@given(SESSIONS, st.integers(0, 2**31 - 1))
def test_a_place_in_a_session_comes_back(session_id: str, seq: int) -> None:
    assert message_place(message_cursor(session_id, seq), session_id, "before") == seq


@given(SESSIONS, st.datetimes(timezones=st.just(UTC)))
def test_a_place_in_the_list_of_sessions_comes_back(session_id: str, at: datetime) -> None:
    assert session_place(session_cursor(at, session_id), "before") == (at, session_id)


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_any_other_text_is_refused(cursor: str) -> None:
    with pytest.raises(BadInputError, match="is no cursor of a page"):
        message_place(cursor, "s", "before")
    with pytest.raises(BadInputError, match="is no cursor of a page"):
        session_place(cursor, "before")


@pytest.mark.parametrize(
    "place",
    [
        '["message", "s", -1]',
        '["message", "s", 2147483648]',
        '["message", "s", true, 1]',
        '["session", "2026-05-04T12:00:00", "s"]',  # no zone
        '["session", "noon", "s"]',
        '["session", "2026-05-04T12:00:00+00:00", "s\\u0000"]',
        "[" * 5_000,
    ],
)
def test_a_place_that_was_made_up_is_refused(place: str) -> None:
    cursor = base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")
    with pytest.raises(BadInputError):
        message_place(cursor, "s", "after")
    with pytest.raises(BadInputError):
        session_place(cursor, "after")
