"""The autonomy ladder: how freely an action may be done, and how outcomes move it.

One bad outcome steps the action class of that service down one rung; `HELPFUL_IN_A_ROW` helpful ones step it up
again. A bad outcome is harm or a failed undo. A remedy that merely did not help is neither: it only ends the row.
"""

from datetime import datetime

from brainops.contracts.agent import AgentState, Autonomy, AutonomyOverride, Evolution, OutcomeReport
from brainops.contracts.incident import Gate

HELPFUL_IN_A_ROW = 10
"""Helpful outcomes, with none of another kind between them, that earn one rung back."""

MOST_OVERRIDES = 200
MOST_EVOLUTION = 50

_LADDER = tuple(Autonomy)
_GATES = {
    Autonomy.ACT: Gate.ACT,
    Autonomy.APPROVE: Gate.ASK,
    Autonomy.SUGGEST: Gate.SUGGEST,
    Autonomy.OBSERVE: Gate.OBSERVE,
}


def effective(
    charter_ceiling: Autonomy, configured: Autonomy, agent_ceiling: Autonomy, learned: Autonomy | None
) -> Autonomy:
    """The lowest of what the charter, the service, the agent's configuration and experience allow.

    `learned`: the level of an override, None if there is none.
    """
    levels = [charter_ceiling, configured, agent_ceiling]
    if learned is not None:
        levels.append(learned)
    return min(levels, key=lambda level: level.rank)


def gate_for(level: Autonomy) -> Gate:
    """What may be done with a chosen remedy at `level`."""
    return _GATES[level]


def step_down(level: Autonomy) -> Autonomy:
    """The next rung below; `observe` is the lowest."""
    return _LADDER[max(0, level.rank - 1)]


def step_up(level: Autonomy) -> Autonomy:
    """The next rung above; `act` is the highest."""
    return _LADDER[min(len(_LADDER) - 1, level.rank + 1)]


def after_outcome(state: AgentState, report: OutcomeReport, at: datetime) -> AgentState:
    """The agent's state once an action's outcome is known.

    Harm lowers (or makes) the override of the report's service and action class. A helpful outcome counts towards
    taking one back. `at`: when it became known, timezone-aware.
    """
    present = _override(state, report)
    if report.harmful:
        return _stepped_down(state, report, present, at)
    if present is None:
        return state
    if not report.helped:
        return _with_override(state, present.model_copy(update={"helpful_in_a_row": 0}))
    return _after_help(state, present, at)


def _stepped_down(
    state: AgentState, report: OutcomeReport, present: AutonomyOverride | None, at: datetime
) -> AgentState:
    before = report.autonomy if present is None else min(report.autonomy, present.level, key=lambda level: level.rank)
    level = step_down(before)
    override = AutonomyOverride(
        service=report.service, action_class=report.action_class, level=level, reason=report.reason, at=at
    )
    change = f"{report.action_class.value} of {report.service}: {before.value} → {level.value}: {report.reason}"
    return _evolved(_with_override(state, override), change, at)


def _after_help(state: AgentState, present: AutonomyOverride, at: datetime) -> AgentState:
    row = present.helpful_in_a_row + 1
    if row < HELPFUL_IN_A_ROW:
        return _with_override(state, present.model_copy(update={"helpful_in_a_row": row}))
    level = step_up(present.level)
    what = f"{present.action_class.value} of {present.service}: {present.level.value} → {level.value}"
    change = f"{what}: it helped {row} times in a row"
    if level is Autonomy.ACT:
        return _evolved(_without_override(state, present), change, at)
    raised = present.model_copy(update={"level": level, "helpful_in_a_row": 0, "at": at})
    return _evolved(_with_override(state, raised), change, at)


def _override(state: AgentState, report: OutcomeReport) -> AutonomyOverride | None:
    return next((item for item in state.overrides if _subject(item) == (report.service, report.action_class)), None)


def _subject(override: AutonomyOverride) -> tuple[str, str]:
    return override.service, override.action_class


def _without_override(state: AgentState, override: AutonomyOverride) -> AgentState:
    kept = tuple(item for item in state.overrides if _subject(item) != _subject(override))
    return state.model_copy(update={"overrides": kept})


def _with_override(state: AgentState, override: AutonomyOverride) -> AgentState:
    """Put the override in its place or at the end. Over the bound, the one that forbids least goes, oldest first."""
    others = [item for item in state.overrides if _subject(item) != _subject(override)]
    if len(others) == len(state.overrides):
        overrides = [*others, override]
    else:
        overrides = [override if _subject(item) == _subject(override) else item for item in state.overrides]
    while len(overrides) > MOST_OVERRIDES:
        overrides.remove(max(others, key=lambda item: (item.level.rank, -item.at.timestamp())))
        others = [item for item in overrides if item is not override]
    return state.model_copy(update={"overrides": tuple(overrides)})


def _evolved(state: AgentState, change: str, at: datetime) -> AgentState:
    version = state.strategy_version + 1
    step = Evolution(at=at, version=version, change=change[:500])
    return state.model_copy(
        update={"strategy_version": version, "evolution": (*state.evolution, step)[-MOST_EVOLUTION:]}
    )
