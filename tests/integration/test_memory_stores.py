"""Deeds, decisions and knowledge, on a real server."""

from datetime import UTC, datetime, timedelta
from unittest import mock
from uuid import uuid4

import pytest

from brainops.contracts.action import RestartService
from brainops.contracts.agent import ActionClass
from brainops.contracts.base import Actor
from brainops.contracts.check import Observation
from brainops.contracts.incident import AttemptRecord, DecisionRecord, FaultKind, KnownRemedy, PlanRef, Signature
from brainops.contracts.recording import WorkRecord
from brainops.database.engine import Database
from brainops.errors import ConflictError, NotFoundError
from brainops.incidents.store import IncidentStore
from brainops.memory.deeds import DeedStore
from brainops.memory.knowledge import MOST_COMPARED, KnowledgeStore, ToldKnowledge
from brainops.memory.similarity import similarity

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


async def tried(
    database: Database, remedy: str, *, helped: bool, service: str = "api", signature: Signature = SIGNATURE
) -> PlanRef:
    """An incident in which one remedy was tried and learned from, as the workflow does it."""
    plan = plan_of(service)
    incidents = IncidentStore(database)
    seq = len(await incidents.list(1000)) + 1
    seen = Observation(host="local", service=service, check="http", seq=seq, failing=True, at=NOON)
    await incidents.open(plan, seen)
    await incidents.record_attempt(
        AttemptRecord(
            plan=plan,
            signature=signature,
            remedy=remedy,
            action_class=ActionClass.RESTART,
            first_step=1,
            helped=helped,
        )
    )
    actions = [RestartService(service=service)]
    await KnowledgeStore(database).learn(plan, signature, remedy, list(actions), "it crashed", helped)
    return plan


async def test_nothing_is_known_of_a_new_signature(database: Database) -> None:
    knowledge = await KnowledgeStore(database).lookup(SIGNATURE)
    assert (knowledge.best, knowledge.remedies, knowledge.usage_count) == ("", (), 0)
    with pytest.raises(NotFoundError, match="nothing is known"):
        await KnowledgeStore(database).get(SIGNATURE.key)


async def test_what_helped_is_known_and_comes_first(database: Database) -> None:
    store = KnowledgeStore(database)
    await tried(database, "restart", helped=False)
    await tried(database, "restore_files", helped=True)
    await tried(database, "restore_files", helped=True)
    known = await store.lookup(SIGNATURE)
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
    assert (await store.lookup(SIGNATURE)).best == ""
    assert await store.list(10) == []


async def test_learning_the_same_twice_counts_one_use(database: Database) -> None:
    store = KnowledgeStore(database)
    plan = await tried(database, "restart", helped=True)
    await store.learn(plan, SIGNATURE, "restart", [RestartService(service="api")], "it crashed", True)
    assert (await store.get(SIGNATURE.key)).usage_count == 1


async def test_a_lookup_for_one_service_counts_only_what_was_tried_there(database: Database) -> None:
    await tried(database, "restart", helped=True, service="api")
    await tried(database, "restart", helped=False, service="web")
    known = await KnowledgeStore(database).lookup(SIGNATURE, service="web")
    assert known.remedies == (KnownRemedy(remedy="restart", failures=1),)


def crash(digest: str, line: str, ending: str = "exit 1") -> Signature:
    key = f"crash/process/exited/{digest}"
    return Signature(key=key, kind=FaultKind.CRASH, description=line, template=line, ending=ending)


IN_PYTHON = crash("aa01", "OSError: [Errno <n>] Address already in use")
IN_GO = crash("aa02", "panic: listen tcp <n>: bind: address already in use", ending="exit 2")
OTHER = crash("aa03", "panic: open <path>: permission denied")


async def test_a_similar_signature_finds_what_helped_there(database: Database) -> None:
    store = KnowledgeStore(database)
    await tried(database, "free_port", helped=True, signature=IN_PYTHON)
    await tried(database, "restart", helped=True, signature=OTHER)
    known = await store.lookup(IN_GO)
    (like,) = known.remedies
    assert (like.remedy, like.successes, like.like) == ("free_port", 1, IN_PYTHON.key)
    assert 0.75 <= like.similarity < 1
    assert (known.best, known.usage_count) == ("", 0)


async def test_an_equal_signature_always_wins_and_one_that_was_healed_by_likeness_has_its_own_entry(
    database: Database,
) -> None:
    store = KnowledgeStore(database)
    await tried(database, "free_port", helped=True, signature=IN_PYTHON)
    await tried(database, "free_port", helped=True, signature=IN_GO)
    known = await store.lookup(IN_GO)
    assert known.remedies == (KnownRemedy(remedy="free_port", successes=1),)
    assert known.best == "free_port"
    assert (await store.get(IN_GO.key)).template == IN_GO.template


