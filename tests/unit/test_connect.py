"""Connecting Claude Code: what stands in its files stays, and a removal leaves no trace."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from brainops.errors import BadInputError
from interfaces.cli.main import app
from interfaces.hooks.installation import EVENTS, SERVERS, SETTINGS, Change, connect, disconnect, local_connection

OURS = local_connection("brainops-hook", "brainops", None)

SETTINGS_OF_A_PERSON = """{
    "model": "opus",
    "permissions": {"allow": ["Bash(ls:*)", "Read"]},
    "hooks": {
        "Stop": [{"hooks": [{"type": "command", "command": "notify-send done"}]}],
        "PostToolUse": [{"matcher": "Edit|Write", "hooks": [{"type": "command", "command": "prettier"}]}]
    },
    "zebra": 1
}"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    folder = tmp_path / "shop"
    folder.mkdir()
    return folder


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def make(changes: Iterable[Change]) -> None:
    for change in changes:
        if change.changes:
            change.make()


def test_an_empty_project_gets_both_files_and_loses_them_again(project: Path) -> None:
    make(connect(project, OURS))
    settings = json.loads((project / SETTINGS).read_text())
    assert set(settings["hooks"]) == set(EVENTS)
    assert settings["hooks"]["SessionStart"] == [
        {"hooks": [{"type": "command", "command": "brainops-hook", "timeout": 5}]}
    ]
    servers = json.loads((project / SERVERS).read_text())
    assert servers == {"mcpServers": {"brainops": {"command": "brainops", "args": ["mcp"]}}}
    make(disconnect(project))
    assert list(project.iterdir()) == []


def test_a_second_time_changes_nothing(project: Path) -> None:
    make(connect(project, OURS))
    assert not any(change.changes for change in connect(project, OURS))


def test_what_a_person_wrote_stays_in_its_order_and_comes_back_to_the_letter(project: Path) -> None:
    (project / ".claude").mkdir()
    (project / SETTINGS).write_text(SETTINGS_OF_A_PERSON)
    (project / SERVERS).write_text('{"mcpServers": {"other": {"command": "x"}}}\n')
    before = files(project)
    make(connect(project, OURS))
    settings = json.loads((project / SETTINGS).read_text())
    assert list(settings) == ["model", "permissions", "hooks", "zebra"]
    assert list(settings["hooks"])[:2] == ["Stop", "PostToolUse"]
    assert settings["hooks"]["Stop"][0]["hooks"][0]["command"] == "notify-send done"
    assert len(settings["hooks"]["PostToolUse"]) == 2
    assert list(json.loads((project / SERVERS).read_text())["mcpServers"]) == ["other", "brainops"]
    make(disconnect(project))
    assert files(project) == before


def test_what_was_added_since_survives_the_removal(project: Path) -> None:
    make(connect(project, OURS))
    settings = json.loads((project / SETTINGS).read_text())
    settings["model"] = "opus"
    settings["hooks"]["Stop"].append({"hooks": [{"type": "command", "command": "beep"}]})
    (project / SETTINGS).write_text(json.dumps(settings, indent=2))
    assert not any(change.changes for change in connect(project, OURS))
    make(disconnect(project))
    assert json.loads((project / SETTINGS).read_text()) == {
        "hooks": {"Stop": [{"hooks": [{"type": "command", "command": "beep"}]}]},
        "model": "opus",
    }


def test_another_way_to_connect_takes_the_place_of_the_first(project: Path) -> None:
    make(connect(project, OURS))
    make(connect(project, local_connection("/opt/b/brainops-hook", "brainops", Path("/srv/my state"))))
    settings = json.loads((project / SETTINGS).read_text())
    (group,) = settings["hooks"]["Stop"]
    assert group["hooks"][0]["command"] == "/opt/b/brainops-hook --state-dir '/srv/my state'"
    make(disconnect(project))
    assert list(project.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{\n  "model": "x",\n}', "line 3, column 1"),
        ("[]", "no JSON object"),
        ('{"hooks": []}', "`hooks` is no JSON object"),
        ('{"hooks": {"Stop": {}}}', "`hooks.Stop` is no JSON array"),
    ],
)
def test_a_file_that_cannot_be_understood_is_left_alone(project: Path, text: str, problem: str) -> None:
    (project / ".claude").mkdir()
    (project / SETTINGS).write_text(text)
    with pytest.raises(BadInputError, match=problem):
        connect(project, OURS)
    assert files(project) == {str(SETTINGS): text}


def test_the_command_shows_and_does_it(project: Path) -> None:
    runner = CliRunner()
    command = ["connect", "claude-code", "--project", str(project)]
    shown = runner.invoke(app, [*command, "--dry-run"])
    assert shown.exit_code == 0, shown.output
    assert "+++ b/.mcp.json" in shown.output
    assert list(project.iterdir()) == []
    done = runner.invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "project:shop" in done.output
    assert runner.invoke(app, [*command, "--dry-run"]).output == ""
    assert runner.invoke(app, [*command, "--remove"]).exit_code == 0
    assert list(project.iterdir()) == []


def test_a_team_server_is_named_without_its_key(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "TEAM_KEY", "bok_secret")
    command = [
        "connect",
        "claude-code",
        "--project",
        str(project),
        "--url",
        "https://b.example.com/",
        "--key-env",
        "TEAM_KEY",
    ]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    written = "".join(files(project).values())
    assert "--url https://b.example.com --key-env TEAM_KEY" in written
    assert '"Authorization": "Bearer ${TEAM_KEY}"' in written
    assert "bok_secret" not in written
    refused = CliRunner().invoke(app, [*command[:-1], "bok_secret-key"])
    assert refused.exit_code == 2
