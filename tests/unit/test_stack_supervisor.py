"""The numbers and words of supervision."""

import signal

import pytest

from workers.stack.plans import describe
from workers.stack.supervisor import backoff, describe_exit


def test_backoff_doubles_from_a_tenth_of_a_second_to_ten() -> None:
    assert [backoff(failures) for failures in range(1, 10)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


@pytest.mark.parametrize(
    ("status", "words"), [(0, "exit code 0"), (3, "exit code 3"), (-signal.SIGKILL, "SIGKILL"), (-250, "signal 250")]
)
def test_exit_is_described_in_words(status: int, words: str) -> None:
    assert describe_exit(status) == words


def test_outcome_of_bringing_up_is_told_in_sentences() -> None:
    outcome = '{"agents": 7, "plans_taken_up": 1, "started": ["web", "api"], "failed": {"store": "no such file"}}'
    assert describe(outcome).splitlines() == [
        "7 agents live, 1 open plans taken up again",
        "started for the first time: web, api",
        "store does not start: no such file",
    ]


def test_outcome_that_is_not_understood_is_shown_as_it_is() -> None:
    assert describe("done") == "plans are running: done"
