"""Start what does not run: it was never started, or ended without an error."""

from collections.abc import Sequence

from brainops.config.models import Service
from brainops.contracts.action import ActionResult, StartService
from brainops.contracts.agent import ActionClass
from brainops.contracts.incident import Candidate, Evidence
from brainops.contracts.service import ProcessRecord, ServiceStatus
from brainops.remedies.base import Call, Handler, Remedy, RemedyContext
from brainops.remedies.reading import blocked_by_stranger, ended_cleanly


def started(record: ProcessRecord) -> ActionResult:
    """The result of a start."""
    return ActionResult(ok=True, summary=f"started as process {record.pid}")


class StartHandler(Handler[StartService]):
    """Starts a service unless it runs."""

    action = StartService

    async def perform(self, action: StartService, call: Call, /) -> ActionResult:
        adapter = self._tools.adapter
        if await adapter.happened(action.service, call.effect_key) is None:
            running = adapter.running(action.service)
            if running is not None:
                return ActionResult(ok=True, summary=f"{action.service} runs already as process {running.pid}")
        return started(await adapter.start(action.service, call.service, call.effect_key))

    async def reconcile(self, action: StartService, call: Call, /) -> ActionResult | None:
        adapter = self._tools.adapter
        if await adapter.happened(action.service, call.effect_key) is None:
            return None
        # a used key starts nothing again: this only asks how its start went
        return started(await adapter.start(action.service, call.service, call.effect_key))


class Start(Remedy):
    """Start a service that is not running and has not failed."""

    name = "start"
    action_class = ActionClass.START
    cost = 0
    rank = 10
    handlers = (StartHandler,)
    uses = (StartService,)

    def propose(self, evidence: Evidence, service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        if blocked_by_stranger(evidence, service):
            return ()
        actions = (StartService(service=context.service),)
        if evidence.state.status is ServiceStatus.NEVER_STARTED:
            return (self.candidate(actions, f"{context.service} was never started", explains=True),)
        if ended_cleanly(evidence):
            return (self.candidate(actions, f"{context.service} ended without an error: {evidence.state.detail}"),)
        return ()
