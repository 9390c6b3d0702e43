"""The watch over a host's services: probes, samples, and incidents opened on a change.

Whatever is lost on the way (a signal while Temporal was down, a worker in mid-probe) is found again by comparing
what fails now with what is being worked on, once a second.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta

import structlog
from pydantic import TypeAdapter
from temporalio import activity
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.heartbeat import heartbeating, work_until_worker_stops
from activities.search_attributes import attributes_of
from brainops.checks.probe import Prober
from brainops.checks.store import CheckStore
from brainops.checks.watcher import Watcher
from brainops.config.models import BrainOpsConfig, Service
from brainops.contracts.agent import AgentName
from brainops.contracts.check import CheckState, Observation, Sample
from brainops.contracts.incident import IncidentInput
from brainops.contracts.monitoring import WatchRequest
from brainops.contracts.names import (
    CONTROL_QUEUE,
    WORKFLOW_TASK_SECONDS,
    incident_workflow_id,
)
from brainops.errors import BrainOpsError, UnavailableError
from brainops.incidents.alerts import AlertStore
from brainops.incidents.store import IncidentStore
from brainops.incidents.storm import Grouping, Key, Verdict
from brainops.services.host import HostServices
from brainops.services.known_good import KnownGoodFiles
from brainops.telemetry.outage import Outage

LOOK_SECONDS = 1.0
"""How often what fails is compared with what is worked on."""

GRACE_SECONDS = 2.0
"""How long a failing check may be without an incident before one is opened for it again."""

_STATES = TypeAdapter(list[CheckState])
_log = structlog.get_logger(__name__)


class IncidentDesk:
    """Opens incidents and tells open ones what was seen."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def report(self, observation: Observation) -> None:
        """Start the incident of a failing check or signal the one that is open; tell it when the check passes.

        Raises UnavailableError while Temporal does not answer.
        """
        workflow_id = incident_workflow_id(observation.service, observation.check)
        try:
            if observation.failing:
                await self._open(workflow_id, observation)
            else:
                await self._client.get_workflow_handle(workflow_id).signal("observe", observation)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND and not observation.failing:
                return
            raise UnavailableError(f"Temporal did not take the observation of {workflow_id}: {error}") from error

    async def _open(self, workflow_id: str, observation: Observation) -> None:
        seen = f"{observation.service}/{observation.check}: {observation.detail or observation.reason.value}"
        await self._client.start_workflow(
            "IncidentWorkflow",
            IncidentInput(observation=observation),
            id=workflow_id,
            task_queue=CONTROL_QUEUE,
            task_timeout=timedelta(seconds=WORKFLOW_TASK_SECONDS),
            start_signal="observe",
            start_signal_args=[observation],
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=attributes_of(AgentName.SYSTEM_MONITOR, observation.service),
            static_summary=seen[:200],
        )


