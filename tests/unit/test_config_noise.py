"""`notify:` and `maintenance:`: times, routes, and mistakes told with a remedy."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainops.config.load import check_config, find_mistakes
from brainops.config.maintenance import MaintenanceWindow
from brainops.config.notify import Notify, Times, minutes_of_day

SATURDAY = datetime(2026, 5, 2, 1, 30, tzinfo=UTC)
moments = st.integers(0, 365 * 24 * 3600).map(lambda seconds: SATURDAY + timedelta(seconds=seconds))

SERVICES = "services:\n  web: {run: {kind: external}, checks: {front: {kind: tcp, port: 80}}}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("08:00-18:00", (480, 1080)),
        ("22:00-7:30", (1320, 450)),
        ("00:00-24:00", (0, 1440)),
        ("9:00 - 17:00", (540, 1020)),
    ],
)
def test_spans_of_hours_are_read(text: str, expected: tuple[int, int]) -> None:
    assert minutes_of_day(text) == expected


@pytest.mark.parametrize("text", ["8-18", "08:00", "25:00-26:00", "08:60-09:00", "08:00-08:00", "a:00-b:00", ""])
def test_what_is_no_span_of_hours_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(ValueError, match=r"; (write|leave)"):
        minutes_of_day(text)


def test_hours_over_midnight_belong_to_the_day_on_which_they_begin() -> None:
    night = Times(hours="22:00-07:00", days=("fri",))
    assert night.hold(SATURDAY)
    assert night.end(SATURDAY) == SATURDAY.replace(hour=7, minute=0)
    assert not night.hold(SATURDAY + timedelta(days=1))
    assert not night.hold(SATURDAY + timedelta(hours=12))


def test_hours_go_by_the_clock_of_their_zone() -> None:
    office = Times(hours="09:00-17:00", timezone="Europe/Berlin")
    assert office.hold(datetime(2026, 7, 1, 7, 30, tzinfo=UTC))
    assert not office.hold(datetime(2026, 1, 1, 7, 30, tzinfo=UTC))


@given(moments, st.integers(0, 1439), st.integers(1, 1439))
def test_a_span_ends_after_the_moment_and_holds_until_then(at: datetime, first: int, length: int) -> None:
    last = (first + length) % 1440
    times = Times(hours=f"{first // 60:02}:{first % 60:02}-{last // 60:02}:{last % 60:02}")
    end = times.end(at)
    if end is not None:
        assert at < end <= at + timedelta(days=1)
        assert times.hold(end - timedelta(microseconds=1))
        assert not times.hold(end)


@given(moments, st.sampled_from(["0 2 * * *", "*/7 * * * *", "30 22 * * 5", "0 0 1 * *"]), st.integers(1, 10_000))
def test_a_window_is_open_exactly_for_its_length_after_each_beginning(
    at: datetime, schedule: str, minutes: int
) -> None:
    window = MaintenanceWindow(name="w", schedule=schedule, lasts=timedelta(minutes=minutes))
    until = window.open_until(at)
    if until is not None:
        assert at < until <= at + window.lasts
        assert window.open_until(until - timedelta(seconds=1)) is not None
    following = window.opens_next(at)
    assert following is not None
    assert window.open_until(following) == following + window.lasts


def test_a_window_opens_by_the_clock_of_its_zone() -> None:
    berlin = MaintenanceWindow(name="w", schedule="0 2 * * 6", timezone="Europe/Berlin", lasts=timedelta(hours=1))
    assert berlin.open_until(datetime(2026, 5, 2, 0, 30, tzinfo=UTC)) == datetime(2026, 5, 2, 1, tzinfo=UTC)
    assert berlin.open_until(SATURDAY) is None
    assert berlin.opens_next(SATURDAY) == datetime(2026, 5, 9, 2, tzinfo=ZoneInfo("Europe/Berlin"))


def test_without_routes_everything_but_news_goes_to_all_channels() -> None:
    notify = Notify.model_validate({"channels": {"a": {"url": "json://a"}, "b": {"url": "json://b"}}})
    assert notify.route("critical", "web", SATURDAY) == ("a", "b")
    assert notify.route("info", "web", SATURDAY) == ()


def test_a_message_goes_to_every_channel_of_every_route_that_fits_once() -> None:
    routes = [
        {"channels": ["a"], "services": ["web*"], "hours": "08:00-18:00"},
        {"channels": ["b", "a"], "severities": ["critical"]},
    ]
    notify = Notify.model_validate({"channels": {"a": {"url": "json://a"}, "b": {"url": "json://b"}}, "routes": routes})
    noon = SATURDAY.replace(hour=12)
    assert notify.route("critical", "web1", noon) == ("a", "b")
    assert notify.route("warning", "web1", noon) == ("a",)
    assert notify.route("warning", "web1", SATURDAY) == ()
    assert notify.route("warning", "store", noon) == ()


@pytest.mark.parametrize(
    ("section", "field", "message", "remedy"),
    [
        (
            "notify: {channels: {ops: {url: 'json://x'}}, routes: [{channels: [opps]}]}",
            "notify.routes.0.channels.0",
            "no channel 'opps'",
            "did you mean ops",
        ),
        (
            "notify: {channels: {ops: {url: 'json://x'}}, routes: [{channels: [ops], hours: 25-26}]}",
            "notify.routes.0.hours",
            "no time of day",
            "such as 08:00",
        ),
        (
            "notify: {channels: {ops: {url: 'json://x'}}, routes: [{channels: [ops], services: [wbe]}]}",
            "notify.routes.0.services.0",
            "names no service",
            "did you mean web",
        ),
        ("notify: {quiet: [{timezone: Europe/Berln}]}", "notify.quiet.0.timezone", "no time zone", "Europe/Berlin"),
        (
            "notify: {heartbeat: {url: 'ftp://x'}}",
            "notify.heartbeat.url",
            "can be asked",
            "http",
        ),
        ("notify: {channels: {ops: {url: 'json://${1}'}}}", "notify.channels.ops.url", "names no variable", "${NAME}"),
        (
            "maintenance: [{name: n, schedule: '0 2 * * 9', lasts: 1h}]",
            "maintenance.0.schedule",
            "no cron",
            "0 2 * * 6",
        ),
        (
            "maintenance: [{name: n, schedule: '0 2 * * 6', lasts: 1s}]",
            "maintenance.0.lasts",
            "out of bounds",
            "at least",
        ),
        (
            "maintenance: [{name: n, schedule: '0 2 * * 6', lasts: 1h, services: [nope-*]}]",
            "maintenance.0.services.0",
            "names no service",
            "pattern",
        ),
    ],
)
def test_mistakes_are_told_with_place_and_remedy(section: str, field: str, message: str, remedy: str) -> None:
    mistakes = check_config(SERVICES + section, Path("brainops.yaml"))
    assert [(mistake.field, mistake.line) for mistake in mistakes] == [(field, 3)]
    assert message in mistakes[0].message
    assert remedy in mistakes[0].remedy


def test_addresses_that_this_machine_cannot_use_are_told_without_showing_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", "s3cretvalue")
    file = tmp_path / "brainops.yaml"
    channels = (
        "{good: {url: 'json://127.0.0.1/${HOOK}'}, bad: {url: 'nope://${HOOK}'}, unset: {url: 'json://${NOWHERE_SET}'}}"
    )
    file.write_text(SERVICES + f"notify: {{channels: {channels}}}\n")
    told = {mistake.field: str(mistake) for mistake in find_mistakes(file)}
    assert set(told) == {"notify.channels.bad.url", "notify.channels.unset.url"}
    assert "Apprise cannot use" in told["notify.channels.bad.url"]
    assert "NOWHERE_SET is not set" in told["notify.channels.unset.url"]
    assert not any("s3cretvalue" in text for text in told.values())
