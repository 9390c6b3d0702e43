"""Todos, on a real Postgres."""

import asyncio
from uuid import uuid4

import pytest

from brainops.contracts import memory as m
from brainops.contracts.memory import TodoStatus
from brainops.database.engine import Database
from brainops.errors import BadInputError, NotFoundError
from brainops.memory.todos import TodoStore


@pytest.fixture
def store(database: Database) -> TodoStore:
    return TodoStore(database)


async def _titles(store: TodoStore, **asked: object) -> list[str]:
    return [todo.title for todo in (await store.list(m.TodoList.model_validate(asked))).todos]


async def test_a_todo_is_written_down_once(store: TodoStore) -> None:
    request = m.TodoAdd(title="Write the index", id=uuid4(), scope="project:shop", session_id="s")
    answers = await asyncio.gather(*(store.add(request) for _ in range(5)))
    assert len({answer.id for answer in answers}) == 1
    assert (await store.list(m.TodoList())).todos == (answers[0],)


async def test_blocked_and_important_ones_come_first(store: TodoStore) -> None:
    for title, importance, blocker in (
        ("small", 0.1, ""),
        ("big", 0.9, ""),
        ("waiting", 0.2, "key"),
        ("usual", 0.5, ""),
    ):
        await store.add(m.TodoAdd(title=title, importance=importance, blocker=blocker, scope="project:shop"))
    await store.add(m.TodoAdd(title="closed", status=TodoStatus.DONE, importance=1, scope="project:shop"))
    await store.add(m.TodoAdd(title="elsewhere", scope="project:blog"))
    assert await _titles(store, scope="project:shop") == ["waiting", "big", "usual", "small"]
    assert await _titles(store, scope="project:shop", limit=2) == ["waiting", "big"]
    assert await _titles(store, scope="project:shop", include_done=True) == [
        "waiting",
        "big",
        "usual",
        "small",
        "closed",
    ]


async def test_a_change_is_kept(store: TodoStore) -> None:
    todo = await store.add(m.TodoAdd(title="Write the index"))
    changed = await store.update(m.TodoUpdate(id=todo.id, progress=40, status=TodoStatus.IN_PROGRESS))
    assert (await store.list(m.TodoList())).todos == (changed,)
    assert (changed.title, changed.progress, changed.created_at) == (todo.title, 40, todo.created_at)
    await store.update(m.TodoUpdate(id=todo.id, status=TodoStatus.DONE))
    assert await _titles(store) == []


async def test_changes_at_once_are_all_kept(store: TodoStore) -> None:
    todo = await store.add(m.TodoAdd(title="Write the index"))
    await asyncio.gather(
        store.update(m.TodoUpdate(id=todo.id, progress=40)),
        store.update(m.TodoUpdate(id=todo.id, importance=0.9)),
        store.update(m.TodoUpdate(id=todo.id, title="Write the big index")),
    )
    (kept,) = (await store.list(m.TodoList())).todos
    assert (kept.progress, kept.importance, kept.title) == (40, 0.9, "Write the big index")


async def test_wrong_changes_are_refused(store: TodoStore) -> None:
    todo = await store.add(m.TodoAdd(title="Write the index"))
    with pytest.raises(BadInputError, match="blocker: 'the key' is given for a todo that is done"):
        await store.update(m.TodoUpdate(id=todo.id, status=TodoStatus.DONE, blocker="the key"))
    with pytest.raises(BadInputError, match="title: empty"):
        await store.update(m.TodoUpdate(id=todo.id, title=""))
    with pytest.raises(NotFoundError, match="there is no todo"):
        await store.update(m.TodoUpdate(id=uuid4(), progress=1))
    assert (await store.list(m.TodoList())).todos == (todo,)
