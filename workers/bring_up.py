"""What happens once everything runs: `python -m workers.bring_up`.

Idempotent, and run again whenever the Temporal server came back with a fresh file: services are made known,
the agents' lives, the watch and the schedules are started where they do not run, services that never ran are
started, and every open plan is taken up again from its row.
"""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
)
from temporalio.common import (
    WorkflowIDConflictPolicy,
)

from activities.search_attributes import attributes_of
from agents.roster import CHARTERS, first_state
from brainops.checks.store import CheckStore
from brainops.config.models import LOCAL_HOST, AgentOverrides, BrainOpsConfig
from brainops.contracts.agent import AgentName, AgentSettings, Budget
from brainops.contracts.base import Actor, ActorKind, Contract
from brainops.contracts.check import CheckStatus
from brainops.contracts.incident import Dismissal
from brainops.contracts.keeping import ConsolidationRequest, MemoryRetentionRequest
from brainops.contracts.monitoring import RetentionRequest
from brainops.contracts.names import (
    CONSOLIDATION_SCHEDULE_ID,
    CONTROL_QUEUE,
    MEMORY_RETENTION_SCHEDULE_ID,
    NOTIFICATIONS_WORKFLOW_ID,
    RETENTION_SCHEDULE_ID,
    agent_workflow_id,
)
from brainops.crew.store import CrewStore
from brainops.database.engine import Database
from brainops.errors import BrainOpsError
from brainops.incidents.store import IncidentStore
from brainops.services.store import ServiceStore
from brainops.telemetry.logging import configure_logging
from workers.main import configured
from workers.runtime import connect_temporal, end_process
from workers.starts import TASK_TIMEOUT, start_services, start_watch
from workflows.agent import AgentWorkflow
from workflows.consolidation import ConsolidationWorkflow
from workflows.incident import IncidentWorkflow
from workflows.memory_retention import MemoryRetentionWorkflow
from workflows.notification import NotificationWorkflow
from workflows.retention import RetentionWorkflow

RETENTION_INTERVAL = timedelta(minutes=5)
NIGHTLY_JITTER = timedelta(minutes=20)
"""So that several installations on one machine do not all begin at once."""

_SUMMARIES = {
    RETENTION_SCHEDULE_ID: "thin samples, keep histories",
    CONSOLIDATION_SCHEDULE_ID: "read sessions, merge, propose",
    MEMORY_RETENTION_SCHEDULE_ID: "archive and purge memory",
}

BRING_UP = Actor(kind=ActorKind.SCHEDULE, name="bring_up")


@dataclass(frozen=True)
class BringUp:
    """What was done."""

    agents: int
    plans_taken_up: int
    started: tuple[str, ...]
    failed: dict[str, str]


async def bring_up(client: Client, database: Database, config: BrainOpsConfig, host: str) -> BringUp:
    """Bring rows and workflows into agreement with the configuration. Everything in it may be repeated."""
    await ServiceStore(database).apply(config.services)
    await _retire_checks(CheckStore(database), config, host)
    await asyncio.gather(*(_start_agent(client, CrewStore(database), config, name) for name in AgentName))
    taken_up = await _take_up_open_plans(client, IncidentStore(database), config)
    started = await (await start_services(client, host)).result()
    await start_watch(client, host)
    await _deliver_notifications(client)
    await _schedule_upkeep(client)
    return BringUp(agents=len(AgentName), plans_taken_up=taken_up, started=started.started, failed=dict(started.failed))


async def _retire_checks(checks: CheckStore, config: BrainOpsConfig, host: str) -> None:
    """Checks that are no longer configured are known no more; their count of changes stays, should they come back."""
    for state in await checks.states(host):
        service = config.services.get(state.service)
        configured = service is not None and state.check in service.all_checks()
        if not configured and state.status is not CheckStatus.UNKNOWN:
            await checks.save_state(host, state.model_copy(update={"status": CheckStatus.UNKNOWN}))


