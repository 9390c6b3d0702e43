"""`brainops memory` and `brainops session` over a running API: what people see, what programs get, what mistakes get."""

import asyncio
import json
import stat
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from memory_api import MemoryApi, running_memory_api
from typer.testing import CliRunner, Result

from brainops.access.keys import Scope
from brainops.config.paths import StatePaths
from brainops.contracts import memory as m
from brainops.contracts.message import Role, TextPart, ToolCallPart, ToolResultPart
from interfaces.cli.main import app

OLD = datetime.now(UTC) - timedelta(days=3)


@dataclass
class Terminal:
    """Commands as a person types them in the folder of the project `bakery`."""

    api: MemoryApi
    app_url: str
    project: Path

    async def __call__(self, *typed: str, given: str | None = None, **environment: str) -> Result:
        variables = {"BRAINOPS_DATABASE_URL": self.app_url, "COLUMNS": "80", "NO_COLOR": "1"}
        # In a thread: the API answers in this one.
        return await asyncio.to_thread(CliRunner().invoke, app, typed, env=variables | environment, input=given)

    async def done(self, *typed: str, given: str | None = None) -> str:
        """What a command prints that succeeds, at 80 columns."""
        result = await self(*typed, given=given)
        assert result.exit_code == 0, result.output
        assert max((len(line) for line in result.stdout.splitlines()), default=0) <= 80, result.stdout
        return result.stdout

    async def json(self, *typed: str) -> Any:
        result = await self(*typed, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    async def refused(self, *typed: str) -> str:
        """What a command says that was given something wrong."""
        result = await self(*typed)
        assert (result.exit_code, "Traceback" in result.output) == (2, False), result.output
        return " ".join(result.stderr.split())


@pytest.fixture
async def terminal(
    app_url: str, state_paths: StatePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Terminal]:
    project = tmp_path / "home" / "bakery"
    project.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(project.parent))
    monkeypatch.setenv("BRAINOPS_STATE_DIR", str(state_paths.root))
    monkeypatch.delenv("BRAINOPS_URL", raising=False)
    monkeypatch.chdir(project)
    async with running_memory_api(app_url, state_paths, project.parent) as api:
        yield Terminal(api, app_url, project)


def entry(session: str, number: int, role: str, content: object, folder: Path) -> str:
    """A line of a transcript of Claude Code."""
    at = (OLD + timedelta(minutes=number)).isoformat()
    message = {"role": role, "content": content}
    told = {"type": role, "uuid": f"{session}/{number}", "sessionId": session, "timestamp": at, "cwd": str(folder)}
    return json.dumps(told | {"message": message})


def write_transcript(home: Path, session: str, lines: list[str]) -> Path:
    path = home / ".claude" / "projects" / "of-a-project" / f"{session}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


async def test_what_is_remembered_is_found_shown_listed_and_forgotten(terminal: Terminal) -> None:
    told = await terminal.done("memory", "remember", "The oven listens on port 9100.", "--name", "oven_port", "--pin")
    assert told.startswith("Remembered: ")
    assert told.endswith("in project:bakery.\n")
    short = told.split()[1]
    assert "reinforced" in await terminal.done("memory", "remember", "-", given="The oven listens on port 9100.\n")
    await terminal.done("memory", "remember", "Rent is due.", "--scope", "project:other", "--expires", "2w")

    assert "The oven listens on port 9100." in await terminal.done("memory", "recall", "oven port")
    precise = await terminal.json("memory", "recall", "what is the oven port?", "--precise")
    assert {one["text"] for one in (*precise["results"], *precise["pinned"])} == {"The oven listens on port 9100."}
    assert "told again  1 times" in await terminal.done("memory", "show", short)
    assert "Rent" not in await terminal.done("memory", "list")
    everywhere = await terminal.json("memory", "list", "--all")
    assert {tuple(one["scopes"]) for one in everywhere["memories"]} == {("project:bakery",), ("project:other",)}

    assert "add --yes" in await terminal.refused("memory", "forget", short)
    assert "nothing is left" in await terminal.done("memory", "forget", short, "--yes")
    assert "Nothing of project:bakery" in await terminal.done("memory", "list", "--past")
    assert "All in order" in await terminal.done("memory", "verify")
    assert (await terminal.json("memory", "stats"))["memories"] == 1