class Watch:
    """The long activity of a host."""

    def __init__(
        self,
        config: BrainOpsConfig,
        host: str,
        checks: CheckStore,
        incidents: IncidentStore,
        here: HostServices,
        known_good: KnownGoodFiles,
        client: Client,
        prober: Prober,
        alerts: AlertStore,
    ) -> None:
        self._services: Mapping[str, Service] = {
            name: service for name, service in config.services.items() if service.host == host
        }
        self._host = host
        self._checks = checks
        self._incidents = incidents
        self._here = here
        self._prober = prober
        self._known_good = known_good
        self._desk = IncidentDesk(client)
        self._alerts = alerts
        self._grouping = Grouping(self._services)
        self._held: set[Key] = set()
        self._alerts_open = True
        self._uncovered_since: dict[Key, float] = {}

    @activity.defn
    async def watch_services(self, request: WatchRequest) -> None:
        """Probe every service of the host until cancelled or the worker stops.

        The heartbeat carries the failures that are not in the database yet, so another worker goes on where this one
        stopped.
        """
        if request.host != self._host:
            raise ApplicationError(f"this worker serves {self._host}, not {request.host}", type="InternalError")
        previous = await self._previous()
        for state in previous:
            self._grouping.note(state)
        watcher = Watcher(
            self._services,
            self._here,
            look=self._prober.look,
            previous=previous,
            host=self._host,
            on_change=self._on_change,
            on_samples=self._on_samples,
            on_healthy=self._on_healthy,
        )
        async with heartbeating(watcher.untold):
            await work_until_worker_stops(watcher.run(), self._reconcile(watcher))

    async def _previous(self) -> list[CheckState]:
        """Where the last watch stopped: the rows, and what its last heartbeat knew beyond them."""
        states = {(state.service, state.check): state for state in await self._checks.states(self._host)}
        for details in activity.info().heartbeat_details:
            for state in _STATES.validate_python(details):
                known = states.get((state.service, state.check))
                if known is None or known.seq < state.seq:
                    states[state.service, state.check] = state
        return list(states.values())

    async def _on_change(self, state: CheckState, observation: Observation) -> None:
        key = (state.service, state.check)
        self._grouping.note(state)
        await self._checks.save_state(self._host, state)
        if observation.failing and self._grouping.verdict(*key) is not Verdict.OPEN:
            # No plan of its own: the next look makes it part of the incident that it follows from.
            self._held.add(key)
            return
        self._held.discard(key)
        if observation.failing or observation.seq > 1:  # what passes from the first look on has no incident to close
            await self._desk.report(observation)

    async def _on_samples(self, samples: Sequence[Sample]) -> None:
        await self._checks.add_samples(list(samples))

    async def _on_healthy(self, service: str) -> None:
        declared = self._services[service]
        await self._here.keep_good(service, declared)
        run = await self._here.newest(service, declared)
        if run is not None and declared.files:
            await self._known_good.keep(service, declared, run)

    async def _reconcile(self, watcher: Watcher) -> None:
        """Open what fails and nobody works on; close what is worked on and passes."""
        outage = Outage()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._group(watcher)
                await self._reopen(watcher)
                await self._tell_recovered(watcher)
            except BrainOpsError as error:
                if outage.failed():
                    _log.warning("what fails cannot be compared with what is worked on", reason=str(error))
            else:
                if failures := outage.recovered():
                    _log.info("what fails is compared with what is worked on again", failures=failures)

    async def _group(self, watcher: Watcher) -> None:
        """Make what fails and has no plan of its own part of the incidents that it follows from; note what is over."""
        if watcher.any_failing():
            unplaced = await self._alerts.unplaced(self._host)
            placed = self._grouping.place(unplaced, await self._alerts.open_roots()) if unplaced else {}
            await self._alerts.place(placed)
            self._held.update(placed)
            self._alerts_open = self._alerts_open or bool(placed)
        if self._alerts_open:
            self._alerts_open = await self._alerts.resolve(self._host) > 0

    async def _reopen(self, watcher: Watcher) -> None:
        if not watcher.any_failing():
            self._uncovered_since.clear()
            return
        now = time.monotonic()
        uncovered = {(state.service, state.check): state for state in await self._incidents.uncovered(self._host)}
        self._uncovered_since = {key: self._uncovered_since.get(key, now) for key in uncovered}
        for (service, check), since in self._uncovered_since.items():
            # What was part of an incident gets a moment to recover after it: its next probes are yet to come.
            held = (service, check) in self._held
            grace = self._grouping.patience(service, check).total_seconds() if held else GRACE_SECONDS
            if now - since < max(grace, GRACE_SECONDS):
                continue
            state = watcher.announce_again(service, check)
            if state is not None:
                self._held.discard((service, check))
                await self._checks.save_state(self._host, state)
                await self._desk.report(watcher.observation_for(state))

    async def _tell_recovered(self, watcher: Watcher) -> None:
        for state in await self._incidents.unnoticed_recoveries(self._host):
            await self._desk.report(watcher.observation_for(state))
