"""How the answers of precise recall are judged."""

import math
from datetime import UTC, datetime

from benchmarks.precision_scores import Belief, Beliefs, Case, Expected, Given, User, Wanted, figures, judge

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def belief(name: str, *, pinned: bool = False) -> Belief:
    return Belief(
        id=name,
        user="ada",
        type="entity",
        canonical_name=name,
        content=f"About {name}.",
        scope=("code",),
        pinned=pinned,
        created_at=MOMENT,
        updated_at=MOMENT,
    )


SEED = Beliefs(users={"ada": User()}, beliefs=(belief("kiln"), belief("rack", pinned=True)))


def case(expect: Expected, category: str = "Alias resolution") -> Case:
    return Case(id="one", kind="single", category=category, user="ada", scope=("code",), query="kiln", expect=expect)


def given(*relevant: str, pinned: tuple[str, ...] = (), persona: str = "") -> Given:
    return Given(relevant=list(relevant), pinned=list(pinned), questions=[], persona=persona)


def test_noise_costs_precision_and_the_case() -> None:
    asked = case(Expected(relevant=Wanted(exactly=("kiln",))))
    verdict = judge(asked, asked.units[0], given("kiln", "loft"), SEED)
    assert (verdict.precision, verdict.recall, verdict.failures) == (0.5, 1.0, ("unexpected loft",))


def test_an_empty_answer_is_counted_only_where_something_was_called_for() -> None:
    wanted = case(Expected(relevant=Wanted(exactly=("kiln",))))
    nothing = case(Expected(relevant=Wanted(exactly=())))
    assert judge(wanted, wanted.units[0], given(), SEED).precision == 0.0
    assert judge(nothing, nothing.units[0], given(), SEED).precision is None
    assert judge(nothing, nothing.units[0], given("kiln"), SEED).precision == 0.0


def test_what_is_pinned_may_be_included_but_is_not_what_was_to_be_found() -> None:
    asked = case(Expected(relevant=Wanted(include=("rack", "kiln"))))
    verdict = judge(asked, asked.units[0], given("kiln", pinned=("rack",)), SEED)
    assert verdict.passed
    assert verdict.recall == 1.0


def test_a_passed_case_is_active_only_when_it_gave_something_back() -> None:
    right = case(Expected(relevant=Wanted(exactly=("kiln",))), category="Scope disambiguation")
    silent = case(Expected(relevant=Wanted(exactly=())), category="Scope disambiguation")
    found = figures(
        [
            judge(right, right.units[0], given("kiln"), SEED),
            judge(silent, silent.units[0], given(), SEED),
            judge(silent, silent.units[0], given("kiln"), SEED),
        ]
    )
    assert (found["passed"], found["active"]) == (2, 1)
    assert math.isclose(found["structural_share"], 2 / 3)
    assert (found["mean_precision"], found["mean_recall"]) == (0.5, 1.0)
