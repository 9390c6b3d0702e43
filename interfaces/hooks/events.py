"""What a coding agent's events mean for memory: each becomes calls, and some an answer to inject.

An event that is delivered again stores nothing twice: the ids of its messages follow from the session and the event.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Protocol, cast
from uuid import UUID, uuid4, uuid5
from weakref import WeakValueDictionary

import structlog
from pydantic import BeforeValidator, Field, JsonValue, ValidationError

from brainops.contracts import memory as m
from brainops.contracts.base import Contract
from brainops.contracts.message import Role, TextPart, ToolCallPart, ToolResultPart
from brainops.contracts.moments import Moment
from brainops.errors import BadInputError, NotFoundError
from brainops.memory.own_words import CLOSE_TAG, OPEN_TAG, without_own_words, wrapped
from brainops.memory.restoring import work_notice
from brainops.memory.titles import title_of
from interfaces.hooks.fitting import fitting_arguments, fitting_text, storable
from interfaces.hooks.project import scope_of_name
from interfaces.hooks.tool_results import is_failure, result_text
from interfaces.hooks.transcript_tail import Said, read_tail, readable_transcript

logger = structlog.get_logger("hooks")

AGENT: Final = "claude-code"

RESTORE_TOKENS = 2000
RECALL_TOKENS = 300
"""For what a later prompt brings to mind: little, or the agent stops reading it."""

LATER_EVENTS = frozenset({"PreCompact", "SessionEnd"})
"""Their work takes longer than the agent waits (it may kill the hook of SessionEnd after 1.5 s): they are only taken in."""

STATE_KEY = "hooks"
STATE_SECONDS = 24 * 3600
SESSIONS_REMEMBERED = 512
MOST_LINES = 400
MOST_SAID = 50
MOST_STOPS = 50
LONGEST_EXCERPT = 600
COMPACTED_FOR = timedelta(days=1)
"""So long the context of a compaction is told again: it is for the session that goes on, and soon out of date."""
LONGEST_QUESTION = 4000
"""Characters of a prompt by which memory is asked: where much is pasted, what is wanted stands at an end of it."""

OWN_TOOLS = "mcp__brainops__"
"""What these return is memory's own."""

_IDS = UUID("5f0f4d2b-5a8e-5c39-9d0e-6d2f3a1b7c84")


def _or_empty(value: object) -> object:
    return "" if value is None else storable(value)


Text = Annotated[str, BeforeValidator(_or_empty)]
Json = Annotated[JsonValue, BeforeValidator(storable)]


class HookPayload(Contract):
    """An event as Claude Code tells it, and what our hook adds. What we do not know is ignored."""

    hook_event_name: Annotated[str, Field(max_length=100)]
    session_id: m.SessionId
    cwd: Text = ""
    transcript_path: Text = ""
    source: Text = ""
    """SessionStart: startup, resume, clear, compact."""
    model: Json = None
    prompt: Text = ""
    tool_name: Text = ""
    tool_use_id: Text = ""
    tool_input: Json = None
    tool_response: Json = None
    error: Json = None
    """PostToolUseFailure: what went wrong."""
    last_assistant_message: Text = ""
    trigger: Text = ""
    """PreCompact: manual, auto."""
    custom_instructions: Text = ""
    reason: Text = ""
    """SessionEnd: clear, logout, prompt_input_exit, other."""
    scope: m.Scope | None = None
    """Added by the hook: the project. Default: the name of `cwd`."""
    delivery_id: Annotated[str, Field(max_length=200)] = ""
    """Added by the hook: the same at each delivery."""
    at: Moment | None = None
    """When it happened, for what was delayed, replayed or imported. Default: now."""


class HookSpecificOutput(Contract):
    """What the agent's context gets."""

    hookEventName: str  # noqa: N815 - the agent's name for it
    additionalContext: str  # noqa: N815


class HookAnswer(Contract):
    """The answer to an event, as the agent reads it from the hook."""

    hookSpecificOutput: HookSpecificOutput | None = None  # noqa: N815


