"""Upkeep keeps the history of a finished incident with its row."""

import gzip
import json

from house import Builder

from brainops.contracts.incident import IncidentStatus
from brainops.contracts.monitoring import RetentionRequest
from brainops.contracts.names import CONTROL_QUEUE
from workflows.retention import RetentionWorkflow


async def test_history_of_a_finished_incident_is_kept_with_its_row(builder: Builder) -> None:
    async with builder.house({"shop": {}}) as house:
        await house.answers("shop")
        await house.crash("shop")
        detail = await house.incident("shop", IncidentStatus.RESOLVED)
        await house.handle("shop").result()

        done = await house.client.execute_workflow(
            RetentionWorkflow.run, RetentionRequest(), id="retention", task_queue=CONTROL_QUEUE
        )

        assert done.histories_archived >= 1
        kept = (await house.incidents.get(str(detail.row.plan_id))).row.history_key
        assert kept
        history = json.loads(gzip.decompress(await house.parts.objects.get(kept)))
        assert history["events"][0]["eventType"] == "EVENT_TYPE_WORKFLOW_EXECUTION_STARTED"
        assert await house.incidents.unarchived(10) == []
