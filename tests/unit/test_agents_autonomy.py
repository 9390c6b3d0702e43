"""The autonomy ladder: what holds, and how outcomes move it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.autonomy import (
    HELPFUL_IN_A_ROW,
    MOST_EVOLUTION,
    MOST_OVERRIDES,
    after_outcome,
    effective,
    gate_for,
    step_down,
    step_up,
)
from agents.roster import CHARTERS, charter, first_state
from brainops.contracts.agent import ActionClass, AgentName, AgentState, Autonomy, OutcomeReport
from brainops.contracts.incident import Gate

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACT, APPROVE, SUGGEST, OBSERVE = Autonomy.ACT, Autonomy.APPROVE, Autonomy.SUGGEST, Autonomy.OBSERVE
LEVELS = st.sampled_from(Autonomy)


def harm(service: str = "web", autonomy: Autonomy = ACT) -> OutcomeReport:
    return OutcomeReport(
        service=service, action_class=ActionClass.RESTART, harmful=True, reason="api fails now", autonomy=autonomy
    )


def help_(service: str = "web") -> OutcomeReport:
    return OutcomeReport(service=service, action_class=ActionClass.RESTART, harmful=False, helped=True)


def no_help(service: str = "web") -> OutcomeReport:
    return OutcomeReport(service=service, action_class=ActionClass.RESTART, harmful=False)


def lived(*reports: OutcomeReport, state: AgentState | None = None) -> AgentState:
    state = state or first_state(AgentName.SYSTEM_MONITOR)
    for count, report in enumerate(reports):
        state = after_outcome(state, report, NOW + timedelta(seconds=count))
    return state


@pytest.mark.parametrize(
    ("ceiling", "configured", "agent", "learned", "expected"),
    [
        (ACT, ACT, ACT, None, ACT),
        (ACT, OBSERVE, ACT, None, OBSERVE),  # the file does not say that it may act
        (SUGGEST, ACT, ACT, None, SUGGEST),  # the charter is the most
        (ACT, ACT, APPROVE, None, APPROVE),  # agents.NAME.autonomy
        (ACT, ACT, ACT, SUGGEST, SUGGEST),  # it did harm before
        (ACT, SUGGEST, ACT, APPROVE, SUGGEST),  # experience never adds
    ],
)
def test_lowest_of_all_holds(
    ceiling: Autonomy, configured: Autonomy, agent: Autonomy, learned: Autonomy | None, expected: Autonomy
) -> None:
    assert effective(ceiling, configured, agent, learned) is expected


@given(LEVELS, LEVELS, LEVELS, st.none() | LEVELS)
def test_effective_level_exceeds_none_of_its_sources(
    ceiling: Autonomy, configured: Autonomy, agent: Autonomy, learned: Autonomy | None
) -> None:
    level = effective(ceiling, configured, agent, learned)
    assert all(level.rank <= source.rank for source in (ceiling, configured, agent, learned) if source is not None)


def test_gate_follows_level() -> None:
    assert [gate_for(level) for level in Autonomy] == [Gate.OBSERVE, Gate.SUGGEST, Gate.ASK, Gate.ACT]


def test_ladder_ends_at_both_ends() -> None:
    assert [step_down(level) for level in Autonomy] == [OBSERVE, OBSERVE, SUGGEST, APPROVE]
    assert [step_up(level) for level in Autonomy] == [SUGGEST, APPROVE, ACT, ACT]


def test_one_harm_steps_that_service_and_class_down_one_rung() -> None:
    state = lived(harm())
    (override,) = state.overrides
    assert (override.service, override.action_class, override.level) == ("web", ActionClass.RESTART, APPROVE)
    assert override.reason == "api fails now"
    assert state.strategy_version == 2
    assert state.evolution[-1].change == "restart of web: act → approve: api fails now"


def test_harm_steps_down_from_the_level_it_was_done_under() -> None:
    assert lived(harm(autonomy=APPROVE)).overrides[0].level is SUGGEST


def test_harm_again_steps_further_and_keeps_one_override() -> None:
    state = lived(harm(), harm(), harm(), harm())
    assert [override.level for override in state.overrides] == [OBSERVE]


def test_remedy_that_did_not_help_is_no_bad_outcome() -> None:
    state = lived(no_help(), help_())
    assert state == first_state(AgentName.SYSTEM_MONITOR)


def test_enough_help_in_a_row_takes_the_step_back() -> None:
    state = lived(harm(), *[help_()] * HELPFUL_IN_A_ROW)
    assert state.overrides == ()
    assert "approve → act: it helped 10 times in a row" in state.evolution[-1].change


def test_help_takes_one_rung_back_at_a_time() -> None:
    state = lived(harm(), harm(), *[help_()] * HELPFUL_IN_A_ROW)
    assert [override.level for override in state.overrides] == [APPROVE]


@pytest.mark.parametrize("between", [no_help(), harm()])
def test_row_of_help_is_broken_by_any_other_outcome(between: OutcomeReport) -> None:
    nearly = [help_()] * (HELPFUL_IN_A_ROW - 1)
    assert lived(harm(), *nearly, between, *nearly).overrides


def test_help_of_another_service_changes_nothing() -> None:
    assert lived(harm(), *[help_("api")] * HELPFUL_IN_A_ROW) == lived(harm())


def test_state_stays_bounded_and_keeps_what_forbids_most() -> None:
    state = lived(harm("first"), harm("first"), *[harm(f"s{count}") for count in range(MOST_OVERRIDES + 5)])
    assert len(state.overrides) == MOST_OVERRIDES
    assert len(state.evolution) == MOST_EVOLUTION
    names = [override.service for override in state.overrides]
    assert "first" in names  # it is at `suggest`, below the others
    assert "s0" not in names  # the oldest of those at `approve`
    assert f"s{MOST_OVERRIDES + 4}" in names


@given(st.lists(st.sampled_from([harm(), help_(), no_help(), harm("api"), help_("api")]), max_size=60))
def test_no_history_makes_two_overrides_of_one_subject_or_leaves_one_at_act(reports: list[OutcomeReport]) -> None:
    state = lived(*reports)
    subjects = [(override.service, override.action_class) for override in state.overrides]
    assert len(subjects) == len(set(subjects))
    assert all(override.level is not ACT for override in state.overrides)
    assert [step.version for step in state.evolution] == sorted(step.version for step in state.evolution)


def test_all_seven_agents_have_a_charter() -> None:
    assert set(CHARTERS) == set(AgentName)
    assert all(charter(name).name is name and charter(name).purpose and charter(name).job for name in AgentName)


def test_only_the_system_monitor_may_act_on_services_and_who_has_no_job_says_so() -> None:
    busy = [AgentName.SYSTEM_MONITOR, AgentName.CONTEXT_KEEPER]
    assert {name for name in AgentName if charter(name).has_job} == set(busy)
    assert charter(AgentName.SYSTEM_MONITOR).actions == frozenset(ActionClass)
    others = [charter(name) for name in AgentName if name is not AgentName.SYSTEM_MONITOR]
    assert all(not item.actions and item.autonomy is OBSERVE for item in others)
    assert all("arrives with" in item.job for item in others if not item.has_job)
