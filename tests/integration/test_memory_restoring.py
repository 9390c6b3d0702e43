"""What a session leaves, and what the next one is told, against a real Postgres."""

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brainops.contracts import memory as m
from brainops.contracts.message import Role, TextPart
from brainops.database.engine import Database
from brainops.memory import learning
from brainops.memory.own_words import CLOSE_TAG, OPEN_TAG
from brainops.memory.persistent import Closing
from brainops.memory.service import MemoryService
from brainops.memory.understanding.model import Event, Reading, Statement
from brainops.memory.understanding.reading import read_session
from brainops.storage.objects import ObjectStore

SCOPE = "project:lighthouse"
MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

FIRST_DAY = (
    (
        Role.USER,
        "we keep the beacon schedule in SQLite, one file per station. never in the cloud, the island is offline.",
    ),
    (Role.ASSISTANT, "SQLite it is, one file per station."),
    (Role.USER, "the staging station answers on port 7411 by the way"),
    (Role.USER, "the lamp driver tests wait for the calibration table from Henrike"),
)
SECOND_DAY = (
    (Role.USER, "change of plan: no SQLite any more. the beacon schedule goes into a plain JSON file per station."),
    (Role.ASSISTANT, "Then a JSON file per station instead of SQLite."),
)


@pytest_asyncio.fixture
async def memory(database: Database, tmp_path: Path) -> AsyncGenerator[MemoryService]:
    service = MemoryService(database, ObjectStore(tmp_path / "objects"))
    yield service
    await service.sessions.close()


async def play(
    memory: MemoryService, session: str, talk: tuple[tuple[Role, str], ...], at: datetime, *, end: bool = True
) -> None:
    await memory.session_start(m.SessionStart(session_id=session, scope=SCOPE, agent="claude-code", at=at))
    said = [
        m.NewMessage(role=role, parts=(TextPart(text=text),), at=at + timedelta(minutes=place))
        for place, (role, text) in enumerate(talk)
    ]
    await memory.session_append(m.Append(session_id=session, messages=tuple(said)))
    if end:
        await memory.session_end(m.SessionEnd(session_id=session, at=at + timedelta(hours=1)))


async def restored(memory: MemoryService, prompt: str = "on with the beacons", **more: int) -> str:
    answer = await memory.session_restore(
        m.Restore(scope=SCOPE, prompt=prompt, at=MONDAY + timedelta(days=3), **more)  # type: ignore[arg-type]
    )
    assert answer.tokens * 4 >= len(answer.text) > (answer.tokens - 1) * 4 or not answer.text
    return answer.text


async def test_nothing_is_injected_where_nothing_is_known(memory: MemoryService) -> None:
    assert await restored(memory) == ""


async def test_the_next_session_is_told_what_holds_and_not_what_was_given_up(memory: MemoryService) -> None:
    await play(memory, "monday", FIRST_DAY, MONDAY)
    await play(memory, "tuesday", SECOND_DAY, MONDAY + timedelta(days=1))
    text = await restored(memory)
    assert text.startswith(OPEN_TAG)
    assert text.endswith(CLOSE_TAG)
    assert "JSON file per station" in text
    assert "7411" in text
    assert "Henrike" in text
    assert "schedule in SQLite" not in text


async def test_what_was_told_and_taken_back_does_not_come_back_from_the_transcript(memory: MemoryService) -> None:
    await memory.session_start(m.SessionStart(session_id="s", scope=SCOPE, at=MONDAY))
    said = m.NewMessage(
        role=Role.USER, parts=(TextPart(text="the dev gateway listens on port 4173, so test there"),), at=MONDAY
    )
    await memory.session_append(m.Append(session_id="s", messages=(said,)))
    told = m.NewMemory(content="The dev gateway listens on port 4173.", scopes=(SCOPE,), at=MONDAY)
    first = await memory.remember(m.Remember(memory=told))
    later = m.NewMemory(content="The dev gateway listens on port 4190.", scopes=(SCOPE,))
    await memory.supersede(m.Supersede(id=first.id, memory=later))
    now = datetime.now(UTC)
    for _ in range(2):  # before the session was read, and after
        text = (await memory.session_restore(m.Restore(scope=SCOPE, at=now + timedelta(days=1)))).text
        assert "4190" in text
        assert "4173" not in text
        await memory.session_end(m.SessionEnd(session_id="s"))


