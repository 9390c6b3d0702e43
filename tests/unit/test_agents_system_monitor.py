"""SystemMonitor's choice of a remedy."""

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.system_monitor import (
    CREDIBLE_RATE,
    choose_remedy,
    credible_success_rate,
    escalation_summary,
)
from brainops.contracts.action import RestartService
from brainops.contracts.agent import ActionClass
from brainops.contracts.incident import Attempt, Candidate, Knowledge, KnownRemedy


def may(remedy: str, cost: int = 1, rules_out: tuple[str, ...] = ()) -> Candidate:
    """A candidate that may help."""
    return Candidate(
        remedy=remedy,
        action_class=ActionClass.RESTART,
        actions=(RestartService(service="web"),),
        cause=f"the cause of {remedy}",
        cost=cost,
        rules_out=rules_out,
    )


def fits(remedy: str, cost: int = 1, rules_out: tuple[str, ...] = ()) -> Candidate:
    """A candidate whose cause the evidence names."""
    return may(remedy, cost, rules_out).model_copy(update={"explains": True})


def knows(**counts: tuple[int, int]) -> Knowledge:
    """remedy=(successes, failures)"""
    remedies = tuple(KnownRemedy(remedy=name, successes=s, failures=f) for name, (s, f) in counts.items())
    return Knowledge(signature="crash/process/exited/0", remedies=remedies)


def failed(*remedies: str) -> list[Attempt]:
    return [Attempt(remedy=remedy, helped=False) for remedy in remedies]


A, B, C = "restart", "restore", "command"


@pytest.mark.parametrize(
    ("candidates", "knowledge", "tried", "expected"),
    [
        ([], knows(), [], None),  # the evidence allows nothing
        ([may(A)], knows(), [], A),  # one remedy, nothing known
        ([may(A)], knows(), failed(A), None),  # never the same twice
        ([may(A), may(B)], knows(), failed(A), B),  # the next one
        ([may(A), may(B)], knows(), [], A),  # equal: the registry's order
        ([may(A, cost=2), may(B, cost=1)], knows(), [], B),  # the cheaper one if wrong
        ([may(A, cost=0), fits(B, cost=3)], knows(), [], B),  # the evidence before the cost
        ([may(A), may(B)], knows(restore=(1, 0)), [], B),  # one success is enough
        ([fits(A, cost=0), may(B, cost=3)], knows(restore=(1, 0)), [], B),  # also against an untested fit
        ([fits(A, rules_out=(B,)), may(B)], knows(restore=(9, 0)), [], A),  # unless that one rules it out
        ([fits(A, rules_out=(B,)), may(B)], knows(), failed(A), None),  # ruled out while the cause stands, though tried
        ([may(A, rules_out=(B,)), may(B, cost=0)], knows(), [], B),  # what explains nothing rules nothing out
        ([fits(A, rules_out=(A,))], knows(), [], A),  # not itself
        ([fits(A, rules_out=(B,)), fits(B, rules_out=(A,))], knows(), [], A),  # each other: the registry's first stands
        ([may(A), may(B)], knows(restart=(0, 1)), [], B),  # failed and never helped: last
        ([may(A)], knows(restart=(0, 9)), [], A),  # but still tried when alone
        ([fits(A), may(B)], knows(restart=(0, 1)), [], B),  # also behind what the evidence does not name
        ([may(A), may(B)], knows(restart=(1, 0), restore=(5, 0)), [], B),  # the better proven
        ([may(A), may(B)], knows(restart=(1, 4), restore=(1, 0)), [], B),  # one in five is not known to work
        ([may(A, cost=0), may(B)], knows(restart=(1, 4)), [], A),  # … and stands among the untested
        ([may(A), may(B)], knows(restart=(5, 1), restore=(1, 0)), [], A),  # five of six before one of one
        ([may(A), may(B), may(C)], knows(command=(3, 0)), failed(C), A),  # known, but it failed here
        ([may(A)], knows(restore=(9, 0)), [], A),  # knowledge of what the evidence forbids is no candidate
        ([may(A)], knows(), failed(*"vwxyz"), None),  # five attempts are the end
    ],
)
def test_remedy_that_is_tried_next(
    candidates: list[Candidate], knowledge: Knowledge, tried: list[Attempt], expected: str | None
) -> None:
    choice = choose_remedy(candidates, knowledge, tried)
    assert (choice.candidate.remedy if choice else None) == expected


