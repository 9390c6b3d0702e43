"""ContextKeeper's two rounds, whole: sessions are read, memories merged, repetition proposed; the old is archived and purged."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from house import PERSON, Builder, House, eventually
from sqlalchemy import text
from temporalio.client import Client

from brainops.contracts.agent import AgentName, AgentSettings, AgentState
from brainops.contracts.keeping import ConsolidationRequest, MemoryRetentionRequest, ProposalKind
from brainops.contracts.memory import Append, NewMemory, NewMessage, Resolve, SessionEnd, SessionStart
from brainops.contracts.message import Role, TextPart
from brainops.contracts.names import (
    CONSOLIDATION_SCHEDULE_ID,
    CONTROL_QUEUE,
    MEMORY_RETENTION_SCHEDULE_ID,
    agent_workflow_id,
)
from brainops.crew.store import CrewStore
from brainops.memory.artifacts import ArtifactStore
from brainops.memory.deeds import DeedStore
from brainops.memory.episodic import EpisodeStore
from brainops.memory.indexing import Indexer
from brainops.memory.persistent import PersistentStore
from brainops.memory.proposals import ProposalStore
from brainops.memory.sessions import SessionStore
from workflows.agent import AgentWorkflow
from workflows.consolidation import ConsolidationWorkflow
from workflows.memory_retention import MemoryRetentionWorkflow

NOW = datetime.now(UTC)
SECRETIVE = "zanzibar"
"""A word of every text that is told here: it must not stand in any history."""

QUESTION = f"Where does the {SECRETIVE} checkout write its error log?"
ANSWER = f"Under /var/log/{SECRETIVE}."


async def tell(house: House, session: str, *said: str, days_ago: float) -> None:
    store = SessionStore(house.database, ArtifactStore(house.database, house.parts.objects))
    at = NOW - timedelta(days=days_ago)
    await store.start(SessionStart(session_id=session, agent="claude-code", scope="project:shop", at=at))
    roles = (Role.USER, Role.ASSISTANT)
    messages = tuple(
        NewMessage(role=roles[place % 2], parts=(TextPart(text=words),), at=at + timedelta(seconds=place))
        for place, words in enumerate(said)
    )
    await store.append(Append(session_id=session, messages=messages))
    await store.end(SessionEnd(session_id=session, at=at))


async def history(client: Client, workflow_id: str) -> str:
    return (await client.get_workflow_handle(workflow_id).fetch_history()).to_json()


async def test_a_round_reads_merges_and_proposes_and_the_next_one_archives_and_purges(builder: Builder) -> None:
    async with builder.house({}) as house:
        database, persistent = house.database, PersistentStore(house.database)
        for number in range(3):
            await tell(house, f"asked-{number}", QUESTION, ANSWER, days_ago=3 - number)
        await tell(house, "old", f"We decided to keep {SECRETIVE} on Postgres.", "Noted.", days_ago=100)
        same = [
            (await persistent.remember(NewMemory(content=words, scopes=("project:shop",)))).id
            for words in (f"The {SECRETIVE} queue lives in Postgres.", f"the {SECRETIVE} queue lives in postgres")
        ]
        stale = (await persistent.remember(NewMemory(content=f"{SECRETIVE} 1.0 runs", at=NOW - timedelta(days=99)))).id
        await persistent.resolve(Resolve(id=stale, at=NOW - timedelta(days=95)))
        await Indexer(database).run_once()

        done = await house.client.execute_workflow(
            ConsolidationWorkflow.run,
            ConsolidationRequest(),
            id=CONSOLIDATION_SCHEDULE_ID,
            task_queue=CONTROL_QUEUE,
        )

        assert (done.sessions_read, done.sessions_failed, done.merged) == (4, 0, 1)
        older, newer = await persistent.get_many(same)
        assert (older.valid_to, newer.superseded_by) == (None, older.id)
        deeds = {deed.action: deed for deed in await DeedStore(database).work(50)}
        assert deeds["merge_memory"].input == {"kept": str(older.id), "superseded": str(newer.id)}
        assert deeds["read_session"].agent == "context_keeper"
        (asked,) = [one for one in await ProposalStore(database).list() if one.kind is ProposalKind.PROMOTE_KNOWLEDGE]
        assert asked.evidence is not None
        assert (asked.evidence.count, set(asked.evidence.ids)) == (3, {"asked-0", "asked-1", "asked-2"})
        assert done.proposed == len(await ProposalStore(database).list())

        await ProposalStore(database).accept(asked.id, PERSON)
        backdated = text("UPDATE brainops.proposals SET decided_at = :at WHERE id = :id")
        await database.write(backdated, {"at": NOW - timedelta(days=14), "id": asked.id})
        again = await house.client.execute_workflow(
            ConsolidationWorkflow.run, ConsolidationRequest(), id=f"again/{uuid4()}", task_queue=CONTROL_QUEUE
        )
        assert (again.sessions_read, again.merged, again.proposed, again.measured) == (0, 0, 0, 1)
        measured = (await ProposalStore(database).get(str(asked.id))).measured
        assert measured is not None
        assert (measured.days, measured.after, measured.verdict) == (14, 3, "worse")
        assert round(measured.after_per_week, 2) == 1.5

        await Indexer(database).run_once()
        kept = await house.client.execute_workflow(
            MemoryRetentionWorkflow.run,
            MemoryRetentionRequest(),
            id=MEMORY_RETENTION_SCHEDULE_ID,
            task_queue=CONTROL_QUEUE,
        )

        assert (kept.sessions_archived, kept.messages_archived, kept.sessions_failed) == (1, 2, 0)
        assert (kept.purged["memories"], kept.purged["sessions"]) == (1, 1)
        assert await persistent.get_many([stale]) == []
        assert await EpisodeStore(database, house.parts.objects).read("old") == []
        for workflow_id in (CONSOLIDATION_SCHEDULE_ID, MEMORY_RETENTION_SCHEDULE_ID):
            told = await history(house.client, workflow_id)
            assert len(json.loads(told)["events"]) > 10
            assert SECRETIVE not in told.lower()

        await eventually(lambda: _finished_rounds(house, 3), "ContextKeeper knows of its three rounds")
        await _knows_its_work(house)
        await _scheduled_daily(house)
        await _pause(house)
        consolidated = await house.client.execute_workflow(
            ConsolidationWorkflow.run, ConsolidationRequest(), id=f"paused/{uuid4()}", task_queue=CONTROL_QUEUE
        )
        retained = await house.client.execute_workflow(
            MemoryRetentionWorkflow.run, MemoryRetentionRequest(), id=f"paused/{uuid4()}", task_queue=CONTROL_QUEUE
        )
        assert (consolidated.skipped, retained.skipped) == (True, True)


async def _finished_rounds(house: House, count: int) -> bool:
    life = house.client.get_workflow_handle_for(AgentWorkflow.run, agent_workflow_id(AgentName.CONTEXT_KEEPER))
    state = await life.query(AgentWorkflow.state)
    return (state.finished_count, state.current_work) == (count, ())


async def _knows_its_work(house: House) -> None:
    """A life that began under a release without work is told of it."""
    life = house.client.get_workflow_handle_for(AgentWorkflow.run, agent_workflow_id(AgentName.CONTEXT_KEEPER))
    for has_job, job in ((False, "none yet"), (True, "keeps context")):
        await life.signal(AgentWorkflow.configure, AgentSettings(has_job=has_job, job=job))
        state = await life.query(AgentWorkflow.state)
        assert (state.has_job, state.job) == (has_job, job)


async def _scheduled_daily(house: House) -> None:
    for schedule_id in (CONSOLIDATION_SCHEDULE_ID, MEMORY_RETENTION_SCHEDULE_ID):
        schedule = (await house.client.get_schedule_handle(schedule_id).describe()).schedule
        (at,) = schedule.spec.calendars
        assert len(at.hour) == len(at.minute) == 1
        assert schedule.spec.jitter


async def _pause(house: House) -> None:
    state = await CrewStore(house.database).load(AgentName.CONTEXT_KEEPER)
    assert isinstance(state, AgentState)
    assert state.has_job
    await CrewStore(house.database).save(state.model_copy(update={"paused": True}))
