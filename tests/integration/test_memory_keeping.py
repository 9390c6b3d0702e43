"""What ContextKeeper purges, counts, proposes and carries out, on a real server."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from agents import context_keeper as keeper
from brainops.contracts.base import Actor
from brainops.contracts.incident import FaultKind, Signature
from brainops.contracts.keeping import (
    Evidence,
    MergeMemories,
    NewProposal,
    OpenTodo,
    PromoteKnowledge,
    ProposalKind,
    ProposalStatus,
    Repeated,
    Runbook,
)
from brainops.contracts.memory import Append, NewMemory, NewMessage, Resolve, SessionStart, TodoList
from brainops.contracts.message import Role, TextPart
from brainops.database.engine import Database
from brainops.errors import BadInputError, ConflictError, NotFoundError
from brainops.incidents.old_evidence import purge_evidence
from brainops.memory.aggregates import AggregateStore, Performance
from brainops.memory.artifacts import ArtifactStore
from brainops.memory.deeds import DeedStore
from brainops.memory.indexing import Indexer
from brainops.memory.knowledge import KnowledgeStore
from brainops.memory.persistent import PersistentStore
from brainops.memory.proposals import ProposalStore
from brainops.memory.receipts import digest, receipts
from brainops.memory.repeats import Place, RepeatStore
from brainops.memory.retention import MemoryRetention, Purged
from brainops.memory.sessions import SessionStore
from brainops.memory.todos import TodoStore
from brainops.storage.objects import ObjectStore
from interfaces.api.memory_upkeep import daily_upkeep

NOW = datetime.now(UTC)
QUARTER_AGO = NOW - timedelta(days=90)
LONG_AGO, LATELY = NOW - timedelta(days=100), NOW - timedelta(days=20)
MIRA = Actor.parse("person:mira")
SIGNATURE = Signature(key="crash/process/exited/5f1c", kind=FaultKind.CRASH, description="it ended")


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "objects")


async def told(database: Database, content: str, **about: object) -> UUID:
    values = {"content": content, "scopes": ("project:shop",), **about}
    return (await PersistentStore(database).remember(NewMemory.model_validate(values))).id


async def insert(database: Database, statement: str, values: Mapping[str, object] | None = None) -> None:
    async with database.transaction() as connection:
        await connection.execute(text(statement), values or {})


async def left(database: Database, table: str) -> int:
    (row,) = await database.read(text(f"SELECT count(*) AS count FROM brainops.{table}"))
    return row["count"]


# ---- purging


async def test_memories_that_hold_no_longer_go_in_batches_and_held_ones_stay(
    database: Database, objects: ObjectStore
) -> None:
    store, retention = PersistentStore(database), MemoryRetention(database, objects)
    ended = [await told(database, f"old fact {number}", valid_from=LONG_AGO) for number in range(3)]
    held = await told(database, "evidence", valid_from=LONG_AGO, tags=("legal-hold",))
    for one in (*ended, held):
        await store.resolve(Resolve(id=one, at=LONG_AGO))
    ended_lately = await told(database, "a fact of last month", valid_from=LONG_AGO)
    await store.resolve(Resolve(id=ended_lately, at=LATELY))
    current = await told(database, "a fact that holds", valid_from=LONG_AGO)
    await Indexer(database).run_once()

    first = await retention.purge(Purged.MEMORIES, QUARTER_AGO, NOW, limit=2)
    second = await retention.purge(Purged.MEMORIES, QUARTER_AGO, NOW, limit=2)

    assert (first.removed, first.more, second.removed, second.more) == (2, True, 1, False)
    assert [one.id for one in await store.get_many([*ended, held, ended_lately, current])] == [
        held,
        ended_lately,
        current,
    ]
    gone = await database.read(text("SELECT source_id, terms FROM brainops.memory_chunks WHERE removed"))
    assert {row["source_id"] for row in gone} == set(ended)
    assert {row["terms"] for row in gone} == {""}
    proofs = await receipts(database)
    assert [proof.counts for proof in reversed(proofs)] == [{"memories": 2}, {"memories": 1}]
    assert proofs[1].sha256 == digest(sorted(map(str, ended))[:2])


async def test_finished_things_are_purged_when_they_are_old_and_open_ones_never(
    database: Database, objects: ObjectStore
) -> None:
    await insert(
        database,
        """
        INSERT INTO brainops.todos (id, scope, title, status, progress, importance, created_at, updated_at, done_at)
        SELECT gen_random_uuid(), 's', 't', CASE WHEN done IS NULL THEN 'open' ELSE 'done' END, 0, 0.5, :old, :old, done
        FROM unnest(CAST(:done AS timestamptz[])) AS done
        """,
        {"old": LONG_AGO, "done": [LONG_AGO, LATELY, None]},
    )
    await insert(
        database,
        """
        INSERT INTO brainops.work_items (id, scope, description, state, claimed_at, updated_at)
        SELECT gen_random_uuid(), 's', 'd', state, :old, :old FROM unnest(ARRAY['done', 'released', 'claimed', 'planned']) AS state
        """,
        {"old": LONG_AGO},
    )
    await insert(
        database,
        """
        INSERT INTO brainops.context_snapshots
            (id, session_id, scope, timestamp, context_type, context_data, importance, expires_at, tags)
        SELECT gen_random_uuid(), 'x', 's', :old, 'task', '{}', 0.5, expires, tags::text[]
        FROM (VALUES (CAST(:old AS timestamptz), '{}'), (CAST(:old AS timestamptz), '{legal-hold}'), (NULL, '{}'))
            AS given(expires, tags)
        """,
        {"old": LONG_AGO},
    )
    retention = MemoryRetention(database, objects)
    removed = {kind: (await retention.purge(kind, QUARTER_AGO, NOW)).removed for kind in Purged}
    assert {kind.value: count for kind, count in removed.items() if count} == {"snapshots": 1, "todos": 1, "work": 2}
    assert [await left(database, table) for table in ("todos", "work_items", "context_snapshots")] == [2, 2, 2]


async def test_tombstones_go_once_every_index_has_had_time_to_see_them(
    database: Database, objects: ObjectStore
) -> None:
    retention = MemoryRetention(database, objects)
    one = await told(database, "soon gone", valid_from=LONG_AGO)
    await PersistentStore(database).resolve(Resolve(id=one, at=LONG_AGO))
    await Indexer(database).run_once()
    await retention.purge(Purged.MEMORIES, QUARTER_AGO, NOW)
    assert (await retention.purge(Purged.TOMBSTONES, QUARTER_AGO, NOW)).removed == 0
    in_a_week = NOW + timedelta(days=8)
    assert (await retention.purge(Purged.TOMBSTONES, QUARTER_AGO, in_a_week)).removed == 1
    assert await left(database, "memory_chunks") == 0


async def test_evidence_of_incidents_closed_long_ago_is_emptied_and_the_incident_stays(
    database: Database, objects: ObjectStore
) -> None:
    for name, closed in (("old", LONG_AGO), ("young", LATELY), ("open", None)):
        await incident(database, opened=LONG_AGO, closed=closed, tail=f"evidence/{name}/log.txt")
        await objects.put(f"evidence/{name}/log.txt", b"tail")
    assert await purge_evidence(database, objects, QUARTER_AGO) == 1
    assert await purge_evidence(database, objects, QUARTER_AGO) == 0
    assert await objects.list("evidence") == ["evidence/open/log.txt", "evidence/young/log.txt"]
    kept = await database.read(text("SELECT evidence IS NULL AS empty FROM brainops.incidents ORDER BY closed_at"))
    assert [row["empty"] for row in kept] == [True, False, False]
    assert (await receipts(database))[0].counts == {"evidence": 1}


async def incident(
    database: Database,
    *,
    opened: datetime,
    closed: datetime | None = None,
    tail: str = "",
    status: str = "resolved",
    said: str = "",
) -> UUID:
    plan = uuid4()
    await insert(
        database,
        """
        INSERT INTO brainops.incidents
            (plan_id, workflow_id, run_id, host, service, check_name, seq, observation, status, signature,
             signature_description, remedy, evidence, summary, root_plan, dependents, opened_at, closed_at)
        VALUES (:plan, 'w', 'r', 'local', 'shop', 'process', 1, '{}', :status, :signature, 'it ended', 'restart',
            jsonb_build_object('log', jsonb_build_object('tail_key', CAST(:tail AS text))), CAST(:summary AS jsonb), :plan,
            '[]', :opened, :closed)
        """,
        {
            "plan": plan,
            "status": status,
            "signature": SIGNATURE.key,
            "tail": tail,
            "summary": f'{{"signature": {SIGNATURE.model_dump_json()}, "headline": "h"}}',
            "opened": opened,
            "closed": closed,
        },
    )
    if said:
        note = f"dismissed by person:mira: {said}"
        event = "INSERT INTO brainops.incident_events (plan_id, status, note) VALUES (:plan, 'dismissed', :note)"
        await insert(database, event, {"plan": plan, "note": note})
    return plan


# ---- aggregates


def performance(key: str, *, provider: str = "fast", success: bool = True, at: datetime = NOW) -> Performance:
    return Performance(
        key=key, agent="code_reviewer", task_type="review", provider=provider, success=success, cost=0.1, at=at
    )


async def test_an_agents_memory_is_made_of_what_it_did_and_does_not_shrink_when_that_is_purged(
    database: Database, objects: ObjectStore
) -> None:
    store = AggregateStore(database)
    for number in range(8):
        await store.note_performance(performance(f"fast/{number}", success=number < 4, at=LONG_AGO))
        await store.note_performance(performance(f"good/{number}", provider="good"))
        await store.note_performance(performance(f"good/{number}", provider="good"))
    assert await store.aggregate(LATELY, NOW) == 1
    first = await store.get("code_reviewer")
    assert first is not None
    assert (first.total_interactions, first.success_rate, first.preferred_models) == (16, 0.75, {"review": "good"})
    assert first.average_cost == pytest.approx(0.1)
    assert first.learned_patterns["review by good"].times == 8
    assert [change["to"] for change in first.evolution_history] == ["good"]

    purged = await MemoryRetention(database, objects).purge(Purged.PERFORMANCE, QUARTER_AGO, NOW)
    await store.aggregate(LATELY, NOW)

    assert purged.removed == 8
    assert await left(database, "agent_performance") == 8
    again = await store.get("code_reviewer")
    assert again is not None
    assert again.average_cost == pytest.approx(0.1)
    assert again.model_copy(update={"average_cost": first.average_cost}) == first


# ---- proposals


def proposal(change: object, kind: ProposalKind, key: str = "key", of: str = "work") -> NewProposal:
    return NewProposal.model_validate(
        {
            "key": key,
            "kind": kind,
            "what": "what",
            "why": "why",
            "evidence": Evidence(count=3, days=30, repeated=Repeated.model_validate({"of": of, "scope": "s"})),
            "expected_effect": "less of it",
            "change": change,
        }
    )


async def opened(database: Database, new: NewProposal) -> UUID:
    store = ProposalStore(database)
    assert await store.open(new)
    return (await store.list(limit=1))[0].id


async def test_a_proposal_is_made_once_also_when_it_was_rejected_and_purged(
    database: Database, objects: ObjectStore
) -> None:
    store = ProposalStore(database)
    new = proposal(OpenTodo(title="t", scope="s"), ProposalKind.OPEN_TODO)
    one = await opened(database, new)
    assert not await store.open(new)
    assert (await store.reject(one, MIRA, "no")).status is ProposalStatus.REJECTED
    assert (await store.reject(one, MIRA, "no")).status is ProposalStatus.REJECTED
    with pytest.raises(ConflictError, match="rejected already"):
        await store.accept(one, MIRA)
    await insert(database, "UPDATE brainops.proposals SET decided_at = :at", {"at": LONG_AGO})
    retention = MemoryRetention(database, objects)
    assert (await retention.purge(Purged.PROPOSALS, QUARTER_AGO, NOW)).removed == 1
    assert (await retention.purge(Purged.PROPOSALS, QUARTER_AGO, NOW)).removed == 0
    assert not await store.open(new)
    assert (await store.get(str(one)[:8])).what == ""
    assert (await TodoStore(database).list(TodoList())).todos == ()
    with pytest.raises(NotFoundError):
        await store.get("00000000")
    with pytest.raises(BadInputError, match="four"):
        await store.get("%%%%")


async def test_an_accepted_merge_leaves_one_memory_with_what_both_had(database: Database) -> None:
    older = await told(database, "Deploys happen on Fridays.", tags=("a",), importance=0.4)
    newer = await told(database, "We deploy every Friday.", tags=("b",), importance=0.9, pinned=True)
    one = await opened(database, proposal(MergeMemories(keep=older, merge=(newer,)), ProposalKind.MERGE_MEMORIES))

    await ProposalStore(database).accept(one, MIRA)

    kept, closed = await PersistentStore(database).get_many([older, newer])
    assert (kept.valid_to, kept.tags, kept.importance, kept.pinned) == (None, ("a", "b"), 0.9, True)
    assert (closed.superseded_by, closed.valid_to is None) == (older, False)
    (deed,) = await DeedStore(database).work(5)
    assert (deed.action, str(deed.actor), deed.agent) == ("proposal_accepted", "person:mira", "context_keeper")


async def test_a_merge_whose_memories_are_gone_is_withdrawn(database: Database) -> None:
    change = MergeMemories(keep=uuid4(), merge=(uuid4(),))
    one = await opened(database, proposal(change, ProposalKind.MERGE_MEMORIES))
    assert (await ProposalStore(database).accept(one, MIRA)).status is ProposalStatus.WITHDRAWN


async def test_accepting_writes_knowledge_runbooks_and_todos_once(database: Database) -> None:
    store = ProposalStore(database)
    knowledge = PromoteKnowledge(content="Where are the logs? In /var/log/shop.", type="answer", scope="project:shop")
    runbook = Runbook(signature=SIGNATURE, remedy="restart", solution="restarted it", successes=3)
    todo = OpenTodo(title="Find the cause", scope="default")
    for change in (knowledge, runbook, todo):
        one = await opened(database, proposal(change, change.kind, key=change.kind))
        assert (await store.accept(one, MIRA)).status is ProposalStatus.ACCEPTED
        # as after a crash between the change and the mark
        await insert(database, "UPDATE brainops.proposals SET status = 'open' WHERE id = :id", {"id": one})
        await store.accept(one, MIRA)

    (memory,) = await PersistentStore(database).current(("project:shop",))
    assert (memory.content, memory.type, memory.reinforced) == (knowledge.content, "answer", 0)
    entry = await KnowledgeStore(database).get(SIGNATURE.key)
    assert (entry.remedy, entry.origin, entry.author) == ("restart", "person", "person:mira")
    assert [one.title for one in (await TodoStore(database).list(TodoList())).todos] == ["Find the cause"]
    assert len(await DeedStore(database).work(9)) == 3


# ---- what repeats


async def test_faults_that_come_back_and_what_people_did_about_them_are_seen(database: Database) -> None:
    for number in range(keeper.LEAST_FAULTS):
        await incident(database, opened=LATELY + timedelta(hours=number), closed=LATELY + timedelta(days=1))
    for _ in range(keeper.LEAST_SETTLED):
        await incident(database, opened=LATELY, closed=LATELY, status="dismissed", said="Restarted it: by hand")
    await incident(database, opened=LONG_AGO, closed=LONG_AGO)
    repeats, since = RepeatStore(database), NOW - keeper.WINDOW

    (fault,) = await repeats.faults(since, keeper.LEAST_FAULTS)
    assert (fault.service, fault.count, fault.resolved, fault.remedy) == ("shop", 5, 5, "restart")
    cause = keeper.propose_cause(fault)
    assert cause is not None
    assert cause.change == OpenTodo(title="Find the cause: shop: it ended", scope="default")
    (runbook,) = keeper.propose_runbooks(await repeats.settled(since))
    assert runbook.change == Runbook(
        signature=SIGNATURE, remedy="restart", solution="Restarted it: by hand", successes=3
    )
    assert await repeats.count(cause.evidence.repeated, since, NOW) == 8


async def test_new_memories_are_compared_with_what_was_known_page_by_page(database: Database) -> None:
    older = await told(database, "The checkout service is deployed from main.")
    newer = await told(database, "Checkout services are deployed from main")
    other = await told(database, "The checkout service is deployed from main.", scopes=("project:blog",))
    await Indexer(database).run_once()
    repeats = RepeatStore(database)
    place, seen = await repeats.compared_until(), list[tuple[UUID, UUID]]()
    following: Place | None = place
    while following is not None:
        pairs, following = await repeats.near_pairs(following, 1)
        seen += [(pair.newer.id, pair.older.id) for pair in pairs]
    assert seen == [(newer, older)]
    assert other not in seen[0]


# ---- where memory runs alone


async def test_memory_that_runs_alone_merges_archives_and_purges_once_a_day(
    database: Database, objects: ObjectStore
) -> None:
    sessions = SessionStore(database, ArtifactStore(database, objects))
    await sessions.start(SessionStart(session_id="old", at=LONG_AGO))
    said = NewMessage(role=Role.SYSTEM, parts=(TextPart(text="hello"),), at=LONG_AGO)
    await sessions.append(Append(session_id="old", messages=(said,)))
    ended = await told(database, "an old fact", valid_from=LONG_AGO)
    await PersistentStore(database).resolve(Resolve(id=ended, at=LONG_AGO))
    same = [await told(database, words) for words in ("The shop listens on port 8443.", "Shop listens on port 8443")]
    await Indexer(database).run_once()

    async def upkeep() -> bool:
        return await daily_upkeep(database, objects, timedelta(days=30), timedelta(days=200))

    assert sorted([await upkeep(), await upkeep()]) == [False, True]
    assert (await sessions.get("old")).archived_at is not None
    kept = await PersistentStore(database).get_many([ended, *same])
    assert [one.superseded_by for one in kept] == [None, None, same[0]]
    await insert(database, "UPDATE brainops.work_history SET started_at = started_at - interval '25 hours'")
    assert await daily_upkeep(database, objects, timedelta(days=30), timedelta(days=90))
    assert await PersistentStore(database).get_many([ended]) == []
    assert await left(database, "sessions") == 0


async def test_two_processes_do_not_look_after_memory_at_the_same_time(
    database: Database, objects: ObjectStore
) -> None:
    rounds = [daily_upkeep(database, objects, timedelta(days=30), timedelta(days=90)) for _ in range(2)]
    assert sorted(await asyncio.gather(*rounds)) == [False, True]
