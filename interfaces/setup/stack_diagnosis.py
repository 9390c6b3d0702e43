"""How a running stack is: its servers, its watch, plans that are stuck, messages that do not arrive."""

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionDescription
from temporalio.service import RPCError

from brainops.contracts.names import monitoring_workflow_id
from brainops.database.engine import Database
from brainops.errors import UnavailableError
from brainops.notify.tables import notices
from interfaces.setup.diagnosis import Diagnosis, bounded, fail, ok, warn
from workers.runtime import connect_temporal
from workers.stack.state import StackInfo

MOST_PLANS = 200
AT_ONCE = 8
STUCK_ATTEMPTS = 5
"""Attempts of one activity or workflow task from which a plan counts as stuck."""

_SILENT_WATCH = timedelta(seconds=15)


async def stack_lines(stack: StackInfo | None, host: str) -> list[Diagnosis]:
    """Lines for the stack that runs; one line where none does."""
    url = stack.database_url if stack is not None else os.environ.get("BRAINOPS_DATABASE_URL")
    if not url:
        return [ok("stack", "is down; `brainops up` starts it")]
    database = Database(url, pool_size=2)
    try:
        if not await database.ready():
            return [
                fail("stack", "its database does not answer", "look at `brainops up`, or correct BRAINOPS_DATABASE_URL")
            ]
        lines = [ok("stack", f"runs, pid {stack.pid}" if stack is not None else "its database answers")]
        lines += await bounded("notifications", _messages(database))
    finally:
        await database.close()
    if stack is not None and stack.memory_only:
        return lines
    if stack is not None:
        os.environ["TEMPORAL_ADDRESS"] = stack.temporal_address
    return lines + await bounded("plans", _plans(host))


async def _messages(database: Database) -> list[Diagnosis]:
    """Channels with messages that were given up, or wait after failing."""
    failing = (notices.c.last_error != "") & notices.c.state.in_(("failed", "pending"))
    query = (
        select(notices.c.channel, func.count().label("count"), func.max(notices.c.last_error).label("error"))
        .where(failing, notices.c.created_at > func.now() - timedelta(days=1))
        .group_by(notices.c.channel)
        .limit(50)
    )
    return [
        fail(
            f"channel {row['channel']}",
            f"{row['count']} messages of the last day were not delivered: {row['error']}",
            "correct its url, and try it: brainops notify test",
        )
        for row in await database.read(query)
    ]


async def _plans(host: str) -> list[Diagnosis]:
    try:
        client = await connect_temporal(timeout=timedelta(seconds=3))
    except UnavailableError as error:
        return [fail("plans", str(error), "nothing is healed while it is away; look at `brainops up`")]
    try:
        running = [
            plan
            async for plan in client.list_workflows('ExecutionStatus="Running"', limit=MOST_PLANS, page_size=MOST_PLANS)
        ]
        described = await _described(client, running)
    except RPCError as error:
        return [fail("plans", f"they cannot be read: {error.message}", "look at the Temporal server")]
    lines = [line for plan in described if (line := _stuck(plan)) is not None]
    lines.append(_watch(described, host))
    if not any(line.subject.startswith("plan ") for line in lines):
        lines.append(ok("plans", f"{len(running)} open, none is stuck"))
    return lines


async def _described(client: Client, running: Sequence[WorkflowExecution]) -> list[WorkflowExecutionDescription]:
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(plan: WorkflowExecution) -> WorkflowExecutionDescription:
        async with limit:
            return await client.get_workflow_handle(plan.id, run_id=plan.run_id).describe()

    return await asyncio.gather(*(one(plan) for plan in running))


def _stuck(plan: WorkflowExecutionDescription) -> Diagnosis | None:
    raw = plan.raw_description
    if raw.pending_workflow_task.attempt >= STUCK_ATTEMPTS:
        found = f"its code fails again and again ({raw.pending_workflow_task.attempt} attempts)"
        return fail(f"plan {plan.id}", found, "see the workers' log; after an upgrade, go back or report it")
    for pending in raw.pending_activities:
        if pending.attempt >= STUCK_ATTEMPTS:
            why = pending.last_failure.message or "no worker answers"
            found = f"{pending.activity_type.name} was tried {pending.attempt} times: {why}"
            return warn(f"plan {plan.id}", found, "it goes on by itself once that works; see the workers' log")
    return None


def _watch(described: Sequence[WorkflowExecutionDescription], host: str) -> Diagnosis:
    watching = next((plan for plan in described if plan.id == monitoring_workflow_id(host)), None)
    pending = watching.raw_description.pending_activities if watching is not None else ()
    beats = [one.last_heartbeat_time.ToDatetime(UTC) for one in pending if one.HasField("last_heartbeat_time")]
    if not beats:
        return fail("watch", "does not run, so nothing is probed", "start the stack anew: brainops down, brainops up")
    age = datetime.now(UTC) - max(beats)
    if age > _SILENT_WATCH:
        return fail("watch", f"was last heard of {age.total_seconds():.0f} s ago", "look at the log of the host worker")
    return ok("watch", f"probes; last heard of {max(0.0, age.total_seconds()):.0f} s ago")
