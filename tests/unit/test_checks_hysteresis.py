"""Hysteresis: what turns a check, and what does not."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from brainops.checks.hysteresis import Hysteresis, Standing, after_fact
from brainops.contracts.check import CheckStatus

results = st.lists(st.booleans(), max_size=60)
counts = st.integers(1, 6)


def run(hysteresis: Hysteresis, seen: Sequence[bool], standing: Standing | None = None) -> tuple[Standing, list[int]]:
    """The last standing, and the positions at which the check turned."""
    standing = standing or Standing()
    turns: list[int] = []
    for index, ok in enumerate(seen):
        standing, turned = hysteresis.after(standing, ok=ok)
        if turned:
            turns.append(index)
    return standing, turns


def test_one_failure_turns_nothing_and_the_second_in_a_row_does() -> None:
    hysteresis = Hysteresis(fail_after=2, pass_after=1)
    assert run(hysteresis, [True, False, True, False, True])[1] == [0]
    assert run(hysteresis, [True, False, False])[1] == [0, 2]


@given(counts, counts, results)
def test_a_check_fails_only_after_its_count_of_failures_in_a_row(fail: int, good: int, seen: list[bool]) -> None:
    standing = Standing()
    for index, ok in enumerate(seen):
        standing, turned = Hysteresis(fail, good).after(standing, ok=ok)
        if turned:
            expected, needed = (CheckStatus.PASSING, good) if ok else (CheckStatus.FAILING, fail)
            assert standing.status is expected
            assert seen[index + 1 - needed : index + 1] == [ok] * needed


@given(counts, counts, results)
def test_a_run_as_long_as_its_count_always_decides(fail: int, good: int, seen: list[bool]) -> None:
    hysteresis = Hysteresis(fail, good)
    assert run(hysteresis, [*seen, *[False] * fail])[0].status is CheckStatus.FAILING
    assert run(hysteresis, [*seen, *[True] * good])[0].status is CheckStatus.PASSING


@given(counts, counts, results)
def test_turns_alternate(fail: int, good: int, seen: list[bool]) -> None:
    _, turns = run(Hysteresis(fail, good), seen)
    assert all(seen[first] != seen[second] for first, second in pairwise(turns))


@given(counts, counts, st.lists(st.booleans(), min_size=1, max_size=60))
def test_without_runs_of_failures_a_passing_check_never_turns(fail: int, good: int, seen: list[bool]) -> None:
    longest = max((len(run) for run in "".join("x" if ok else "." for ok in seen).split("x")), default=0)
    _, turns = run(Hysteresis(longest + 1, good), seen, Standing(CheckStatus.PASSING))
    assert turns == []


def test_a_fact_needs_no_confirmation_and_turns_once() -> None:
    standing, turned = after_fact(Standing(CheckStatus.PASSING))
    assert (standing.status, turned) == (CheckStatus.FAILING, True)
    assert after_fact(standing)[1] is False