class SessionState(Contract):
    """What the hooks of one session must know of each other; kept in working memory for a day."""

    position: int = 0
    """In the transcript."""
    prompts: int = 0
    lines: tuple[str, ...] = ()
    """Digests of the lines that were injected."""
    shown: tuple[str, ...] = ()
    """Ids of the memories that a recall has injected."""
    said: tuple[str, ...] = ()
    """Digests of what the assistant said that did not come from the transcript, where it may still turn up."""
    heard: tuple[str, ...] = ()
    """Digests of what it said by the transcript: the Stop that tells it again may come later."""
    stops: tuple[str, ...] = ()
    """The last Stops that were stored: one that took too long comes again, and its words are here already."""
    saved: str = ""
    """The last PreCompact that was saved."""


class Calls(Protocol):
    """Memory's public calls by their name, as `MemoryService.call`."""

    async def call(self, name: str, request: Mapping[str, object] | Contract) -> Contract:
        """The answer to a call."""
        ...


def read_payload(value: object) -> HookPayload:
    """Check an event. Raises BadInputError that names the fields."""
    try:
        return HookPayload.model_validate(value)
    except ValidationError as error:
        mistakes = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise BadInputError(f"this is no event of a coding agent: {mistakes}") from error
    except RecursionError:
        raise BadInputError("this is no event of a coding agent: it is nested too deeply") from None


