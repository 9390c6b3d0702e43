"""Start what does not run: it was never started, or ended without an error."""

from collections.abc import Sequence

from brainops.config.models import Service
from brainops.contracts.action import ActionResult, StartService
from brainops.contracts.agent import ActionClass
from brainops.contracts.incident import Candidate, Evidence
from brainops.contracts.service import ServiceRun, ServiceStatus
from brainops.remedies.base import Call, Handler, Remedy, RemedyContext
from brainops.remedies.reading import blocked_by_stranger, ended_cleanly


def started(run: ServiceRun) -> ActionResult:
    """The result of a start."""
    return ActionResult(ok=True, summary=f"started as {_named(run)}")


def _named(run: ServiceRun) -> str:
    return f"process {run.pid}" if run.pid is not None else run.id[:80]


class StartHandler(Handler[StartService]):
    """Starts a service unless it runs."""

    action = StartService

    async def perform(self, action: StartService, call: Call, /) -> ActionResult:
        host = self._tools.host
        if await host.happened(action.service, call.service, call.effect_key) is None:
            state = await host.state(action.service, call.service, memory=False)
            if state.status in (ServiceStatus.RUNNING, ServiceStatus.STOPPED) and state.run is not None:
                return ActionResult(ok=True, summary=f"{action.service} runs already as {_named(state.run)}")
        return started(await host.start(action.service, call.service, call.effect_key))

    async def reconcile(self, action: StartService, call: Call, /) -> ActionResult | None:
        host = self._tools.host
        if await host.happened(action.service, call.service, call.effect_key) is None:
            return None
        # a used key starts nothing again: this only asks how its start went
        return started(await host.start(action.service, call.service, call.effect_key))


class Start(Remedy):
    """Start a service that is not running and has not failed."""

    name = "start"
    action_class = ActionClass.START
    cost = 0
    rank = 10
    handlers = (StartHandler,)
    uses = (StartService,)

    def propose(self, evidence: Evidence, service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        if not service.may_be_started or blocked_by_stranger(evidence, service):
            return ()
        actions = (StartService(service=context.service),)
        if evidence.state.status is ServiceStatus.NEVER_STARTED:
            return (self.candidate(actions, f"{context.service} was never started", explains=True),)
        if ended_cleanly(evidence):
            return (self.candidate(actions, f"{context.service} ended without an error: {evidence.state.detail}"),)
        return ()
