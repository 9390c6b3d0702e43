"""Leave a service to its own supervisor (systemd, Docker), and judge what comes of it.

Two supervisors that restart the same service fight: each ends what the other has just started. So while the other one
is at it, BrainOps watches. When it has given up, has had its time, or starts again and again what does not come up,
BrainOps' own remedies are proposed instead.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from brainops.config.models import Service
from brainops.contracts.action import ActionResult, AwaitSupervisor
from brainops.contracts.agent import ActionClass
from brainops.contracts.incident import Candidate, Evidence
from brainops.contracts.service import ServiceState, ServiceStatus, SupervisorFacts
from brainops.errors import ActionError
from brainops.incidents.signature import came_up, is_looping
from brainops.remedies.base import Call, Handler, Remedy, RemedyContext

LOOP_RESTARTS = 3
"""Restarts by the supervisor of a service that did not come up, from which they do not help."""

_LOOK_SECONDS = 0.25
_UP = (ServiceStatus.RUNNING, ServiceStatus.STOPPED)


class AwaitSupervisorHandler(Handler[AwaitSupervisor]):
    """Waits for the supervisor's next run, or until it gives up, for no longer than `recover_within`."""

    action = AwaitSupervisor

    async def perform(self, action: AwaitSupervisor, call: Call, /) -> ActionResult:
        limit = call.service.recover_within.total_seconds()
        known = ""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while True:
                    state = await self._tools.host.state(action.service, call.service, memory=False)
                    if state.supervisor is None:
                        raise ActionError(f"{action.service} has no supervisor of its own; nobody will start it again")
                    if state.status in _UP:
                        return ActionResult(ok=True, summary=_restarted(action.service, state, state.supervisor))
                    if state.supervisor.gave_up:
                        raise ActionError(f"{state.supervisor.name} gave up on {action.service}: {state.detail}"[:500])
                    known = state.run.id if state.run is not None else ""
                    await self._next_look(action, call, known)
        raise ActionError(f"its supervisor did not start {action.service} within {limit:g} s")

    async def reconcile(self, _action: AwaitSupervisor, _call: Call, /) -> ActionResult | None:
        # watching changes nothing, so it may always be repeated
        return None

    async def _next_look(self, action: AwaitSupervisor, call: Call, known: str) -> None:
        """Until a new run is told, and not for long: that it gives up is told by nobody."""
        told = asyncio.ensure_future(self._tools.host.started(action.service, call.service, known))
        try:
            await asyncio.wait({told}, timeout=_LOOK_SECONDS)
        finally:
            told.cancel()
            await asyncio.gather(told, return_exceptions=True)


class AwaitOwnSupervisor(Remedy):
    """Let systemd or Docker restart the service, while it is about to."""

    name = "await_supervisor"
    action_class = ActionClass.AWAIT_SUPERVISOR
    cost = 0
    rank = 5
    handlers = (AwaitSupervisorHandler,)
    uses = (AwaitSupervisor,)

    def propose(self, evidence: Evidence, service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        supervisor = evidence.state.supervisor
        if supervisor is None or supervisor.gave_up or not _is_at_it(evidence, service, supervisor):
            return ()
        cause = f"{context.service} {evidence.state.detail or 'ended'}; {supervisor.name} restarts it by itself"
        actions = (AwaitSupervisor(service=context.service),)
        return (self.candidate(actions, cause, explains=True, rules_out=("start", "restart", "recreate")),)


def _is_at_it(evidence: Evidence, service: Service, supervisor: SupervisorFacts) -> bool:
    """Whether the supervisor has just begun, and its restarts have not been in vain so far."""
    if evidence.state.status not in (ServiceStatus.RESTARTING, ServiceStatus.EXITED):
        return False
    in_vain = supervisor.restarts >= LOOP_RESTARTS and not came_up(evidence)
    if in_vain or is_looping(evidence):
        return False
    ended = evidence.state.exit
    return ended is None or evidence.captured_at - ended.ended_at < service.recover_within


def _restarted(name: str, state: ServiceState, supervisor: SupervisorFacts) -> str:
    run = state.run
    which = f"process {run.pid}" if run is not None and run.pid is not None else "a new run"
    return f"{supervisor.name} has started {name} again as {which}"
