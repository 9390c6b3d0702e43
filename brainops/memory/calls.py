"""The public calls of memory: one table, from which the HTTP API, MCP, the client and the command line are made."""

from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from brainops.contracts import memory as m
from brainops.contracts.base import Contract


@dataclass(frozen=True)
class Call:
    """One public call: a request goes in, an answer comes out."""

    name: str
    request: type[Contract]
    answer: type[Contract]
    needs: Literal["read", "operate"]
    """Scope of the key that may call it."""
    summary: str


CALLS: tuple[Call, ...] = (
    Call("session_start", m.SessionStart, m.SessionInfo, "operate", "Begin a session, or take it up again."),
    Call("session_append", m.Append, m.Appended, "operate", "Append messages to a session."),
    Call("session_stream", m.StreamText, m.Appended, "operate", "More text of a message that is being made."),
    Call("session_stream_end", m.StreamEnd, m.Appended, "operate", "A streamed message is complete, or cut off."),
    Call("session_messages", m.Messages, m.MessagePage, "read", "A page of a session's messages."),
    Call("session_end", m.SessionEnd, m.SessionInfo, "operate", "The session is over: learn from it."),
    Call("session_list", m.ListSessions, m.SessionPage, "read", "Sessions, the last used first."),
    Call("session_save", m.SessionSave, m.Snapshot, "operate", "Save where a session stands."),
    Call("session_restore", m.Restore, m.Restored, "read", "What the next session should know."),
    Call("remember", m.Remember, m.Remembered, "operate", "Remember one thing."),
    Call("supersede", m.Supersede, m.Remembered, "operate", "Put a new memory in the place of another."),
    Call("resolve", m.Resolve, m.Remembered, "operate", "It holds no longer; nothing takes its place."),
    Call("recall", m.Recall, m.RecallResult, "read", "Find what is known about something."),
    Call("fetch", m.Fetch, m.Fetched, "read", "All of something, by its id."),
    Call("forget", m.Forget, m.Forgotten, "operate", "Remove for good, with a receipt."),
    Call("todo_add", m.TodoAdd, m.Todo, "operate", "Write down open work."),
    Call("todo_update", m.TodoUpdate, m.Todo, "operate", "Change a todo, or finish it."),
    Call("todo_list", m.TodoList, m.Todos, "read", "Open work."),
    Call("work_check", m.WorkCheck, m.WorkChecked, "read", "Has this been done, or is somebody at it?"),
    Call("work_claim", m.WorkClaim, m.WorkClaimed, "operate", "Say that one is at it."),
    Call("work_done", m.WorkDone, m.WorkItem, "operate", "A piece of work is done, or given up."),
    Call("decision_record", m.Decide, m.Remembered, "operate", "Write a decision down."),
    Call("working_set", m.SetWorking, m.WorkingValue, "operate", "Keep a value for some hours."),
    Call("working_get", m.GetWorking, m.WorkingValues, "read", "Values that an agent keeps."),
    Call("working_delete", m.DeleteWorking, m.WorkingValues, "operate", "Give a value up."),
    Call("stats", m.Nothing, m.Stats, "read", "How much of what is kept."),
    Call("verify", m.Nothing, m.Verified, "read", "Is everything that belongs together there?"),
)

BY_NAME = {call.name: call for call in CALLS}

MOST_MISTAKES = 20


def mistakes_of(error: ValidationError) -> str:
    """What is wrong with a request, field by field: the first mistakes."""
    mistakes = error.errors()[:MOST_MISTAKES]
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in mistakes)
