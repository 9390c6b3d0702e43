"""What coding agents left on disk is read as far as it can be, and the same each time."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from brainops.contracts.message import Message, Role, TextPart, ToolCallPart, ToolResultPart
from brainops.errors import BadInputError
from brainops.memory import transcripts
from brainops.memory.conversions import MALFORMED
from brainops.memory.instruction_files import MAX_BYTES, instruction_files, read_instructions, statements
from brainops.memory.transcripts import TranscriptMessage, TranscriptReport, find_transcripts, read_transcript

Entry = dict[str, JsonValue]


def claude(number: int, kind: str, content: JsonValue, **more: JsonValue) -> Entry:
    return {
        "type": kind, "uuid": f"u{number}", "sessionId": "s1", "timestamp": f"2026-01-02T10:00:{number:02}.000Z", "cwd": "/srv/shop",
        "gitBranch": "main", "message": {"role": kind, "content": content}, **more,
    }  # fmt: skip


def read(path: Path, entries: list[Entry | str]) -> tuple[list[TranscriptMessage], TranscriptReport]:
    path.write_text(
        "".join(f"{entry if isinstance(entry, str) else json.dumps(entry)}\n" for entry in entries),
        "utf-8",
        "surrogatepass",
    )
    report = TranscriptReport()
    return list(read_transcript(path, report)), report


CLAUDE: list[Entry | str] = [
    {"type": "summary", "summary": "Fix the cart", "leafUuid": "u4"},
    {"type": "file-history-snapshot", "messageId": "x", "snapshot": {}},
    claude(1, "user", "the cart is empty <system-reminder>be nice</system-reminder>after login"),
    claude(2, "assistant", [{"type": "thinking", "thinking": "hm", "signature": "x"}]),
    claude(3, "assistant", [{"type": "text", "text": "I look."}]),
    claude(4, "assistant", [{"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "make test"}}]),
    claude(
        5,
        "user",
        [
            {
                "type": "tool_result",
                "tool_use_id": "t1",
                "content": [{"type": "text", "text": "1 failed"}],
                "is_error": True,
            }
        ],
    ),
    claude(
        6,
        "user",
        [{"type": "tool_result", "tool_use_id": "t9", "content": ""}],
        toolUseResult={"stdout": "ok", "stderr": ""},
    ),
    claude(7, "user", "<command-name>/clear</command-name>"),
    claude(8, "user", "Caveat", isMeta=True),
    claude(9, "assistant", "from a sub-agent", isSidechain=True),
    claude(10, "user", "The session so far: …", isCompactSummary=True),
    {
        "type": "system",
        "subtype": "api_error",
        "content": "overloaded",
        "sessionId": "s1",
        "uuid": "u11",
        "timestamp": "2026-01-02T10:00:11Z",
    },
]


def test_claude_code_session_is_read(tmp_path: Path) -> None:
    found, report = read(tmp_path / "s1.jsonl", CLAUDE)
    assert [item.message for item in found] == [
        Message(role=Role.USER, parts=(TextPart(text="the cart is empty after login"),)),
        Message(role=Role.ASSISTANT, parts=(TextPart(text="I look."),)),
        Message(role=Role.ASSISTANT, parts=(ToolCallPart(id="t1", name="Bash", arguments={"command": "make test"}),)),
        Message(role=Role.TOOL, parts=(ToolResultPart(call_id="t1", name="Bash", text="1 failed", is_error=True),)),
        Message(role=Role.TOOL, parts=(ToolResultPart(call_id="t9", text="ok"),)),
        Message(role=Role.SYSTEM, parts=(TextPart(text="The session so far: …"),), author="compact"),
        Message(role=Role.SYSTEM, parts=(TextPart(text="overloaded"),)),
    ]
    assert found[0].at == datetime(2026, 1, 2, 10, 0, 1, tzinfo=UTC)
    assert [item.line for item in found] == [3, 5, 6, 7, 8, 12, 13]
    assert report.skipped == {
        "summary": 1, "file-history-snapshot": 1, "thinking": 1, "local command": 1, "meta": 1, "sidechain": 1,
    }  # fmt: skip
    session = report.sessions["s1"]
    assert (session.agent, session.cwd, session.branch, session.title, session.messages) == (
        "claude-code",
        "/srv/shop",
        "main",
        "Fix the cart",
        7,
    )
    assert (session.first_at, session.last_at) == (found[0].at, found[-1].at)


def codex(kind: str, **payload: JsonValue) -> Entry:
    return {"timestamp": "2026-01-02T10:00:00.000Z", "type": kind, "payload": payload}


def said(role: str, text: str) -> Entry:
    return codex("response_item", type="message", role=role, content=[{"type": "input_text", "text": text}])


CODEX: list[Entry | str] = [
    codex("session_meta", id="c1", cwd="/srv/shop", git={"branch": "dev"}),
    said("user", "<environment_context>…</environment_context>"),
    said("developer", "be careful"),
    said("user", "fix the cart"),
    codex("event_msg", type="user_message", message="fix the cart"),
    codex("response_item", type="reasoning", summary=[]),
    codex("response_item", type="function_call", name="shell", arguments='{"command":["ls"]}', call_id="f1"),
    codex(
        "response_item",
        type="function_call_output",
        call_id="f1",
        output='{"output":"a.py","metadata":{"exit_code":2}}',
    ),
    codex("response_item", type="function_call", name="shell", arguments="{oops", call_id="f2"),
    codex("response_item", type="function_call_output", call_id="f2", output="plain"),
    codex("response_item", type="custom_tool_call", name="apply_patch", input="*** Begin", call_id="f3"),
    codex("response_item", type="local_shell_call", call_id="f4", action={"type": "exec", "command": ["ls", "-l"]}),
    said("assistant", "done"),
]


def test_codex_session_is_read(tmp_path: Path) -> None:
    found, report = read(tmp_path / "rollout-1.jsonl", CODEX)
    assert [item.message for item in found] == [
        Message(role=Role.USER, parts=(TextPart(text="fix the cart"),)),
        Message(role=Role.ASSISTANT, parts=(ToolCallPart(id="f1", name="shell", arguments={"command": ["ls"]}),)),
        Message(role=Role.TOOL, parts=(ToolResultPart(call_id="f1", name="shell", text="a.py", is_error=True),)),
        Message(role=Role.ASSISTANT, parts=(ToolCallPart(id="f2", name="shell", arguments={MALFORMED: "{oops"}),)),
        Message(role=Role.TOOL, parts=(ToolResultPart(call_id="f2", name="shell", text="plain"),)),
        Message(
            role=Role.ASSISTANT, parts=(ToolCallPart(id="f3", name="apply_patch", arguments={"input": "*** Begin"}),)
        ),
        Message(
            role=Role.ASSISTANT, parts=(ToolCallPart(id="f4", name="local_shell", arguments={"command": ["ls", "-l"]}),)
        ),
        Message(role=Role.ASSISTANT, parts=(TextPart(text="done"),)),
    ]
    assert report.skipped == {"boilerplate": 1, "developer message": 1, "event_msg": 1, "reasoning": 1}
    session = report.sessions["c1"]
    assert (session.agent, session.cwd, session.branch) == ("codex", "/srv/shop", "dev")


def test_oldest_codex_files_hold_the_items_bare(tmp_path: Path) -> None:
    found, report = read(
        tmp_path / "rollout-2.jsonl",
        [
            {"id": "c0", "timestamp": "2025-06-01T08:00:00Z", "instructions": None},
            {"record_type": "state"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
        ],
    )
    assert [(item.session, item.message.text) for item in found] == [("c0", "hello")]
    assert report.skipped == {"state": 1}


def test_each_reading_gives_the_same_ids(tmp_path: Path) -> None:
    for name, entries in (("s1", CLAUDE), ("rollout-1", CODEX)):
        first, _ = read(tmp_path / f"{name}.jsonl", entries)
        again, _ = read(tmp_path / f"{name}.jsonl", [*entries, entries[-1]])
        assert [item.id for item in again[: len(first)]] == [item.id for item in first]
        assert len({item.id for item in first}) == len(first)
        assert again[-1].id == first[-1].id


def test_broken_lines_are_reported_by_number_and_the_others_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts, "MAX_LINE", 2_000)
    path = tmp_path / "s1.jsonl"
    lines = [
        json.dumps(claude(1, "user", "one")).encode(),
        b'{"type": "user", ',
        b"[1]",
        b"\xff{}",
        b"",
        b"x" * 9_000,
        json.dumps(claude(2, "user", 7)).encode(),
        json.dumps(claude(3, "user", ["x"])).encode(),
        b"[" * 1_500,
        json.dumps(claude(4, "user", "two")).encode(),
    ]
    path.write_bytes(b"\n".join(lines))
    report = TranscriptReport()
    assert [item.message.text for item in read_transcript(path, report)] == ["one", "two"]
    assert [number for number, _ in report.broken_lines] == [2, 3, 4, 6, 7, 8, 9]
    assert report.broken == 7
    assert report.lines == 10


def test_what_no_store_takes_is_replaced(tmp_path: Path) -> None:
    found, _ = read(tmp_path / "s1.jsonl", [claude(1, "user", "a\x00b \ud800 🎉")])
    assert found[0].message.text == "a\ufffdb ? 🎉"


def test_line_without_a_time_takes_the_last_one_and_is_broken_without_any(tmp_path: Path) -> None:
    timeless: Entry = {"type": "user", "sessionId": "s1", "message": {"content": "when?"}}
    found, report = read(
        tmp_path / "s1.jsonl", [timeless, claude(5, "user", "now"), {**timeless, "timestamp": "yesterday"}]
    )
    assert [item.at.second for item in found] == [5, 5]
    assert report.broken_lines == [(1, "no timestamp, here or before")]


JSON_VALUES = st.recursive(
    st.none()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["user", "message", "text", "tool_use", "function_call"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "content", "text", "role", "name"]), inner, max_size=3)
    ),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["type", "message", "payload", "timestamp", "uuid", "sessionId", "content", "role", "summary", "id"]
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(KEYS, JSON_VALUES, max_size=6), max_size=3))
def test_no_line_stops_the_reading(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]) -> None:
    path = tmp_path_factory.getbasetemp() / "odd.jsonl"
    found, report = read(path, [*entries, claude(1, "user", "last")])
    assert found[-1].message.text == "last"
    assert report.lines == len(entries) + 1


def test_file_is_read_as_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "s1.jsonl"
    path.write_text("".join(json.dumps(claude(number % 60, "user", f"line {number}")) + "\n" for number in range(500)))
    report = TranscriptReport()
    assert next(read_transcript(path, report)).message.text == "line 0"
    assert report.lines == 1


def test_transcripts_are_found_where_the_agents_put_them(tmp_path: Path) -> None:
    wanted = [".claude/projects/-srv-shop/s1.jsonl", ".codex/sessions/2026/01/02/rollout-1.jsonl"]
    for name in [*wanted, ".claude/history.jsonl", ".codex/sessions/other.jsonl"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_transcripts(tmp_path) == [tmp_path / name for name in wanted]


MARKDOWN = """---
name: shop
---
# Shop
The web shop of
Example Ltd.

