"""Today's workflows replay the histories that earlier ones recorded (`python tools/replay_fixtures.py`)."""

import gzip
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from brainops.contracts.base import Actor, ActorKind
from workers.main import WORKFLOWS
from workers.plugin import brainops_plugin

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json.gz"))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.name.removesuffix(".json.gz"))
async def test_recorded_history_replays(path: Path) -> None:
    replayer = Replayer(workflows=list(WORKFLOWS), plugins=[brainops_plugin(Actor(kind=ActorKind.PERSON, name="test"))])
    history = WorkflowHistory.from_json(path.name, gzip.decompress(path.read_bytes()).decode())
    await replayer.replay_workflow(history)


def test_each_kind_of_plan_has_a_recorded_history() -> None:
    recorded = {path.name.split(".")[0].rpartition("-")[0] or path.name.split(".")[0] for path in HISTORIES}
    assert recorded >= {"agent", "consolidation", "incident", "memory_retention", "monitoring", "retention", "startup"}