def test_second_occurrence_says_that_it_is_known_and_why() -> None:
    choice = choose_remedy([fits(A), may(B)], knows(restore=(2, 0)), [])
    assert choice is not None
    assert choice.known
    assert choice.reason == "restore helped 2 of 2 times against this signature; cause: the cause of restore"
    assert choice.alternatives == ("restart (not known to work)",)


def test_every_alternative_says_why_not() -> None:
    candidates = [fits(A, rules_out=(B,)), may(B), fits("free_port", cost=2), may(C), may("clean"), may("start")]
    choice = choose_remedy(candidates, knows(clean=(0, 2)), failed("start"))
    assert choice is not None
    assert choice.reason == "restart fits the evidence: the cause of restart"
    assert choice.alternatives == (
        "free_port (costs more if it is wrong)",
        "command (the evidence does not name its cause)",
        "clean (helped 0 of 2 times against this signature)",
        "restore (cannot help: the cause of restart)",
        "start (tried in this incident)",
    )


REMEDIES = [A, B, C, "start", "clean"]


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Candidate], Knowledge, list[Attempt]]:
    names = draw(st.lists(st.sampled_from(REMEDIES), unique=True))
    candidates = [
        (fits if draw(st.booleans()) else may)(
            name, draw(st.integers(0, 3)), tuple(draw(st.lists(st.sampled_from(REMEDIES), max_size=2)))
        )
        for name in names
    ]
    counts = draw(st.dictionaries(st.sampled_from(REMEDIES), st.tuples(st.integers(0, 20), st.integers(0, 20))))
    tried = draw(st.lists(st.sampled_from(REMEDIES), unique=True, max_size=3))
    return candidates, knows(**counts), failed(*tried)


@given(situations())
def test_choice_is_untried_and_the_order_of_knowledge_does_not_matter(
    situation: tuple[list[Candidate], Knowledge, list[Attempt]],
) -> None:
    candidates, knowledge, tried = situation
    choice = choose_remedy(candidates, knowledge, tried)
    if choice is not None:
        assert choice.candidate.remedy not in {attempt.remedy for attempt in tried}
        assert choice.candidate in candidates
        assert len(choice.alternatives) == len(candidates) - 1
    backwards = knowledge.model_copy(update={"remedies": knowledge.remedies[::-1]})
    assert choose_remedy(candidates, backwards, list(reversed(tried))) == choice


@given(situations())
def test_something_is_chosen_as_long_as_something_untried_is_not_ruled_out(
    situation: tuple[list[Candidate], Knowledge, list[Attempt]],
) -> None:
    candidates, knowledge, tried = situation
    attempted = {attempt.remedy for attempt in tried}
    excluded = {name for item in candidates if item.explains for name in item.rules_out if name != item.remedy}
    left = [item for item in candidates if item.remedy not in attempted | excluded]
    if left:
        assert choose_remedy(candidates, knowledge, tried) is not None


def exact_quantile(successes: int, failures: int) -> float:
    """10 % quantile of Beta(1 + s, 1 + f) by bisection over the binomial tail."""
    trials = successes + failures + 1
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        tail = sum(comb(trials, k) * middle**k * (1 - middle) ** (trials - k) for k in range(successes + 1, trials + 1))
        low, high = (middle, high) if tail < 0.1 else (low, middle)
    return low


@pytest.mark.parametrize("successes", range(13))
@pytest.mark.parametrize("failures", range(13))
def test_credible_rate_is_close_to_the_exact_quantile(successes: int, failures: int) -> None:
    assert credible_success_rate(successes, failures) == pytest.approx(exact_quantile(successes, failures), abs=0.05)


def test_one_success_is_credible_and_one_of_two_is_not() -> None:
    assert credible_success_rate(1, 0) >= CREDIBLE_RATE > credible_success_rate(1, 1)


@given(st.integers(0, 200), st.integers(0, 200))
def test_help_raises_the_rate_and_failure_lowers_it(successes: int, failures: int) -> None:
    rate = credible_success_rate(successes, failures)
    assert 0 <= rate < 1
    assert credible_success_rate(successes + 1, failures) >= rate >= credible_success_rate(successes, failures + 1)