<!-- not
for you -->
## Commands
- Run the tests:
  ```
  make test
  ```
- Never push
  to main.
1. First thing
   - inner one
   - inner two
* [ ] a task

| tool | use |
|------|-----|
| uv   | deps |

@docs/more.md
### Style
Prefer names.
## Ports
- web: 8443
"""


def test_instructions_are_read_by_statement() -> None:
    assert [(item.text, item.headings, item.line) for item in statements(MARKDOWN, "CLAUDE.md")] == [
        ("The web shop of\nExample Ltd.", ("Shop",), 5),
        ("Run the tests:\n  make test", ("Shop", "Commands"), 11),
        ("Never push\nto main.", ("Shop", "Commands"), 15),
        ("First thing", ("Shop", "Commands"), 17),
        ("inner one", ("Shop", "Commands", "First thing"), 18),
        ("inner two", ("Shop", "Commands", "First thing"), 19),
        ("a task", ("Shop", "Commands"), 20),
        ("tool | use", ("Shop", "Commands"), 22),
        ("uv | deps", ("Shop", "Commands"), 24),
        ("Prefer names.", ("Shop", "Commands", "Style"), 28),
        ("web: 8443", ("Shop", "Ports"), 30),
    ]


def test_instruction_files_of_a_project_are_found_and_read(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_text("- use uv\n")
    (tmp_path / "README.md").write_text("- hello\n")
    assert instruction_files(tmp_path) == [tmp_path / "AGENTS.md"]
    (found,) = read_instructions(tmp_path / "AGENTS.md")
    assert (found.text, found.file, found.line) == ("use uv", str(tmp_path / "AGENTS.md"), 1)


@pytest.mark.parametrize("content", [b"x" * (MAX_BYTES + 1), b"a\xff"])
def test_instructions_that_cannot_be_read_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "CLAUDE.md").write_bytes(content)
    with pytest.raises(BadInputError, match=r"CLAUDE\.md"):
        read_instructions(tmp_path / "CLAUDE.md")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["# a", "- b", "  - c", "text", "```", "", "| x |", "---", "<!--", "-->", "1. d", "    e"]),
        max_size=12,
    )
)
def test_every_statement_stands_where_it_says(lines: list[str]) -> None:
    for item in statements("\n".join(lines), "f"):
        assert item.text
        assert 1 <= item.line <= len(lines)
