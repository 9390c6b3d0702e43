"""Flapping: a check that passes and fails in turn is one failure until it has been steady."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainops.checks import watched as watched_module
from brainops.checks.flapping import STEADY_SHARE, FlapRule, Turns
from brainops.checks.watched import WatchedCheck
from brainops.config.checks import TcpCheck
from brainops.config.models import Flapping, Service
from brainops.config.runs import ExternalRun
from brainops.contracts.check import CheckState, CheckStatus, ProbeResult, Reason

GOOD = ProbeResult(ok=True)
BAD = ProbeResult(ok=False, reason=Reason.REFUSED, detail="connection refused")
rules = st.builds(FlapRule, st.integers(3, 12), st.floats(1, 600))
gaps = st.lists(st.floats(0, 400), max_size=60)


class Clock:
    """What the check takes for the time."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watched_module, "time", clock)
    return clock


def check(previous: CheckState | None = None) -> WatchedCheck:
    """A check that believes each probe; it flaps from four turns within ten seconds on."""
    service = Service(
        run=ExternalRun(kind="external"),
        checks={"front": TcpCheck(port=1, fail_after=1)},
        flapping=Flapping(turns=4, within=timedelta(seconds=10)),
    )
    return WatchedCheck.resume("shop", "front", service, service.all_checks()["front"], previous)


@given(rules, gaps)
def test_it_flaps_exactly_when_its_last_turns_fit_into_the_window(rule: FlapRule, between: list[float]) -> None:
    known, now, turned = Turns(), 0.0, list[float]()
    for gap in between:
        now += gap
        turned.append(now)
        known = rule.after_turn(known, now)
        fits = len(turned) >= rule.turns and now - turned[-rule.turns] < rule.within
        if fits:
            assert known.flapping
        elif not any(later - turned[index] < rule.within for index, later in enumerate(turned[rule.turns - 1 :])):
            assert not known.flapping


@given(rules, gaps)
def test_what_is_remembered_is_bounded(rule: FlapRule, between: list[float]) -> None:
    known, now = Turns(), 0.0
    for gap in between:
        now += gap
        known = rule.after_turn(known, now)
        assert len(known.recent) <= rule.turns


@given(rules, st.floats(0, 1000))
def test_only_half_a_window_without_a_turn_ends_it(rule: FlapRule, quiet: float) -> None:
    flapping = Turns((0.0,) * rule.turns, flapping=True)
    assert rule.after_look(flapping, quiet).flapping is (quiet < rule.within * STEADY_SHARE)


@given(rules, gaps)
def test_a_steady_check_never_flaps(rule: FlapRule, between: list[float]) -> None:
    known, now = Turns(), 0.0
    for gap in between:
        now += gap
        known = rule.after_look(known, now)
        assert not known.flapping


def test_the_turns_become_one_failure_that_lasts_until_the_check_is_steady(clock: Clock) -> None:
    watched = check()
    told: list[tuple[CheckStatus, Reason]] = []
    for index in range(20):
        clock.now += 1
        if watched.seen(GOOD if index % 2 == 0 else BAD):
            told.append((watched.status, watched.reason))
    assert told == [
        (CheckStatus.PASSING, Reason.NONE),
        (CheckStatus.FAILING, Reason.REFUSED),
        (CheckStatus.PASSING, Reason.NONE),
        (CheckStatus.FAILING, Reason.REFUSED),
        (CheckStatus.FAILING, Reason.FLAPPING),
    ]
    assert watched.detail == "passes and fails in turn: 4 turns in 10s"
    watched.seen(GOOD)
    clock.now += 4
    assert not watched.seen(GOOD)
    clock.now += 2
    assert watched.seen(GOOD)
    assert (watched.status, watched.reason) == (CheckStatus.PASSING, Reason.NONE)


def test_a_check_that_ends_up_failing_tells_why(clock: Clock) -> None:
    watched = check()
    for index in range(6):
        watched.seen(GOOD if index % 2 == 0 else BAD)
    assert watched.reason is Reason.FLAPPING
    clock.now += 6
    before = watched.seq
    assert watched.seen(BAD)
    assert (watched.status, watched.reason, watched.seq) == (CheckStatus.FAILING, Reason.REFUSED, before + 1)


def test_ends_of_a_process_never_make_it_flap(clock: Clock) -> None:
    watched = check()
    for _ in range(20):
        watched.process_ended()
        watched.seen(BAD, fact=True)
        watched.seen(GOOD)
    assert watched.reason is Reason.NONE


def test_the_end_of_a_process_ends_the_flapping_and_that_is_told(clock: Clock) -> None:
    watched = check()
    for index in range(7):
        watched.seen(GOOD if index % 2 == 0 else BAD)
    assert watched.status is CheckStatus.FAILING
    watched.process_ended()
    assert watched.seen(GOOD)
    assert watched.status is CheckStatus.PASSING


def test_the_next_watch_goes_on_with_a_flapping_check(clock: Clock) -> None:
    watched = check()
    for index in range(7):
        watched.seen(GOOD if index % 2 == 0 else BAD)
    resumed = check(watched.state)
    assert not resumed.seen(GOOD)
    assert (resumed.status, resumed.reason) == (CheckStatus.FAILING, Reason.FLAPPING)
    clock.now += 6
    assert resumed.seen(GOOD)
    assert resumed.status is CheckStatus.PASSING