async def test_reading_a_session_again_changes_nothing(memory: MemoryService, database: Database) -> None:
    await play(memory, "monday", FIRST_DAY, MONDAY)
    before = await memory.persistent.current((SCOPE,), now=MONDAY + timedelta(days=3), limit=100)
    await memory.session_end(m.SessionEnd(session_id="monday"))
    await memory.learner.learn("monday")
    assert await memory.persistent.current((SCOPE,), now=MONDAY + timedelta(days=3), limit=100) == before
    assert before
    assert {memory.provenance.session_id for memory in before} == {"monday"}


async def test_a_session_that_was_never_ended_is_restored_and_read_when_it_is_quiet(memory: MemoryService) -> None:
    await play(memory, "monday", FIRST_DAY, MONDAY, end=False)
    assert "7411" in await restored(memory)
    assert (await memory.sessions.get("monday")).understood == 0
    assert await memory.learner.learn_quiet(MONDAY + timedelta(days=1)) == 1
    assert (await memory.sessions.get("monday")).understood == len(FIRST_DAY)
    assert await memory.learner.learn_quiet(MONDAY + timedelta(days=1)) == 0
    assert "7411" in await restored(memory)


async def test_what_was_injected_is_never_learned(memory: MemoryService) -> None:
    await memory.session_start(m.SessionStart(session_id="s", scope=SCOPE, at=MONDAY))
    injected = m.NewMessage(
        role=Role.USER, parts=(TextPart(text="the keeper decided to paint it green"),), from_memory=True
    )
    await memory.session_append(m.Append(session_id="s", messages=(injected,)))
    await memory.session_end(m.SessionEnd(session_id="s"))
    assert await restored(memory) == ""


async def test_todos_snapshots_and_told_facts_are_restored_within_the_budget(memory: MemoryService) -> None:
    await play(memory, "monday", FIRST_DAY, MONDAY)
    await memory.todo_add(m.TodoAdd(title="order a new lens", blocker="the invoice", scope=SCOPE, at=MONDAY))
    await memory.remember(
        m.Remember(memory=m.NewMemory(content="the lens is a Fresnel of order 3", scopes=(SCOPE,), at=MONDAY))
    )
    await memory.session_save(
        m.SessionSave(session_id="monday", context={"goal": "lamp turns", "files": ["a.py", "b.py"]}, at=MONDAY)
    )
    await memory.session_save(
        m.SessionSave(
            session_id="monday", context_type=m.ContextType.DECISION, context={"lens_from": "the islanders"}, at=MONDAY
        )
    )
    text = await restored(memory)
    saved = ("goal: lamp turns", "a.py; b.py", "## Decision saved at 2026-03-02 09:00\n- lens from: the islanders")
    for part in ("order a new lens; waits for the invoice", "Fresnel of order 3", *saved):
        assert part in text
    small = await restored(memory, budget_tokens=60)
    assert 0 < len(small) <= 240


async def test_work_that_was_done_is_told_before_it_is_done_again(memory: MemoryService) -> None:
    await memory.work_done(m.WorkDone(description="add dark mode to the map", scope=SCOPE, outcome="merged", at=MONDAY))
    answer = await memory.session_restore(m.Restore(scope=SCOPE, prompt="implement a dark theme for the map"))
    assert answer.duplicate is not None
    assert answer.duplicate.item.outcome == "merged"
    assert "dark mode" in answer.text


async def test_the_order_is_stable(memory: MemoryService) -> None:
    await play(memory, "monday", FIRST_DAY, MONDAY)
    assert await restored(memory) == await restored(memory)


