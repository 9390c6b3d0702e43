"""What becomes of a todo when it is changed."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from brainops.contracts.memory import Todo, TodoAdd, TodoStatus, TodoUpdate
from brainops.errors import BadInputError
from brainops.memory.todos import changed, new_todo

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
OPEN, IN_PROGRESS, BLOCKED, DONE, DROPPED = TodoStatus


def _todo(status: TodoStatus = OPEN, progress: int = 0, blocker: str = "") -> Todo:
    return new_todo(TodoAdd(title="Write the index", status=status, progress=progress, blocker=blocker), NOON)


def _changed(todo: Todo, **given: object) -> Todo:
    return changed(todo, TodoUpdate.model_validate({"id": todo.id} | given), LATER)


@pytest.mark.parametrize(
    ("before", "given", "status", "progress", "blocker", "closed"),
    [
        (_todo(), {}, OPEN, 0, "", False),
        (_todo(), {"progress": 40}, OPEN, 40, "", False),
        (_todo(progress=40), {"status": DONE}, DONE, 100, "", True),
        (_todo(progress=40), {"status": DROPPED}, DROPPED, 40, "", True),
        # It waits for something: it is blocked, unless it goes on all the same.
        (_todo(), {"blocker": "the key"}, BLOCKED, 0, "the key", False),
        (_todo(IN_PROGRESS), {"blocker": "the key"}, IN_PROGRESS, 0, "the key", False),
        # What it waited for goes with the state.
        (_todo(blocker="the key"), {"status": IN_PROGRESS}, IN_PROGRESS, 0, "", False),
        (_todo(blocker="the key"), {"status": DONE}, DONE, 100, "", True),
        (_todo(blocker="the key"), {"blocker": ""}, OPEN, 0, "", False),
        (_todo(blocker="the key"), {"blocker": "the crate"}, BLOCKED, 0, "the crate", False),
        # Taken up again.
        (_todo(DONE), {"status": OPEN}, OPEN, 0, "", False),
        (_todo(DONE), {"status": IN_PROGRESS, "progress": 70}, IN_PROGRESS, 70, "", False),
        (_todo(DROPPED, progress=40), {"status": OPEN}, OPEN, 40, "", False),
    ],
)
def test_what_follows_from_a_change(
    before: Todo, given: dict[str, object], status: TodoStatus, progress: int, blocker: str, closed: bool
) -> None:
    after = _changed(before, **given)
    assert (after.status, after.progress, after.blocker, after.done_at is not None) == (
        status,
        progress,
        blocker,
        closed,
    )
    assert (after.id, after.created_at, after.updated_at) == (before.id, NOON, LATER)


def test_what_was_done_once_keeps_the_time_of_it() -> None:
    done = _changed(_todo(), status=DONE)
    assert done.done_at == LATER
    assert changed(done, TodoUpdate(id=done.id, importance=1), LATER + timedelta(hours=1)).done_at == LATER


@pytest.mark.parametrize("status", [DONE, DROPPED])
def test_what_is_closed_waits_for_nothing(status: TodoStatus) -> None:
    with pytest.raises(BadInputError, match=f"a todo that is {status}, which waits for nothing"):
        new_todo(TodoAdd(title="x", status=status, blocker="the key"), NOON)


def test_a_todo_needs_a_title_and_keeps_no_secret() -> None:
    with pytest.raises(BadInputError, match="title: blank"):
        new_todo(TodoAdd(title=" "), NOON)
    token = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    todo = new_todo(TodoAdd(title=f"Rotate {token}", blocker=f"who owns {token}?", id=uuid4()), NOON)
    assert token not in todo.title + todo.blocker
