"""Durations and sizes as people write them."""

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainops.config.quantities import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("2s", timedelta(seconds=2)),
        ("5m", timedelta(minutes=5)),
        ("1h30m", timedelta(minutes=90)),
        ("1h 30m", timedelta(minutes=90)),
        ("1.5s", timedelta(milliseconds=1500)),
        ("1w", timedelta(days=7)),
    ],
)
def test_duration_is_read_as_people_write_it(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("value", ["", "5", 5, "5 apples", "-5s", "s", "1.s", None, True, [], "9999w", "9" * 400 + "w"])
def test_what_is_no_duration_is_refused_with_a_remedy(value: object) -> None:
    with pytest.raises(ValueError, match="; write ") as caught:
        parse_duration(value)
    assert len(str(caught.value)) < 200


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(days=3650)))
def test_duration_round_trips_to_the_millisecond(duration: timedelta) -> None:
    rounded = timedelta(milliseconds=round(duration.total_seconds() * 1000))
    if rounded <= timedelta(days=3650):
        assert parse_duration(format_duration(rounded)) == rounded


@pytest.mark.parametrize(
    ("text", "expected"),
    [("200MB", 200_000_000), ("1.5GiB", 1610612736), ("512 kB", 512_000), ("7b", 7), ("1KIB", 1024), (4096, 4096)],
)
def test_size_is_read_as_people_write_it(text: object, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("value", ["", "5", "5 apples", "-5MB", -1, None, True, 2.5, "9" * 400 + "TB", 2**70, "9e9TB"])
def test_what_is_no_size_is_refused_with_a_remedy(value: object) -> None:
    with pytest.raises(ValueError, match="; write ") as caught:
        parse_size(value)
    assert len(str(caught.value)) < 200


@given(st.integers(min_value=0, max_value=2**60), st.sampled_from(["B", "kB", "MB", "GB", "KiB", "MiB"]))
def test_whole_sizes_round_trip(count: int, unit: str) -> None:
    size = parse_size(f"{count % 1024}{unit}")
    assert parse_size(size) == size
    assert parse_size(f"{size}b") == size


@given(st.text() | st.floats() | st.none() | st.lists(st.integers()))
def test_any_other_value_is_refused_and_nothing_else_happens(value: object) -> None:
    for parse in (parse_duration, parse_size):
        with suppress(ValueError):
            parse(value)


@pytest.mark.parametrize(
    ("size", "expected"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2 * 10**9, "2.0 GB"), (10**13, "10.0 TB")]
)
def test_size_is_written_for_people(size: int, expected: str) -> None:
    assert format_size(size) == expected