async def test_an_answer_explains_itself_and_one_without_results_says_what_helps(terminal: Terminal) -> None:
    await terminal.done("memory", "remember", "The oven listens on port 9100.", "--kind", "system_state")
    start = m.SessionStart(session_id="s1", scope="project:mill")
    await terminal.api.client.call("session_start", start)
    said = m.NewMessage(role=Role.USER, parts=(TextPart(text="The mill runs at night."),))
    await terminal.api.client.call("session_append", m.Append(session_id="s1", messages=(said,)))

    told = " ".join((await terminal.done("memory", "explain", "oven port")).split())
    assert "terms: oven port" in told
    assert "words " in told
    other_kind = await terminal.done("memory", "explain", "oven port", "--kind", "task")
    assert "leave --kind away" in other_kind
    assert "--scope project:mill" in await terminal.done("memory", "explain", "mill at night", "--kind", "message")


async def test_transcripts_are_imported_with_their_times_and_only_once(terminal: Terminal) -> None:
    session = str(uuid4())
    lines = [
        entry(session, 0, "user", "Move the price list to SQLite.", terminal.project),
        "{broken",
        entry(
            session, 1, "assistant", [{"type": "text", "text": "We decided to keep prices in cents."}], terminal.project
        ),
    ]
    transcript = write_transcript(terminal.project.parent, session, lines)
    elsewhere = terminal.project.parent / "mill"
    write_transcript(terminal.project.parent, "of-the-mill", [entry("of-the-mill", 0, "user", "Grind.", elsewhere)])

    first = await terminal.json("memory", "import", "--from", "claude-code")
    assert (first["transcripts"]["sessions"], first["transcripts"]["messages"]) == (1, 2)
    assert [(one["line"], one["file"]) for one in first["transcripts"]["broken_lines"]] == [(2, str(transcript))]
    assert "of other projects: 1;" in first["notes"][0]
    listed: m.SessionPage = await terminal.api.client.call("session_list", {})
    (imported,) = listed.sessions
    assert (imported.id, imported.scope, imported.title) == (
        session,
        "project:bakery",
        "Move the price list to SQLite.",
    )
    assert (imported.started_at, imported.ended_at) == (OLD, OLD + timedelta(minutes=1))
    assert imported.understood == 2

    again = (await terminal.json("memory", "import", "--from", "claude-code"))["transcripts"]
    assert (again["sessions"], again["messages"], again["known"]) == (0, 0, 1)
    with transcript.open("a") as file:
        file.write(entry(session, 2, "user", "Add the daily specials.", terminal.project) + "\n")
    longer = (await terminal.json("memory", "import", str(transcript)))["transcripts"]
    assert (longer["sessions"], longer["messages"], longer["known"]) == (1, 1, 0)
    assert "older than --since" in await terminal.done("memory", "import", "--from", "claude-code", "--since", "1s")
    told = await terminal.done("session", "restore", "--prompt", "continue")
    assert "keep prices in cents" in told


async def test_a_session_that_the_hooks_recorded_is_not_imported_beside(terminal: Terminal) -> None:
    session = str(uuid4())
    await terminal.api.client.call("session_start", m.SessionStart(session_id=session, scope="project:bakery"))
    said = m.NewMessage(role=Role.USER, parts=(TextPart(text="Bake."),))
    await terminal.api.client.call("session_append", m.Append(session_id=session, messages=(said,)))
    transcript = write_transcript(
        terminal.project.parent, session, [entry(session, 0, "user", "Bake.", terminal.project)]
    )
    done = (await terminal.json("memory", "import", str(transcript)))["transcripts"]
    assert (done["recorded"], done["messages"]) == (1, 0)


