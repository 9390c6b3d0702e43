"""Incidents as rows, on a real server."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from brainops.checks.store import CheckStore
from brainops.config.models import Recurrence
from brainops.contracts.action import ActionRequest, RestartService
from brainops.contracts.agent import ActionClass
from brainops.contracts.approval import Approval, ApprovalDecision, ApprovalStatus
from brainops.contracts.base import Actor, ActorKind
from brainops.contracts.check import CheckState, CheckStatus, Observation, Reason
from brainops.contracts.incident import (
    Attempt,
    AttemptRecord,
    Evidence,
    EvidenceSummary,
    FaultKind,
    IncidentStatus,
    IncidentUpdate,
    LogFacts,
    PlanRef,
    Root,
    RootRequest,
    Signature,
)
from brainops.contracts.service import ServiceState, ServiceStatus
from brainops.database.engine import Database
from brainops.effects.ledger import EffectLedger
from brainops.errors import BadInputError, ConflictError, NotFoundError
from brainops.incidents.store import IncidentStore

SHOP = {"web": ("api",), "api": ("store",), "store": ()}
SIGNATURE = Signature(key="crash/process/exited/5f1c", kind=FaultKind.CRASH, description="it ended")
MIRA = Actor(kind=ActorKind.PERSON, name="mira")
TOM = Actor(kind=ActorKind.PERSON, name="tom")
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(database: Database) -> IncidentStore:
    return IncidentStore(database)


def plan_of(service: str, *, check: str = "process", run_id: str = "run-1") -> PlanRef:
    return PlanRef(
        plan_id=uuid4(),
        workflow_id=f"incident/{service}/{check}",
        run_id=run_id,
        service=service,
        check=check,
        host="local",
    )


def seen(service: str, *, check: str = "process", seq: int = 1) -> Observation:
    return Observation(
        host="local", service=service, check=check, seq=seq, failing=True, reason=Reason.EXITED, detail="gone", at=NOW
    )


def state(
    service: str, status: CheckStatus, *, check: str = "process", seq: int = 1, since: datetime = NOW
) -> CheckState:
    return CheckState(service=service, check=check, status=status, seq=seq, since=since)


def update(plan: PlanRef, status: IncidentStatus, note: str = "note") -> IncidentUpdate:
    return IncidentUpdate(plan=plan, status=status, note=note)


def question(plan: PlanRef, *, expires: timedelta = timedelta(minutes=30)) -> Approval:
    return Approval(
        id=uuid4(),
        plan_id=plan.plan_id,
        workflow_id=plan.workflow_id,
        run_id=plan.run_id,
        service=plan.service,
        action_class=ActionClass.RESTART,
        question="Restart it?",
        created_at=NOW,
        expires_at=NOW + expires,
    )


def attempt(plan: PlanRef, step: int, *, helped: bool, remedy: str = "restart") -> AttemptRecord:
    return AttemptRecord(
        plan=plan,
        signature=SIGNATURE,
        remedy=remedy,
        action_class=ActionClass.RESTART,
        first_step=step,
        helped=helped,
        cause="it crashed",
    )


async def opened(store: IncidentStore, service: str, **named: str) -> PlanRef:
    plan = plan_of(service, **named)
    await store.open(plan, seen(service, check=plan.check))
    return plan


async def root_of(store: IncidentStore, plan: PlanRef, *, last_try: bool = False, now: datetime | None = None) -> Root:
    request = RootRequest(plan=plan, signature=SIGNATURE, last_try=last_try)
    return await store.decide_root(request, SHOP, Recurrence(), now or datetime.now(UTC))


# Opening


async def test_a_first_observation_opens_an_incident_at_its_first_step(store: IncidentStore) -> None:
    plan = plan_of("api")
    opening = await store.open(plan, seen("api"))
    assert (opening.plan_id, opening.next_step, opening.duplicate) == (plan.plan_id, 1, False)
    assert [row.plan_id for row in await store.list(10, open_only=True)] == [plan.plan_id]


async def test_opening_twice_keeps_one_row_and_one_line(store: IncidentStore) -> None:
    plan = plan_of("api")
    await asyncio.gather(*(store.open(plan, seen("api")) for _ in range(8)))
    detail = await store.get(plan.plan_id)
    assert [line.note for line in detail.timeline] == ["process fails: gone"]


async def test_a_plan_is_taken_up_again_where_it_stood(store: IncidentStore, database: Database) -> None:
    plan = await opened(store, "api")
    ledger = EffectLedger(database)
    for step in (1, 2):
        request = ActionRequest(
            plan_id=plan.plan_id,
            step=step,
            action_class=ActionClass.RESTART,
            service="api",
            action=RestartService(service="api"),
        )
        await ledger.begin(request, f"{plan.plan_id}.{step}.1")
    await store.record_attempt(attempt(plan, 1, helped=False))
    asked = question(plan)
    await store.update(IncidentUpdate(plan=plan, status=IncidentStatus.WAITING_APPROVAL, note="asks", approval=asked))

    again = await store.open(plan.model_copy(update={"run_id": "run-2"}), seen("api"))

    assert again.next_step == 3
    assert again.attempts == (Attempt(remedy="restart", helped=False),)
    assert again.pending_approval == asked
    assert again.status is IncidentStatus.WAITING_APPROVAL
    assert (await store.get(plan.plan_id)).row.run_id == "run-2"


async def test_an_observation_no_newer_than_a_closed_incident_is_a_duplicate(store: IncidentStore) -> None:
    plan = plan_of("api")
    await store.open(plan, seen("api", seq=5))
    await store.update(update(plan, IncidentStatus.RESOLVED))
    assert (await store.open(plan_of("api"), seen("api", seq=5))).duplicate
    assert not (await store.open(plan_of("api"), seen("api", seq=6))).duplicate
    assert not (await store.open(plan_of("api", check="http"), seen("api", check="http", seq=1))).duplicate


async def test_a_new_plan_replaces_the_row_of_one_that_no_longer_runs(store: IncidentStore) -> None:
    lost = await opened(store, "api")
    fresh = await opened(store, "api")
    assert [row.plan_id for row in await store.list(10, open_only=True)] == [fresh.plan_id]
    assert (await store.get(lost.plan_id)).row.status is IncidentStatus.DISMISSED


# Root


async def test_a_root_absorbs_what_is_open_already_and_cancels_its_question(store: IncidentStore) -> None:
    web = await opened(store, "web")
    assert (await root_of(store, web)).is_root
    asked = question(web)
    await store.save_approval(asked)
    bottom = await opened(store, "store")

    root = await root_of(store, bottom)

    assert root.is_root
    assert root.absorbed == (web.workflow_id,)
    assert root.dependents == ("web",)
    assert (await store.approval(asked.id)).status is ApprovalStatus.WITHDRAWN
    assert not await store.wanted(web.plan_id)
    detail = await store.get(bottom.plan_id)
    assert [(part.service, part.absorbed_into) for part in detail.absorbed] == [("web", bottom.workflow_id)]


async def test_a_late_dependent_is_absorbed_and_attached_to_its_root(store: IncidentStore) -> None:
    bottom = await opened(store, "store")
    await root_of(store, bottom)
    web = await opened(store, "web")
    answer = await root_of(store, web)
    assert (answer.is_root, answer.absorbed_into, answer.root_service) == (False, bottom.workflow_id, "store")
    assert (await store.get(bottom.plan_id)).row.dependents == ("web",)


async def test_asking_again_gets_the_same_answer(store: IncidentStore) -> None:
    web, bottom = await opened(store, "web"), await opened(store, "store")
    assert await root_of(store, bottom) == await root_of(store, bottom)
    assert await root_of(store, web) == await root_of(store, web)


async def test_a_failing_dependency_without_an_incident_is_waited_for_then_ignored(
    store: IncidentStore, database: Database
) -> None:
    await CheckStore(database).save_state("local", state("store", CheckStatus.FAILING))
    web = await opened(store, "web")
    assert (await root_of(store, web)).wait_seconds == 0.25
    assert (await root_of(store, web, last_try=True)).is_root


async def test_the_root_of_a_closed_incident_is_decided_no_more(store: IncidentStore) -> None:
    plan = await opened(store, "api")
    await store.update(update(plan, IncidentStatus.RECOVERED))
    with pytest.raises(ConflictError, match="recovered already"):
        await root_of(store, plan)
    with pytest.raises(NotFoundError):
        await root_of(store, plan_of("api"))


async def test_recent_openings_are_the_roots_of_the_same_service_and_signature_in_the_window(
    store: IncidentStore,
) -> None:
    for seq, service in enumerate(("api", "api", "store"), start=1):
        plan = plan_of(service)
        await store.open(plan, seen(service, seq=seq))
        await root_of(store, plan)
        await store.update(update(plan, IncidentStatus.RESOLVED))
    plan = plan_of("api")
    await store.open(plan, seen("api", seq=9))
    request = RootRequest(plan=plan, signature=SIGNATURE)
    later = datetime.now(UTC) + timedelta(minutes=11)
    assert (await store.decide_root(request, SHOP, Recurrence(), later)).recent_openings == ()
    assert len((await root_of(store, plan)).recent_openings) == 2


@pytest.mark.parametrize("seed", range(20))
async def test_in_any_interleaving_exactly_one_is_the_root(store: IncidentStore, seed: int) -> None:
    """Two dependents and the store open and ask at once, in random order with random pauses."""
    order = random.Random(seed)
    services = ["web", "api", "store"]
    order.shuffle(services)
    pauses = {service: order.random() * 0.01 for service in services}

    async def live(service: str) -> tuple[str, Root]:
        await asyncio.sleep(pauses[service])
        plan = await opened(store, service)
        return service, await root_of(store, plan)

    answers = dict(await asyncio.gather(*(live(service) for service in services)))

    rows = {row.service: row for row in await store.list(10)}
    assert {service: row.status.value for service, row in rows.items()} == {
        "store": "open",
        "api": "absorbed",
        "web": "absorbed",
    }
    bottom = rows["store"]
    assert {row.absorbed_into for row in rows.values()} == {"", bottom.workflow_id}
    assert bottom.dependents == ("api", "web")
    # Each dependent was told when it asked, or is named to whoever became root after it.
    told = {workflow_id for answer in answers.values() for workflow_id in answer.absorbed}
    assert all(answers[service].absorbed_into or rows[service].workflow_id in told for service in ("api", "web"))


# Updating


async def test_a_closed_incident_is_not_opened_again(store: IncidentStore) -> None:
    plan = await opened(store, "api")
    asked = question(plan)
    await store.save_approval(asked)
    await store.update(update(plan, IncidentStatus.RESOLVED, "restart helped"))
    await store.update(update(plan, IncidentStatus.RESOLVED, "restart helped"))
    with pytest.raises(ConflictError, match="resolved already and cannot become open"):
        await store.update(update(plan, IncidentStatus.OPEN))
    detail = await store.get(plan.plan_id)
    assert [line.note for line in detail.timeline] == ["process fails: gone", "restart helped"]
    assert detail.row.closed_at is not None
    assert detail.row.verified_at is not None
    assert (await store.approval(asked.id)).status is ApprovalStatus.WITHDRAWN


async def test_closing_a_root_ends_the_accounts_of_what_it_absorbed(store: IncidentStore) -> None:
    web, bottom = await opened(store, "web"), await opened(store, "store")
    await root_of(store, bottom)
    assert (await store.get(web.plan_id)).row.verified_at is None
    await store.update(update(bottom, IncidentStatus.RESOLVED))
    assert (await store.get(web.plan_id)).row.verified_at is not None


async def test_updating_what_does_not_exist_says_so(store: IncidentStore) -> None:
    with pytest.raises(NotFoundError, match="there is no incident"):
        await store.update(update(plan_of("api"), IncidentStatus.OPEN))


async def test_evidence_with_nul_characters_is_kept_without_them(store: IncidentStore) -> None:
    plan = await opened(store, "api")
    evidence = Evidence(
        service="api",
        check="process",
        reason=Reason.EXITED,
        captured_at=NOW,
        state=ServiceState(service="api", status=ServiceStatus.EXITED),
        log=LogFacts(error_line="bin\x00ary \\u0000 stays"),
    )
    with pytest.raises(NotFoundError):
        await store.evidence(plan.plan_id)
    await store.save_evidence(plan.plan_id, evidence, EvidenceSummary(signature=SIGNATURE, headline="it ended"))
    assert (await store.evidence(plan.plan_id)).log.error_line == "bin\ufffdary \\u0000 stays"
    assert (await store.get(plan.plan_id)).row.headline == "it ended"


async def test_an_attempt_that_is_undone_later_is_one_row(store: IncidentStore) -> None:
    plan = await opened(store, "api")
    await store.record_attempt(attempt(plan, 1, helped=False))
    await store.record_attempt(attempt(plan, 1, helped=False).model_copy(update={"undone": True}))
    assert [(row.remedy, row.undone) for row in (await store.get(plan.plan_id)).attempts] == [("restart", True)]


# Approvals


async def test_of_two_answers_at_once_one_holds_and_the_other_is_told_whose(store: IncidentStore) -> None:
    asked = question(await opened(store, "api"))
    await store.save_approval(asked)
    at = NOW + timedelta(minutes=1)
    answers = await asyncio.gather(
        store.decide_approval(ApprovalDecision(approval_id=asked.id, approved=True, actor=MIRA), at),
        store.decide_approval(ApprovalDecision(approval_id=asked.id, approved=False, actor=TOM), at),
        return_exceptions=True,
    )
    kept = next(answer for answer in answers if isinstance(answer, Approval))
    refused = next(answer for answer in answers if isinstance(answer, ConflictError))
    assert f"{kept.status.value} already by {kept.decided_by} at 2026-05-01 12:01:00 UTC" in str(refused)
    assert await store.approval(asked.id) == kept


async def test_repeating_the_same_call_gets_the_same_answer(store: IncidentStore) -> None:
    asked = question(await opened(store, "api"))
    await store.save_approval(asked)
    decision = ApprovalDecision(approval_id=asked.id, approved=True, actor=MIRA)
    first = await store.decide_approval(decision, NOW)
    assert await store.decide_approval(decision, NOW) == first
    with pytest.raises(ConflictError):
        await store.decide_approval(decision, NOW + timedelta(seconds=1))


async def test_an_answer_after_the_expiry_is_too_late(store: IncidentStore) -> None:
    asked = question(await opened(store, "api"))
    await store.save_approval(asked)
    decision = ApprovalDecision(approval_id=asked.id, approved=True, actor=MIRA)
    with pytest.raises(ConflictError, match="expired at 2026-05-01 12:30:00 UTC"):
        await store.decide_approval(decision, NOW + timedelta(hours=1))
    assert (await store.approval(asked.id)).status is ApprovalStatus.PENDING


async def test_an_answered_question_is_not_asked_again(store: IncidentStore) -> None:
    asked = question(await opened(store, "api"))
    await store.save_approval(asked)
    await store.decide_approval(ApprovalDecision(approval_id=asked.id, approved=True, actor=MIRA), NOW)
    await store.save_approval(asked.model_copy(update={"status": ApprovalStatus.EXPIRED}))
    assert (await store.approval(asked.id)).status is ApprovalStatus.APPROVED
    assert await store.pending_approvals() == []
    assert [one.id for one in await store.approvals(10)] == [asked.id]
    assert [one.id for one in await store.plan_approvals(asked.plan_id)] == [asked.id]


async def test_a_withdrawn_or_unknown_approval_cannot_be_answered(store: IncidentStore) -> None:
    asked = question(await opened(store, "api"))
    await store.save_approval(asked.model_copy(update={"status": ApprovalStatus.WITHDRAWN}))
    with pytest.raises(ConflictError, match="withdrawn"):
        await store.decide_approval(ApprovalDecision(approval_id=asked.id, approved=True, actor=MIRA), NOW)
    with pytest.raises(NotFoundError):
        await store.decide_approval(ApprovalDecision(approval_id=uuid4(), approved=True, actor=MIRA), NOW)


# Reading


async def test_an_incident_is_found_by_the_beginning_of_its_id(store: IncidentStore) -> None:
    plan = plan_of("api").model_copy(update={"plan_id": UUID("abcd1234-0000-4000-8000-000000000001")})
    twin = plan_of("web").model_copy(update={"plan_id": UUID("abcd1234-0000-4000-8000-000000000002")})
    await store.open(plan, seen("api"))
    assert await store.resolve_prefix("ABCD1234-00") == plan.plan_id
    assert (await store.get("abcd")).row.service == "api"
    await store.open(twin, seen("web"))
    with pytest.raises(BadInputError, match="could be"):
        await store.resolve_prefix("abcd")
    with pytest.raises(NotFoundError):
        await store.resolve_prefix("ffff")
    with pytest.raises(BadInputError, match="no incident id"):
        await store.resolve_prefix("ab%")


async def test_a_failing_check_is_uncovered_until_somebody_works_on_it(
    store: IncidentStore, database: Database
) -> None:
    checks = CheckStore(database)
    await checks.save_state("local", state("web", CheckStatus.FAILING))
    await checks.save_state("local", state("store", CheckStatus.FAILING, seq=2))
    await checks.save_state("local", state("api", CheckStatus.PASSING))
    await checks.save_state("other", state("far", CheckStatus.FAILING))
    assert {check.service for check in await store.uncovered("local")} == {"store", "web"}
    bottom = await opened(store, "store")
    await root_of(store, bottom)
    assert await store.uncovered("local") == []
    await store.update(update(bottom, IncidentStatus.RESOLVED))
    assert {check.service for check in await store.uncovered("local")} == {"store", "web"}


async def test_a_recovery_that_the_plan_did_not_hear_of_is_found(store: IncidentStore, database: Database) -> None:
    checks = CheckStore(database)
    plan = await opened(store, "api")
    await checks.save_state("local", state("api", CheckStatus.PASSING, seq=2, since=datetime.now(UTC)))
    assert await store.unnoticed_recoveries("local") == []
    await checks.save_state("local", state("api", CheckStatus.PASSING, seq=2))
    assert [check.service for check in await store.unnoticed_recoveries("local")] == ["api"]
    await store.update(update(plan, IncidentStatus.RECOVERED))
    assert await store.unnoticed_recoveries("local") == []


async def test_open_plans_hold_what_a_fresh_server_needs(store: IncidentStore) -> None:
    api, web = await opened(store, "api"), await opened(store, "web")
    await store.update(update(web, IncidentStatus.DISMISSED))
    ((given, workflow_id),) = await store.open_plans()
    assert (given.plan_id, given.observation, workflow_id) == (api.plan_id, seen("api"), api.workflow_id)


async def test_a_history_is_archived_once(store: IncidentStore) -> None:
    plan = await opened(store, "api")
    assert await store.unarchived(10) == []
    await store.update(update(plan, IncidentStatus.RESOLVED))
    assert [finished.plan_id for finished in await store.unarchived(10)] == [plan.plan_id]
    await store.mark_archived(plan.plan_id, plan.run_id, "histories/1")
    assert await store.unarchived(10) == []
    assert (await store.get(plan.plan_id)).row.history_key == "histories/1"
