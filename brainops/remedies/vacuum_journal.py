"""Shrink the machine's journal to what the configuration allows it."""

from collections.abc import Sequence

from brainops.config.models import Service
from brainops.config.quantities import format_size
from brainops.config.runs import HostRun
from brainops.contracts.action import ActionResult, VacuumJournal
from brainops.contracts.agent import ActionClass
from brainops.contracts.check import Reason
from brainops.contracts.incident import Candidate, Evidence
from brainops.errors import NotAllowedError
from brainops.incidents.signature import failing_reasons
from brainops.remedies.base import Call, Handler, HostTools, Remedy, RemedyContext
from brainops.services.journal import Journal


class VacuumJournalHandler(Handler[VacuumJournal]):
    """Deletes the oldest files of the journal. Repeating it does no more than the target asks for."""

    action = VacuumJournal

    def __init__(self, tools: HostTools) -> None:
        super().__init__(tools)
        self._journal = Journal("system")

    def authorize(self, action: VacuumJournal, call: Call, /) -> None:
        declared = call.service.limits.journal
        if not isinstance(call.service.run, HostRun) or declared is None:
            raise NotAllowedError(
                f"{action.service} does not say how far the journal may be shrunk; write "
                f"services.{action.service}.limits.journal on a service of kind host"
            )
        if action.target_bytes < declared:
            raise NotAllowedError(
                f"services.{action.service}.limits.journal keeps {format_size(declared)} of the journal, "
                f"and {format_size(action.target_bytes)} would be less"
            )

    async def perform(self, action: VacuumJournal, _call: Call, /) -> ActionResult:
        before = await self._journal.size_bytes()
        await self._journal.vacuum(action.target_bytes)
        after = await self._journal.size_bytes()
        summary = f"shrunk the journal from {format_size(before)} to {format_size(after)}"
        return ActionResult(ok=True, summary=summary)

    async def reconcile(self, _action: VacuumJournal, _call: Call, /) -> ActionResult | None:
        # shrinking stops at the target, whoever began it
        return None


class ShrinkJournal(Remedy):
    """Vacuum the journal while the disk is full and it holds more than it may."""

    name = "vacuum_journal"
    action_class = ActionClass.CLEAN_LOGS
    cost = 2
    rank = 45
    handlers = (VacuumJournalHandler,)
    uses = (VacuumJournal,)

    def propose(self, evidence: Evidence, service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        target = service.limits.journal
        if target is None or not isinstance(service.run, HostRun) or Reason.DISK not in failing_reasons(evidence):
            return ()
        fact = next((one for one in evidence.reclaimable if one.kind == "journal"), None)
        if fact is None or fact.bytes <= target:
            return ()
        cause = f"the journal holds {format_size(fact.bytes)} and may hold {format_size(target)}"
        actions = (VacuumJournal(service=context.service, target_bytes=target),)
        return (self.candidate(actions, cause, explains=True),)
