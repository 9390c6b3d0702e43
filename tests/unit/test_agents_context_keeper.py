"""What says the same, what repeats often enough, and what is proposed about it."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from agents import context_keeper as keeper
from agents.context_keeper import Sameness, sameness
from brainops.contracts.incident import FaultKind, Signature
from brainops.contracts.keeping import (
    AskedQuestion,
    Evidence,
    FinishedWork,
    MemoryText,
    OpenTodo,
    PromoteKnowledge,
    RecurringFault,
    Repeated,
    Runbook,
    SettledFault,
)
from brainops.memory.ranking import words

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SIGNATURE = Signature(key="crash/process/exited/5f1c", kind=FaultKind.CRASH, description="it ended with exit 1")


def memory(content: str) -> MemoryText:
    return MemoryText(
        id=uuid4(), content=content, terms=tuple(words.terms(content)), scopes=("project:shop",), created_at=NOON
    )


SAME = [
    ("The queue lives in Postgres.", "the queue lives in Postgres"),
    ("Deploy the shop from main.", "Deploys of the shop are from main"),
    ("Don't restart the worker.", "Do not restart the workers"),
]

OTHER = [
    ("Deploy the shop from main.", "Do not deploy the shop from main."),
    ("Migrate from MySQL to Postgres", "Migrate to MySQL from Postgres"),
    ("The port is 8080.", "The port is 8081."),
    ("Retry before the timeout", "Retry after the timeout"),
    ("The build was green", "The build is green"),
    ("a < b", "a > b"),
    ("Use C for the parser", "Use C++ for the parser"),
    ("The contact for billing is Ana", "The contact for billing is Ben"),
    ("`read_rows` of the store is slow", "`write_rows` of the store is slow"),
    ("We prefer tabs over spaces in the parser", "We prefer spaces over tabs in the parser"),
    ("", ""),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_what_differs_in_little_words_and_inflection_only_is_the_same(first: str, second: str) -> None:
    assert sameness(memory(first), memory(second), None) is Sameness.SAME


@pytest.mark.parametrize(("first", "second"), OTHER)
def test_numbers_names_signs_negation_and_direction_make_another_memory(first: str, second: str) -> None:
    assert sameness(memory(first), memory(second), 0.99) is Sameness.OTHER
    assert sameness(memory(second), memory(first), 0.99) is Sameness.OTHER


def test_what_is_nearly_the_same_is_left_to_a_person() -> None:
    first = memory("The nightly backup of the orders database is copied to the archive bucket by cron")
    second = memory("The nightly backup of the orders database is copied to the archive bucket")
    assert sameness(first, second, 0.97) is Sameness.LIKELY
    assert sameness(first, second, 0.90) is Sameness.OTHER
    assert sameness(first, second, None) is Sameness.OTHER
    proposed, mirrored = keeper.propose_merge(second, first), keeper.propose_merge(first, second)
    assert proposed.key == mirrored.key


def asked(session: str, text: str, hours: int = 0, scope: str = "project:shop") -> AskedQuestion:
    return AskedQuestion(
        message_id=uuid4(),
        session_id=session,
        seq=1,
        scope=scope,
        at=NOON + timedelta(hours=hours),
        text=text,
        terms=tuple(words.terms(text)),
    )


def test_a_question_that_is_asked_in_three_sessions_has_its_answer_proposed() -> None:
    wordings = (
        "Where does the checkout write its error log?",
        "where is the checkout's error log written to?",
        "Where does checkout write the error log",
    )
    questions = [asked(f"s{place}", wording, place) for place, wording in enumerate(wordings)]
    questions += [asked("s9", "How is the checkout deployed?"), asked("s8", "why?"), asked("s7", "why?")]
    (group,) = keeper.repeated_questions(questions)
    assert [one.session_id for one in group] == ["s0", "s1", "s2"]
    proposal = keeper.propose_answer(group, "Under /var/log/shop.")
    assert isinstance(proposal.change, PromoteKnowledge)
    assert proposal.change.content.endswith("\nUnder /var/log/shop.")
    assert proposal.evidence.count == 3
    assert keeper.is_known(proposal, [proposal.evidence.repeated])
    assert not keeper.is_known(proposal, [Repeated(of="questions", scope="project:shop", terms=("other",))])


def test_the_same_session_another_scope_and_another_number_do_not_make_a_question_repeat() -> None:
    question = "Where does the checkout write its error log?"
    assert keeper.repeated_questions([asked("one", question, hour) for hour in range(5)]) == []
    assert keeper.repeated_questions([asked(f"s{n}", question, scope=f"project:{n}") for n in range(3)]) == []
    assert keeper.repeated_questions([asked(f"s{n}", f"Why does step {n} of the build fail?") for n in range(3)]) == []


def test_a_fault_that_comes_back_is_worth_looking_for_its_cause() -> None:
    fault = RecurringFault(service="shop", signature="s", description="it ended", count=5, resolved=5, remedy="restart")
    proposal = keeper.propose_cause(fault)
    assert proposal is not None
    assert proposal.change == OpenTodo(title="Find the cause: shop: it ended", scope="default")
    assert "5 times within 30 days, 5 times healed, mostly by restart" in proposal.why
    assert keeper.propose_cause(fault.model_copy(update={"count": 4})) is None


def settled(*reasons: str) -> list[SettledFault]:
    return [SettledFault(plan_id=uuid4(), signature=SIGNATURE, reason=reason) for reason in reasons]


def test_what_people_did_three_times_becomes_a_runbook_or_else_a_fix_that_is_remembered() -> None:
    (known,) = keeper.propose_runbooks(
        settled("Restarted it by hand", "restarted it, by hand", "Restarted it by hand.")
    )
    assert known.change == Runbook(signature=SIGNATURE, remedy="restart", solution="Restarted it by hand.", successes=3)
    (fix,) = keeper.propose_runbooks(settled(*["renewed the licence at the vendor"] * 3))
    assert isinstance(fix.change, PromoteKnowledge)
    assert (fix.change.memory_kind, fix.change.type) == ("error", "fix")
    assert keeper.propose_runbooks(settled("restarted it", "reloaded it", "rebooted it", "ok", "ok", "ok")) == []


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("restarted it", "restart"),
        ("had to restart_dependency again", "restart_dependency"),
        ("restarted dependency", "restart_dependency"),
        ("reloaded or restarted it", ""),
        ("called the vendor", ""),
    ],
)
def test_a_remedy_is_read_from_a_sentence_when_it_names_just_one(reason: str, remedy: str) -> None:
    assert keeper.remedy_named(reason) == remedy


def test_work_that_is_done_again_and_again_should_be_made_repeatable() -> None:
    def done(description: str, day: int) -> FinishedWork:
        return FinishedWork(
            id=uuid4(), scope="project:shop", description=description, done_at=NOON + timedelta(days=day)
        )

    (proposal,) = keeper.propose_repeatable_work(
        [done("Rotate the API keys", 1), done("rotate the API keys.", 2), done("Rotate the api keys", 3), done("x", 4)]
    )
    assert proposal.change == OpenTodo(title="Make it repeatable: Rotate the api keys", scope="project:shop")
    assert keeper.same_work(proposal.evidence.repeated.terms, "rotate the API keys!")
    assert not keeper.same_work(proposal.evidence.repeated.terms, "rotate the logs")


def test_an_accepted_proposal_is_measured_against_its_evidence_after_a_week() -> None:
    assert keeper.measured_over(NOON, NOON + timedelta(days=6)) is None
    assert keeper.measured_over(NOON, NOON + timedelta(days=60)) == timedelta(days=28)
    evidence = Evidence(count=30, days=30, repeated=Repeated(of="incidents"))
    week = timedelta(days=7)
    verdicts = [keeper.measured(evidence, after, week, NOON).verdict for after in (0, 7, 8)]
    assert verdicts == ["better", "same", "worse"]
    assert keeper.measured(evidence, 14, 2 * week, NOON).after_per_week == 7
    merged = Evidence(count=2, repeated=Repeated(of="duplicates"))
    assert [keeper.measured(merged, after, week, NOON).verdict for after in (0, 1, 2)] == ["better", "same", "worse"]
