"""Memory as one thing: every public call, on the stores of the tiers.

Usable without a server of ours: a database and an object store are enough. The API process holds one for each tenant
that it serves; its index of words and meanings is loaded at the first recall.
"""

from collections.abc import Mapping

from pydantic import ValidationError

from brainops.contracts import memory as m
from brainops.contracts.base import Contract
from brainops.database.engine import Database
from brainops.errors import BadInputError, NotFoundError
from brainops.memory.artifacts import ArtifactStore
from brainops.memory.calls import BY_NAME, mistakes_of
from brainops.memory.episodic import EpisodeStore
from brainops.memory.forgetting import Forgetter
from brainops.memory.indexing import Indexer
from brainops.memory.learning import SessionLearner
from brainops.memory.persistent import PersistentStore
from brainops.memory.ranking.embedding import Embedder
from brainops.memory.recall import Recaller
from brainops.memory.restoring import Restorer
from brainops.memory.sessions import SessionStore
from brainops.memory.snapshots import SnapshotStore
from brainops.memory.statistics import read_stats
from brainops.memory.todos import TodoStore
from brainops.memory.verification import verify
from brainops.memory.work import WorkStore
from brainops.memory.working import WorkingStore
from brainops.storage.objects import ObjectStore


class MemoryService:
    """The public calls. Each takes its request and gives its answer; `call` finds them by name.

    Raises BadInputError, NotFoundError, ConflictError for what the caller can mend, and UnavailableError while
    Postgres is away. Object storage or the embedder being away stops no write.
    """

    def __init__(self, database: Database, objects: ObjectStore, embedder: Embedder | None = None) -> None:
        self.database = database
        self.artifacts = ArtifactStore(database, objects)
        episodes = EpisodeStore(database, objects)
        self.sessions = SessionStore(database, self.artifacts, episodes=episodes)
        self.working = WorkingStore(database)
        self.snapshots = SnapshotStore(database)
        self.todos = TodoStore(database)
        self.indexer = Indexer(database, embedder, episodes.find)
        self.persistent = PersistentStore(database)
        self.recaller = Recaller(database, embedder, self.indexer, episodes)
        self.work = WorkStore(database, embedder)
        self.learner = SessionLearner(self.sessions, self.persistent, self.work)
        self.restorer = Restorer(self.learner, self.persistent, self.snapshots, self.todos, self.work, database)
        self.forgetter = Forgetter(database, objects)
        self.objects = objects

    async def call(self, name: str, request: Mapping[str, object] | Contract) -> Contract:
        """The answer to a call by its name; a mapping is validated first. Raises NotFoundError for no such call."""
        call = BY_NAME.get(name)
        if call is None:
            raise NotFoundError(f"memory has no call {name!r}; there are {', '.join(sorted(BY_NAME))}")
        try:
            asked = request if isinstance(request, Contract) else call.request.model_validate(request)
        except ValidationError as error:
            raise BadInputError(mistakes_of(error)) from error
        return await getattr(self, name)(asked)

    async def session_start(self, request: m.SessionStart) -> m.SessionInfo:
        """See `CALLS`."""
        return await self.sessions.start(request)

    async def session_append(self, request: m.Append) -> m.Appended:
        """See `CALLS`."""
        return await self.sessions.append(request)

    async def session_stream(self, request: m.StreamText) -> m.Appended:
        """See `CALLS`."""
        return await self.sessions.stream(request)

    async def session_stream_end(self, request: m.StreamEnd) -> m.Appended:
        """See `CALLS`."""
        return await self.sessions.end_stream(request)

    async def session_messages(self, request: m.Messages) -> m.MessagePage:
        """See `CALLS`."""
        return await self.sessions.messages(request)

    async def session_end(self, request: m.SessionEnd) -> m.SessionInfo:
        """See `CALLS`."""
        await self.sessions.end(request)
        await self.learner.learn(request.session_id)
        return await self.sessions.get(request.session_id)

    async def session_list(self, request: m.ListSessions) -> m.SessionPage:
        """See `CALLS`."""
        return await self.sessions.list(request)

    async def session_save(self, request: m.SessionSave) -> m.Snapshot:
        """See `CALLS`."""
        session = await self.sessions.get(request.session_id)
        return await self.snapshots.save(request, session.scope)

    async def session_restore(self, request: m.Restore) -> m.Restored:
        """See `CALLS`."""
        return await self.restorer.restore(request)

    async def remember(self, request: m.Remember) -> m.Remembered:
        """See `CALLS`."""
        return await self.persistent.remember(request.memory)

    async def supersede(self, request: m.Supersede) -> m.Remembered:
        """See `CALLS`."""
        return await self.persistent.supersede(request)

    async def resolve(self, request: m.Resolve) -> m.Remembered:
        """See `CALLS`."""
        return await self.persistent.resolve(request)

    async def recall(self, request: m.Recall) -> m.RecallResult:
        """See `CALLS`."""
        return await self.recaller.recall(request)

    async def fetch(self, request: m.Fetch) -> m.Fetched:
        """See `CALLS`."""
        memories = await self.persistent.get_many(request.ids)
        found = {memory.id for memory in memories}
        messages = await self.sessions.get_messages([one for one in request.ids if one not in found])
        found |= {message.id for message in messages}
        contents = await self.artifacts.fetch_many(request.artifact_keys)
        unknown = [str(one) for one in request.ids if one not in found]
        unknown += [key for key in request.artifact_keys if key not in {content.key for content in contents}]
        return m.Fetched(
            memories=tuple(memories), messages=tuple(messages), artifacts=tuple(contents), unknown=tuple(unknown)
        )

    async def forget(self, request: m.Forget) -> m.Forgotten:
        """See `CALLS`."""
        return await self.forgetter.forget(request)

    async def todo_add(self, request: m.TodoAdd) -> m.Todo:
        """See `CALLS`."""
        return await self.todos.add(request)

    async def todo_update(self, request: m.TodoUpdate) -> m.Todo:
        """See `CALLS`."""
        return await self.todos.update(request)

    async def todo_list(self, request: m.TodoList) -> m.Todos:
        """See `CALLS`."""
        return await self.todos.list(request)

    async def work_check(self, request: m.WorkCheck) -> m.WorkChecked:
        """See `CALLS`."""
        return await self.work.check(request)

    async def work_claim(self, request: m.WorkClaim) -> m.WorkClaimed:
        """See `CALLS`."""
        return await self.work.claim(request)

    async def work_done(self, request: m.WorkDone) -> m.WorkItem:
        """See `CALLS`."""
        return await self.work.done(request)

    async def decision_record(self, request: m.Decide) -> m.Remembered:
        """See `CALLS`."""
        return await self.persistent.decide(request)

    async def working_set(self, request: m.SetWorking) -> m.WorkingValue:
        """See `CALLS`."""
        return await self.working.set(request)

    async def working_get(self, request: m.GetWorking) -> m.WorkingValues:
        """See `CALLS`."""
        return await self.working.get(request)

    async def working_delete(self, request: m.DeleteWorking) -> m.WorkingValues:
        """See `CALLS`."""
        return await self.working.delete(request)

    async def stats(self, _request: m.Nothing) -> m.Stats:
        """See `CALLS`."""
        return await read_stats(self.database)

    async def verify(self, _request: m.Nothing) -> m.Verified:
        """See `CALLS`."""
        return await verify(self.database, self.objects)
