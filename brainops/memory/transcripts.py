"""Transcripts that coding agents already keep on disk, read as canonical messages.

Two formats, both JSON lines, neither documented by its maker and both changing with each version:

- Claude Code, `~/.claude/projects/<project>/<session>.jsonl`: `type` user, assistant, system or summary, the message in the
  shape of the Anthropic API under `message`, beside it `uuid`, `sessionId`, `timestamp`, `cwd`, `gitBranch`.
- Codex, `~/.codex/sessions/<year>/<month>/<day>/rollout-….jsonl`: `session_meta`, `turn_context` and `response_item` with a
  `payload`; the oldest files hold the payloads bare. `event_msg` lines say the same again for the screen.

So reading is tolerant: a broken line is reported with its number, an unknown type is counted, the rest is read. One
line at a time: a file of any size takes the memory of its longest line. What was not said by anybody (hidden
thinking, injected reminders, the talk of sub-agents, local commands) is counted and left out. Nothing is redacted
or pruned here.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid5

from pydantic import JsonValue, ValidationError

from brainops.contracts.message import Message, Part, Role, TextPart, ToolCallPart, ToolResultPart
from brainops.contracts.moments import in_range
from brainops.memory.conversions import MALFORMED

MAX_LINE = 32_000_000
"""Bytes of one line; a longer one is reported and skipped."""

MOST_REPORTED = 100
"""Broken lines that are named; the others are only counted."""

_NAMESPACE = UUID("6d0e3a5c-2f0f-5f0a-9c58-1f3b1f6f0d11")

Json = Mapping[str, JsonValue]


@dataclass(frozen=True)
class TranscriptMessage:
    """One message of a transcript."""

    id: UUID
    """The same at each reading: made of the session and the line's own id, or of its content where it has none."""
    session: str
    at: datetime
    message: Message
    line: int
    """Its line in the file, from 1."""


@dataclass
class TranscriptSession:
    """What a transcript says about one of its sessions."""

    id: str
    agent: str
    """`claude-code` or `codex`."""
    cwd: str = ""
    branch: str = ""
    title: str = ""
    first_at: datetime | None = None
    last_at: datetime | None = None
    messages: int = 0


@dataclass
class TranscriptReport:
    """What a reading found beside the messages; complete when the reading has ended."""

    lines: int = 0
    broken: int = 0
    broken_lines: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """Number and reason, the first `MOST_REPORTED`."""
    skipped: Counter[str] = field(default_factory=Counter[str])
    """What was left out, by its type."""
    sessions: dict[str, TranscriptSession] = field(default_factory=dict[str, TranscriptSession])


def find_transcripts(home: Path) -> list[Path]:
    """The transcripts under a person's home folder, of Claude Code and of Codex, by path."""
    return sorted([*home.glob(".claude/projects/*/*.jsonl"), *home.glob(".codex/sessions/**/rollout-*.jsonl")])


def read_transcript(path: Path, report: TranscriptReport) -> Iterator[TranscriptMessage]:
    """The messages of the file in their order, read as they are asked for; `report` is filled on the way.

    Raises OSError when the file cannot be read.
    """
    with path.open("rb") as file:
        yield from _Reading(path.stem, report).messages(_lines(iter(lambda: file.readline(MAX_LINE + 1), b"")))