class HookEvents:
    """Takes events in. `home`: transcripts below it may be read; None: none (the event came from elsewhere).

    `memory`: whose calls it makes; an event that nobody can store raises what they raise.
    """

    def __init__(self, memory: Calls) -> None:
        self._memory = memory
        self._scopes: OrderedDict[str, str] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def record(self, event: HookPayload, home: Path | None) -> None:
        """Store what an event tells, without an answer: for those that nobody waits for. May be repeated."""
        async with self._alone(event.session_id):
            await self._stored(event, home, await self._state(event.session_id))

    async def answer(self, event: HookPayload, home: Path | None) -> HookAnswer:
        """Store what an event tells, and say what the agent should know."""
        async with self._alone(event.session_id):
            state = await self._state(event.session_id)
            match event.hook_event_name:
                case "SessionStart":
                    text, told = await self._at_start(event, await self._stored(event, home, state))
                case "UserPromptSubmit":
                    try:
                        # Before it is stored, or it would be told what it has just said itself.
                        text, told = await self._at_prompt(event, state)
                    finally:
                        await self._stored(event, home, state)
                case _:
                    await self._stored(event, home, state)
                    return HookAnswer()
            await self._keep_state(event.session_id, told)
        if not text:
            return HookAnswer()
        return HookAnswer(
            hookSpecificOutput=HookSpecificOutput(hookEventName=event.hook_event_name, additionalContext=text)
        )

    # ---- what is stored

    async def _stored(self, event: HookPayload, home: Path | None, state: SessionState) -> SessionState:
        """The calls of one event; returns the state after it, which is kept."""
        if event.hook_event_name not in _STORED:
            return state
        await self._scope(event)
        before = state
        if event.hook_event_name == "SessionStart" and state == SessionState():
            state = await _from_its_end(event, home)
        if event.hook_event_name not in {"SessionStart", "UserPromptSubmit"}:
            state = await self._with_transcript(event, home, state)
        match event.hook_event_name:
            case "UserPromptSubmit":
                if state.prompts == 0 and (title := title_of(event.prompt)):
                    await self._begun(event, title)
                await self._append(event, [_prompt(event)])
            case "PostToolUse" | "PostToolUseFailure":
                await self._append(event, _tool_use(event))
            case "PreCompact":
                state = await self._save(event, state)
            case "SessionEnd":
                await self._memory.call("session_end", m.SessionEnd(session_id=event.session_id, at=event.at))
            case _:
                pass
        if state != before:
            await self._keep_state(event.session_id, state)
        return state

    async def _scope(self, event: HookPayload) -> str:
        """The session's scope; the session is begun when it is not."""
        known = self._scopes.get(event.session_id)
        if known is not None and event.hook_event_name != "SessionStart":
            self._scopes.move_to_end(event.session_id)
            return known
        self._scopes[event.session_id] = scope = (await self._begun(event)).scope
        while len(self._scopes) > SESSIONS_REMEMBERED:
            self._scopes.popitem(last=False)
        return scope

    async def _begun(self, event: HookPayload, title: str = "") -> m.SessionInfo:
        """The session, begun if it is not; what it has already stays, its title too."""
        told = {"cwd": event.cwd, "model": event.model, "transcript": event.transcript_path}
        begun = await self._memory.call(
            "session_start",
            m.SessionStart(
                session_id=event.session_id,
                agent=AGENT,
                scope=event.scope or scope_of_name(Path(event.cwd).name),
                title=title,
                metadata={name: value for name, value in told.items() if value},
                at=event.at,
            ),
        )
        return cast("m.SessionInfo", begun)

    async def _append(self, event: HookPayload, messages: Sequence[m.NewMessage]) -> None:
        told = [message for message in messages if message.parts]
        if told:
            asked = m.Append(session_id=event.session_id, messages=tuple(told))
            try:
                await self._memory.call("session_append", asked)
            except NotFoundError:  # it was forgotten or purged since; what is said from now on is a new one
                await self._begun(event)
                await self._memory.call("session_append", asked)

    async def _with_transcript(self, event: HookPayload, home: Path | None, state: SessionState) -> SessionState:
        """Append what the assistant said since the last look."""
        path = readable_transcript(event.transcript_path, home) if home and event.transcript_path else None
        messages: list[m.NewMessage] = []
        waiting, heard = list(state.said), list(state.heard)
        position = state.position
        if path is not None:
            until = None if event.hook_event_name == "SessionEnd" else event.at
            tail = await asyncio.to_thread(read_tail, path, state.position, until)
            position = tail.position
            for one in tail.said:
                if _digest(one.text) in waiting:
                    waiting.remove(_digest(one.text))
                else:
                    messages.append(_assistant(event, one))
                    heard.append(_digest(one.text))
        stopped = _identity(event) if event.hook_event_name == "Stop" else ""
        said = event.last_assistant_message if stopped and stopped not in state.stops else ""
        if said.strip() and _digest(said) not in heard:
            # The transcript is not here, or this is not in it yet.
            messages.append(_assistant(event, Said(f"stop/{stopped}", said, event.at)))
            waiting = [*waiting, _digest(said)][-MOST_SAID:] if path is not None else waiting
        for first in range(0, len(messages), 500):
            await self._append(event, messages[first : first + 500])
        stops = [one for one in (*state.stops, stopped) if one][-MOST_STOPS:]
        told = {"said": tuple(waiting), "heard": tuple(heard[-MOST_SAID:]), "stops": tuple(stops)}
        return state.model_copy(update={"position": position, **told})

    async def _save(self, event: HookPayload, state: SessionState) -> SessionState:
        """A snapshot of where the session stands, before the agent's context is cut down."""
        identity = _identity(event)
        if identity == state.saved:
            return state
        page = await self._memory.call("session_messages", m.Messages(session_id=event.session_id, limit=50))
        latest = {message.role: message.text for message in cast("m.MessagePage", page).messages if message.text}
        context = {
            "instructions": event.custom_instructions,
            "last_request": _excerpt(latest.get(Role.USER, "")),
            "last_answer": _excerpt(latest.get(Role.ASSISTANT, "")),
        }
        await self._memory.call(
            "session_save",
            m.SessionSave(
                session_id=event.session_id,
                context={name: text for name, text in context.items() if text},
                tags=("pre-compact",),
                at=event.at,
                expires_at=(event.at or datetime.now(UTC)) + COMPACTED_FOR,
            ),
        )
        return state.model_copy(update={"saved": identity})

    # ---- what is answered

    async def _at_start(self, event: HookPayload, state: SessionState) -> tuple[str, SessionState]:
        restored = await self._restore(event, "")
        # After a compaction nothing of what was injected before is left in the agent's context.
        lines = _digests(restored.text)
        return restored.text, state.model_copy(update={"lines": lines, "shown": (), "prompts": 0})

    async def _at_prompt(self, event: HookPayload, state: SessionState) -> tuple[str, SessionState]:
        prompt = _asked(without_own_words(event.prompt))
        counted = state.model_copy(update={"prompts": state.prompts + 1})
        if not prompt.strip():
            return "", counted
        if state.prompts == 0:
            restored = await self._restore(event, prompt)
            fresh = _without_lines(restored.text, frozenset(state.lines))
            lines = (*state.lines, *_digests(restored.text))[-MOST_LINES:]
            return fresh, counted.model_copy(update={"lines": lines})
        return await self._at_later_prompt(event, prompt, counted)

    async def _at_later_prompt(self, event: HookPayload, prompt: str, state: SessionState) -> tuple[str, SessionState]:
        scope = await self._scope(event)
        asked = m.Recall(query=prompt, scopes=(scope,), token_budget=RECALL_TOKENS, precise=True, at=event.at)
        found, checked = await asyncio.gather(
            self._memory.call("recall", asked),
            self._memory.call("work_check", m.WorkCheck(description=prompt, scope=scope, at=event.at)),
        )
        fresh = [one for one in cast("m.RecallResult", found).results if str(one.id) not in state.shown]
        fresh = [one for one in fresh if one.session_id != event.session_id]
        lines = [f"- {one.text}" for one in fresh if _digest(f"- {one.text}") not in state.lines]
        notice = _notice(cast("m.WorkChecked", checked), event.session_id)
        lines += [notice] if notice and _digest(notice) not in state.lines else []
        if not lines:
            return "", state
        return wrapped("\n".join(lines)), state.model_copy(
            update={
                "shown": (*state.shown, *(str(one.id) for one in fresh))[-MOST_LINES:],
                "lines": (*state.lines, *map(_digest, lines))[-MOST_LINES:],
            }
        )

    async def _restore(self, event: HookPayload, prompt: str) -> m.Restored:
        scope = await self._scope(event)
        asked = m.Restore(scope=scope, prompt=prompt, budget_tokens=RESTORE_TOKENS, at=event.at)
        return cast("m.Restored", await self._memory.call("session_restore", asked))

    # ---- what the hooks of one session know of each other

    def _alone(self, session_id: str) -> asyncio.Lock:
        """Held while an event of a session is handled: tools may run side by side."""
        lock = self._locks.get(session_id)
        if lock is None:
            self._locks[session_id] = lock = asyncio.Lock()
        return lock

    async def _state(self, session_id: str) -> SessionState:
        asked = m.GetWorking(agent=_keeper_of(session_id), key=STATE_KEY, session_id=session_id)
        values = cast("m.WorkingValues", await self._memory.call("working_get", asked)).values
        return SessionState.model_validate(values[0].value) if values else SessionState()

    async def _keep_state(self, session_id: str, state: SessionState) -> None:
        value = state.model_dump(mode="json", exclude_defaults=True)
        try:
            await self._memory.call(
                "working_set",
                m.SetWorking(
                    agent=_keeper_of(session_id),
                    key=STATE_KEY,
                    session_id=session_id,
                    value=value,
                    ttl_seconds=STATE_SECONDS,
                ),
            )
        except BadInputError as error:  # its megabyte is full: sessions are told some things twice, nothing is lost
            logger.warning("the state of a coding session is not kept", session=session_id, reason=str(error))


