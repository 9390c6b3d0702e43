"""What a tool of a coding agent gave back, as text: each tool has a shape of its own."""

import json
from collections.abc import Sequence

from pydantic import JsonValue

_PLAIN = ("content", "output", "result", "text", "message")
"""Keys under which most tools say what they have to say."""


def result_text(response: JsonValue) -> str:
    """The text of a `tool_response`: what was printed, read or found. What has no text of its own is shown as JSON."""
    if response is None:
        return ""
    if isinstance(response, str):
        return response
    if isinstance(response, list):
        return _blocks(response)
    if not isinstance(response, dict):
        return json.dumps(response)
    return _printed(response) or _file(response) or _patch(response) or _listing(response) or _said(response)


def is_failure(response: JsonValue) -> bool:
    """Whether the tool says that it failed or was interrupted."""
    if not isinstance(response, dict):
        return False
    return any(response.get(name) is True for name in ("is_error", "isError", "interrupted"))


def _printed(response: dict[str, JsonValue]) -> str:
    streams = [response.get("stdout"), response.get("stderr")]
    return "\n".join(stream.rstrip("\n") for stream in streams if isinstance(stream, str) and stream.strip())


def _file(response: dict[str, JsonValue]) -> str:
    file = response.get("file")
    content = file.get("content") if isinstance(file, dict) else None
    return content if isinstance(content, str) else ""


def _patch(response: dict[str, JsonValue]) -> str:
    """The changed lines of an edit; the whole file before it, which comes along, is left out."""
    hunks = response.get("structuredPatch")
    if not isinstance(hunks, list):
        return ""
    lines: list[str] = []
    for hunk in hunks:
        changed = hunk.get("lines") if isinstance(hunk, dict) else None
        lines += [line for line in changed if isinstance(line, str)] if isinstance(changed, list) else []
    return "\n".join([str(response.get("filePath", "")), *lines])


def _listing(response: dict[str, JsonValue]) -> str:
    names = response.get("filenames")
    found = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return "\n".join(found)


def _said(response: dict[str, JsonValue]) -> str:
    for name in _PLAIN:
        value = response.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, list) and (text := _blocks(value)):
            return text
    shown = {
        name: value for name, value in response.items() if name != "originalFile" and value not in ("", None, False)
    }
    return json.dumps(shown, ensure_ascii=False) if shown else ""


def _blocks(blocks: Sequence[JsonValue]) -> str:
    """Text blocks as MCP tools and agents return them; without one, the list as JSON."""
    texts = [block["text"] for block in blocks if isinstance(block, dict) and isinstance(block.get("text"), str)]
    if texts:
        return "\n\n".join(str(text) for text in texts)
    if all(isinstance(block, str) for block in blocks):
        return "\n".join(str(block) for block in blocks)
    return json.dumps(blocks, ensure_ascii=False)