def test_escalation_says_what_why_and_what_was_tried() -> None:
    text = escalation_summary(
        "web does not answer", "no remedy is left", ["restart: still fails", "restore: still fails"]
    )
    assert text == (
        "web does not answer. A person must look: no remedy is left. Tried: restart: still fails; restore: still fails"
    )


def test_escalation_without_attempts_says_so() -> None:
    assert escalation_summary("", "it recurs", []) == "a fault. A person must look: it recurs. Nothing was tried."


@given(st.text(max_size=900), st.text(max_size=900), st.lists(st.text(max_size=900), max_size=8))
def test_escalation_fits_the_row(headline: str, reason: str, summaries: list[str]) -> None:
    assert len(escalation_summary(headline, reason, summaries)) <= 500


def alike(remedy: str, successes: int, failures: int, similarity: float = 0.87) -> KnownRemedy:
    """What is known of a remedy from a similar signature."""
    return KnownRemedy(
        remedy=remedy, successes=successes, failures=failures, like="crash/process/exited/ab12", similarity=similarity
    )


def known(*remedies: KnownRemedy) -> Knowledge:
    return Knowledge(signature="crash/process/exited/0", remedies=remedies)


@pytest.mark.parametrize(
    ("candidates", "knowledge", "expected"),
    [
        ([fits(A), may(B)], known(alike(B, 1, 0)), B),  # what helped against a similar fault, before what is untested
        ([may(A), may(B)], known(KnownRemedy(remedy=A, successes=1), alike(B, 99, 0)), A),  # never before an equal one
        ([may(A), may(B)], known(alike(A, 3, 0, 0.8), alike(B, 3, 0, 0.95)), B),  # the more similar
        ([fits(A), may(B)], known(KnownRemedy(remedy=B, failures=1), alike(B, 9, 0)), A),  # what was seen here counts
        ([may(A), may(B)], known(alike(B, 1, 4)), A),  # rarely helped there
        ([fits(A), may(B)], known(alike(A, 0, 3)), A),  # failed there, but this evidence names its cause
        ([may(A), may(B)], known(alike(A, 0, 3)), B),  # failed there, and nothing speaks for it
        ([may(A), may(B)], known(KnownRemedy(remedy=A, failures=1), alike(B, 0, 1)), B),  # rather than what failed here
    ],
)
def test_what_is_known_of_a_similar_fault_is_trusted_less(
    candidates: list[Candidate], knowledge: Knowledge, expected: str
) -> None:
    choice = choose_remedy(candidates, knowledge, [])
    assert choice is not None
    assert choice.candidate.remedy == expected


def test_a_choice_by_likeness_says_so() -> None:
    choice = choose_remedy([fits(A), may(B)], known(alike(B, 3, 0)), [])
    assert choice is not None
    assert (
        choice.reason
        == "like crash/process/exited/ab12 (0.87): restore helped 3 of 3 times there; cause: the cause of restore"
    )


def asked(candidate: Candidate, place: int) -> Candidate:
    return candidate.model_copy(update={"runbook": "docs/runbooks/x.md", "runbook_place": place})


def test_what_a_runbook_asks_for_comes_first_in_its_order_unless_it_failed_here() -> None:
    candidates = [fits(A), asked(may(B, cost=3), 0), asked(may(C), 1)]
    choice = choose_remedy(candidates, knows(restart=(9, 0)), [])
    assert choice is not None
    assert choice.candidate.remedy == B
    assert choice.reason == "runbook docs/runbooks/x.md asks for restore; cause: the cause of restore"
    assert choice.alternatives == ("command (later in the runbook)", "restart (no runbook asks for it)")
    second = choose_remedy(candidates, knows(restart=(9, 0), restore=(0, 1)), [])
    assert second is not None
    assert second.candidate.remedy == C


def test_an_escalation_names_the_runbook() -> None:
    text = escalation_summary("api ended", "out of remedies", ["restart: no"], ["docs/runbooks/x.md"])
    assert "Runbook: docs/runbooks/x.md." in text
    assert len(escalation_summary("h" * 900, "r" * 900, ["s" * 900] * 9, ["p" * 900])) <= 500
