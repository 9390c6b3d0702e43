"""`brainops proposals` on a real database: what is proposed is looked at and decided."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from brainops.contracts.keeping import Evidence, NewProposal, OpenTodo, Proposal, ProposalKind, Repeated
from brainops.contracts.memory import Todo, TodoList
from brainops.database.engine import Database
from brainops.memory.proposals import ProposalStore
from brainops.memory.todos import TodoStore
from interfaces.cli.main import app

Run = Callable[..., Result]


@pytest.fixture
def run(app_url: str, tmp_path: Path) -> Run:
    """Runs `brainops proposals …` as mira."""

    def called(*arguments: str) -> Result:
        variables = {
            "BRAINOPS_DATABASE_URL": app_url,
            "BRAINOPS_STATE_DIR": str(tmp_path / "state"),
            "BRAINOPS_ACTOR": "person:mira",
            "COLUMNS": "200",
            "NO_COLOR": "1",
        }
        return CliRunner().invoke(app, ["proposals", *arguments], env=variables)

    return called


def propose(app_url: str, *titles: str) -> list[Proposal]:
    async def work() -> list[Proposal]:
        database = Database(app_url)
        store = ProposalStore(database)
        for title in titles:
            await store.open(
                NewProposal(
                    key=title,
                    kind=ProposalKind.OPEN_TODO,
                    what=f"Do {title}",
                    why="it repeats",
                    evidence=Evidence(count=7, days=30, ids=("a",), repeated=Repeated(of="work", scope="default")),
                    expected_effect="less of it",
                    change=OpenTodo(title=title, scope="default"),
                )
            )
        found = await store.list()
        await database.close()
        return sorted(found, key=lambda one: one.what)

    return asyncio.run(work())


def todos(app_url: str) -> tuple[Todo, ...]:
    async def work() -> tuple[Todo, ...]:
        database = Database(app_url)
        found = await TodoStore(database).list(TodoList())
        await database.close()
        return found.todos

    return asyncio.run(work())


def test_a_proposal_is_listed_shown_and_takes_effect_when_it_is_accepted(run: Run, app_url: str) -> None:
    assert "Nothing is proposed." in run().stdout
    first, second = propose(app_url, "alpha", "beta")
    listed = run("list").stdout
    assert "Do alpha" in listed
    assert "Do beta" in listed
    shown = run("show", str(first.id)[:8]).stdout
    assert "it repeats" in shown
    assert "open todo" in shown

    accepted = run("accept", str(first.id)[:8], "--reason", "yes", "--json")
    assert accepted.exit_code == 0, accepted.output
    answer = json.loads(accepted.stdout)
    assert (answer["status"], answer["decided_by"], answer["reason"]) == ("accepted", "person:mira", "yes")
    assert [todo.title for todo in todos(app_url)] == ["alpha"]

    assert "Rejected: Do beta" in run("reject", str(second.id)).stdout
    refused = run("accept", str(second.id))
    assert (refused.exit_code, "rejected already" in refused.stderr) == (2, True)
    assert run("show", "00000000").exit_code == 2
    assert json.loads(run("list", "--json").stdout) == {"proposals": []}
    every = json.loads(run("list", "--all", "--json").stdout)["proposals"]
    assert {one["status"] for one in every} == {"accepted", "rejected"}