async def test_a_changed_instruction_file_changes_what_is_known(terminal: Terminal) -> None:
    file = terminal.project / "CLAUDE.md"
    file.write_text("# Bakery\n\n## Commands\n- Run the tests with `make check`.\n- Never deploy on Fridays.\n")
    (first,) = (await terminal.json("memory", "import", "--from", "claude-code"))["instructions"]
    assert (first["new"], first["scope"]) == (2, "project:bakery")
    file.write_text("# Bakery\n\nPrices are in cents.\n\n## Commands\n- Run the tests with `make check -j4`.\n")
    (second,) = (await terminal.json("memory", "import", "CLAUDE.md"))["instructions"]
    assert (second["new"], second["replaced"], second["gone"]) == (2, 1, 1)
    (third,) = (await terminal.json("memory", "import", "CLAUDE.md"))["instructions"]
    assert (third["new"], third["replaced"], third["gone"], third["known"]) == (0, 0, 0, 2)
    (terminal.project / "AGENTS.md").write_text("Build the docs with ghp_16C7e42F292c6912E7710c838347Ae178B4a.\n")
    again = [(await terminal.json("memory", "import", "AGENTS.md"))["instructions"][0] for _ in range(2)]
    assert [(one["new"], one["replaced"], one["redacted"]) for one in again] == [(1, 0, 1), (0, 0, 0)]
    (token,) = [one for one in (await terminal.json("memory", "list"))["memories"] if "docs" in one["content"]]
    await terminal.done("memory", "forget", token["id"], "--yes")
    file.write_text("# Bakery\n\n\nPrices are in cents.\n\n## Commands\n- Run the tests with `make check -j4`.\n")
    await terminal.done("memory", "import", "CLAUDE.md")
    current = (await terminal.json("memory", "list", "--type", "instruction"))["memories"]
    assert {(one["content"], one["provenance"]["source"]) for one in current} == {
        ("Prices are in cents.", "CLAUDE.md:4"),
        ("Commands: Run the tests with `make check -j4`.", "CLAUDE.md:7"),
    }
    assert len((await terminal.json("memory", "list", "--type", "instruction", "--past"))["memories"]) == 4


