"""The commands that change plans, over real workers, a real Temporal server and a service that really crashes."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from house import Builder, House, TemporalForTests, running_temporal
from typer.testing import CliRunner, Result

from brainops.contracts.incident import IncidentStatus
from brainops.contracts.names import monitoring_workflow_id
from brainops.database.engine import Database
from interfaces.cli.main import app


@pytest.fixture(scope="module")
def temporal() -> Iterator[TemporalForTests]:
    with running_temporal() as server:
        yield server


@pytest.fixture
async def builder(temporal: TemporalForTests, database: Database, tmp_path: Path) -> AsyncIterator[Builder]:
    made = Builder(temporal, database, tmp_path)
    yield made
    await made.end_services()


class Cli:
    """Runs commands in a thread, beside the house that serves them."""

    def __init__(self, house: House, temporal: TemporalForTests, database_url: str) -> None:
        self._environment = {
            "BRAINOPS_DATABASE_URL": database_url,
            "BRAINOPS_STATE_DIR": str(house.parts.paths.root),
            "BRAINOPS_ACTOR": "person:mira",
            "TEMPORAL_ADDRESS": temporal.address,
            "TEMPORAL_NAMESPACE": house.client.namespace,
            "COLUMNS": "200",
        }

    async def __call__(self, *arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), env=self._environment)

    async def text(self, *arguments: str) -> str:
        result = await self(*arguments)
        assert result.exit_code == 0, result.output
        return " ".join(result.stdout.split())

    async def json(self, *arguments: str) -> Any:
        result = await self(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


async def test_a_person_approves_once_and_the_service_is_healed(
    builder: Builder, temporal: TemporalForTests, app_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAINOPS_STATE_DIR", "")
    async with builder.house({"shop": {"autonomy": {"start": "act", "restart": "approve"}}}) as house:
        cli = Cli(house, temporal, app_url)
        await house.answers("shop")
        await house.crash("shop")
        await house.incident("shop", IncidentStatus.WAITING_APPROVAL)
        asked = (await cli.json("approvals"))["approvals"]
        assert len(asked) == 1
        short = asked[0]["id"][:8]
        assert short in await cli.text("status")
        assert "Approved" in await cli.text("approve", short, "--reason", "go on")
        healed = await house.incident("shop", IncidentStatus.RESOLVED)
        await house.answers("shop")
        again = await cli("reject", short)
        assert again.exit_code == 2
        assert "approved already by person:mira" in again.stderr
        told = await cli.json("incidents", str(healed.row.plan_id)[:8])
        assert told["approvals"][0]["decided_by"] == {"kind": "person", "name": "mira"}
        history = await cli.json("history", "--limit", "100")
        assert "person:mira" in {f"{item['actor']['kind']}:{item['actor']['name']}" for item in history["work"]}


async def test_a_paused_agent_watches_and_heals_when_it_is_resumed(
    builder: Builder, temporal: TemporalForTests, app_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAINOPS_STATE_DIR", "")
    async with builder.house({"shop": {}}) as house:
        cli = Cli(house, temporal, app_url)
        await house.answers("shop")
        assert "is paused" in await cli.text("pause", "system_monitor", "--reason", "hands off")
        assert "paused already (hands off)" in await cli.text("pause", "system_monitor")
        assert "system_monitor paused" in await cli.text("status")
        await house.crash("shop")
        await house.incident("shop", IncidentStatus.OBSERVING)
        assert house.starts("shop") == 1
        assert re.search(r"\d open incidents? looked at anew", await cli.text("resume", "system_monitor"))
        await house.incident("shop", IncidentStatus.RESOLVED)
        await house.answers("shop")


async def test_workflows_are_started_by_hand(
    builder: Builder, temporal: TemporalForTests, app_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAINOPS_STATE_DIR", "")
    async with builder.house({"shop": {"autonomy": "observe"}}) as house:
        cli = Cli(house, temporal, app_url)
        assert "runs already" in await cli.text("run", "monitoring")
        retention = await cli.json("run", "retention")
        assert retention["result"]["histories_archived"] == 0
        assert "Started: nothing" in await cli.text("run", "startup")
        await house.client.get_workflow_handle(monitoring_workflow_id("local")).describe()
