"""Raise the limit that the kernel enforces on a service's memory, as far as its declared ceiling."""

from collections.abc import Sequence

from brainops.config.models import Service
from brainops.config.quantities import format_size
from brainops.contracts.action import ActionResult, RaiseMemoryLimit, RestartService
from brainops.contracts.agent import ActionClass
from brainops.contracts.incident import Candidate, Evidence
from brainops.contracts.service import ServiceStatus
from brainops.errors import NotAllowedError
from brainops.remedies.base import Call, Handler, Remedy, RemedyContext

_GROWTH = 1.5
"""From one limit to the next."""

_NEAR = 0.9
"""Of its limit in use: it will be reached."""


class RaiseMemoryLimitHandler(Handler[RaiseMemoryLimit]):
    """Sets the limit. Setting it twice is setting it once."""

    action = RaiseMemoryLimit

    def authorize(self, action: RaiseMemoryLimit, call: Call, /) -> None:
        name, ceiling = call.service_name, call.service.limits.memory_ceiling
        if ceiling is None:
            raise NotAllowedError(
                f"the memory limit of {name} may not be raised; write services.{name}.limits.memory_ceiling"
            )
        if action.limit_bytes > ceiling:
            raise NotAllowedError(
                f"the memory limit of {name} may be raised to {format_size(ceiling)} and not to "
                f"{format_size(action.limit_bytes)}; change services.{name}.limits.memory_ceiling"
            )

    async def perform(self, action: RaiseMemoryLimit, call: Call, /) -> ActionResult:
        if not call.undoing:
            await self._refuse_less(action, call)
        previous = await self._tools.host.set_memory_limit(action.service, call.service, action.limit_bytes)
        if previous == action.limit_bytes:
            return ActionResult(ok=True, summary=f"the memory limit is {format_size(previous)} already")
        return ActionResult(
            ok=True,
            summary=f"set the memory limit of {action.service} from {format_size(previous)} "
            f"to {format_size(action.limit_bytes)}",
            undo=RaiseMemoryLimit(service=action.service, limit_bytes=previous),
        )

    async def reconcile(self, _action: RaiseMemoryLimit, _call: Call, /) -> ActionResult | None:
        # the same limit may always be set again
        return None

    async def _refuse_less(self, action: RaiseMemoryLimit, call: Call) -> None:
        """Less than it may use now would kill it."""
        now = (await self._tools.host.state(action.service, call.service, memory=False)).memory_limit_bytes
        if now is not None and action.limit_bytes < now:
            raise NotAllowedError(
                f"the memory limit of {action.service} is {format_size(now)}, and {format_size(action.limit_bytes)} "
                "would be less; a limit is only raised, or taken back by the plan that raised it"
            )


class RaiseLimit(Remedy):
    """Give a container or unit more memory where its limit killed it, or is about to."""

    name = "raise_limit"
    action_class = ActionClass.RAISE_LIMIT
    cost = 1
    rank = 22
    handlers = (RaiseMemoryLimitHandler,)
    uses = (RaiseMemoryLimit, RestartService)

    def propose(self, evidence: Evidence, service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        state, ceiling = evidence.state, service.limits.memory_ceiling
        limit = state.memory_limit_bytes
        if limit is None or ceiling is None or limit >= ceiling:
            return ()
        near = state.rss_bytes is not None and state.rss_bytes >= _NEAR * limit
        if not state.memory_killed and not near:
            return ()
        wanted = min(ceiling, int(limit * _GROWTH))
        actions: list[RaiseMemoryLimit | RestartService] = [
            RaiseMemoryLimit(service=context.service, limit_bytes=wanted)
        ]
        if state.status is not ServiceStatus.RUNNING:
            actions.append(RestartService(service=context.service))
        if state.memory_killed:
            cause = f"{context.service} was killed because its memory limit of {format_size(limit)} was reached"
        else:
            cause = f"{context.service} uses {format_size(state.rss_bytes or 0)} of the {format_size(limit)} it may use"
        return (self.candidate(actions, cause, explains=True),)
