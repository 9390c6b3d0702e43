"""What people read of times, durations, states and foreign text."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from interfaces.cli import display

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.34, "340 ms"),
        (0.9996, "1.0 s"),  # never "1000 ms"
        (4.21, "4.2 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),  # rounded before the unit is chosen
        (192, "3 min 12 s"),
        (7500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
        (-1, "0 ms"),  # clocks of two machines may disagree
    ],
)
def test_durations_are_written_in_their_two_largest_units(seconds: float, text: str) -> None:
    assert display.duration(seconds) == text
    assert display.duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (timedelta(seconds=1), "just now"),
        (timedelta(seconds=12), "12 s ago"),
        (timedelta(minutes=3, seconds=50), "3 min ago"),
        (timedelta(hours=2), "2 h ago"),
        (timedelta(days=40), "40 d ago"),
        (-timedelta(minutes=5), "in 5 min"),
        (-timedelta(minutes=4, seconds=57), "in 4 min 57 s"),
        (-timedelta(hours=1, minutes=59, seconds=57), "in 2 h"),
        (-timedelta(days=89, hours=23, minutes=59), "in 90 d"),
    ],
)
def test_times_are_told_from_now(before: timedelta, text: str) -> None:
    assert display.ago(NOW - before, NOW) == text


def test_a_time_of_another_day_has_its_date() -> None:
    assert len(display.clock(NOW, NOW)) == len("12:00:00")
    assert len(display.clock(NOW - timedelta(days=2), NOW)) == len("2026-03-02 12:00:00")


@given(st.text())
def test_no_text_can_steer_the_terminal(text: str) -> None:
    shown = display.printable(text)
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert "\r" not in shown
    assert display.printable(shown) == shown


def test_square_brackets_are_no_markup() -> None:
    assert display.plain("[red]x[/red]").plain == "[red]x[/red]"


@pytest.mark.parametrize("width", [40, 80, 160])
def test_tables_fit_the_terminal(width: int) -> None:
    made = display.table("T", ("id", "service", "text"), [("1234abcd", "checkout", "word " * 60)], elastic="text")
    screen = Console(width=width, record=True, force_terminal=False)
    with screen.capture() as capture:
        screen.print(made)
    assert max(len(line) for line in capture.get().splitlines()) <= width
    assert "1234abcd" in capture.get()


def test_facts_leave_out_what_is_empty() -> None:
    screen = Console(width=60)
    with screen.capture() as capture:
        screen.print(display.facts([("cause", "port taken"), ("remedy", "")]))
    assert "cause" in capture.get()
    assert "remedy" not in capture.get()
