"""What ContextKeeper does in a round of consolidation: reads sessions, merges, looks for what repeats, measures.

Memory's modules are imported where they are needed: a control worker at rest holds none of them.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from temporalio import activity

from activities.heartbeat import heartbeating
from activities.recording import recorded
from agents import context_keeper as keeper
from brainops.contracts.agent import AgentName
from brainops.contracts.base import Actor, ActorKind
from brainops.contracts.keeping import (
    ConsolidationRequest,
    Found,
    Merged,
    NewProposal,
    ReadSession,
    Repeated,
    UnreadSessions,
)
from brainops.contracts.recording import WorkRecord
from brainops.crew.store import CrewStore
from brainops.database.engine import Database
from brainops.memory.deeds import DeedStore
from brainops.storage.objects import ObjectStore

if TYPE_CHECKING:
    from brainops.memory.repeats import Pair

_KEEPER = AgentName.CONTEXT_KEEPER

MEMORIES_AT_ONCE = 100
"""New memories that are compared in one query."""

MOST_ANSWERED = 20
"""Questions of one round whose answers are proposed: the most asked."""


class Consolidation:
    """What the consolidation schedule runs."""

    def __init__(self, database: Database, objects: ObjectStore, crew: CrewStore, deeds: DeedStore) -> None:
        self._database = database
        self._objects = objects
        self._crew = crew
        self._deeds = deeds

    @activity.defn
    async def keeper_may_work(self) -> bool:
        """Whether ContextKeeper is neither paused nor switched off."""
        state = await self._crew.load(_KEEPER)
        return state is None or (state.enabled and not state.paused)

    @activity.defn
    async def unread_sessions(self, request: ConsolidationRequest) -> UnreadSessions:
        """Sessions that are over or quiet, and were not read to their end."""
        from brainops.memory.repeats import RepeatStore  # noqa: PLC0415

        quiet_since = datetime.now(UTC) - timedelta(minutes=request.quiet_minutes)
        found = await RepeatStore(self._database).unread(quiet_since, request.most_sessions)
        return UnreadSessions(session_ids=tuple(found))

    @activity.defn
    @recorded("read_session", _KEEPER)
    async def read_session(self, request: ReadSession) -> int:
        """Write down what a session decided, left open and learned. Returns up to which message it was read."""
        from brainops.memory.artifacts import ArtifactStore  # noqa: PLC0415
        from brainops.memory.episodic import EpisodeStore  # noqa: PLC0415
        from brainops.memory.learning import SessionLearner  # noqa: PLC0415
        from brainops.memory.persistent import PersistentStore  # noqa: PLC0415
        from brainops.memory.sessions import SessionStore  # noqa: PLC0415
        from brainops.memory.work import WorkStore  # noqa: PLC0415

        async with heartbeating():
            episodes = EpisodeStore(self._database, self._objects)
            sessions = SessionStore(self._database, ArtifactStore(self._database, self._objects), episodes=episodes)
            learner = SessionLearner(sessions, PersistentStore(self._database), WorkStore(self._database, None))
            try:
                return (await learner.learn(request.session_id)).understood
            except Exception:  # whatever it is, this session must not come first again in the next round
                await sessions.put_off(request.session_id)
                raise

    @activity.defn
    @recorded("merge_memories", _KEEPER)
    async def merge_memories(self, _request: ConsolidationRequest) -> Merged:
        """Compare what is new with what was known: merge what certainly says the same, propose what likely does."""
        from brainops.memory.repeats import Place, RepeatStore  # noqa: PLC0415

        repeats = RepeatStore(self._database)
        reached = activity.info().heartbeat_details
        place = (
            Place(datetime.fromisoformat(reached[0]), UUID(reached[1])) if reached else await repeats.compared_until()
        )
        total = Merged()
        async with heartbeating(lambda: (place.created_at.isoformat(), str(place.id))):
            while True:
                pairs, following = await repeats.near_pairs(place, MEMORIES_AT_ONCE)
                if following is None:
                    return total
                done = await self._judge(pairs)
                total = Merged(
                    compared=total.compared + len({pair.newer.id for pair in pairs}),
                    merged=total.merged + done.merged,
                    proposed=total.proposed + done.proposed,
                )
                place = following

    @activity.defn
    @recorded("propose_repeats", _KEEPER)
    async def propose_repeats(self, _request: ConsolidationRequest) -> Found:
        """Look for questions, faults and work that repeat, and write proposals."""
        from brainops.memory.repeats import RepeatStore  # noqa: PLC0415

        repeats = RepeatStore(self._database)
        since = datetime.now(UTC) - keeper.WINDOW
        async with heartbeating():
            questions = await repeats.questions(since)
            groups = (await asyncio.to_thread(keeper.repeated_questions, questions))[:MOST_ANSWERED]
            answers = await repeats.answers([group[-1] for group in groups])
            faults = await repeats.faults(since, keeper.LEAST_FAULTS)
            settled = await repeats.settled(since)
            work = await repeats.finished_work(since)
            proposals = [
                keeper.propose_answer(group, answers[group[-1].message_id])
                for group in groups
                if group[-1].message_id in answers
            ]
            proposals += [proposal for fault in faults if (proposal := keeper.propose_cause(fault)) is not None]
            proposals += keeper.propose_runbooks(settled)
            proposals += keeper.propose_repeatable_work(work)
            looked_at = len(questions) + len(faults) + len(settled) + len(work)
            return Found(looked_at=looked_at, proposed=await self._propose(proposals))

    @activity.defn
    async def aggregate_agents(self, _request: ConsolidationRequest) -> int:
        """Bring what is known of how each agent works up to date. Returns of how many agents."""
        from brainops.memory.aggregates import AggregateStore  # noqa: PLC0415

        now = datetime.now(UTC)
        async with heartbeating():
            return await AggregateStore(self._database).aggregate(now - keeper.WINDOW, now)

    @activity.defn
    @recorded("measure_proposals", _KEEPER)
    async def measure_proposals(self, _request: ConsolidationRequest) -> int:
        """Count what came after accepted proposals. Returns how many were measured."""
        from brainops.memory.proposals import ProposalStore  # noqa: PLC0415

        store = ProposalStore(self._database)
        now = datetime.now(UTC)
        measured = 0
        async with heartbeating():
            for proposal in await store.to_measure(now, keeper.MEASURED_AFTER, keeper.MEASURED_WITHIN):
                decided_at, evidence = proposal.decided_at, proposal.evidence
                span = keeper.measured_over(decided_at, now) if decided_at else None
                if decided_at is None or evidence is None or span is None:
                    continue
                after = await self._count(evidence.repeated, decided_at, decided_at + span)
                await store.save_measured(proposal.id, keeper.measured(evidence, after, span, now))
                measured += 1
        return measured

    async def _count(self, repeated: Repeated, since: datetime, until: datetime) -> int:
        from brainops.memory.repeats import RepeatStore  # noqa: PLC0415

        repeats = RepeatStore(self._database)
        if repeated.of == "questions":
            return sum(
                (asked.scope, asked.owner) == (repeated.scope, repeated.owner)
                and asked.at < until
                and keeper.same_question(repeated.terms, asked.terms)
                for asked in await repeats.questions(since)
            )
        if repeated.of == "work":
            return sum(
                work.scope == repeated.scope
                and work.done_at < until
                and keeper.same_work(repeated.terms, work.description)
                for work in await repeats.finished_work(since)
            )
        return await repeats.count(repeated, since, until)

    async def _judge(self, pairs: "list[Pair]") -> Merged:
        from brainops.memory.persistent import PersistentStore  # noqa: PLC0415
        from brainops.memory.proposals import merge  # noqa: PLC0415

        persistent = PersistentStore(self._database)
        merged: set[UUID] = set()
        likely: dict[UUID, NewProposal] = {}
        for pair in pairs:
            sameness = keeper.sameness(pair.newer, pair.older, pair.cosine)
            if sameness is keeper.Sameness.SAME and pair.newer.id not in merged:
                began = datetime.now(UTC)
                if await merge(persistent, pair.older.id, [pair.newer.id], began):
                    merged.add(pair.newer.id)
                    await self._deeds.record_work(_merge_deed(pair.older.id, pair.newer.id, began))
            elif sameness is keeper.Sameness.LIKELY:
                likely.setdefault(pair.newer.id, keeper.propose_merge(pair.newer, pair.older))
        proposals = [proposal for newer, proposal in likely.items() if newer not in merged]
        return Merged(merged=len(merged), proposed=await self._propose(proposals))

    async def _propose(self, proposals: list[NewProposal]) -> int:
        if not proposals:
            return 0
        from brainops.memory.proposals import ProposalStore  # noqa: PLC0415

        store = ProposalStore(self._database)
        known = await store.known()
        fresh = [proposal for proposal in proposals if not keeper.is_known(proposal, known)]
        return sum([await store.open(proposal) for proposal in fresh])


def _merge_deed(kept: UUID, closed: UUID, began: datetime) -> WorkRecord:
    info = activity.info()
    return WorkRecord(
        key=f"merge/{closed}/{kept}",
        task_id=info.activity_id,
        agent=_KEEPER,
        actor=Actor(kind=ActorKind.AGENT, name=_KEEPER),
        action="merge_memory",
        input={"kept": str(kept), "superseded": str(closed)},
        success=True,
        duration_ms=(datetime.now(UTC) - began).total_seconds() * 1000,
        workflow_id=info.workflow_id or "",
        run_id=info.workflow_run_id or "",
        started_at=began,
    )
