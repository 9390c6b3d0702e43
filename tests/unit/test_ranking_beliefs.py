"""Only what the query calls for comes back, each belief in the one tier where it belongs."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from brainops.errors import BadInputError
from brainops.memory.ranking.beliefs import MAX_QUESTIONS, Belief, BeliefType, Tiers, recall_beliefs

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def belief(name: str, **changes: object) -> Belief:
    plain = {"id": name, "user": "ines", "type": "entity", "canonical_name": name, "scope": frozenset({"plant"})}
    return Belief.model_validate(plain | changes)


def asked(beliefs: Iterable[Belief], query: str, *scopes: str, user: str = "ines", most: int = 20) -> Tiers:
    return recall_beliefs(beliefs, query, user=user, scopes=set(scopes or ("plant",)), max_beliefs=most)


def ids(beliefs: Iterable[Belief]) -> list[str]:
    return [each.id for each in beliefs]


BOILER = belief("steam_boiler", aliases=("boiler", "kettle"))
PUMP = belief("feed_pump", content="Feeds the boiler with 40 litres a minute.")
DRIVES = belief(
    "pump_feeds_boiler", type="relation", aliases=("feed line",), participants=("feed_pump", "steam_boiler")
)
HOUSE_RULE = belief("lock_out", type="preference", pinned=True, last_reinforced_at=NOW)
OPEN = belief("new_chimney", type="open_question", pinned=True, aliases=("chimney",))
ALL = [BOILER, PUMP, DRIVES, HOUSE_RULE, OPEN]


def test_a_name_and_an_alias_find_their_belief_and_content_does_not() -> None:
    assert ids(asked(ALL, "is the feed pump on?").relevant) == ["feed_pump"]
    assert ids(asked(ALL, "descale the kettle").relevant) == ["steam_boiler"]
    assert asked(ALL, "what gives 40 litres a minute?").relevant == ()


@pytest.mark.parametrize("query", ["", "  \n", "\0", "???"])
def test_a_blank_query_finds_what_is_pinned_alone(query: str) -> None:
    tiers = asked(ALL, query)
    assert (ids(tiers.pinned), ids(tiers.relevant), ids(tiers.questions)) == (["lock_out"], [], ["new_chimney"])


def test_a_relation_brings_its_participants() -> None:
    assert ids(asked(ALL, "the feed line leaks").relevant) == ["pump_feeds_boiler", "feed_pump", "steam_boiler"]


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": frozenset({"office"})},
        {"user": "otto"},
        {"superseded_by": "other"},
        {"resolved_at": NOW},
        {"type": "open_question"},
        {"subtype": "expertise"},
        {"epistemic_status": "superseded"},
    ],
)
def test_what_may_not_be_told_is_found_neither_by_name_nor_by_relation(changes: dict[str, object]) -> None:
    hidden = belief("steam_boiler", **changes)
    assert ids(asked([hidden, DRIVES], "boiler, steam boiler").relevant) == []
    assert ids(asked([hidden, DRIVES], "feed line").relevant) == ["pump_feeds_boiler"]


def test_a_relation_of_relations_is_followed_one_hop() -> None:
    farther = belief("plant_loop", type="relation", participants=("pump_feeds_boiler",))
    assert ids(asked([*ALL, farther], "the plant loop").relevant) == ["plant_loop", "pump_feeds_boiler"]


def test_a_scope_counts_only_when_it_is_asked_for() -> None:
    everywhere = belief("short_answers", scope=frozenset({"user:universal"}), pinned=True)
    assert ids(asked([everywhere], "short answers").pinned) == []
    assert ids(asked([everywhere], "", "plant", "user:universal").pinned) == ["short_answers"]


def test_another_user_sees_nothing_of_it() -> None:
    assert asked(ALL, "boiler", user="otto") == Tiers()


def test_an_open_question_stands_in_its_own_tier_alone() -> None:
    tiers = asked(ALL, "should we build the new chimney?")
    assert ids(tiers.questions) == ["new_chimney"]
    assert "new_chimney" not in ids([*tiers.pinned, *tiers.relevant])
    assert asked([OPEN.model_copy(update={"resolved_at": NOW})], "chimney").questions == ()


def test_pinned_beliefs_use_the_budget_first() -> None:
    pins = [
        belief(f"rule_{day}", pinned=True, last_reinforced_at=NOW - timedelta(days=day), scope={"plant"})
        for day in range(3)
    ]
    assert ids(asked([*pins, BOILER], "boiler", most=2).pinned) == ["rule_0", "rule_1"]
    assert asked([*pins, BOILER], "boiler", most=3).relevant == ()
    assert ids(asked([*pins, BOILER], "boiler", most=4).relevant) == ["steam_boiler"]
    assert asked([*pins, BOILER], "rule 2", most=0) == Tiers()


def test_questions_are_bounded() -> None:
    many = [belief(f"q{number}", type=BeliefType.OPEN_QUESTION, pinned=True) for number in range(30)]
    assert len(asked(many, "").questions) == MAX_QUESTIONS


def test_the_fuller_name_stands_first_and_the_order_of_candidates_is_no_matter() -> None:
    beliefs = [belief("valve"), belief("relief_valve"), belief("valves", last_reinforced_at=NOW)]
    first = ids(asked(beliefs, "the relief valve").relevant)
    assert first == ["relief_valve", "valve", "valves"]
    assert ids(asked(beliefs[::-1], "the relief valve").relevant) == first


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(BadInputError, match="max_beliefs: -1"):
        asked(ALL, "boiler", most=-1)
