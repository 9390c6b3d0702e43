"""What incidents that BrainOps only looked at say about how freely it may act."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from brainops.contracts.agent import ActionClass, Autonomy
from brainops.contracts.incident import IncidentStatus
from brainops.incidents.rows import IncidentRow
from interfaces.setup.shadow import judge, recommended_levels

OPENED = datetime(2026, 11, 20, 18, tzinfo=UTC)
WITHIN = timedelta(seconds=15)


def incident(
    remedy: str = "restart", status: IncidentStatus = IncidentStatus.RECOVERED, minutes: float = 20
) -> IncidentRow:
    return IncidentRow(
        plan_id=uuid4(),
        workflow_id="incident/web/front",
        run_id="r",
        host="local",
        service="web",
        check="front",
        seq=1,
        status=status,
        signature="hang/http/timeout/1",
        signature_description="",
        headline="",
        cause="",
        remedy=remedy,
        root_plan=None,
        absorbed_into="",
        dependents=(),
        model_calls=0,
        opened_at=OPENED,
        verified_at=None,
        closed_at=OPENED + timedelta(minutes=minutes) if status.closed else None,
        history_key=None,
    )


def test_restart_that_was_needed_each_time_may_be_done() -> None:
    seen = judge("web", [incident(), incident(minutes=40)], WITHIN)
    assert seen.recommended is Autonomy.ACT
    assert recommended_levels(seen) == {ActionClass.RESTART: Autonomy.ACT}
    (restart,) = seen.remedies
    assert (restart.right, restart.incidents, restart.lasted_seconds) == (2, 2, 1800)


def test_once_is_too_few() -> None:
    assert judge("web", [incident()], WITHIN).recommended is Autonomy.APPROVE


def test_what_comes_back_by_itself_at_once_is_asked_for_first() -> None:
    seen = judge("web", [incident(minutes=0.1), incident(minutes=0.1), incident()], WITHIN)
    assert (seen.recommended, seen.remedies[0].needless) == (Autonomy.APPROVE, 2)


def test_what_a_person_closed_as_nothing_is_only_suggested() -> None:
    seen = judge("web", [incident(), incident(), incident(status=IncidentStatus.DISMISSED)], WITHIN)
    assert seen.recommended is Autonomy.SUGGEST


def test_what_was_handed_to_a_person_all_the_same_was_not_right() -> None:
    escalated = [incident(status=IncidentStatus.ESCALATED) for _ in range(2)]
    seen = judge("web", [incident(), *escalated], WITHIN)
    assert (seen.recommended, seen.remedies[0].right) == (Autonomy.APPROVE, 1)


def test_remedy_that_loses_something_is_asked_for_however_often_it_fits() -> None:
    seen = judge("web", [incident("clean_folder") for _ in range(5)], WITHIN)
    assert seen.remedies[0].cost > 1
    assert seen.recommended is Autonomy.APPROVE


def test_parts_of_other_incidents_do_not_count() -> None:
    seen = judge("web", [incident(status=IncidentStatus.ABSORBED)], WITHIN)
    assert (seen.incidents, seen.since, seen.recommended) == (0, None, Autonomy.APPROVE)


def test_faults_without_a_remedy_are_counted() -> None:
    seen = judge("web", [incident("", IncidentStatus.ESCALATED)], WITHIN)
    assert (seen.unexplained, seen.remedies, seen.recommended) == (1, (), Autonomy.SUGGEST)
