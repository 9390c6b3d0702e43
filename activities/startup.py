"""The first start of services."""

from datetime import UTC, datetime
from graphlib import TopologicalSorter

from temporalio import activity

from activities.heartbeat import heartbeating
from activities.incident import PermissionReader, perform_once
from activities.recording import recorded
from brainops.config.models import BrainOpsConfig
from brainops.contracts.action import ActionRequest, ActionResult
from brainops.contracts.agent import ActionClass, AgentName
from brainops.contracts.check import Reason
from brainops.contracts.incident import Evidence, Gate
from brainops.contracts.monitoring import PendingStarts, StartupRequest
from brainops.contracts.service import ServiceStatus
from brainops.effects.ledger import EffectLedger
from brainops.errors import NotAllowedError
from brainops.incidents.verification import Verifier
from brainops.remedies.performer import ActionPerformer
from brainops.services.host import HostServices


class Startup:
    """Starts on one host."""

    def __init__(
        self,
        config: BrainOpsConfig,
        host: str,
        here: HostServices,
        ledger: EffectLedger,
        performer: ActionPerformer,
        verifier: Verifier,
        permissions: PermissionReader,
    ) -> None:
        self._config = config
        self._host = host
        self._here = here
        self._ledger = ledger
        self._performer = performer
        self._verifier = verifier
        self._permissions = permissions

    @activity.defn
    async def pending_starts(self, request: StartupRequest) -> PendingStarts:
        """Processes of the host that have never run and may be started, dependencies first.

        What another supervisor has made (containers, units) is not started for the first time by us.
        """
        services = {name: item for name, item in self._config.services.items() if item.host == request.host}
        order = TopologicalSorter({name: item.depends_on for name, item in services.items()}).static_order()
        pending: list[str] = []
        for name in order:
            if name not in services or services[name].run.kind != "process":
                continue
            state = await self._here.state(name, services[name])
            if state.status is not ServiceStatus.NEVER_STARTED:
                continue
            permissions = await self._permissions.read(name)
            if permissions.gate(ActionClass.START).gate is Gate.ACT:
                pending.append(name)
        return PendingStarts(services=tuple(pending))

    @activity.defn
    @recorded("start_service", AgentName.SYSTEM_MONITOR)
    async def start_service(self, request: ActionRequest) -> ActionResult:
        """Start one service and wait until its checks pass; tells what its log says when they do not."""
        service = self._config.services[request.service]
        async with heartbeating() as beat:
            result = await perform_once(self._ledger, self._performer, request, beat, self._check_permitted)
            if not result.ok:
                return result
            state = await self._here.state(request.service, service)
            before = Evidence(
                service=request.service,
                check="",
                reason=Reason.NOT_RUNNING,
                captured_at=datetime.now(UTC),
                state=state,
            )
            seen = await self._verifier.verify(request.service, "", (), before, beat)
        return result if seen.ok else ActionResult(ok=False, summary=seen.summary)

    async def _check_permitted(self, request: ActionRequest) -> None:
        answer = (await self._permissions.read(request.service)).gate(request.action_class)
        if answer.gate is not Gate.ACT:
            raise NotAllowedError(answer.reason)