async def test_an_export_is_its_owners_alone_is_never_written_over_and_comes_back(terminal: Terminal) -> None:
    file = terminal.project / "memory.jsonl"
    await terminal.done("memory", "remember", "The oven listens on port 9100.")
    await terminal.done("memory", "export", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    assert "--force" in await terminal.refused("memory", "export", str(file))
    assert file.read_bytes() == before
    await terminal.done("memory", "forget", "--scope", "project:bakery", "--yes")
    assert (await terminal.json("memory", "import", str(file)))["rows"]["memory"] == 1
    assert "9100" in await terminal.done("memory", "recall", "oven port")
    assert await terminal.done("memory", "export", str(file), "--force")
    file.write_bytes(before + b'{"type": "memory"}\n')
    assert "line 3" in await terminal.refused("memory", "import", str(file))


async def test_a_session_is_read_saved_and_restored(terminal: Terminal) -> None:
    call = ToolCallPart(id="c1", name="Bash", arguments={"command": "make check"})
    result = ToolResultPart(call_id="c1", name="Bash", text="\n".join(f"test {number}" for number in range(30)))
    said = (
        m.NewMessage(role=Role.USER, parts=(TextPart(text="Add [bold] bread.\x1b[31m"),)),
        m.NewMessage(role=Role.ASSISTANT, parts=(call,)),
        m.NewMessage(role=Role.TOOL, parts=(result,)),
    )
    session = str(uuid4())
    start = m.SessionStart(session_id=session, agent="claude-code", scope="project:bakery", title="Bread")
    await terminal.api.client.call("session_start", start)
    await terminal.api.client.call("session_append", m.Append(session_id=session, messages=said))
    streamed = {"session_id": session, "message_id": uuid4(), "text": "I am about to"}
    await terminal.api.client.call("session_stream", streamed)
    await terminal.api.client.call(
        "session_stream_end", {"session_id": session, "message_id": streamed["message_id"], "interrupted": True}
    )

    assert "Bread" in await terminal.done("session", "list")
    told = await terminal.done("session", "show", session[:8])
    assert "Add [bold] bread." in told
    assert "\x1b" not in told
    assert "→ Bash command: make check" in told
    assert "18 more lines; --full" in told
    assert told.index("cut off") < told.index("I am about to")
    assert "test 29" in await terminal.done("session", "show", session, "--full")
    last = await terminal.json("session", "show", session, "-n", "1")
    earlier = await terminal.json("session", "show", session, "-n", "1", "--before", last["before"])
    assert [page["messages"][0]["seq"] for page in (last, earlier)] == [4, 3]

    assert "goal, next" in await terminal.done("session", "save", session[:8], "goal=bread", "next=the crust")
    assert "no KEY=VALUE" in await terminal.refused("session", "save", session, "bread")
    restored = await terminal("session", "restore", "--budget", "400")
    assert restored.stdout.startswith("<brainops-memory>\n")
    assert "- next: the crust" in restored.stdout
    exact = await terminal.json("session", "restore", "--budget", "400")
    assert exact["text"] + "\n" == restored.stdout
    nothing = await terminal("session", "restore", "--scope", "project:nothing")
    assert (nothing.exit_code, nothing.stdout) == (0, "")


async def test_what_was_kept_apart_of_a_long_result_is_shown_whole(terminal: Terminal) -> None:
    text = "\n".join(f"loaf {number} is in the oven" for number in range(400))
    call = ToolCallPart(id="c1", name="Read", arguments={"file_path": "oven.txt"})
    said = (
        m.NewMessage(role=Role.ASSISTANT, parts=(call,)),
        m.NewMessage(role=Role.TOOL, parts=(ToolResultPart(call_id="c1", name="Read", text=text),)),
    )
    await terminal.api.client.call("session_start", m.SessionStart(session_id="s1", scope="project:bakery"))
    await terminal.api.client.call("session_append", m.Append(session_id="s1", messages=said))
    shown = await terminal.done("session", "show", "s1")
    assert "loaf 200 is" not in shown
    message = shown.partition("brainops memory show ")[2].split()[0]
    assert text in await terminal.done("memory", "show", message)
    assert (await terminal.json("memory", "show", message))["artifacts"][0]["text"] == text


MISTAKES = {
    ("memory", "recall", "x", "--scope", "!"): "--scope is '!'",
    ("memory", "recall", "x", "--at", "yesterday"): "2026-03-04",
    ("memory", "recall", " "): "question is empty",
    ("memory", "remember", " "): "blank",
    ("memory", "remember", "x", "--expires", "2020-01-01"): "which is over",
    ("memory", "show", "zz"): "no id",
    ("memory", "show", "0000"): "begins with 0000",
    ("memory", "show", "00000000-0000-4000-8000-000000000000"): "nothing that is kept",
    ("memory", "list", "--all", "--scope", "x"): "not both",
    ("memory", "forget"): "one of",
    ("memory", "import"): "--from claude-code",
    ("memory", "import", "nothing.jsonl"): "cannot be read",
    ("memory", "import", "."): "is a folder",
    ("memory", "export", "-", "--json"): "goes to stdout",
    ("session", "show", "nobody"): "no session",
}


async def test_mistakes_get_a_sentence(terminal: Terminal) -> None:
    for typed, said in MISTAKES.items():
        assert said in await terminal.refused(*typed)


async def test_a_teams_server_is_asked_with_a_key_and_has_no_database_here(terminal: Terminal) -> None:
    key = await terminal.api.key(Scope.READ, Scope.OPERATE)
    team = {"BRAINOPS_URL": terminal.api.url, "BRAINOPS_KEY": key}
    told = await terminal("memory", "remember", "The oven listens on port 9100.", **team)
    assert told.exit_code == 0, told.output
    whole = told.stdout.split()[1]
    assert (await terminal("memory", "show", whole, **team)).exit_code == 0
    assert (await terminal("memory", "show", whole[:8], **team)).exit_code == 2
    assert "not here" in (await terminal("memory", "list", **team)).stderr
    refused = await terminal("memory", "recall", "oven", BRAINOPS_URL=terminal.api.url, BRAINOPS_KEY="bok_wrong")
    assert (refused.exit_code, "Traceback" in refused.output) == (1, False)


async def test_without_a_stack_the_command_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAINOPS_STATE_DIR", str(tmp_path))
    result = await asyncio.to_thread(CliRunner().invoke, app, ["memory", "recall", "x"])
    assert (result.exit_code, "brainops up --only memory" in result.stderr) == (3, True)
