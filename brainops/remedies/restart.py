"""Restart: end what is left of the service and start it."""

import signal
from collections.abc import Sequence

from brainops.config.models import Service
from brainops.config.quantities import format_size
from brainops.contracts.action import ActionResult, RestartService, StartService, StopService
from brainops.contracts.agent import ActionClass
from brainops.contracts.incident import Candidate, Evidence, FaultKind
from brainops.contracts.service import ServiceStatus
from brainops.incidents.signature import classify
from brainops.remedies.base import Call, Handler, Remedy, RemedyContext
from brainops.remedies.permission import is_permitted
from brainops.remedies.reading import blocked_by_stranger, ended_cleanly
from brainops.remedies.start import started

_EXPLAINED = frozenset({FaultKind.OVER_MEMORY, FaultKind.OVERUSE})
_NOT_MENDED = frozenset(
    {FaultKind.EXPIRY, FaultKind.FULL, FaultKind.OVERLOADED, FaultKind.DATABASE, FaultKind.SILENT, FaultKind.LOGGED}
)
"""What a new process finds again as the old one left it."""


_SYMPTOMS = {
    FaultKind.OVER_MEMORY: "uses more memory than it may",
    FaultKind.HANG: "runs and does not answer",
    FaultKind.UNREACHABLE: "runs and takes no connections",
    FaultKind.ERRORS: "runs in a bad state",
    FaultKind.SLOW: "answers too slowly",
    FaultKind.OVERUSE: "uses more than it may",
    FaultKind.FLAPPING: "passes and fails in turn",
}


class RestartHandler(Handler[RestartService]):
    """Ends what is left, then starts. A retry never ends the process that its own key has started."""

    action = RestartService

    async def perform(self, action: RestartService, call: Call, /) -> ActionResult:
        ended, run = await self._tools.host.restart(action.service, call.service, call.effect_key)
        result = started(run)
        return result.model_copy(update={"summary": f"{ended}; {result.summary}"[:500]}) if ended else result

    async def reconcile(self, action: RestartService, call: Call, /) -> ActionResult | None:
        host = self._tools.host
        if await host.happened(action.service, call.service, call.effect_key) is None:
            return None
        # a used key starts nothing again: this only asks how its start went
        return started(await host.start(action.service, call.service, call.effect_key))


class StopHandler(Handler[StopService]):
    """Ends a service and all that it started."""

    action = StopService

    async def perform(self, action: StopService, call: Call, /) -> ActionResult:
        summary = await self._tools.host.stop(action.service, call.service)
        return ActionResult(ok=True, summary=summary, undo=StartService(service=action.service))

    async def reconcile(self, _action: StopService, _call: Call, /) -> ActionResult | None:
        # stopping what is stopped changes nothing, so it may always be repeated
        return None


class Restart(Remedy):
    """Restart a service that crashed, hangs, leaks, is slow, answers with errors or not at all."""

    name = "restart"
    action_class = ActionClass.RESTART
    cost = 1
    rank = 20
    handlers = (RestartHandler, StopHandler)
    uses = (RestartService,)

    def propose(self, evidence: Evidence, service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        if evidence.state.status is ServiceStatus.NEVER_STARTED or blocked_by_stranger(evidence, service):
            return ()
        if ended_cleanly(evidence) and _start_is_as_free(service):
            return ()
        kind = classify(evidence)
        unseen = evidence.state.status is ServiceStatus.UNSEEN and service.has_process
        if not service.may_be_started or unseen or kind in _NOT_MENDED:
            return ()
        suspended = evidence.state.status is ServiceStatus.STOPPED
        cause = _cause(evidence, kind, context.service)
        actions = (RestartService(service=context.service),)
        return (self.candidate(actions, cause, explains=suspended or kind in _EXPLAINED),)


def _start_is_as_free(service: Service) -> bool:
    """Whether the cheaper start may do all that a restart may: it is the same for a process that has ended."""
    start, restart = (service.autonomy_for(action) for action in (ActionClass.START, ActionClass.RESTART))
    return is_permitted("start", service) and start.rank >= restart.rank


def _cause(evidence: Evidence, kind: FaultKind, name: str) -> str:
    if kind in (FaultKind.CRASH, FaultKind.CRASH_LOOP):
        return _crash_cause(evidence, name)
    used, limit = evidence.state.rss_bytes, evidence.memory_limit_bytes
    if kind is FaultKind.OVER_MEMORY and used is not None and limit is not None:
        return f"{name} uses {format_size(used)} of memory and may use {format_size(limit)}"
    if kind is FaultKind.HANG and evidence.state.status is ServiceStatus.STOPPED:
        return f"{name} is suspended (SIGSTOP or a debugger)"
    said = evidence.detail
    if kind is FaultKind.ERRORS:
        said = evidence.log.error_line or evidence.detail
    return f"{name} {_SYMPTOMS.get(kind, 'fails')}: {said}"


def _crash_cause(evidence: Evidence, name: str) -> str:
    ended = evidence.state.exit
    if ended is not None and ended.signal is not None:
        names = {number.value: number.name for number in signal.Signals}
        return f"{name} was killed by {names.get(ended.signal, f'signal {ended.signal}')}"
    said = f": {evidence.log.error_line}" if evidence.log.error_line else ""
    if ended is not None and ended.exit_code is not None:
        return f"{name} ended with exit code {ended.exit_code}{said}"
    return f"{name} ended{said}"
