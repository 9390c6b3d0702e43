"""How fast memory is: `python benchmarks/memory_speed.py --check`.

First as a library on a real Postgres that waits for the disk: appends to sessions of 0, 1,000, 10,000 and 100,000
messages, one after the other in turn, so that all meet the same machine; then 64 writers at once. Then two tenants are
filled through the stores themselves (what the public calls run, in larger batches), and 18 get copies of the smaller
one's rows. Then as a user meets it, over the
Unix socket of `brainops up --only memory`: remember, recall in the tenant with 100,000 rows, restore, and whole
`brainops-hook` processes.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast
from uuid import uuid4

import psutil
import psycopg
from psycopg import sql
from rich.table import Table

from benchmarks import harness
from benchmarks.chat_texts import Chat
from benchmarks.memory_stage import MemoryStage, memory_alone
from brainops.config.paths import StatePaths
from brainops.contracts import memory as m
from brainops.contracts.base import DEFAULT_TENANT
from brainops.contracts.message import Role, TextPart
from brainops.database.embedded import EmbeddedPostgres, running_postgres
from brainops.database.engine import Database
from brainops.database.migrate import upgrade
from brainops.memory.artifacts import ArtifactStore
from brainops.memory.indexing import Indexer
from brainops.memory.ranking.embedding import Embedder, WordLlamaEmbedder
from brainops.memory.sessions import SessionStore
from brainops.storage.objects import ObjectStore
from interfaces.demo.stage import temporary_folder

LENGTHS = (0, 1_000, 10_000, 100_000)
"""Messages that a session has already when one more is appended."""

OTHERS = 19
"""Tenants beside the one that is asked."""

WRITERS = 64
SESSION_LENGTH = 40
TOGETHER = 500
INDEXED_TOGETHER = 1_000
SCOPE = "chats"
PROJECT = "shop"
RESTORED_SCOPE = f"project:{PROJECT}"
RESTORED_SESSIONS = 12
WARM_UP = 20


class Store:
    """Sessions and index of one tenant, as a library."""

    def __init__(self, url: str, tenant_id: str, objects: ObjectStore, embedder: Embedder) -> None:
        self.database = Database(url, tenant_id=tenant_id, pool_size=5)
        self.sessions = SessionStore(self.database, ArtifactStore(self.database, objects))
        self._indexer = Indexer(self.database, embedder)

    async def begin(self, session_id: str, scope: str = SCOPE) -> str:
        """Begin a session."""
        await self.sessions.start(m.SessionStart(session_id=session_id, scope=scope, agent="benchmark"))
        return session_id

    async def grow(self, session_id: str, chat: Chat, count: int) -> None:
        """Append `count` messages, many at once."""
        for first in range(0, count, TOGETHER):
            some = tuple(said(chat.message()) for _ in range(min(TOGETHER, count - first)))
            await self.sessions.append(m.Append(session_id=session_id, messages=some))

    async def prepare(self) -> None:
        """Make the tenant's partition."""
        await self._indexer.prepare()

    async def fill(self, chat: Chat, rows: int) -> None:
        """Sessions with `rows` messages in all, indexed by words and meanings."""
        for first in range(0, rows, SESSION_LENGTH):
            session_id = await self.begin(f"chat-{first // SESSION_LENGTH}")
            await self.grow(session_id, chat, min(SESSION_LENGTH, rows - first))
        while await self._indexer.run_once(INDEXED_TOGETHER):
            pass
        while await self._indexer.embed_once(INDEXED_TOGETHER):
            pass


def said(text: str, role: Role = Role.USER) -> m.NewMessage:
    """A message of one text."""
    return m.NewMessage(role=role, parts=(TextPart(text=text),))


async def measured(work: Callable[[], Awaitable[object]], count: int) -> list[float]:
    """Seconds of each of `count` runs, after some that are not counted."""
    for _ in range(WARM_UP):
        await work()
    seconds: list[float] = []
    for _ in range(count):
        begun = time.perf_counter()
        await work()
        seconds.append(time.perf_counter() - begun)
    return seconds


