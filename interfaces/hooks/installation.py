"""Puts BrainOps into a project of Claude Code, and takes it out again: hooks and the MCP server.

`.claude/settings.json` and `.mcp.json` are a person's files: what stands in them stays, in its order; what is ours is
known again by its command, so that a second time changes nothing. How a file read before is kept beside the user's other
state, so that a removal gives it back to the letter unless somebody has changed it since.
"""

import difflib
import hashlib
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from brainops.errors import BadInputError
from interfaces.hooks.spool import own_folder

SETTINGS = Path(".claude") / "settings.json"
SERVERS = Path(".mcp.json")

SERVER_NAME = "brainops"
HOOK_PROGRAM = "brainops-hook"

EVENTS: Mapping[str, int] = {
    "SessionStart": 5,
    "UserPromptSubmit": 5,
    "PostToolUse": 5,
    "PostToolUseFailure": 5,
    "Stop": 5,
    "PreCompact": 5,
    "SessionEnd": 5,
}
"""The events that are hooked, with the seconds after which the agent ends the hook. Ours ends long before."""

_OF_TOOLS = {"PostToolUse", "PostToolUseFailure"}
"""Events that may be limited to tools by a matcher."""

Document = dict[str, Any]  # a person's JSON, of which only our part is known


@dataclass(frozen=True)
class Connection:
    """How the agent reaches memory."""

    hook: tuple[str, ...]
    """The hook's command."""
    server: Mapping[str, Any]
    """The entry of the MCP server. Any: JSON."""


@dataclass(frozen=True)
class Change:
    """What becomes of one file."""

    path: Path
    before: str | None
    """None: it is not there."""
    after: str | None
    """None: it goes."""
    original: str | None = None
    """How it read without us; None: it was not there."""

    @property
    def changes(self) -> bool:
        """Whether anything is to be done."""
        return self.before != self.after

    def difference(self, folder: Path) -> str:
        """As a unified diff."""
        name = str(self.path.relative_to(folder))
        old, new = (self.before or "").splitlines(keepends=True), (self.after or "").splitlines(keepends=True)
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in difflib.unified_diff(
                old,
                new,
                "/dev/null" if self.before is None else f"a/{name}",
                "/dev/null" if self.after is None else f"b/{name}",
            )
        )

    def make(self) -> None:
        """Write the file, at once or not at all; a folder that becomes empty goes with its file.

        Raises BadInputError when that is not possible.
        """
        try:
            _remember(self)
            if self.after is None:
                self.path.unlink()
                if self.path.parent.name == SETTINGS.parent.name and not any(self.path.parent.iterdir()):
                    self.path.parent.rmdir()
                return
            target = self.path.resolve()
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.{os.getpid()}.new")
            temporary.write_text(self.after, encoding="utf-8")
            if target.exists():
                temporary.chmod(target.stat().st_mode & 0o7777)
            temporary.replace(target)
        except OSError as error:
            raise BadInputError(f"{self.path} cannot be changed: {error.strerror}; make it writable") from error


def local_connection(hook: str, program: str, state_dir: Path | None) -> Connection:
    """With the stack of this machine. `state_dir`: of a stack that is not found by itself."""
    chosen = ("--state-dir", str(state_dir)) if state_dir else ()
    return Connection((hook, *chosen), {"command": program, "args": [*chosen, "mcp"]})


def remote_connection(hook: str, url: str, key_variable: str, scope: str) -> Connection:
    """With the server of a team. The key stays in the environment: the files name its variable only."""
    headers = {"Authorization": f"Bearer ${{{key_variable}}}", "X-BrainOps-Scope": scope}
    return Connection(
        (hook, "--url", url.rstrip("/"), "--key-env", key_variable),
        {"type": "http", "url": f"{url.rstrip('/')}/mcp", "headers": headers},
    )


def connect(folder: Path, connection: Connection) -> list[Change]:
    """What is to be done in a project. Raises BadInputError for a file that is not JSON, with the line."""
    settings, servers = _read(folder / SETTINGS), _read(folder / SERVERS)
    hooked = settings.becomes(_with_hooks(settings.document, connection, folder / SETTINGS))
    served = servers.becomes(_with_server(servers.document, connection, folder / SERVERS))
    left = disconnect(folder)
    return [replace(change, original=one.after) for change, one in zip((hooked, served), left, strict=True)]


def disconnect(folder: Path) -> list[Change]:
    """What is to be done to leave a project as it was. Raises BadInputError as `connect`."""
    settings, servers = _read(folder / SETTINGS), _read(folder / SERVERS)
    return [
        _as_it_was(settings.becomes(_without_hooks(settings.document, folder / SETTINGS))),
        _as_it_was(servers.becomes(_without_server(servers.document, folder / SERVERS))),
    ]


def _as_it_was(change: Change) -> Change:
    """To the letter, where the file reads as we left it."""
    try:
        kept = json.loads(_record(change.path).read_bytes())
    except (FileNotFoundError, ValueError):
        return change
    same = isinstance(kept, dict) and cast("Document", kept).get("after") == change.before
    return replace(change, after=cast("Document", kept).get("original")) if same else change


