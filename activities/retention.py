"""Upkeep: old samples become minutes and hours, histories of finished incidents are kept beside their rows."""

import gzip
from datetime import UTC, datetime

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.heartbeat import heartbeating
from activities.recording import recorded
from brainops.checks.store import CheckStore
from brainops.config.models import Retention
from brainops.contracts.agent import AgentName
from brainops.contracts.monitoring import RetentionRequest, RetentionResult
from brainops.incidents.store import IncidentStore
from brainops.storage.objects import ObjectStore


class Upkeep:
    """What the retention schedule runs."""

    def __init__(
        self,
        retention: Retention,
        checks: CheckStore,
        incidents: IncidentStore,
        objects: ObjectStore,
        client: Client,
    ) -> None:
        self._retention = retention
        self._checks = checks
        self._incidents = incidents
        self._objects = objects
        self._client = client

    @activity.defn
    @recorded("thin_samples", AgentName.SYSTEM_MONITOR)
    async def thin_samples(self, _request: RetentionRequest) -> RetentionResult:
        """Raw samples to minutes, minutes to hours, and what is older than its retention removed."""
        async with heartbeating():
            counts = await self._checks.downsample(datetime.now(UTC), self._retention)
        return RetentionResult(
            minutes_written=counts.minutes_written,
            hours_written=counts.hours_written,
            rows_removed=counts.rows_removed,
        )

    @activity.defn
    async def archive_histories(self, request: RetentionRequest) -> int:
        """Keep the histories of finished incidents as gzip JSON in object storage. Returns how many."""
        archived = 0
        async with heartbeating():
            for plan in await self._incidents.unarchived(request.archive_limit):
                handle = self._client.get_workflow_handle(plan.workflow_id, run_id=plan.run_id)
                try:
                    history = await handle.fetch_history()
                except RPCError as error:
                    if error.status is not RPCStatusCode.NOT_FOUND:
                        raise
                    # The server has forgotten it (a fresh file, or past its retention): there is nothing to keep.
                    await self._incidents.mark_archived(plan.plan_id, plan.run_id, "")
                    continue
                key = f"histories/{plan.plan_id}/{plan.run_id}.json.gz"
                await self._objects.put(key, gzip.compress(history.to_json().encode()))
                await self._incidents.mark_archived(plan.plan_id, plan.run_id, key)
                archived += 1
        return archived
