"""Free a port of the service that a stray process holds."""

import os
import signal
from collections.abc import Sequence

from brainops.config.models import Service
from brainops.contracts.action import ActionResult, FreePort, RestartService
from brainops.contracts.agent import ActionClass
from brainops.contracts.check import Reason
from brainops.contracts.incident import Candidate, Evidence
from brainops.errors import ActionError, NotAllowedError
from brainops.incidents.ports import PortInspector, needed_ports
from brainops.incidents.signature import failing_reasons
from brainops.remedies.base import Call, Handler, Remedy, RemedyContext
from brainops.remedies.declared import refuse_undeclared
from brainops.remedies.reading import not_running, strangers
from brainops.services import pidfds, procfs

_TERM_SECONDS = 2.0
_KILL_SECONDS = 2.0
_NETWORK = frozenset({Reason.REFUSED, Reason.RESET, Reason.TIMEOUT, Reason.PROTOCOL, Reason.STATUS, Reason.BODY})


class FreePortHandler(Handler[FreePort]):
    """Ends the process that the action names, if it is still that process, still there, and still a stray."""

    action = FreePort

    def authorize(self, action: FreePort, call: Call, /) -> None:
        needed = (str(port) for port in needed_ports(call.service))
        refuse_undeclared((str(action.port),), needed, f"services.{action.service}.ports")

    async def perform(self, action: FreePort, call: Call, /) -> ActionResult:
        descriptor = pidfds.open_exact(action.pid, action.start_ticks)
        if descriptor is None:
            return _gone(action)
        try:
            holder = next((one for one in procfs.listeners(action.port) if one.pid == action.pid), None)
            if holder is None:
                return ActionResult(ok=True, summary=f"process {action.pid} no longer holds port {action.port}")
            inspector = PortInspector(self._tools.host, self._tools.services)
            if not await inspector.may_be_ended(action.service, call.service, holder):
                raise NotAllowedError(
                    f"process {action.pid} ({holder.command[:200]}) holds port {action.port} and is not a stray of "
                    f"BrainOps; to let it be ended, name its command line in services.{action.service}.may_end"
                )
            await self._end(action, descriptor)
        finally:
            os.close(descriptor)
        return _gone(action, f"ended process {action.pid} ({holder.command[:300]}), which held port {action.port}")

    async def reconcile(self, action: FreePort, _call: Call, /) -> ActionResult | None:
        process = procfs.find(action.pid, action.start_ticks)
        return _gone(action) if process is None or process.ended else None

    async def _end(self, action: FreePort, descriptor: int) -> None:
        """End the process, and those of its children that share the port with it."""
        family = procfs.descendants(action.pid, procfs.everything())
        await _end_process(descriptor, action.pid)
        holders = {(holder.pid, holder.start_ticks) for holder in procfs.listeners(action.port)}
        sharing = [child for child in family if (child.pid, child.start_ticks) in holders]
        async with pidfds.opened(sharing) as targets:
            for target, process in targets.items():
                await _end_process(target, process.pid)


async def _end_process(descriptor: int, pid: int) -> None:
    process = procfs.stat(pid)
    if process is None:
        return
    pidfds.send(descriptor, process, signal.SIGTERM)
    pidfds.send(descriptor, process, signal.SIGCONT)
    if await pidfds.wait_ended([descriptor], _TERM_SECONDS):
        return
    pidfds.send(descriptor, process, signal.SIGKILL)
    if not await pidfds.wait_ended([descriptor], _KILL_SECONDS):
        raise ActionError(f"process {pid} is still there {_KILL_SECONDS:.0f} s after SIGKILL; it hangs in the kernel")


def _gone(action: FreePort, summary: str = "") -> ActionResult:
    return ActionResult(ok=True, summary=summary or f"process {action.pid}, which held port {action.port}, is gone")


class FreeHeldPort(Remedy):
    """End the stray that holds a port of the service, then start the service."""

    name = "free_port"
    action_class = ActionClass.FREE_PORT
    cost = 2
    rank = 30
    handlers = (FreePortHandler,)
    uses = (FreePort, RestartService)

    def propose(self, evidence: Evidence, _service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        if not not_running(evidence) and not failing_reasons(evidence) & _NETWORK:
            return ()
        held = [port for port in strangers(evidence) if port.may_be_ended]
        frees = [
            FreePort(service=context.service, port=port.port, pid=port.holder_pid, start_ticks=port.holder_start_ticks)
            for port in held
            if port.holder_pid is not None and port.holder_start_ticks is not None
        ]
        if not frees:
            return ()
        first = held[0]
        cause = f"port {first.port} is held by a stray process, {first.holder_pid} ({first.holder_command[:300]})"
        actions = (*frees, RestartService(service=context.service))
        # nothing that starts the service can help while its port is taken
        rules_out = ("start", "restart", "restart_dependency", "restore_files")
        return (self.candidate(actions, cause, explains=True, rules_out=rules_out),)