_STORED = frozenset(
    {"SessionStart", "UserPromptSubmit", "PostToolUse", "PostToolUseFailure", "Stop", "SubagentStop"} | LATER_EVENTS
)
"""The events that tell something; all others are let pass."""


def _keeper_of(session_id: str) -> str:
    """Whose working memory the state of a session is: its own, since what an agent may keep is bounded over its sessions."""
    return f"{AGENT} {session_id}"


async def _from_its_end(event: HookPayload, home: Path | None) -> SessionState:
    """At the start of a session that is taken up, its transcript holds what was stored when it was said."""
    path = readable_transcript(event.transcript_path, home) if home and event.transcript_path else None
    return SessionState() if path is None else SessionState(position=path.stat().st_size)


def _prompt(event: HookPayload) -> m.NewMessage:
    text = fitting_text(without_own_words(event.prompt))
    parts = (TextPart(text=text),) if text.strip() else ()
    return m.NewMessage(role=Role.USER, parts=parts, id=_id(event, "prompt"), at=event.at)


def _tool_use(event: HookPayload) -> list[m.NewMessage]:
    """The assistant's call and what came back."""
    own = event.tool_name.startswith(OWN_TOOLS)
    identity = event.tool_use_id or _identity(event)
    failed = event.hook_event_name == "PostToolUseFailure"
    response = event.error if failed else event.tool_response
    call = ToolCallPart(id=identity, name=event.tool_name, arguments=fitting_arguments(event.tool_input))
    result = ToolResultPart(
        call_id=identity,
        name=event.tool_name,
        text=fitting_text(without_own_words(result_text(response))),
        is_error=failed or is_failure(response),
    )
    return [
        m.NewMessage(role=Role.ASSISTANT, parts=(call,), id=_id(event, "call"), at=event.at, from_memory=own),
        m.NewMessage(role=Role.TOOL, parts=(result,), id=_id(event, "result"), at=event.at, from_memory=own),
    ]


