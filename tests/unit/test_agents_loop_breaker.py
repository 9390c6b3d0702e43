"""The loop breaker opens on recurrence."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.loop_breaker import must_escalate
from brainops.config.models import Recurrence

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ago(*minutes: float) -> list[datetime]:
    return [NOW - timedelta(minutes=count) for count in minutes]


@pytest.mark.parametrize(
    ("openings", "allowed", "expected"),
    [
        ([], Recurrence(), False),  # the first incident of all
        (ago(1), Recurrence(), False),  # the second within the window
        (ago(1, 2), Recurrence(), True),  # the third
        (ago(2, 1), Recurrence(), True),  # in any order
        (ago(1, 11), Recurrence(), False),  # one of them is too long ago
        (ago(1, 10), Recurrence(), True),  # exactly at the edge counts
        (ago(1, 2, 3, 4), Recurrence(incidents=6), False),  # a wider limit
        (ago(1), Recurrence(incidents=2), True),  # a tighter one
        (ago(30, 60), Recurrence(within=timedelta(hours=2)), True),  # a wider window
    ],
)
def test_recurrence_decides(openings: list[datetime], allowed: Recurrence, expected: bool) -> None:
    assert must_escalate(openings, NOW, allowed) is expected


@given(st.lists(st.timedeltas(min_value=timedelta(), max_value=timedelta(hours=1))))
def test_order_of_openings_does_not_matter(distances: list[timedelta]) -> None:
    openings = [NOW - distance for distance in distances]
    assert must_escalate(openings, NOW, Recurrence()) is must_escalate(sorted(openings), NOW, Recurrence())
