"""Reload instead of restart, where the configuration declares how: nobody who is being served notices."""

from collections.abc import Sequence

from brainops.config.models import Service
from brainops.config.runs import CommandRun, ComposeRun, DockerRun, ProcessRun, SystemdRun
from brainops.contracts.action import ActionResult, ReloadService
from brainops.contracts.agent import ActionClass
from brainops.contracts.incident import Candidate, Evidence, FaultKind
from brainops.contracts.service import ServiceStatus
from brainops.errors import NotAllowedError
from brainops.incidents.signature import classify
from brainops.remedies.base import Call, Handler, Remedy, RemedyContext

_MENDED = frozenset({FaultKind.ERRORS, FaultKind.EXPIRY})


class ReloadHandler(Handler[ReloadService]):
    """Asks the service to read its configuration anew. Asking twice does no harm."""

    action = ReloadService

    def authorize(self, action: ReloadService, call: Call, /) -> None:
        if not declares_reload(call.service):
            raise NotAllowedError(f"{action.service} declares no reload; write services.{action.service}.run.reload")

    async def perform(self, action: ReloadService, call: Call, /) -> ActionResult:
        return ActionResult(ok=True, summary=await self._tools.host.reload(action.service, call.service))

    async def reconcile(self, _action: ReloadService, _call: Call, /) -> ActionResult | None:
        return None


class Reload(Remedy):
    """Have a service that answers with errors, or shows an old certificate, read its configuration anew."""

    name = "reload"
    action_class = ActionClass.RELOAD
    cost = 0
    rank = 15
    handlers = (ReloadHandler,)
    uses = (ReloadService,)

    def propose(self, evidence: Evidence, service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        if not declares_reload(service):
            return ()
        if evidence.state.status not in (ServiceStatus.RUNNING, ServiceStatus.UNSEEN):
            return ()
        kind = classify(evidence)
        if kind not in _MENDED:
            return ()
        said = evidence.log.error_line or evidence.detail or evidence.reason.value
        what = (
            "may show a certificate that was renewed since"
            if kind is FaultKind.EXPIRY
            else "may work with old settings"
        )
        return (self.candidate((ReloadService(service=context.service),), f"{context.service} {what}: {said}"),)


def declares_reload(service: Service) -> bool:
    """Whether `run.reload` says how the service reads its configuration anew."""
    run = service.run
    return isinstance(run, ProcessRun | DockerRun | ComposeRun | SystemdRun | CommandRun) and bool(run.reload)
