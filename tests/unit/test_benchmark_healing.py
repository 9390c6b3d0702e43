"""The healing benchmark's figures follow from what was seen."""

from dataclasses import replace

import pytest

from benchmarks.healing import Measured, describe, figures
from benchmarks.noise import IdleResult
from interfaces.demo.experiment import Outcome

CRASH = Outcome(
    "crash", "a", 1, detected=0.02, healed=0.3, remedy="start", verified=True, tried=("start",), recorded=True
)
SLOW = replace(CRASH, kind="slow", healed=4.0, tried=("restart", "run_command"))
LOST = Outcome("hang", "b", 1, problem="no incident was opened")


def test_crashes_are_compared_with_the_bare_start() -> None:
    measured = Measured(pairs=[(CRASH, replace(CRASH, healed=0.5))], bare_starts=[0.1, 0.2, 0.1])
    found = figures(measured)
    assert found["crash_over_start_p50"] == pytest.approx(0.2)
    assert found["crash_over_start_p95"] == pytest.approx(0.4)


def test_second_is_compared_only_where_the_first_remedy_was_wrong() -> None:
    measured = Measured(
        pairs=[(SLOW, replace(SLOW, healed=1.0, tried=("run_command",))), (CRASH, replace(CRASH, healed=0.3))]
    )
    assert figures(measured)["second_over_first"] == 0.25


def test_a_try_that_did_not_heal_counts_against_every_figure() -> None:
    found = figures(Measured(pairs=[(CRASH, CRASH), (LOST, None)]))
    assert found["healed_share"] == pytest.approx(2 / 3)
    assert found["hang_p95"] == float("inf")
    assert "NOT HEALED: no incident was opened" in describe((LOST, None))


def test_a_heal_without_record_is_counted() -> None:
    assert figures(Measured(pairs=[(CRASH, replace(CRASH, recorded=False))]))["unrecorded"] == 1


def test_what_was_not_measured_is_left_out() -> None:
    found = figures(Measured(pairs=[(SLOW, None)]))
    assert "crash_over_start_p50" not in found
    assert "second_over_first" not in found
    assert "idle_actions" not in found


def test_noise_is_reported() -> None:
    found = figures(Measured(idle=IdleResult(incidents=1, actions=2, failed_probes=3)))
    assert (found["idle_incidents"], found["idle_actions"], found["healed_share"]) == (1, 2, 0)
