"""Have a neighbour of low priority give way: first less of the processor for it, then none of it."""

import asyncio
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from brainops.config.models import Service
from brainops.config.quantities import format_size
from brainops.contracts.action import ActionResult, ReniceService, StartService, StopService
from brainops.contracts.agent import ActionClass
from brainops.contracts.check import CheckKind, Reason
from brainops.contracts.incident import Candidate, Evidence, NeighbourFacts
from brainops.contracts.service import ServiceStatus
from brainops.errors import ActionError, NotAllowedError
from brainops.incidents.neighbours import family, is_neighbour
from brainops.incidents.signature import failing_reasons
from brainops.remedies.base import Call, Handler, Remedy, RemedyContext
from brainops.remedies.permission import is_permitted

NOTICEABLE_SHARE = 0.1
"""Of the machine's processors. Less cannot be what another service lacks."""

MOST_SHARE = 0.4
"""From here on the neighbour is the cause rather than a part of it."""

NOTICEABLE_BYTES = 50_000_000

_PROCESSOR = frozenset({Reason.CPU, Reason.LOAD, Reason.SLOW})
_MEMORY = frozenset({Reason.MEMORY, Reason.SWAP})


class ReniceHandler(Handler[ReniceService]):
    """Changes the share of the processor of every thread of a service."""

    action = ReniceService

    def authorize(self, action: ReniceService, call: Call, /) -> None:
        if call.service.priority != "low":
            raise NotAllowedError(
                f"{action.service} is not declared of low priority; write priority: low in services.{action.service}"
            )

    async def perform(self, action: ReniceService, call: Call, /) -> ActionResult:
        state = await self._tools.host.state(action.service, call.service, memory=False)
        if state.run is None or state.run.pid is None or state.status is not ServiceStatus.RUNNING:
            raise ActionError(
                f"{action.service} has no process that could be reniced: {state.detail or state.status.value}"
            )
        changed = await asyncio.to_thread(_renice, family(state.run.pid), action.nice)
        if changed == 0:
            raise ActionError(
                f"the processes of {action.service} belong to another user; run BrainOps as root to renice them"
            )
        undo = ReniceService(service=action.service, nice=0) if action.nice > 0 and os.geteuid() == 0 else None
        plural = "" if changed == 1 else "es"
        return ActionResult(
            ok=True, summary=f"gave {changed} process{plural} of {action.service} nice {action.nice}", undo=undo
        )

    async def reconcile(self, _action: ReniceService, _call: Call, /) -> ActionResult | None:
        # setting what is set changes nothing
        return None


def _renice(pids: Iterable[int], nice: int) -> int:
    """How many processes were changed; all their threads are, and their scheduling group where the kernel has such."""
    changed = 0
    for pid in pids:
        try:
            threads = [int(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir()]
            for thread in threads:
                with suppress(ProcessLookupError):
                    os.setpriority(os.PRIO_PROCESS, thread, nice)
        except FileNotFoundError:
            continue
        except PermissionError:
            continue
        changed += 1
        with suppress(OSError):  # sched(7): with autogroups, nice counts only inside a session
            Path(f"/proc/{pid}/autogroup").write_text(str(nice))
    return changed


class QuietNeighbour(Remedy):
    """Renice, and if that does not help stop, the service of low priority that uses most of what is lacking."""

    name = "quiet_neighbour"
    action_class = ActionClass.QUIET_NEIGHBOUR
    cost = 1
    rank = 18
    handlers = (ReniceHandler,)
    uses = (ReniceService, StopService, StartService)

    def propose(self, evidence: Evidence, _service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        reasons = failing_reasons(evidence)
        neighbours = [fact for fact in evidence.neighbours if _may_be_quieted(fact.service, context)]
        found: list[Candidate] = []
        loudest = max(neighbours, key=lambda fact: fact.cpu_share, default=None)
        if reasons & _PROCESSOR and loudest is not None and loudest.cpu_share >= NOTICEABLE_SHARE:
            cause = f"{loudest.service}, of low priority, uses {loudest.cpu_share:.0%} of the processors"
            if not loudest.reniced:
                renice = (ReniceService(service=loudest.service),)
                found.append(self.candidate(renice, cause, explains=loudest.cpu_share >= MOST_SHARE))
            found.append(self._stopping(loudest, cause))
        elif _machine_lacks_memory(evidence, reasons):
            largest = max(neighbours, key=lambda fact: fact.rss_bytes, default=None)
            if largest is not None and largest.rss_bytes >= NOTICEABLE_BYTES:
                cause = f"{largest.service}, of low priority, uses {format_size(largest.rss_bytes)} of memory"
                found.append(self._stopping(largest, cause))
        return found

    def _stopping(self, neighbour: NeighbourFacts, cause: str) -> Candidate:
        return self.candidate((StopService(service=neighbour.service),), cause, variant="stop", cost=3)


def _may_be_quieted(name: str, context: RemedyContext) -> bool:
    other, own = context.services.get(name), context.services.get(context.service)
    if other is None or own is None or name in own.depends_on:
        return False
    return is_neighbour(context.service, own, name, other) and is_permitted(QuietNeighbour.name, other)


def _machine_lacks_memory(evidence: Evidence, reasons: frozenset[Reason]) -> bool:
    """Memory that a service itself uses too much of is nobody else's fault."""
    if Reason.SWAP in reasons:
        return True
    failing = {name for name, reason in evidence.probes.items() if reason is Reason.MEMORY} or {evidence.check}
    of_machine = any(evidence.check_kinds.get(name) is CheckKind.HOST for name in failing)
    return Reason.MEMORY in reasons and of_machine
