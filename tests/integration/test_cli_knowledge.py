"""`brainops knowledge` on a real database: what people say, and how it travels."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from interfaces.cli.main import app

Run = Callable[..., Result]

IN_USE = "OSError: [Errno 98] Address already in use"


@pytest.fixture
def run(app_url: str, tmp_path: Path) -> Run:
    """Runs `brainops knowledge …` as mira."""

    def called(*arguments: str, given: str | None = None, **environment: str) -> Result:
        variables = {
            "BRAINOPS_DATABASE_URL": app_url,
            "BRAINOPS_STATE_DIR": str(tmp_path / "state"),
            "BRAINOPS_ACTOR": "person:mira",
            "COLUMNS": "200",
            "NO_COLOR": "1",
        }
        return CliRunner().invoke(app, ["knowledge", *arguments], env=variables | environment, input=given)

    return called


def add(run: Run, *more: str) -> str:
    """Say that freeing the port helps; the entry's key."""
    result = run("add", "--kind", "crash", "--line", IN_USE, "--remedy", "free_port", *more)
    assert result.exit_code == 0, result.output
    return result.stdout.split()[1].rstrip(":")


def test_what_a_person_adds_is_listed_shown_and_marked(run: Run) -> None:
    key = add(run, "--solution", "end what holds the port")
    assert key.startswith("crash/process/exited/")
    for command in ((), ("list",)):
        assert "person" in run(*command).stdout
    shown = json.loads(run("show", key, "--json").stdout)
    assert (shown["origin"], shown["author"], shown["solution"]) == ("person", "person:mira", "end what holds the port")
    assert shown["template"] == "OSError: [Errno <n>] Address already in use"
    assert "not used yet" in run("show", key).stdout
    again = run("add", "--signature", key, "--remedy", "restart")
    assert (again.exit_code, "knowledge edit" in again.stderr) == (2, True)


def test_an_entry_is_edited_by_options_by_file_and_in_the_editor(run: Run, tmp_path: Path) -> None:
    key = add(run)
    assert run("edit", key, "--remedy", "restart").exit_code == 0
    assert json.loads(run("show", key, "--json").stdout)["remedy"] == "restart"
    file = tmp_path / "said.yaml"
    file.write_text("remedy: run_command:compact\nsolution: make room\n")
    assert run("edit", key, "--file", str(file)).exit_code == 0
    assert json.loads(run("show", key, "--json").stdout)["remedy"] == "run_command:compact"
    # CliRunner's standard input is no terminal: no editor is opened that nobody could use
    result = run("edit", key, EDITOR="true")
    assert (result.exit_code, "by options or --file" in result.stderr) == (2, True)


def test_a_retired_entry_is_listed_only_when_asked_for(run: Run) -> None:
    key = add(run)
    assert run("retire", key, "--reason", "it was wrong").exit_code == 0
    assert key not in run("list").stdout
    assert "retired" in run("list", "--retired").stdout
    assert "it was wrong" in run("show", key).stdout
    assert run("retire", key, "--undo").exit_code == 0
    assert key in run("list").stdout


def test_an_export_is_imported_and_conflicts_are_told(run: Run, tmp_path: Path) -> None:
    key = add(run)
    file = tmp_path / "known.jsonl"
    assert run("export", str(file)).exit_code == 0
    assert run("export").stdout == file.read_text()
    assert json.loads(file.read_text())["signature"] == key
    kept = run("import", str(file))
    assert "0 added, 0 replaced, 1 kept" in kept.stdout
    assert key in kept.stdout
    other = file.read_text().replace(key[-8:], "0123abcd")
    done = json.loads(run("import", "-", "--on-conflict", "replace", "--json", given=file.read_text() + other).stdout)
    assert (done["added"], done["replaced"]) == (["crash/process/exited/0123abcd"], [key])
    assert json.loads(run("show", key, "--json").stdout)["origin"] == "import"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["add", "--remedy", "restart"], "--signature, --incident and --kind"),
        (["add", "--kind", "crash"], "say what helps: --remedy"),
        (["add", "--kind", "crash", "--remedy", "restrat"], "did you mean restart"),
        (["add", "--signature", "what", "--remedy", "restart"], "signature: "),
        (["add", "--signature", "crush/a/b/5f1c", "--remedy", "restart"], "did you mean crash?"),
        (["add", "--incident", "ffffffff", "--remedy", "restart"], "no incident"),
        (["add"], "by options or --file"),
        (["edit", "no/such/key", "--remedy", "restart"], "nothing is known"),
        (["retire", "no/such/key"], "nothing is known"),
        (["import", "/nowhere/at/all"], "cannot be read"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(run: Run, arguments: list[str], sentence: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr


def test_nothing_is_imported_from_a_file_with_a_mistake(run: Run) -> None:
    good = '{"signature": "crash/process/exited/5f1c2a9b", "remedy": "restart", "solution": "s"}'
    result = run("import", "-", given=f"{good}\n{good.replace('restart', 'restrat')}\n")
    assert result.exit_code == 2
    assert "-:2:1" in result.stderr
    assert "did you mean restart?" in result.stderr
    assert "Nothing has been learned" in run().stdout
