"""The command itself: help without imports, errors as sentences, exit codes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from brainops.errors import (
    ActionError,
    BrainOpsError,
    ConfigError,
    ConflictError,
    NotAllowedError,
    NotFoundError,
    SetupError,
    UnavailableError,
)
from interfaces.cli.errors import ExitCode, exit_code
from interfaces.cli.lazy import Entry, lazy_group
from interfaces.cli.main import COMMANDS, app
from interfaces.cli.names import unknown

ROOT = Path(__file__).parents[2]


def test_help_names_every_command_and_imports_none() -> None:
    program = (
        "import sys; sys.argv = ['brainops', '--help']\n"
        "from interfaces.cli.main import run\n"
        "try:\n    run()\n"
        "finally:\n"
        "    heavy = {'temporalio', 'sqlalchemy', 'fastapi', 'interfaces.cli.status'} & set(sys.modules)\n"
        "    assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for entry in COMMANDS:
        assert f" {entry.name} " in done.stdout


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_every_command_has_help_of_its_own(entry: Entry) -> None:
    result = CliRunner().invoke(app, [entry.name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"brainops {entry.name}" in result.output or entry.name in result.output


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_every_command_is_documented(entry: Entry) -> None:
    assert f"## brainops {entry.name}" in (ROOT / "docs" / "cli.md").read_text()


def test_a_mistyped_command_names_the_nearest() -> None:
    result = CliRunner().invoke(app, ["statsu"])
    assert result.exit_code == ExitCode.BAD_INPUT
    assert "status" in result.stderr


def test_a_missing_module_breaks_only_its_own_command() -> None:
    group = lazy_group(
        [
            Entry("gone", "interfaces.cli.no_such_module", "gone", "Is not there.", "P"),
            Entry("there", "interfaces.cli.logs", "logs", "Is there.", "P"),
        ]
    )
    broken = typer.Typer(cls=group)
    broken.callback()(lambda: None)
    gone = CliRunner().invoke(broken, ["gone"])
    assert gone.exit_code == ExitCode.FAILURE
    assert "interfaces.cli.no_such_module" in gone.stderr
    assert CliRunner().invoke(broken, ["there", "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (NotFoundError("x"), 2),
        (ConflictError("x"), 2),
        (UnavailableError("x"), 3),
        (NotAllowedError("x"), 1),
        (SetupError("x"), 1),
        (ActionError("x"), 1),
    ],
)
def test_each_error_has_its_exit_code(error: BrainOpsError, code: int) -> None:
    assert exit_code(error) == code


@pytest.mark.parametrize("command", [["status"], ["incidents"], ["approvals"], ["pause", "shop"], ["keys", "list"]])
def test_without_a_stack_a_command_says_how_to_start_one(command: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["--state-dir", str(tmp_path), *command], env={"BRAINOPS_DATABASE_URL": None, "COLUMNS": "80"}
    )
    assert result.exit_code == ExitCode.UNREACHABLE
    assert "brainops up" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", [["status", "--json"], ["approve", "12345678"]])
def test_a_dead_database_is_a_sentence_and_no_traceback(command: list[str], tmp_path: Path) -> None:
    dead = f"postgresql://nobody@/none?host={tmp_path}"
    result = CliRunner().invoke(app, ["--state-dir", str(tmp_path), *command], env={"BRAINOPS_DATABASE_URL": dead})
    assert result.exit_code == ExitCode.UNREACHABLE
    assert "brainops up" in result.stderr
    assert result.stdout == ""


def test_the_state_folder_of_the_option_reaches_every_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAINOPS_STATE_DIR", "/nowhere")
    result = CliRunner().invoke(app, ["--state-dir", str(tmp_path), "logs", "shop"])
    assert result.exit_code == ExitCode.BAD_INPUT
    assert os.environ["BRAINOPS_STATE_DIR"] == str(tmp_path)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    assert "did you mean checkout?" in str(unknown("service", "chekout", ["checkout", "store"]))
    assert "checkout, store" in str(unknown("service", "zzz", ["store", "checkout"]))
    assert "nor any other" in str(unknown("service", "zzz", []))
