"""What is found, by whom, and when: on a real server, by an index that follows it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import text

from brainops.contracts.incident import FaultKind, Signature
from brainops.contracts.memory import (
    Append,
    Filters,
    NewMemory,
    NewMessage,
    Recall,
    RecallKind,
    RecallResult,
    Resolve,
    SessionStart,
    Supersede,
)
from brainops.contracts.message import Role, TextPart
from brainops.database.engine import Database
from brainops.errors import BadInputError, UnavailableError
from brainops.memory.artifacts import ArtifactStore
from brainops.memory.indexing import Indexer
from brainops.memory.knowledge import KnowledgeStore, ToldKnowledge
from brainops.memory.persistent import PersistentStore
from brainops.memory.ranking.embedding import WordLlamaEmbedder
from brainops.memory.recall import Recaller
from brainops.memory.sessions import SessionStore
from brainops.storage.objects import ObjectStore

if TYPE_CHECKING:
    from brainops.memory.ranking.embedding import Vectors

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MODEL = WordLlamaEmbedder()


class Meanings:
    """The real embedder, which can be away."""

    model = MODEL.model
    dimensions = MODEL.dimensions
    away = False

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        if self.away:
            raise UnavailableError("nobody answers")
        return await MODEL.embed(texts)


class House:
    """The stores of one tenant, as one process has them."""

    def __init__(self, database: Database, folder: Path, embedder: Meanings | None = None) -> None:
        self.database = database
        self.embedder = embedder
        self.sessions = SessionStore(database, ArtifactStore(database, ObjectStore(folder)))
        self.persistent = PersistentStore(database)
        self.indexer = Indexer(database, embedder)
        self.recaller = Recaller(database, embedder, self.indexer)

    async def say(
        self, session: str, *texts: str, scope: str = "shop", at: datetime | None = None, **about: object
    ) -> list[UUID]:
        start = {"session_id": session, "scope": scope, **about}
        await self.sessions.start(SessionStart.model_validate(start))
        said = tuple(NewMessage(role=Role.USER, author="Ada", parts=(TextPart(text=one),), at=at) for one in texts)
        return list((await self.sessions.append(Append(session_id=session, messages=said))).ids)

    async def know(self, content: str, **about: object) -> UUID:
        memory = NewMemory.model_validate({"content": content, "scopes": ("shop",), **about})
        return (await self.persistent.remember(memory)).id

    async def ask(self, query: str, **about: object) -> RecallResult:
        return await self.recaller.recall(Recall.model_validate({"query": query, "scopes": ("shop",), **about}))

    async def found(self, query: str, **about: object) -> list[str]:
        return [result.text for result in (await self.ask(query, **about)).results]


@pytest_asyncio.fixture
async def house(database: Database, tmp_path: Path) -> AsyncGenerator[House]:
    yield House(database, tmp_path)


async def test_what_was_written_is_found_by_the_very_next_recall_of_any_process(
    house: House, app_url: str, tmp_path: Path
) -> None:
    other = House(Database(app_url), tmp_path)
    assert await house.found("parser") == await other.found("parser") == []
    for number in range(5):
        await house.know(f"the parser has rule {number}")
        assert len(await other.found("parser")) == number + 1
        assert len(await house.found("parser")) == number + 1
    await house.say("s1", "a parser joke")
    assert "Ada: a parser joke" in await other.found("parser")
    await other.database.close()


async def test_a_commit_that_comes_late_is_not_missed(house: House) -> None:
    await house.know("the first parser")
    assert len(await house.found("parser")) == 1
    async with house.database.transaction() as late:
        await late.execute(text("SELECT pg_current_xact_id()"))
        await house.know("the second parser")
        assert len(await house.found("parser")) == 2
        await late.execute(
            text("""
                UPDATE brainops.memory_chunks SET terms = 'lexer', changed = (pg_current_xact_id()::text)::bigint
                WHERE terms LIKE 'first%'
            """)
        )
        assert len(await house.found("parser")) == 2
    assert await house.found("lexer") == ["the first parser"]


async def test_current_facts_are_the_default_and_the_past_can_be_asked_for(house: House) -> None:
    old = await house.know("the shop listens on port 8080", at=NOON)
    new = await house.persistent.supersede(
        Supersede(id=old, memory=NewMemory(content="the shop listens on port 9090"), at=NOON + timedelta(days=2))
    )
    await house.know("a freeze of the port until Friday", at=NOON, expires_at=NOON + timedelta(days=1))
    assert await house.found("port of the shop") == ["the shop listens on port 9090"]
    then = await house.found("port of the shop", at=NOON + timedelta(hours=1))
    assert sorted(then) == ["a freeze of the port until Friday", "the shop listens on port 8080"]
    assert await house.found("port of the shop", at=NOON - timedelta(hours=1)) == []
    await house.persistent.resolve(Resolve(id=new.id))
    assert await house.found("port of the shop") == []


async def test_scopes_and_owners_are_kept_apart(house: House) -> None:
    await house.know("tabs for all", owner="")
    await house.know("tabs for ada", owner="ada")
    await house.know("tabs elsewhere", scopes=("other",))
    await house.know("tabs in both", scopes=("other", "shop"))
    await house.say("s1", "tabs we said", owner="ada")
    assert sorted(await house.found("tabs")) == ["tabs for all", "tabs in both"]
    assert len(await house.found("tabs", owner="ada")) == 4
    assert sorted(await house.found("tabs", scopes=("other",))) == ["tabs elsewhere", "tabs in both"]
    assert len(await house.found("tabs", scopes=("other", "shop"))) == 3


async def test_kinds_and_filters_narrow_a_recall(house: House) -> None:
    await house.say(
        "s1", "deploy of the cart", agent="coder", metadata={"outcome": "merged", "cost": 0.2, "provider": "p1"}
    )
    await house.say("s2", "deploy of the till", at=NOON, metadata={"outcome": "failed", "cost": 2})
    await house.know("deploy on Tuesdays", kind="task", tags=("rule", "ops"))
    await house.know("deploy by hand", kind="error")
    kinds: list[tuple[dict[str, object], int]] = [
        ({"kinds": (RecallKind.MESSAGE,)}, 2),
        ({"kinds": (RecallKind.TASK,)}, 1),
        ({"kinds": (RecallKind.TASK, RecallKind.ERROR)}, 2),
        ({"filters": Filters(outcome="merged")}, 1),
        ({"filters": Filters(provider="p1", agent="coder")}, 1),
        ({"filters": Filters(most_cost=1)}, 1),
        ({"filters": Filters(session_id="s2")}, 1),
        ({"filters": Filters(until=NOON + timedelta(hours=1))}, 1),
        ({"filters": Filters(tags=("rule",))}, 1),
        ({"filters": Filters(tags=("rule", "other"))}, 0),
        ({"k": 2}, 2),
        ({}, 4),
    ]
    for about, count in kinds:
        assert len(await house.found("deploy", **about)) == count, about


async def test_a_result_says_where_it_comes_from_and_how_it_was_found(database: Database, tmp_path: Path) -> None:
    house = House(database, tmp_path, Meanings())
    await house.say("s1", "Where does the parser fail?", "On unclosed quotes.", "Lunch?", "Soup.")
    await house.ask("parser")
    await house.indexer.embed_once()
    answer = await house.ask("Why does the parser fail?", kinds=(RecallKind.MESSAGE,), explain=True)
    first, second = answer.results[:2]
    assert (first.text, second.text) == ("Ada: Where does the parser fail?", "Ada: On unclosed quotes.")
    assert (first.session_id, first.seq, first.scope, first.source) == ("s1", 1, "shop", "session:s1#1")
    assert first.score.lexical > 0
    assert first.score.semantic > 0.5
    assert second.score.neighbours > 0
    assert answer.sessions == ("s1",)
    assert answer.behind == 0
    assert any("parser fail" in note for note in answer.notes)


async def test_without_vectors_words_find_it_and_the_lag_is_told(database: Database, tmp_path: Path) -> None:
    embedder = Meanings()
    embedder.away = True
    house = House(database, tmp_path, embedder)
    await house.know("the parser fails")
    answer = await house.ask("parser", explain=True)
    assert [result.text for result in answer.results] == ["the parser fails"]
    assert answer.behind == 1
    assert any("embedder is away" in note for note in answer.notes)
    embedder.away = False
    await house.indexer.embed_once()
    answer = await house.ask("grammar reader breaks down")
    assert [result.text for result in answer.results] == ["the parser fails"], "by its meaning"
    assert answer.behind == 0


async def test_a_budget_is_kept_and_what_is_pinned_comes_first(house: House) -> None:
    await house.know("never deploy on Fridays", pinned=True)
    await house.know("which queue do we take?", pinned=True, type="open_question")
    await house.know("short answers", type="persona", owner="ada")
    for number in range(30):
        await house.know(f"deploy note {number} " + "with some more words " * 5)
    answer = await house.ask("deploy", token_budget=100, owner="ada")
    assert [one.text for one in answer.pinned] == ["never deploy on Fridays"]
    assert [one.text for one in answer.questions] == ["which queue do we take?"]
    assert answer.persona == "short answers"
    texts = [one.text for tier in (answer.pinned, answer.questions, answer.results) for one in tier]
    assert answer.results
    assert sum(map(len, texts)) + len(answer.persona) <= 400
    assert len(texts) == len(set(texts))
    assert (await house.ask("deploy")).persona == ""


async def test_a_precise_recall_gives_what_is_called_by_name_and_nothing_else(house: House) -> None:
    db = await house.know(
        "Postgres 18 keeps the orders.", name="order database", aliases=("orders db",), type="decision"
    )
    await house.know("The order of columns in a database does not matter.", name="column order")
    who = await house.know("Mira", name="mira", type="entity")
    await house.know("Mira looks after it.", name="database keeper", type="relation", data={"participants": [str(who)]})
    await house.know("always answer in English", pinned=True)
    answer = await house.ask("what is our orders db?", precise=True)
    assert [one.id for one in answer.results] == [db]
    assert [one.text for one in answer.pinned] == ["always answer in English"]
    assert [one.text for one in (await house.ask("who is the database keeper", precise=True)).results][:2] == [
        "Mira looks after it.",
        "Mira",
    ]
    assert await house.found("what about lunch?", precise=True) == []
    assert await house.found("orders db", precise=True, scopes=("other",)) == []
    await house.persistent.resolve(Resolve(id=db))
    assert await house.found("what is our orders db?", precise=True) == []


def told(number: int, description: str, template: str, solution: str) -> ToldKnowledge:
    signature = Signature(
        key=f"crash/http/exited/{number:04x}", kind=FaultKind.CRASH, description=description, template=template
    )
    return ToldKnowledge(signature=signature, remedy="restart", solution=solution)


async def test_a_fault_that_is_worded_differently_finds_its_fix(house: House) -> None:
    store = KnowledgeStore(house.database)
    known = [
        told(1, "the port was taken", "OSError: [Errno 98] Address already in use", "end the holder of the port"),
        told(2, "the disk was full", "write failed: No space left on device", "rotate the logs and remove old images"),
        told(3, "the pool was empty", "FATAL: sorry, too many clients already", "close idle sessions of the pooler"),
        told(4, "the certificate ran out", "", "renew the certificate"),
    ]
    for entry in known:
        await store.add(entry, "person:mira")
    expected = {
        "Error: listen EADDRINUSE: address already in use :::3000": "end the holder",
        "java.io.IOException: ENOSPC on /var": "rotate the logs",
        "certificate ran out on the gateway": "renew",
        "remaining connection slots are reserved": "close idle",
    }
    for query, fix in expected.items():
        answer = await house.ask(query, kinds=(RecallKind.FAULT,))
        assert [fix in one.text for one in answer.results] == [True], query
        assert answer.results[0].source.startswith("knowledge:crash/http/exited/")
    for query in ("permission denied on /srv/app", "the shop sells socks", "what is the port of the shop?", ""):
        assert await house.found(query, kinds=(RecallKind.FAULT,)) == [], query
    assert await house.found("bind: address already in use") != []


async def test_removed_passages_vanish_from_every_index(house: House, app_url: str, tmp_path: Path) -> None:
    other = House(Database(app_url), tmp_path)
    for number in range(3):
        await house.know(f"parser {number}", scopes=("shop", "other") if number else ("shop",))
    assert len(await house.found("parser")) == len(await other.found("parser")) == 3
    async with house.database.transaction() as connection:
        await connection.execute(
            text("""
                UPDATE brainops.memory_chunks SET removed = true, terms = '', changed = (pg_current_xact_id()::text)::bigint
            """)
        )
    for one in (house, other):
        async with house.database.transaction() as connection:
            await connection.execute(text("UPDATE brainops.persistent_memory SET content = 'seen'"))
        assert await one.found("parser") == []
        assert one.recaller.rows == 0
    await other.database.close()


@pytest.mark.parametrize(
    "query", ["", "  ", "\N{GREEK SMALL LETTER PI}", "the of and", "x" * 60_000, "'; DROP TABLE a; --"]
)
async def test_any_query_is_answered(house: House, query: str) -> None:
    await house.know("a fact")
    assert await house.found(query) == []


@pytest.mark.parametrize("query", ["a\0b", "a\ud800", "x" * 100_000])
async def test_a_query_that_is_no_text_is_refused(house: House, query: str) -> None:
    with pytest.raises(BadInputError, match="query"):
        await house.recaller.recall(Recall(query="x").model_copy(update={"query": query}))


async def test_many_recalls_and_writes_at_once_find_everything(house: House) -> None:
    async def write(number: int) -> None:
        await house.know(f"parser rule {number}")
        assert f"parser rule {number}" in await house.found(f"parser rule {number}", k=50)

    await asyncio.gather(*(write(number) for number in range(25)))
    assert len(await house.found("parser", k=50)) == 25
