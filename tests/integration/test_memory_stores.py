"""Deeds, decisions and knowledge, on a real server."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from brainops.contracts.action import RestartService
from brainops.contracts.agent import ActionClass
from brainops.contracts.base import Actor
from brainops.contracts.check import Observation
from brainops.contracts.incident import AttemptRecord, DecisionRecord, FaultKind, KnownRemedy, PlanRef, Signature
from brainops.contracts.recording import WorkRecord
from brainops.database.engine import Database
from brainops.errors import NotFoundError
from brainops.incidents.store import IncidentStore
from brainops.memory.deeds import DeedStore
from brainops.memory.knowledge import KnowledgeStore

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SIGNATURE = Signature(key="crash/process/exited/5f1c", kind=FaultKind.CRASH, description="it ended")


def work(key: str, *, minutes: int = 0, actor: str = "agent:system_monitor", service: str = "api") -> WorkRecord:
    return WorkRecord(
        key=key,
        task_id="7",
        agent="system_monitor",
        actor=Actor.parse(actor),
        action="perform_action",
        service=service,
        input={"step": 1},
        success=True,
        duration_ms=1.5,
        workflow_id="incident/api/http",
        run_id="run",
        started_at=NOON + timedelta(minutes=minutes),
    )


def plan_of(service: str = "api") -> PlanRef:
    return PlanRef(
        plan_id=uuid4(),
        workflow_id=f"incident/{service}/http",
        run_id="run",
        service=service,
        check="http",
        host="local",
    )


async def test_a_deed_that_is_recorded_twice_is_kept_once(database: Database) -> None:
    deeds = DeedStore(database)
    await deeds.record_work(work("run/7/1"))
    await deeds.record_work(work("run/7/1"))
    assert await deeds.work(10) == [work("run/7/1")]


async def test_deeds_are_read_newest_first_page_by_page(database: Database) -> None:
    deeds = DeedStore(database)
    for minute in range(4):
        await deeds.record_work(work(f"key {minute}", minutes=minute, service="web" if minute == 2 else "api"))
    first = await deeds.work(2)
    assert [deed.key for deed in first] == ["key 3", "key 2"]
    assert [deed.key for deed in await deeds.work(2, before=first[-1].started_at)] == ["key 1", "key 0"]
    assert [deed.key for deed in await deeds.work(9, service="web")] == ["key 2"]


async def test_the_manual_share_counts_who_caused_what(database: Database) -> None:
    deeds = DeedStore(database)
    assert await deeds.manual_share(NOON) is None
    await deeds.record_work(work("old", minutes=-1, actor="person:mira"))
    for number, actor in enumerate(("person:mira", "agent:system_monitor", "schedule:nightly", "webhook:github")):
        await deeds.record_work(work(str(number), actor=actor))
    assert await deeds.manual_share(NOON) == 0.25


async def test_a_decision_keeps_its_alternatives_and_is_not_doubled_by_a_retry(database: Database) -> None:
    deeds = DeedStore(database)
    record = DecisionRecord(
        plan=plan_of(),
        agent="system_monitor",
        decision="restart",
        reason="it helped before",
        alternatives=("restore_files",),
        context={"signature": SIGNATURE.key},
    )
    await deeds.record_decision(record)
    await deeds.record_decision(record)
    await deeds.record_decision(record.model_copy(update={"decision": "restore_files"}))
    lines = await deeds.decisions(record.plan.plan_id)
    assert [line.decision for line in lines] == ["restart", "restore_files"]
    assert lines[0].alternatives == ("restore_files",)


async def tried(database: Database, remedy: str, *, helped: bool, service: str = "api") -> PlanRef:
    """An incident in which one remedy was tried and learned from, as the workflow does it."""
    plan = plan_of(service)
    incidents = IncidentStore(database)
    seq = len(await incidents.list(1000)) + 1
    seen = Observation(host="local", service=service, check="http", seq=seq, failing=True, at=NOON)
    await incidents.open(plan, seen)
    await incidents.record_attempt(
        AttemptRecord(
            plan=plan,
            signature=SIGNATURE,
            remedy=remedy,
            action_class=ActionClass.RESTART,
            first_step=1,
            helped=helped,
        )
    )
    actions = [RestartService(service=service)]
    await KnowledgeStore(database).learn(plan, SIGNATURE, remedy, list(actions), "it crashed", helped)
    return plan


async def test_nothing_is_known_of_a_new_signature(database: Database) -> None:
    knowledge = await KnowledgeStore(database).lookup(SIGNATURE.key)
    assert (knowledge.best, knowledge.remedies, knowledge.usage_count) == ("", (), 0)
    with pytest.raises(NotFoundError, match="nothing is known"):
        await KnowledgeStore(database).get(SIGNATURE.key)


async def test_what_helped_is_known_and_comes_first(database: Database) -> None:
    store = KnowledgeStore(database)
    await tried(database, "restart", helped=False)
    await tried(database, "restore_files", helped=True)
    await tried(database, "restore_files", helped=True)
    known = await store.lookup(SIGNATURE.key)
    assert known.best == "restore_files"
    assert known.remedies == (
        KnownRemedy(remedy="restore_files", successes=2),
        KnownRemedy(remedy="restart", failures=1),
    )
    entry = await store.get(SIGNATURE.key)
    assert (entry.solution, entry.success_rate, entry.usage_count) == ("it crashed: restore_files", 1.0, 2)
    assert await store.list(10) == [entry]


async def test_what_does_not_help_any_more_loses_its_rate(database: Database) -> None:
    store = KnowledgeStore(database)
    await tried(database, "restart", helped=True)
    await tried(database, "restart", helped=False)
    entry = await store.get(SIGNATURE.key)
    assert (entry.remedy, entry.success_rate, entry.usage_count) == ("restart", 0.5, 2)


async def test_a_remedy_that_never_helped_teaches_no_solution(database: Database) -> None:
    store = KnowledgeStore(database)
    await tried(database, "restart", helped=False)
    assert (await store.lookup(SIGNATURE.key)).best == ""
    assert await store.list(10) == []


async def test_learning_the_same_twice_counts_one_use(database: Database) -> None:
    store = KnowledgeStore(database)
    plan = await tried(database, "restart", helped=True)
    await store.learn(plan, SIGNATURE, "restart", [RestartService(service="api")], "it crashed", True)
    assert (await store.get(SIGNATURE.key)).usage_count == 1


async def test_a_lookup_for_one_service_counts_only_what_was_tried_there(database: Database) -> None:
    await tried(database, "restart", helped=True, service="api")
    await tried(database, "restart", helped=False, service="web")
    known = await KnowledgeStore(database).lookup(SIGNATURE.key, service="web")
    assert known.remedies == (KnownRemedy(remedy="restart", failures=1),)