# ---- as a library


async def appends(store: Store, chat: Chat, rounds: int) -> dict[int, list[float]]:
    """Seconds of single appends, by how long the session was."""
    grown = {length: await store.begin(f"long-{length}") for length in LENGTHS if length}
    for length, session_id in grown.items():
        await store.grow(session_id, chat, length)
    harness.say("sessions of up to 100,000 messages are there")
    seconds: dict[int, list[float]] = {length: [] for length in LENGTHS}
    for number in range(-WARM_UP, rounds):
        for length in LENGTHS:
            session_id = grown[length] if length else await store.begin(f"new-{uuid4()}")
            request = m.Append(session_id=session_id, messages=(said(chat.message()),))
            begun = time.perf_counter()
            await store.sessions.append(request)
            if number >= 0:
                seconds[length].append(time.perf_counter() - begun)
    return seconds


def commits(url: str, rounds: int) -> list[float]:
    """Seconds of the least that any durable write costs here: one row, one commit, on a connection of its own."""
    seconds: list[float] = []
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE TABLE public.floor (value text)")
        for _ in range(rounds):
            begun = time.perf_counter()
            connection.execute("INSERT INTO public.floor VALUES ('x')")
            seconds.append(time.perf_counter() - begun)
    return seconds


async def crowd(store: Store, chat: Chat, seconds: float) -> tuple[float, list[float]]:
    """Appends a second of `WRITERS` at once, each to a session of its own, and how long each took."""
    took: list[float] = []
    texts = [chat.message() for _ in range(2_000)]

    async def write(number: int, until: float) -> None:
        session_id = await store.begin(f"writer-{number}-{uuid4()}")
        chance = random.Random(number)
        while (begun := time.perf_counter()) < until:
            await store.sessions.append(m.Append(session_id=session_id, messages=(said(chance.choice(texts)),)))
            took.append(time.perf_counter() - begun)

    started = time.perf_counter()
    await asyncio.gather(*(write(number, started + seconds) for number in range(WRITERS)))
    return len(took) / (time.perf_counter() - started), took


async def as_a_library(state: StatePaths, given: argparse.Namespace) -> dict[str, float]:
    """Appends, and the tenants filled for what follows."""
    chat = Chat(given.seed)
    objects = ObjectStore(state.objects)
    embedder = cast("Embedder", WordLlamaEmbedder())
    async with database_server(state) as server:
        async with opened(server.app_url, "writers", objects, embedder) as store:
            by_length = await appends(store, chat, given.rounds)
            floor = commits(server.owner_url, given.rounds)
            rate, crowded = await crowd(store, chat, given.crowd_seconds)
        harness.wide_console().print(append_table(by_length))
        begun = time.perf_counter()
        others = [f"other-{number}" for number in range(OTHERS)]
        async with opened(server.app_url, others[0], objects, embedder) as store:
            await store.fill(chat, given.tenant_rows)
        for other in others[1:]:
            async with opened(server.app_url, other, objects, embedder) as store:
                await store.prepare()
        copy_tenant(server.owner_url, others[0], others[1:])
        async with opened(server.app_url, DEFAULT_TENANT, objects, embedder) as store:
            await store.fill(chat, given.rows)
        filled = time.perf_counter() - begun
        tidy(server.owner_url)
    rows = given.rows + OTHERS * given.tenant_rows
    harness.say(f"{rows:,} messages of {OTHERS + 1} tenants loaded and indexed in {filled:.0f} s")
    everything = [seconds for some in by_length.values() for seconds in some]
    return {
        "append_p50": harness.percentile(everything, 0.5),
        "append_p95": harness.percentile(everything, 0.95),
        "append_growth": harness.percentile(by_length[LENGTHS[-1]], 0.5) / harness.percentile(by_length[0], 0.5),
        "commit_p50": harness.percentile(floor, 0.5),
        "commit_p95": harness.percentile(floor, 0.95),
        "appends_per_second": rate,
        "crowded_append_p95": harness.percentile(crowded, 0.95),
        "load_seconds": filled,
    }


