"""Whether what was said once still holds, and belongs to the work: judged from the talk around it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from brainops.contracts.message import Role
from brainops.memory.understanding.briefing import brief
from brainops.memory.understanding.evidence import evidence
from brainops.memory.understanding.model import Event, Speaker, Statement, StatementKind, StatementStatus
from brainops.memory.understanding.reading import apply, read_session
from brainops.memory.understanding.standing import WEIGHTS, Standing, standing
from brainops.memory.understanding.talk import Talk

START = datetime(2025, 5, 5, 9, 0, tzinfo=UTC)

BAKERY = (
    "user: the oven controller reads its curves from curves.toml, never from the network",
    "agent: Curves come from curves.toml only.",
    "user: the panel of oven 2 answers on port 6207",
    "agent: Port 6207 for the panel of oven 2.",
    "user: every curve is signed off by Marguerite before it is loaded",
    "agent: No curve without Marguerite's sign-off.",
)
"""A working talk in which what a user says is taken up."""


def known(*sessions: Sequence[str]) -> list[Statement]:
    """What is current after the sessions, two days apart, their messages three minutes apart."""
    found: list[Statement] = []
    for day, lines in enumerate(sessions):
        begin = START + timedelta(days=2 * day)
        events = [
            Event(
                at=begin + timedelta(minutes=3 * place),
                role=Role.USER if line.startswith("user: ") else Role.ASSISTANT,
                text=line.partition(": ")[2],
                source=f"{day}/{place}",
            )
            for place, line in enumerate(lines)
        ]
        found = apply(found, read_session(events, found))
    return [statement for statement in found if statement.status is StatementStatus.CURRENT]


def judged(*sessions: Sequence[str], prompt: str = "go on with the ovens", after_days: int = 30) -> dict[str, Standing]:
    """Each statement's standing by its text."""
    now = START + timedelta(days=2 * (len(sessions) - 1) + after_days)
    return {one.statement.text: one for one in standing(known(*sessions), prompt, now)}


def one_about(found: dict[str, Standing], words: str) -> Standing:
    return next(one for text, one in found.items() if words in text)


def test_rules_and_exact_facts_hold() -> None:
    assert all(one.holds for one in judged(BAKERY).values())


def test_every_kind_of_evidence_has_a_weight() -> None:
    statements = known(BAKERY)
    assert evidence(statements[0], Talk(statements), "", START).keys() == WEIGHTS.keys()
    assert len(WEIGHTS) <= 25


def test_nothing_known_is_nothing_judged() -> None:
    assert standing([], "go on", START) == []


def test_a_dated_arrangement_is_doubted_once_its_end_is_past() -> None:
    lines = (
        *BAKERY,
        "user: oven 3 stays cold from 10 to 14 May, the fitters are there",
        "agent: Oven 3 cold, 10 to 14 May.",
    )
    before, after = judged(lines, after_days=2), judged(lines, after_days=20)
    assert one_about(before, "stays cold").probability > one_about(after, "stays cold").probability
    assert not one_about(after, "stays cold").holds
    assert "its time is past" in one_about(after, "stays cold").reasons
    assert not one_about(after, "Oven 3 cold").holds


def test_what_comes_again_is_not_over_when_one_such_day_is_past() -> None:
    found = judged((*BAKERY, "user: never change a curve on a Friday", "agent: No curve changes on a Friday."))
    assert one_about(found, "never change").holds


def test_what_holds_after_the_end_still_holds() -> None:
    found = judged((*BAKERY, "user: flour comes from silo 1 until 12 May, then from silo 4 behind the ramp"))
    assert one_about(found, "silo 4").holds


def test_another_figure_for_the_same_measure_weakens_the_first() -> None:
    first = (*BAKERY, "agent: I'd preheat for 40 minutes.", "user: fine, 40")
    later = ("user: the crust burns with that much preheat. 25 minutes", "agent: Preheat is 25 minutes.")
    alone, followed = judged(first), judged(first, later)
    text = "I'd preheat for 40 minutes."
    assert text not in followed or followed[text].probability < alone[text].probability
    assert one_about(followed, "Preheat is 25").holds


def test_another_project_in_the_same_words_is_left_out() -> None:
    found = judged(
        (
            *BAKERY,
            "user: in the other project, the bread slicer, curves come over the network",
            "agent: Noted for the slicer.",
        )
    )
    slicer = one_about(found, "bread slicer")
    assert not slicer.holds
    assert "said of another project or stage" in slicer.reasons


def test_what_is_said_of_one_stage_is_left_out_where_the_prompt_names_another() -> None:
    lines = (*BAKERY, "user: staging has two ovens and no scale", "agent: Staging: two ovens, no scale.")
    here = one_about(judged(lines, prompt="on with the staging ovens"), "two ovens and no scale")
    elsewhere = one_about(judged(lines, prompt="on with the ovens in production"), "two ovens and no scale")
    assert here.probability > elsewhere.probability


def test_silence_says_little_where_nobody_is_answered() -> None:
    told = (
        "user: the proofer sits behind valve seven",
        "user: dough is weighed by the east scale",
        "user: the lamp above the mixer is amber",
    )
    answered = (*BAKERY, *told)
    assert one_about(judged(told), "east scale").probability > one_about(judged(answered), "east scale").probability
    assert one_about(judged(told), "east scale").holds


def test_a_repetition_shares_the_doubt_about_what_it_repeats() -> None:
    lines = (*BAKERY, "user: leave the north oven off until 9 May", "agent: North oven off.")
    assert (
        one_about(judged(lines, after_days=20), "North oven off").probability
        < one_about(judged(lines, after_days=1), "North oven off").probability
    )


def test_what_was_put_down_on_purpose_stands_by_itself() -> None:
    todo = Statement(
        id="t", source="t", kind=StatementKind.TODO, text="perhaps ask the other team", speaker=Speaker.USER, at=START
    )
    assert standing([todo], "go on", START)[0].probability == 1.0


@pytest.mark.parametrize("project", ["loading dock", "oven panel"])
def test_a_change_of_plan_takes_nothing_with_it_that_only_shares_a_word(project: str) -> None:
    sessions = (
        (
            f"user: the {project} stores its state in Redis, one key per shift",
            f"user: the {project} listens on port 9917",
        ),
        (f"user: change of plan: no Redis any more, the state of the {project} goes into a file per shift",),
    )
    now = START + timedelta(days=5)
    text = brief(known(*sessions), prompt="go on", now=now, budget_tokens=500).text
    assert "9917" in text
    assert "state in Redis" not in text
    assert "file per shift" in text
