"""Every workflow loads in the sandbox that production uses."""

from collections.abc import AsyncIterator

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from brainops.contracts.base import Actor, ActorKind
from workers.main import WORKFLOWS
from workers.plugin import brainops_plugin


async def _no_histories() -> AsyncIterator[WorkflowHistory]:
    for history in list[WorkflowHistory]():
        yield history


@pytest.mark.parametrize("definition", WORKFLOWS, ids=lambda item: item.__name__)
async def test_workflow_loads_in_the_sandbox(definition: type) -> None:
    plugin = brainops_plugin(Actor(kind=ActorKind.PERSON, name="test"))
    replayer = Replayer(workflows=[definition], plugins=[plugin])
    results = await replayer.replay_workflows(_no_histories())
    assert not results.replay_failures