def _lines(pieces: Iterable[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines; None for one that is too long."""
    number = 0
    continued = False
    for piece in pieces:
        if continued:
            continued = not piece.endswith(b"\n")
            continue
        number += 1
        continued = len(piece) > MAX_LINE and not piece.endswith(b"\n")
        yield number, None if len(piece) > MAX_LINE else piece


class _BrokenLineError(Exception):
    """A line cannot be read; the text says why."""


class _Reading:
    """One pass over one file."""

    def __init__(self, name: str, report: TranscriptReport) -> None:
        self._report = report
        self._session = TranscriptSession(id=name, agent="")
        self._at: datetime | None = None
        self._tools: dict[str, str] = {}

    def messages(self, lines: Iterable[tuple[int, bytes | None]]) -> Iterator[TranscriptMessage]:
        for number, line in lines:
            self._report.lines = number
            try:
                found = self._message(line)
            except _BrokenLineError as error:
                self._report.broken += 1
                if len(self._report.broken_lines) < MOST_REPORTED:
                    self._report.broken_lines.append((number, str(error)))
                continue
            if found is None:
                continue
            message, own_id, at = found
            session = self._session
            session.messages += 1
            session.first_at = at if session.first_at is None else min(session.first_at, at)
            session.last_at = at if session.last_at is None else max(session.last_at, at)
            self._report.sessions[session.id] = session
            yield TranscriptMessage(uuid5(_NAMESPACE, f"{session.id}:{own_id}"), session.id, at, message, number)

    def _message(self, line: bytes | None) -> tuple[Message, str, datetime] | None:
        if line is None:
            raise _BrokenLineError(f"longer than {MAX_LINE:,} bytes")
        if not line.strip():
            return None
        entry = _object(line)
        self._at = _time(entry.get("timestamp")) or self._at
        try:
            message = self._said(entry)
        except ValidationError as error:
            raise _BrokenLineError(f"no message: {error.errors()[0]['msg']}") from None
        if message is None:
            return None
        if self._at is None:
            raise _BrokenLineError("no timestamp, here or before")
        own_id = _string(entry, "uuid") or hashlib.sha256(line.strip()).hexdigest()
        return message, own_id, self._at

    def _said(self, entry: Json) -> Message | None:
        payload = entry.get("payload")
        if isinstance(payload, dict):
            return self._codex_line(_string(entry, "type"), payload)
        if "message" in entry or _string(entry, "type") in {"summary", "system"}:
            return self._claude_line(entry)
        return self._codex_bare(entry)

    def _skip(self, what: str) -> None:
        self._report.skipped[what[:60] or "no type"] += 1

    def _enter(self, session_id: str, agent: str, entry: Json) -> None:
        """The line belongs to this session; an empty id leaves the current one."""
        known = session_id or self._session.id
        session = self._report.sessions.get(known) or (
            self._session if self._session.id == known else TranscriptSession(known, agent)
        )
        session.agent = agent
        session.cwd = session.cwd or _string(entry, "cwd")
        session.branch = _string(entry, "gitBranch") or session.branch
        self._session = session

    # Claude Code

    def _claude_line(self, entry: Json) -> Message | None:
        kind = _string(entry, "type")
        if kind == "summary":
            self._session.title = _string(entry, "summary") or self._session.title
            return self._skip("summary")
        unsaid = next((name for flag, name in _UNSAID if entry.get(flag) is True), "")
        if unsaid or kind not in {"user", "assistant", "system"}:
            return self._skip(unsaid or kind)
        self._enter(_string(entry, "sessionId"), "claude-code", entry)
        if kind == "system":
            return self._claude_system(entry)
        body = entry.get("message")
        if not isinstance(body, dict):
            raise _BrokenLineError(f"message is {type(body).__name__}; it is an object")
        parts = tuple(self._claude_parts(body.get("content"), entry.get("toolUseResult")))
        if not parts:
            return None
        if entry.get("isCompactSummary") is True:
            return Message(role=Role.SYSTEM, parts=parts, author="compact")
        if all(isinstance(part, ToolResultPart) for part in parts):
            return Message(role=Role.TOOL, parts=parts)
        return Message(role=Role(kind), parts=parts)

    def _claude_system(self, entry: Json) -> Message | None:
        text = _string(entry, "content")
        if not text.strip() or _string(entry, "subtype") in {"compact_boundary", "local_command", "turn_duration"}:
            return self._skip(f"system {_string(entry, 'subtype')}".strip())
        return Message(role=Role.SYSTEM, parts=(TextPart(text=text),))

    def _claude_parts(self, content: JsonValue, beside: JsonValue) -> Iterator[Part]:
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        if not isinstance(content, list):
            raise _BrokenLineError(f"content is {type(content).__name__}; it is a text or a list")
        for block in content:
            if not isinstance(block, dict):
                raise _BrokenLineError("a block of content is no object")
            kind = _string(block, "type")
            if kind == "text":
                yield from self._spoken(_string(block, "text"))
            elif kind == "tool_use":
                yield self._call(_string(block, "id"), _string(block, "name"), block.get("input"))
            elif kind == "tool_result":
                text = self._text_of(block.get("content")) or _printed(beside)
                yield self._result(_string(block, "tool_use_id"), text, failed=block.get("is_error") is True)
            else:
                self._skip(kind)

    def _spoken(self, text: str) -> Iterator[TextPart]:
        """What a person or the model said, without what the program put in beside it."""
        text = _without_reminders(text)
        if text.lstrip().startswith(_LOCAL):
            self._skip("local command")
        elif text.strip():
            yield TextPart(text=text)

    # Codex

    def _codex_line(self, kind: str, payload: Json) -> Message | None:
        if kind == "session_meta":
            git = payload.get("git")
            branch = _string(git, "branch") if isinstance(git, dict) else ""
            self._enter(_string(payload, "id"), "codex", {"cwd": payload.get("cwd"), "gitBranch": branch})
            return None
        if kind == "turn_context":
            self._enter("", "codex", {"cwd": payload.get("cwd")})
            return None
        if kind == "response_item":
            return self._codex_item(payload)
        return self._skip(kind)

    def _codex_bare(self, entry: Json) -> Message | None:
        kind = _string(entry, "type")
        if kind:
            return self._codex_item(entry)
        if "id" in entry and "timestamp" in entry:
            self._enter(_string(entry, "id"), "codex", entry)
            return None
        return self._skip(_string(entry, "record_type"))

    def _codex_item(self, item: Json) -> Message | None:
        self._session.agent = self._session.agent or "codex"
        kind = _string(item, "type")
        call_id = _string(item, "call_id") or _string(item, "id")
        if kind == "message":
            return self._codex_message(item)
        if kind == "function_call":
            return _asks(self._call(call_id, _string(item, "name"), _string(item, "arguments")))
        if kind == "custom_tool_call":
            return _asks(self._call(call_id, _string(item, "name"), {"input": item.get("input")}))
        if kind == "local_shell_call":
            action = item.get("action")
            command = action.get("command") if isinstance(action, dict) else None
            return _asks(self._call(call_id, "local_shell", {"command": command}))
        if kind in {"function_call_output", "custom_tool_call_output"}:
            text, failed = self._codex_output(item.get("output"))
            return Message(role=Role.TOOL, parts=(self._result(call_id, text, failed=failed),))
        return self._skip(kind)

    def _codex_message(self, item: Json) -> Message | None:
        role = _string(item, "role")
        if role not in {"user", "assistant"}:
            return self._skip(f"{role} message")
        text = self._text_of(item.get("content"))
        if role == "user" and text.lstrip().startswith(_BOILERPLATE):
            return self._skip("boilerplate")
        return Message(role=Role(role), parts=(TextPart(text=text),)) if text.strip() else None

    def _codex_output(self, output: JsonValue) -> tuple[str, bool]:
        """The text of an output and whether it failed: plain, in blocks, or JSON with the exit code beside it."""
        if isinstance(output, str) and output.startswith('{"output":'):
            try:
                output = json.loads(output)
            except (ValueError, RecursionError):
                return str(output), False
        if not isinstance(output, dict):
            return self._text_of(output), False
        about = output.get("metadata")
        exit_code = about.get("exit_code") if isinstance(about, dict) else None
        text = self._text_of(output.get("output", output.get("content")))
        return text, (isinstance(exit_code, int) and exit_code != 0) or output.get("success") is False

    # Both

    def _call(self, call_id: str, name: str, arguments: JsonValue) -> ToolCallPart:
        self._tools[call_id] = name
        if isinstance(arguments, str):
            arguments = _arguments(arguments)
        return ToolCallPart(
            id=call_id, name=name, arguments=arguments if isinstance(arguments, dict) else {MALFORMED: arguments}
        )

    def _result(self, call_id: str, text: str, *, failed: bool) -> ToolResultPart:
        return ToolResultPart(call_id=call_id, name=self._tools.pop(call_id, ""), text=text, is_error=failed)

    def _text_of(self, content: JsonValue) -> str:
        """The text of a content; of an image, that there was one."""
        if isinstance(content, str):
            return content
        if not isinstance(content, list):
            return "" if content is None else json.dumps(content, ensure_ascii=False)
        texts: list[str] = []
        for block in content:
            kind = _string(block, "type") if isinstance(block, dict) else ""
            if isinstance(block, dict) and isinstance(text := block.get("text"), str):
                texts.append(text)
            elif "image" in kind:
                self._skip(kind)
                texts.append("[image]")
            else:
                self._skip(kind)
        return "\n".join(texts)


_UNSAID = (("isSidechain", "sidechain"), ("isMeta", "meta"))
_LOCAL = (
    "<command-name>",
    "<command-message>",
    "<local-command-",
    "<bash-input>",
    "<bash-stdout>",
    "[Request interrupted",
)
_BOILERPLATE = (
    "<environment_context>",
    "<user_instructions>",
    "# AGENTS.md instructions",
    "<INSTRUCTIONS>",
    "<permissions",
)
_REMINDER = ("<system-reminder>", "</system-reminder>")


def _without_reminders(text: str) -> str:
    parts: list[str] = []
    at = 0
    while (start := text.find(_REMINDER[0], at)) >= 0:
        parts.append(text[at:start])
        end = text.find(_REMINDER[1], start)
        at = end + len(_REMINDER[1]) if end >= 0 else len(text)
    return "".join([*parts, text[at:]]) if parts else text


def _asks(call: ToolCallPart) -> Message:
    return Message(role=Role.ASSISTANT, parts=(call,))


def _printed(beside: JsonValue) -> str:
    """What a command printed, from Claude Code's own record of it, where the model got nothing."""
    if not isinstance(beside, dict):
        return ""
    return "\n".join(filter(None, (_string(beside, "stdout"), _string(beside, "stderr"))))


def _arguments(text: str) -> JsonValue:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _object(line: bytes) -> Json:
    try:
        entry: JsonValue = json.loads(line)
        if b"\\u" in line:
            entry = _storable(entry)
    except UnicodeDecodeError as error:
        raise _BrokenLineError(f"byte {error.start} is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise _BrokenLineError(f"not JSON: {str(error) or 'too deep'}"[:200]) from None
    if not isinstance(entry, dict):
        raise _BrokenLineError(f"{type(entry).__name__} instead of an object")
    return entry


def _storable(value: JsonValue) -> JsonValue:
    """`value` with NUL and halves of surrogate pairs, which tools print and no store takes, replaced."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {str(_storable(key)): _storable(item) for key, item in value.items()}
    return value


def _time(value: JsonValue) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return at if in_range(at) else None


def _string(entry: Json, key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""