def _assistant(event: HookPayload, said: Said) -> m.NewMessage:
    text = fitting_text(without_own_words(str(storable(said.text))))
    parts = (TextPart(text=text),) if text.strip() else ()
    identity = uuid5(_IDS, f"{event.session_id}\x1fsaid\x1f{said.id}")
    return m.NewMessage(role=Role.ASSISTANT, parts=parts, id=identity, at=said.at or event.at)


def _identity(event: HookPayload) -> str:
    """What makes this event this one at each delivery."""
    if event.tool_use_id:
        return event.tool_use_id
    if event.delivery_id:
        return event.delivery_id
    if event.at is not None:
        return hashlib.sha256(event.model_dump_json().encode()).hexdigest()[:32]
    return uuid4().hex  # it can be told from no other


def _id(event: HookPayload, what: str) -> UUID:
    return uuid5(_IDS, f"{event.session_id}\x1f{event.hook_event_name}\x1f{what}\x1f{_identity(event)}")


def _notice(checked: m.WorkChecked, session_id: str) -> str:
    match = checked.match
    if not checked.duplicate or match is None or match.item.session_id == session_id:
        return ""
    return work_notice(match)


def _without_lines(text: str, known: frozenset[str]) -> str:
    """`text` without the lines that were injected before, and without headings under which nothing is left."""
    kept: list[str] = []
    headings: list[str] = []
    for line in text.splitlines():
        if line.strip() in {"", OPEN_TAG, CLOSE_TAG}:
            continue
        if line.startswith("#"):
            headings = [line]
        elif _digest(line) not in known:
            kept += [*headings, line]
            headings = []
    return wrapped("\n".join(kept)) if kept else ""


def _digests(text: str) -> tuple[str, ...]:
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return tuple(_digest(line) for line in lines)[-MOST_LINES:]


def _digest(text: str) -> str:
    return hashlib.blake2b(text.strip().encode(errors="replace"), digest_size=6).hexdigest()


def _asked(prompt: str) -> str:
    half = LONGEST_QUESTION // 2
    return prompt if len(prompt) <= LONGEST_QUESTION else f"{prompt[:half]}\n{prompt[-half:]}"


def _excerpt(text: str) -> str:
    return text if len(text) <= LONGEST_EXCERPT else text[:LONGEST_EXCERPT].rstrip() + " …"