@asynccontextmanager
async def database_server(state: StatePaths) -> AsyncGenerator[EmbeddedPostgres]:
    """Postgres with the settings of `brainops up`, its tables made."""
    async with running_postgres(state) as server:
        await asyncio.to_thread(upgrade, server.owner_url, state)
        yield server


@asynccontextmanager
async def opened(url: str, tenant_id: str, objects: ObjectStore, embedder: Embedder) -> AsyncGenerator[Store]:
    """The store of a tenant."""
    store = Store(url, tenant_id, objects, embedder)
    try:
        yield store
    finally:
        await store.sessions.close()
        await store.database.close()


def copy_tenant(url: str, tenant: str, others: Sequence[str]) -> None:
    """Give other tenants the same rows."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        for table in ("sessions", "messages", "memory_chunks"):
            found = connection.execute(
                "SELECT column_name FROM information_schema.columns"
                " WHERE table_schema = 'brainops' AND table_name = %s AND column_name <> 'tenant_id'",
                (table,),
            ).fetchall()
            columns = sql.SQL(", ").join(sql.Identifier(name) for (name,) in found)
            copy = sql.SQL(
                "INSERT INTO brainops.{table} (tenant_id, {columns}) SELECT %s, {columns} FROM brainops.{table} WHERE tenant_id = %s"
            ).format(table=sql.Identifier(table), columns=columns)
            for other in others:
                connection.execute(copy, (other, tenant))


def tidy(url: str) -> None:
    """What autovacuum would do within the next minutes, so that it does not do it while we measure."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def append_table(by_length: Mapping[int, Sequence[float]]) -> Table:
    """A row for each length of the session."""
    table = Table("messages before", "appends", "p50", "p95", title="append, ms")
    for length, seconds in by_length.items():
        shown = (harness.percentile(seconds, share) * 1_000 for share in (0.5, 0.95))
        table.add_row(f"{length:,}", str(len(seconds)), *(f"{value:.2f}" for value in shown))
    return table


# ---- as a user meets it