async def _start_agent(client: Client, crew: CrewStore, config: BrainOpsConfig, name: AgentName) -> None:
    charter = CHARTERS[name]
    overrides = config.agents.get(name, AgentOverrides())
    known = await crew.load(name) or first_state(name)
    budget = overrides.budget
    settings = AgentSettings(
        enabled=overrides.enabled,
        daily_usd=budget.daily_usd if budget is not None else None,
        has_job=charter.has_job,
        job=charter.job,
    )
    state = known.model_copy(
        update={
            "enabled": settings.enabled,
            "has_job": charter.has_job,
            "job": charter.job,
            "budget": Budget(daily_usd=settings.daily_usd, spent_usd=known.budget.spent_usd),
        }
    )
    await client.start_workflow(
        AgentWorkflow.run,
        state,
        start_signal="configure",
        start_signal_args=[settings],
        id=agent_workflow_id(name),
        task_queue=CONTROL_QUEUE,
        task_timeout=TASK_TIMEOUT,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        search_attributes=attributes_of(name),
        static_summary=charter.job[:200],
    )


async def _take_up_open_plans(client: Client, incidents: IncidentStore, config: BrainOpsConfig) -> int:
    """Start the plans of open incidents whose workflow does not run: after a fresh server file they all do not.

    An incident of a service or check that is no longer configured can have no end of its own and is dismissed.
    """
    open_plans = await incidents.open_plans()
    for request, workflow_id in open_plans:
        service = request.observation.service
        gone = service not in config.services or request.observation.check not in config.services[service].all_checks()
        dismissal = Dismissal(reason="it is no longer in brainops.yaml", actor=BRING_UP)
        await client.start_workflow(
            IncidentWorkflow.run,
            request,
            start_signal="dismiss" if gone else None,
            start_signal_args=[dismissal] if gone else [],
            id=workflow_id,
            task_queue=CONTROL_QUEUE,
            task_timeout=TASK_TIMEOUT,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=attributes_of(AgentName.SYSTEM_MONITOR, service),
            static_summary=f"{service}/{request.observation.check}: taken up again",
        )
    return len(open_plans)


async def _deliver_notifications(client: Client) -> None:
    await client.start_workflow(
        NotificationWorkflow.run,
        id=NOTIFICATIONS_WORKFLOW_ID,
        task_queue=CONTROL_QUEUE,
        task_timeout=TASK_TIMEOUT,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        search_attributes=attributes_of(AgentName.SYSTEM_MONITOR),
        static_summary="messages to people",
    )


async def _schedule_upkeep(client: Client) -> None:
    every = ScheduleIntervalSpec(every=RETENTION_INTERVAL)
    await _schedule(
        client, RETENTION_SCHEDULE_ID, ScheduleSpec(intervals=[every]), RetentionWorkflow.run, RetentionRequest()
    )
    await _schedule(client, CONSOLIDATION_SCHEDULE_ID, _daily(3, 10), ConsolidationWorkflow.run, ConsolidationRequest())
    await _schedule(
        client, MEMORY_RETENTION_SCHEDULE_ID, _daily(4, 10), MemoryRetentionWorkflow.run, MemoryRetentionRequest()
    )


def _daily(hour: int, minute: int) -> ScheduleSpec:
    """Once a day, UTC, at most `NIGHTLY_JITTER` later."""
    at = ScheduleCalendarSpec(hour=[ScheduleRange(hour)], minute=[ScheduleRange(minute)])
    return ScheduleSpec(calendars=[at], jitter=NIGHTLY_JITTER)


async def _schedule(
    client: Client, schedule_id: str, spec: ScheduleSpec, workflow: Callable[..., Awaitable[Any]], request: Contract
) -> None:
    action = ScheduleActionStartWorkflow(
        workflow,
        request,
        id=schedule_id,
        task_queue=CONTROL_QUEUE,
        task_timeout=TASK_TIMEOUT,
        static_summary=_SUMMARIES[schedule_id],
    )
    schedule = Schedule(action=action, spec=spec, policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP))
    try:
        await client.create_schedule(schedule_id, schedule)
    except ScheduleAlreadyRunningError:
        return


async def main() -> BringUp:
    """Do it with what the environment names."""
    loaded = configured()
    database = Database(os.environ["BRAINOPS_DATABASE_URL"])
    try:
        client = await connect_temporal(BRING_UP)
        return await bring_up(client, database, loaded.config, os.environ.get("BRAINOPS_HOST", LOCAL_HOST))
    finally:
        await database.close()


def run() -> None:
    """Entry point; prints what was done as one line of JSON."""
    configure_logging("bring-up")
    code = 0
    try:
        done = asyncio.run(main())
        sys.stdout.write(json.dumps(asdict(done)) + "\n")
    except BrainOpsError as error:
        sys.stderr.write(f"{error}\n")
        code = 1
    end_process(code)


if __name__ == "__main__":
    run()
