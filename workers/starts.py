"""How the workflows of a host are started, by the stack and by a person alike."""

from datetime import timedelta

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy

from activities.search_attributes import attributes_of
from brainops.contracts.agent import AgentName
from brainops.contracts.monitoring import StartupRequest, StartupResult, WatchRequest
from brainops.contracts.names import (
    CONTROL_QUEUE,
    WORKFLOW_TASK_SECONDS,
    monitoring_workflow_id,
    startup_workflow_id,
)
from workflows.monitoring import MonitoringWorkflow
from workflows.startup import StartupWorkflow

TASK_TIMEOUT = timedelta(seconds=WORKFLOW_TASK_SECONDS)
_LONGEST_STARTUP = timedelta(hours=1)


async def start_watch(
    client: Client, host: str, policy: WorkflowIDConflictPolicy = WorkflowIDConflictPolicy.USE_EXISTING
) -> str:
    """Make sure that the watch over a host runs. Returns its workflow id.

    Raises WorkflowAlreadyStartedError where `policy` is FAIL and it runs.
    """
    handle = await client.start_workflow(
        MonitoringWorkflow.run,
        WatchRequest(host=host),
        id=monitoring_workflow_id(host),
        task_queue=CONTROL_QUEUE,
        task_timeout=TASK_TIMEOUT,
        id_conflict_policy=policy,
        search_attributes=attributes_of(AgentName.SYSTEM_MONITOR),
        static_summary=f"watch over {host}",
    )
    return handle.id


async def start_services(client: Client, host: str) -> WorkflowHandle[StartupWorkflow, StartupResult]:
    """Begin the first start of a host's services, or join the one that is under way."""
    return await client.start_workflow(
        StartupWorkflow.run,
        StartupRequest(host=host),
        id=startup_workflow_id(host),
        task_queue=CONTROL_QUEUE,
        task_timeout=TASK_TIMEOUT,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        execution_timeout=_LONGEST_STARTUP,
        static_summary=f"first start of the services of {host}",
    )