async def as_a_user(folder: Path, given: argparse.Namespace) -> dict[str, float]:
    """Recall, remember, restore and hooks of a running memory that holds `given.rows` rows."""
    chat = Chat(given.seed + 1)
    async with memory_alone(folder) as stage:
        begun = time.perf_counter()
        await stage.call("recall", m.Recall(query=chat.question(), scopes=(SCOPE,)))
        first = time.perf_counter() - begun
        await project_of_sessions(stage, chat)
        await stage.indexed()

        async def recall() -> None:
            await stage.call("recall", m.Recall(query=chat.question(), scopes=(SCOPE,)))

        async def remember() -> None:
            memory = m.NewMemory(content=chat.message(), scopes=(SCOPE,))
            await stage.call("remember", m.Remember(memory=memory))

        async def restore() -> None:
            await stage.call("session_restore", m.Restore(scope=RESTORED_SCOPE, prompt=chat.question()))

        recalled = await measured(recall, given.rounds)
        remembered = await measured(remember, given.rounds)
        after_write: list[float] = []
        for _ in range(given.rounds // 2):
            await remember()
            after_write += await timed(recall)
        restored = await measured(restore, given.rounds // 2)
        hooked = hooks(stage, chat, given.rounds // 5)
        pid = stage.stack.pid_of("api")
        rss = psutil.Process(pid).memory_info().rss if pid else float("nan")
    harness.wide_console().print(hook_table(hooked))
    everything = [seconds for some in hooked.values() for seconds in some]
    return {
        "first_recall_seconds": first,
        **shares("recall", recalled),
        "recall_after_write_p95": harness.percentile(after_write, 0.95),
        **shares("remember", remembered),
        **shares("restore", restored),
        **shares("hook", everything),
        "api_rss_bytes": rss,
    }


async def timed(work: Callable[[], Awaitable[object]]) -> list[float]:
    """Seconds of one run."""
    begun = time.perf_counter()
    await work()
    return [time.perf_counter() - begun]


def shares(name: str, seconds: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    return {f"{name}_p50": harness.percentile(seconds, 0.5), f"{name}_p95": harness.percentile(seconds, 0.95)}


async def project_of_sessions(stage: MemoryStage, chat: Chat) -> None:
    """A project that is worked on: sessions with decisions, open work and errors, ended and understood."""
    for number in range(RESTORED_SESSIONS):
        session_id = f"work-{number}"
        await stage.call("session_start", m.SessionStart(session_id=session_id, scope=RESTORED_SCOPE))
        messages = tuple(
            said(text, Role.USER if place % 2 == 0 else Role.ASSISTANT)
            for place, text in enumerate(chat.work(SESSION_LENGTH))
        )
        await stage.call("session_append", m.Append(session_id=session_id, messages=messages))
        await stage.call("session_end", m.SessionEnd(session_id=session_id))


def hooks(stage: MemoryStage, chat: Chat, rounds: int) -> dict[str, list[float]]:
    """Seconds of whole `brainops-hook` processes, by event, from their start to their end."""
    project = stage.home / PROJECT
    project.mkdir()
    program = str(Path(sys.executable).with_name("brainops-hook"))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(stage.home),
        "BRAINOPS_STATE_DIR": str(stage.stack.addresses.state_folder),
    }
    events: dict[str, Callable[[], Mapping[str, object]]] = {
        "SessionStart": lambda: {"source": "startup"},
        "UserPromptSubmit": lambda: {"prompt": chat.question()},
        "PostToolUse": lambda: {
            "tool_name": "Bash",
            "tool_input": {"command": "ls"},
            "tool_response": {"stdout": chat.message(), "stderr": ""},
            "tool_use_id": str(uuid4()),
        },
        "Stop": dict,
        "PreCompact": lambda: {"trigger": "auto"},
        "SessionEnd": lambda: {"reason": "other"},
    }
    seconds: dict[str, list[float]] = {name: [] for name in events}
    for number in range(-1, rounds):
        for name, fields in events.items():
            payload = {"hook_event_name": name, "session_id": f"hooked-{number}", "cwd": str(project), **fields()}
            begun = time.perf_counter()
            subprocess.run(
                [program],
                input=json.dumps(payload).encode(),
                env=environment,
                cwd=project,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            if number >= 0:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def hook_table(hooked: Mapping[str, Sequence[float]]) -> Table:
    """A row for each event."""
    table = Table("event", "processes", "p50", "p95", title="brainops-hook, ms")
    for name, seconds in hooked.items():
        shown = (harness.percentile(seconds, share) * 1_000 for share in (0.5, 0.95))
        table.add_row(name, str(len(seconds)), *(f"{value:.1f}" for value in shown))
    return table


async def measure(given: argparse.Namespace) -> dict[str, float]:
    """All figures."""
    with temporary_folder("memory-speed") as folder:
        library = await as_a_library(StatePaths(folder / "state"), given)
        return library | await as_a_user(folder, given)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print. Returns the exit code."""
    parser = harness.arguments(__doc__ or "")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rounds", type=int, default=400, metavar="N", help="of what is timed singly (default: 400)")
    parser.add_argument("--rows", type=int, default=100_000, metavar="N", help="of the tenant asked")
    parser.add_argument("--tenant-rows", type=int, default=5_000, metavar="N", help="of each other tenant")
    parser.add_argument("--crowd-seconds", type=float, default=10.0, metavar="S", help="that 64 writers write")
    given = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    found = asyncio.run(measure(given))
    harness.say(f"load average {load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end")
    return harness.finish("memory_speed", found, given)


if __name__ == "__main__":
    sys.exit(main())
