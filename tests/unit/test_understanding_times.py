"""When a temporary arrangement ends, seen from when it was said."""

from datetime import UTC, datetime

import pytest

from brainops.memory.understanding.times import ends_at

MONDAY = datetime(2025, 6, 2, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("silence DiskFull until the upgrade on 12 June", "2025-06-12"),
        ("the room is ours until Thursday", "2025-06-05"),
        ("the loan ends on 14 March", "2026-03-14"),
        ("only good till the 20th of October, then the other one", "2025-10-20"),
        ("keep it muted until the end of January", "2026-01-31"),
        ("no tests this week", "2025-06-08"),
        ("the rack moves on the 20th, so no reboot that day", "2025-06-20"),
        ("no deploys from the 12th to the 16th", "2025-06-16"),
        ("nothing goes out before the 10th", "2025-06-10"),
        ("until Monday", "2025-06-09"),
        ("pause the mails for three days", "2025-06-05"),
        ("for the school class on Wednesday cap the kiln at 600, only for Wednesday", "2025-06-04"),
        ("a larger font for the class tomorrow, just for them", "2025-06-03"),
        ("the guest key is in the settings for tonight", "2025-06-02"),
        ("she tries it tonight, the spare gateway is switched on for that", "2025-06-02"),
        ("the big banner runs during the fair next week", "2025-06-15"),
        ("door 4 stays open while the inspectors are here (until Friday)", "2025-06-06"),
        ("the fan stays at half speed this weekend", "2025-06-08"),
        ("tomorrow only: no cache", "2025-06-03"),
    ],
)
def test_a_temporary_arrangement_has_an_end(text: str, day: str) -> None:
    end = ends_at(text, MONDAY)
    assert end is not None
    assert end.date().isoformat() == day


@pytest.mark.parametrize(
    "text",
    [
        "the goal is below 8 by the end of the quarter",  # a deadline: late work is still open
        "no load until 18:00",  # an hour alone is every day's
        "no switch between 14:00 and 16:00",
        "wait until Solveig has answered",  # on whom, not till when
        "move it on 14 June, not before",  # when work may begin
        "alert above 80 for ten minutes",
        "must be tested before 3 August",
        "3.4 is out since April",
        "never fire the kiln on a Friday",
        "deliveries Tuesdays after 15:00",
        "every Monday the list is only for today",
        "the move is planned for the weekend",  # when it takes place
        "enough for today, the export comes next",
        "during the test on Monday we found a leak",
        "her birthday is on Thursday",
        "to do for today: the export",
    ],
)
def test_what_lasts_has_none(text: str) -> None:
    assert ends_at(text, MONDAY) is None