async def test_a_remedy_that_failed_against_this_very_one_is_not_taken_over(database: Database) -> None:
    await tried(database, "free_port", helped=True, signature=IN_PYTHON)
    await tried(database, "free_port", helped=False, signature=IN_GO)
    known = await KnowledgeStore(database).lookup(IN_GO)
    assert known.remedies == (KnownRemedy(remedy="free_port", failures=1),)


async def test_a_retired_entry_is_kept_and_never_used_until_it_is_brought_back(database: Database) -> None:
    store = KnowledgeStore(database)
    await tried(database, "free_port", helped=True, signature=IN_PYTHON)
    before = await store.get(IN_PYTHON.key)
    await store.retire(IN_PYTHON.key, "it killed the wrong one")
    await tried(database, "restart", helped=True, signature=IN_PYTHON)
    assert (await store.lookup(IN_PYTHON)).remedies == ()
    assert (await store.lookup(IN_GO)).remedies == ()
    kept = await store.get(IN_PYTHON.key)
    assert (kept.remedy, kept.usage_count, kept.retired_reason) == ("free_port", 1, "it killed the wrong one")
    assert await store.list(10) == []
    assert await store.list(10, retired=True) == [kept]
    with pytest.raises(ConflictError, match="retired already"):
        await store.retire(IN_PYTHON.key, "")
    await store.bring_back(IN_PYTHON.key)
    assert await store.get(IN_PYTHON.key) == before
    assert (await store.lookup(IN_PYTHON)).best == "free_port"
    with pytest.raises(ConflictError, match="is not retired"):
        await store.bring_back(IN_PYTHON.key)
    with pytest.raises(NotFoundError):
        await store.retire("no/such/key", "")


async def test_what_a_person_says_counts_as_one_success_and_is_not_overwritten(database: Database) -> None:
    store = KnowledgeStore(database)
    told = ToldKnowledge(signature=IN_PYTHON, remedy="free_port", solution="end what holds the port")
    await store.add(told, "person:mira")
    assert (await store.lookup(IN_PYTHON)).remedies == (KnownRemedy(remedy="free_port", successes=1),)
    assert [known.remedy for known in (await store.lookup(IN_GO)).remedies] == ["free_port"]
    with pytest.raises(ConflictError, match="brainops knowledge edit"):
        await store.add(told, "person:mira")
    await tried(database, "restart", helped=True, signature=IN_PYTHON)
    entry = await store.get(IN_PYTHON.key)
    assert (entry.origin, entry.author, entry.remedy) == ("person", "person:mira", "free_port")
    assert (entry.solution, entry.usage_count) == ("end what holds the port", 1)
    assert {known.remedy for known in (await store.lookup(IN_PYTHON)).remedies} == {"free_port", "restart"}


async def test_what_is_exported_is_known_elsewhere(database: Database, owner_url: str, app_url: str) -> None:
    await tried(database, "free_port", helped=True, signature=IN_PYTHON)
    await tried(database, "free_port", helped=False, signature=IN_PYTHON)
    await tried(database, "restart", helped=True, signature=OTHER)
    exported = [told async for told in KnowledgeStore(database).all_told()]
    assert [(told.signature.key, told.successes, told.failures) for told in exported] == [
        (IN_PYTHON.key, 1, 1),
        (OTHER.key, 1, 0),
    ]
    elsewhere = Database(app_url, tenant_id="elsewhere")
    try:
        store = KnowledgeStore(elsewhere)
        done = await store.take_over(exported, "person:mira", replace=False)
        assert done.added == (IN_PYTHON.key, OTHER.key)
        assert (await store.lookup(OTHER)).best == "restart"
        assert (await store.get(OTHER.key)).origin == "import"
        again = await store.take_over(exported, "person:mira", replace=False)
        assert (again.added, again.kept) == ((), (IN_PYTHON.key, OTHER.key))
        assert (await store.take_over(exported, "person:mira", replace=True)).replaced == again.kept
    finally:
        await elsewhere.close()


async def test_an_import_is_taken_over_whole_or_not_at_all(database: Database) -> None:
    store = KnowledgeStore(database)
    good = ToldKnowledge(signature=IN_PYTHON, remedy="free_port", solution="s")
    bad = ToldKnowledge(signature=IN_GO, remedy="restart", solution="Postgres keeps no \0 in a text")
    with pytest.raises(Exception, match="NUL"):
        await store.take_over([good, bad], "person:mira", replace=False)
    assert await store.list(10) == []


async def test_a_hundred_thousand_comparisons_are_not_made(database: Database) -> None:
    store = KnowledgeStore(database)
    many = [
        ToldKnowledge(signature=crash(f"{number:08x}", f"word{number} breaks"), remedy="restart", solution="s")
        for number in range(MOST_COMPARED + 50)
    ]
    await store.take_over(many, "person:mira", replace=False)
    with mock.patch("brainops.memory.knowledge.similarity", wraps=similarity) as compared:
        await store.lookup(IN_GO)
    assert compared.call_count == MOST_COMPARED