async def test_an_unknown_call_is_refused_by_name(memory: MemoryService) -> None:
    with pytest.raises(Exception, match="memory has no call 'recal'"):
        await memory.call("recal", {})


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(budget=st.integers(50, 3000), prompt=st.text(max_size=200))
async def test_no_budget_is_ever_exceeded(memory: MemoryService, budget: int, prompt: str) -> None:
    if not await memory.sessions.unread(datetime.now(UTC), limit=1):
        await play(memory, f"s-{uuid4()}", (*FIRST_DAY, *SECOND_DAY), MONDAY, end=False)
    cleaned = "".join(sign for sign in prompt if sign != "\0" and not 0xD800 <= ord(sign) <= 0xDFFF)
    answer = await memory.session_restore(m.Restore(scope=SCOPE, prompt=cleaned, budget_tokens=budget))
    assert len(answer.text) <= budget * 4


async def test_nobody_is_told_what_stands_in_the_own_session_of_somebody_else(memory: MemoryService) -> None:
    about = {"session_id": "hers", "scope": SCOPE, "owner": "ada", "at": MONDAY}
    await memory.session_start(m.SessionStart.model_validate(about))
    words = "I have finished the migration of the billing tables."
    said = m.NewMessage(role=Role.USER, parts=(TextPart(text=words),), at=MONDAY)
    await memory.session_append(m.Append(session_id="hers", messages=(said,)))
    await memory.session_save(m.SessionSave(session_id="hers", context={"goal": "a secret goal"}, at=MONDAY))
    await memory.session_end(m.SessionEnd(session_id="hers", at=MONDAY))
    asked = m.Restore(scope=SCOPE, prompt="migrate the billing tables", at=MONDAY + timedelta(hours=1))
    hers = await memory.session_restore(asked.model_copy(update={"owner": "ada"}))
    assert "a secret goal" in hers.text
    assert "migration of the billing tables" in hers.text
    for other in ("", "bob"):
        told = await memory.session_restore(asked.model_copy(update={"owner": other}))
        assert (told.text, told.duplicate) == ("", None)


async def test_a_message_that_was_still_being_told_is_read_once_it_is_complete(memory: MemoryService) -> None:
    await memory.session_start(m.SessionStart(session_id="s", scope=SCOPE, at=MONDAY))
    told = m.StreamText(session_id="s", message_id=uuid4(), text="We keep the beacon schedule in ", role=Role.USER)
    await memory.session_stream(told)
    await memory.session_end(m.SessionEnd(session_id="s"))
    assert (await memory.sessions.get("s")).understood == 0
    more = {"text": "SQLite, one file per station, never in the cloud.", "offset": None}
    await memory.session_stream(told.model_copy(update=more))
    await memory.session_stream_end(m.StreamEnd(session_id="s", message_id=told.message_id))
    assert await memory.learner.learn_quiet(datetime.now(UTC) + timedelta(hours=1)) == 1
    assert [memory.content for memory in await memory.persistent.current((SCOPE,)) if "SQLite" in memory.content]


async def test_a_session_that_cannot_be_read_does_not_stop_the_others(
    memory: MemoryService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def read(events: Sequence[Event], known: Sequence[Statement]) -> Reading:
        if any("poison" in event.text for event in events):
            raise ValueError("no reader is perfect")
        return read_session(events, known)

    monkeypatch.setattr(learning, "read_session", read)
    await play(memory, "a", ((Role.USER, "poison"),), MONDAY, end=False)
    await play(memory, "b", FIRST_DAY, MONDAY + timedelta(hours=1), end=False)
    assert "7411" in await restored(memory)
    assert await memory.learner.learn_quiet(datetime.now(UTC)) == 1
    assert [(await memory.sessions.get(name)).understood for name in ("a", "b")] == [0, 4]
    assert "session a cannot be read" in caplog.text
    caplog.clear()
    assert await memory.learner.learn_quiet(datetime.now(UTC)) == 0
    assert caplog.text == ""


async def test_more_than_one_call_takes_is_written_in_parts_with_each_end_where_it_belongs() -> None:
    new = [m.NewMemory(content=str(number), id=uuid4()) for number in range(5)]
    closed = [Closing(id=one.id or uuid4(), at=MONDAY) for one in (new[4], new[0])]
    closed.append(Closing(id=uuid4(), at=MONDAY))
    parts = list(learning.parted(learning.Learnt(new, closed), 4))
    assert [len(some) for some, _ in parts] == [2, 2, 1, 0]
    assert [[end.id for end in ends] for _, ends in parts] == [[new[0].id], [], [new[4].id], [closed[2].id]]