def _remember(change: Change) -> None:
    record = _record(change.path)
    if change.after is None or change.after == change.original:
        record.unlink(missing_ok=True)
        return
    record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"path": str(change.path), "original": change.original, "after": change.after}, file)


def _record(path: Path) -> Path:
    named = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:32]
    return Path(own_folder(os.environ)).with_name("connected") / f"{named}.json"


@dataclass(frozen=True)
class _File:
    path: Path
    text: str | None
    document: Document

    def becomes(self, document: Document) -> Change:
        """The file with another document; its text stays as it is where the document does."""
        if document == self.document:
            return Change(self.path, self.text, self.text)
        if not document:
            return Change(self.path, self.text, None)
        indent = _indent(self.text)
        text = json.dumps(document, indent=indent, ensure_ascii=False)
        end = "" if self.text is not None and not self.text.endswith("\n") else "\n"
        return Change(self.path, self.text, text + end)


def _read(path: Path) -> _File:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return _File(path, None, {})
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path} cannot be read: {error}") from error
    if not text.strip():
        return _File(path, text, {})
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInputError(
            f"{path}, line {error.lineno}, column {error.colno}: {error.msg}; correct it, nothing was changed"
        ) from error
    return _File(path, text, _object(document, path, "the file"))


def _indent(text: str | None) -> int | str:
    """As the file has it: the white space before its first key."""
    for line in (text or "").splitlines():
        stripped = line.lstrip()
        if stripped.startswith('"') and stripped != line:
            blank = line[: len(line) - len(stripped)]
            return blank if "\t" in blank else len(blank)
    return 2


def _object(value: object, path: Path, what: str) -> Document:
    if not isinstance(value, dict):
        raise BadInputError(f"{path}: {what} is no JSON object; correct it, nothing was changed")
    return cast("Document", value)


def _list(value: object, path: Path, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadInputError(f"{path}: {what} is no JSON array; correct it, nothing was changed")
    return cast("list[Any]", value)


def _with_hooks(document: Document, connection: Connection, path: Path) -> Document:
    present = _object(document.get("hooks", {}), path, "`hooks`")
    hooks: Document = dict(_without_hooks(document, path).get("hooks", {}))
    command = shlex.join(connection.hook)
    for event, seconds in EVENTS.items():
        group: Document = {"matcher": "*"} if event in _OF_TOOLS else {}
        group["hooks"] = [{"type": "command", "command": command, "timeout": seconds}]
        there = present.get(event, [])
        hooks[event] = there if group in there else [*hooks.get(event, []), group]
    # Events that are there keep their order.
    ordered = {event: hooks[event] for event in present if event in hooks}
    return {**document, "hooks": {**ordered, **hooks}}


def _without_hooks(document: Document, path: Path) -> Document:
    """Without what is ours; groups, events and `hooks` that become empty by it go too."""
    if "hooks" not in document:
        return document
    kept: Document = {}
    hooks = _object(document["hooks"], path, "`hooks`")
    for event, groups in hooks.items():
        listed = _list(groups, path, f"`hooks.{event}`")
        left = [group for group in (_without_ours(group) for group in listed) if group is not None]
        if left or not listed:
            kept[event] = left
    rest = {name: value for name, value in document.items() if name != "hooks"}
    # In its place among the others, so that a file that changes in nothing else reads as it did.
    return {name: kept if name == "hooks" else value for name, value in document.items()} if kept or not hooks else rest


def _without_ours(group: Any) -> Any:  # a person's JSON
    if not isinstance(group, dict):
        return group
    named = cast("Document", group)
    hooks = named.get("hooks")
    if not isinstance(hooks, list):
        return named
    listed = cast("list[Any]", hooks)
    left = [hook for hook in listed if not _is_ours(hook)]
    if len(left) == len(listed):
        return named
    return {**named, "hooks": left} if left else None


def _is_ours(hook: object) -> bool:
    command = cast("Document", hook).get("command") if isinstance(hook, dict) else None
    if not isinstance(command, str):
        return False
    try:
        words = shlex.split(command)
    except ValueError:
        return False
    return bool(words) and Path(words[0]).name == HOOK_PROGRAM


def _with_server(document: Document, connection: Connection, path: Path) -> Document:
    servers = _object(document.get("mcpServers", {}), path, "`mcpServers`")
    return {**document, "mcpServers": {**servers, SERVER_NAME: dict(connection.server)}}


def _without_server(document: Document, path: Path) -> Document:
    if "mcpServers" not in document:
        return document
    servers = _object(document["mcpServers"], path, "`mcpServers`")
    if SERVER_NAME not in servers:
        return document
    left = {name: server for name, server in servers.items() if name != SERVER_NAME}
    rest = {name: value for name, value in document.items() if name != "mcpServers"}
    return {**document, "mcpServers": left} if left else rest
