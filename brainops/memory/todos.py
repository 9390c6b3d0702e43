"""Todos: open work, how far it has come and what it waits for."""

from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import case, select, update
from sqlalchemy.dialects.postgresql import insert

from brainops.contracts.memory import Todo, TodoAdd, TodoList, Todos, TodoStatus, TodoUpdate
from brainops.database.engine import Database
from brainops.errors import BadInputError, NotFoundError
from brainops.memory.redaction import redact
from brainops.memory.tier_tables import todos as table
from brainops.memory.validation import MAX_NAME_LENGTH, checked_text

MOST_TITLE = 2_000
"""Bytes of a title, and of a blocker."""

_CLOSED = frozenset({TodoStatus.DONE, TodoStatus.DROPPED})


class TodoStore:
    """Reads and writes `todos`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, request: TodoAdd) -> Todo:
        """Write work down; the same id again changes nothing and gives what is there."""
        todo = new_todo(request, request.at or datetime.now(UTC))
        async with self._database.transaction() as connection:
            await connection.execute(insert(table).values(todo.model_dump()).on_conflict_do_nothing())
            row = (await connection.execute(select(table).where(table.c.id == todo.id))).mappings().one()
        return Todo.model_validate({**row})

    async def update(self, request: TodoUpdate) -> Todo:
        """Change what is given. Raises NotFoundError, and BadInputError for what contradicts itself."""
        async with self._database.transaction() as connection:
            query = select(table).where(table.c.id == request.id).with_for_update()
            row = (await connection.execute(query)).mappings().one_or_none()
            if row is None:
                raise NotFoundError(f"there is no todo {request.id}; todo_list shows those that there are")
            todo = changed(Todo.model_validate({**row}), request, request.at or datetime.now(UTC))
            await connection.execute(update(table).where(table.c.id == todo.id).values(todo.model_dump(exclude={"id"})))
        return todo

    async def list(self, request: TodoList) -> Todos:
        """Todos, blocked and important ones first, the oldest of them before the newer; closed ones last."""
        query = (
            select(table)
            .order_by(
                table.c.done_at.is_not(None),
                case((table.c.status == TodoStatus.BLOCKED.value, 0), else_=1),
                table.c.importance.desc(),
                table.c.created_at,
                table.c.id,
            )
            .limit(request.limit)
        )
        if request.scope is not None:
            query = query.where(table.c.scope == request.scope)
        if not request.include_done:
            query = query.where(table.c.done_at.is_(None))
        return Todos(todos=tuple(Todo.model_validate({**row}) for row in await self._database.read(query)))


def new_todo(request: TodoAdd, now: datetime) -> Todo:
    """The todo that a request asks for. One that waits for something is blocked, unless it is in progress."""
    checked_text(request.session_id, "session_id", 4 * MAX_NAME_LENGTH, may_be_blank=True)
    return _settled(
        Todo(
            id=request.id or uuid4(),
            scope=request.scope,
            title=_title(request.title),
            status=request.status,
            progress=request.progress,
            blocker=_blocker(request.blocker),
            importance=request.importance,
            session_id=request.session_id,
            created_at=now,
            updated_at=now,
        ),
        now,
    )


def changed(todo: Todo, request: TodoUpdate, now: datetime) -> Todo:
    """`todo` with what the request gives.

    Done means 100 %; what is taken up again starts at 0, unless it is said how far it has come. A blocker goes with
    the state that had it.
    """
    status = request.status or todo.status
    reopened = todo.status in _CLOSED and status not in _CLOSED
    unblocked = todo.status is TodoStatus.BLOCKED and status is not TodoStatus.BLOCKED
    blocker = "" if unblocked or status in _CLOSED else todo.blocker
    progress = 0 if reopened and todo.progress == 100 else todo.progress
    if request.blocker == "" and status is TodoStatus.BLOCKED and request.status is None:
        status = TodoStatus.OPEN
    return _settled(
        todo.model_copy(
            update={
                "title": todo.title if request.title is None else _title(request.title),
                "status": status,
                "progress": progress if request.progress is None else request.progress,
                "blocker": blocker if request.blocker is None else _blocker(request.blocker),
                "importance": todo.importance if request.importance is None else request.importance,
                "updated_at": now,
            }
        ),
        now,
    )


def _settled(todo: Todo, now: datetime) -> Todo:
    """With what follows from its state."""
    if todo.status in _CLOSED:
        if todo.blocker:
            raise BadInputError(
                f"blocker: {todo.blocker!r} is given for a todo that is {todo.status.value}, which waits for nothing;"
                " leave it out, or choose the status blocked"
            )
        progress = 100 if todo.status is TodoStatus.DONE else todo.progress
        return todo.model_copy(update={"progress": progress, "done_at": todo.done_at or now})
    status = TodoStatus.BLOCKED if todo.blocker and todo.status is TodoStatus.OPEN else todo.status
    return todo.model_copy(update={"status": status, "done_at": None})


def _title(title: str) -> str:
    return redact(checked_text(title, "title", MOST_TITLE)).text


def _blocker(blocker: str) -> str:
    return redact(checked_text(blocker, "blocker", MOST_TITLE, may_be_blank=True)).text.strip()
