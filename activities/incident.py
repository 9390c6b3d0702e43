"""What an incident's plan does: records on the control queue, actions on the host that has the service."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError

from activities.heartbeat import heartbeating
from activities.recording import recorded
from agents.autonomy import effective, gate_for
from agents.loop_breaker import must_escalate
from agents.roster import charter
from brainops.config.models import AgentOverrides, BrainOpsConfig, Recurrence, Service
from brainops.config.quantities import format_duration
from brainops.contracts.action import ActionRequest, ActionResult
from brainops.contracts.agent import ActionClass, AgentName, AgentState, Work, WorkReport
from brainops.contracts.approval import Approval, ApprovalDecision, ApprovalStatus
from brainops.contracts.incident import (
    AttemptRecord,
    Candidates,
    CandidatesRequest,
    CaptureRequest,
    DecisionRecord,
    EvidenceSummary,
    Gate,
    GateAnswer,
    IncidentUpdate,
    Knowledge,
    LearnRequest,
    OpenIncident,
    Opening,
    Permissions,
    PlanRef,
    Root,
    RootRequest,
    Signature,
    Verification,
    VerifyRequest,
)
from brainops.contracts.names import agent_workflow_id, effect_key
from brainops.crew.maintenance import Maintenance
from brainops.crew.store import CrewStore
from brainops.effects.fault_points import reach
from brainops.effects.ledger import EffectLedger
from brainops.errors import ConflictError, NotAllowedError, NotFoundError
from brainops.incidents.beating import beating
from brainops.incidents.evidence import EvidenceCollector
from brainops.incidents.holding import held
from brainops.incidents.signature import sign
from brainops.incidents.store import IncidentStore
from brainops.incidents.summary import matching, summarise
from brainops.incidents.verification import Verifier
from brainops.memory.deeds import DeedStore
from brainops.memory.knowledge import KnowledgeStore
from brainops.memory.runbooks import RunbookFolder
from brainops.notify.desk import NoticeDesk
from brainops.remedies.base import RemedyContext
from brainops.remedies.performer import ActionPerformer
from brainops.remedies.preferred import preferred
from brainops.remedies.registry import candidates
from brainops.services.store import ServiceStore
from brainops.telemetry.redaction import clean

_MONITOR = AgentName.SYSTEM_MONITOR


class PermissionReader:
    """How freely SystemMonitor may act on a service now: charter, configuration, ladder, pauses, maintenance."""

    def __init__(
        self, config: BrainOpsConfig, crew: CrewStore, services: ServiceStore, maintenance: Maintenance
    ) -> None:
        self._config = config
        self._crew = crew
        self._services = services
        self._maintenance = maintenance

    async def read(self, service_name: str) -> Permissions:
        """The gates of every action class, and how long an approval is waited for."""
        service = self._config.services.get(service_name)
        if service is None:
            return Permissions()
        state, row, window = await asyncio.gather(
            self._crew.load(_MONITOR), self._services.get(service_name), self._maintenance.covers(service_name)
        )
        paused, until = "", None
        if row.paused:
            paused = f"{service_name} is paused: {row.paused_reason or 'no reason given'}"
        elif state is not None and state.paused:
            paused = f"{_MONITOR} is paused: {state.paused_reason or 'no reason given'}"
        elif window is not None:
            paused, until = window.reason, window.until
        overrides = self._config.agents.get(_MONITOR, AgentOverrides())
        gates = {
            action_class: GateAnswer(gate=Gate.OBSERVE, reason=paused, until=until)
            if paused
            else self._gate(service_name, service, action_class, overrides, state)
            for action_class in charter(_MONITOR).actions
        }
        return Permissions(gates=gates, approval_expires_seconds=service.approval_expires.total_seconds())

    def _gate(
        self,
        name: str,
        service: Service,
        action_class: ActionClass,
        overrides: AgentOverrides,
        state: AgentState | None,
    ) -> GateAnswer:
        if not overrides.enabled:
            return GateAnswer(gate=Gate.OBSERVE, reason=f"agents.{_MONITOR}.enabled is false")
        learned = next(
            (
                override
                for override in (state.overrides if state is not None else ())
                if override.service == name and override.action_class is action_class
            ),
            None,
        )
        configured = service.autonomy_for(action_class)
        level = effective(
            charter_ceiling=charter(_MONITOR).autonomy,
            configured=configured,
            agent_ceiling=overrides.autonomy,
            learned=learned.level if learned is not None else None,
        )
        if learned is not None and level is not configured:
            reason = f"autonomy stepped down to {level.value}: {learned.reason}"
        elif level is not configured:
            reason = f"agents.{_MONITOR}.autonomy is {level.value}"
        else:
            reason = f"services.{name}.autonomy is {level.value} for {action_class.value}"
        return GateAnswer(gate=gate_for(level), reason=reason, autonomy=level, learned=learned is not None)


class AgentDesk:
    """Tells an agent's own workflow what the agent works on, outside of the incident's history."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def report(self, plan: PlanRef, summary: str, *, finished: bool) -> None:
        """SystemMonitor begins or ends work on a plan. Its list is a convenience: a miss is logged, not retried."""
        work = Work(workflow_id=plan.workflow_id, summary=clean(summary), since=datetime.now(UTC))
        handle = self._client.get_workflow_handle(agent_workflow_id(_MONITOR))
        try:
            await handle.signal("report_work", WorkReport(work=work, finished=finished))
        except RPCError as error:
            activity.logger.warning("%s was not told of its work: %s", _MONITOR, error)


class IncidentRecords:
    """Rows of an incident: on the control queue, each call one or two transactions."""

    def __init__(
        self,
        config: BrainOpsConfig,
        desk: AgentDesk,
        incidents: IncidentStore,
        knowledge: KnowledgeStore,
        deeds: DeedStore,
        permissions: PermissionReader,
        notices: NoticeDesk,
    ) -> None:
        self._config = config
        self._desk = desk
        self._notices = notices
        self._incidents = incidents
        self._knowledge = knowledge
        self._deeds = deeds
        self._permissions = permissions

    @activity.defn
    async def open_incident(self, request: OpenIncident) -> Opening:
        """Insert the incident's row, or find it again with what was tried."""
        seen = request.observation
        summary = f"{seen.service}/{seen.check}: {seen.detail or seen.reason.value}"
        opening, _ = await asyncio.gather(
            self._incidents.open(request.plan, seen), self._desk.report(request.plan, summary, finished=False)
        )
        if opening.duplicate:
            await self._desk.report(request.plan, summary, finished=True)
        return opening

    @activity.defn
    @recorded("find_root", _MONITOR)
    async def find_root(self, request: RootRequest) -> Root:
        """Decide what the incident follows from, in one transaction over what fails now."""
        service = self._config.services.get(request.plan.service)
        recurrence = service.escalate_after if service is not None else Recurrence()
        dependencies = {name: declared.depends_on for name, declared in self._config.services.items()}
        now = datetime.now(UTC)
        root = await self._incidents.decide_root(request, dependencies, recurrence, now)
        return root.model_copy(
            update={
                "loop": root.is_root and must_escalate(root.recent_openings, now, recurrence),
                "recurrence": format_duration(recurrence.within),
            }
        )

    @activity.defn
    async def look_up_knowledge(self, signature: Signature) -> Knowledge:
        """What helped against this signature before, or against similar ones."""
        return await self._knowledge.lookup(signature)

    @activity.defn
    async def read_permissions(self, plan: PlanRef) -> Permissions:
        """How freely each kind of action may be done for this service now."""
        return await self._permissions.read(plan.service)

    @activity.defn
    async def record_decision(self, record: DecisionRecord) -> None:
        """A choice with its alternatives."""
        await self._deeds.record_decision(record)

    @activity.defn
    async def record_attempt(self, record: AttemptRecord) -> None:
        """A remedy that was tried."""
        await self._incidents.record_attempt(record)

    @activity.defn
    @recorded("learn", _MONITOR)
    async def learn(self, request: LearnRequest) -> None:
        """Bring the knowledge base up to date with an attempt."""
        record = request.record
        await self._knowledge.learn(
            record.plan, record.signature, record.remedy, list(request.actions), record.cause, record.helped
        )

    @activity.defn
    @recorded("update_incident", _MONITOR)
    async def update_incident(self, update: IncidentUpdate) -> None:
        """A change of the incident's row and a line of its timeline, and what people are told of it."""
        await self._incidents.update(update)
        await self._notices.note(update)
        if update.status.closed:
            await self._desk.report(update.plan, update.note, finished=True)

    @activity.defn
    async def record_approval(self, approval: Approval) -> None:
        """An approval that ended without an answer."""
        await self._incidents.save_approval(approval)

    @activity.defn
    @recorded("decide_approval", _MONITOR)
    async def settle_approval(self, decision: ApprovalDecision) -> Approval:
        """A person's answer, written once; the first one holds."""
        return await self._incidents.decide_approval(decision, datetime.now(UTC))


class IncidentActions:
    """What happens on the host: looking, acting, verifying."""

    def __init__(
        self,
        config: BrainOpsConfig,
        incidents: IncidentStore,
        ledger: EffectLedger,
        permissions: PermissionReader,
        collector: EvidenceCollector,
        performer: ActionPerformer,
        verifier: Verifier,
        runbooks: RunbookFolder,
    ) -> None:
        self._runbooks = runbooks
        self._config = config
        self._incidents = incidents
        self._ledger = ledger
        self._permissions = permissions
        self._collector = collector
        self._performer = performer
        self._verifier = verifier

    @activity.defn
    @recorded("capture_evidence", _MONITOR)
    async def capture_evidence(self, request: CaptureRequest) -> EvidenceSummary:
        """Capture everything around the failing check; the text goes to the row, its summary comes back."""
        seen = request.observation
        self._service(request.plan.service)
        evidence, runbooks = await asyncio.gather(
            self._collector.capture(
                request.plan.service, request.plan.check, seen.reason, seen.detail, request.plan.plan_id
            ),
            asyncio.to_thread(self._runbooks.read),
        )
        summary = summarise(evidence, runbooks)
        await self._incidents.save_evidence(request.plan.plan_id, evidence, summary)
        return summary

    @activity.defn
    async def propose_remedies(self, request: CandidatesRequest) -> Candidates:
        """The remedies whose preconditions the captured evidence meets."""
        service = self._service(request.plan.service)
        evidence = await self._incidents.evidence(request.plan.plan_id)
        context = RemedyContext(
            service=request.plan.service, services=self._config.services, dependents=request.dependents
        )
        found = candidates(evidence, service, context)
        runbooks = matching(await asyncio.to_thread(self._runbooks.read), evidence, sign(evidence))
        return Candidates(candidates=preferred(found, runbooks, evidence, service))

    @activity.defn
    @recorded("perform_action", _MONITOR)
    async def perform_action(self, request: ActionRequest) -> ActionResult:
        """Carry one action out, once, whatever dies meanwhile.

        The ledger is written before and after. An effect that was begun by a worker that died is looked for,
        and only carried out when it has not happened.
        """
        async with heartbeating() as beat:
            return await perform_once(self._ledger, self._performer, request, beat, self._check_permitted)

    async def _check_permitted(self, request: ActionRequest) -> None:
        """The plan may ask for anything; what is done is decided here.

        Raises ConflictError when the incident is no longer worked on, NotAllowedError when autonomy forbids it.
        """
        if not await self._incidents.wanted(request.plan_id):
            raise ConflictError(f"incident {request.plan_id} is closed or part of another one; nothing was done")
        permissions = await self._permissions.read(request.service)
        answer = permissions.gate(request.action_class)
        if answer.gate is Gate.ACT:
            return
        if answer.gate is Gate.ASK:
            given = await self._incidents.plan_approvals(request.plan_id)
            if any(
                approval.status is ApprovalStatus.APPROVED and approval.action_class is request.action_class
                for approval in given
            ):
                return
            raise NotAllowedError(f"{request.action_class.value} needs an approval and has none: {answer.reason}")
        raise NotAllowedError(answer.reason)

    @activity.defn
    @recorded("verify_remedy", _MONITOR)
    async def verify_remedy(self, request: VerifyRequest) -> Verification:
        """Look with the same check and its neighbours until they pass or their time is over; then as runbooks say."""
        name = request.plan.service
        service = self._service(name)
        before = await self._incidents.evidence(request.plan.plan_id)
        runbooks = matching(await asyncio.to_thread(self._runbooks.read), before, sign(before))
        async with heartbeating() as beat:
            seen = await self._verifier.verify(name, request.plan.check, request.dependents, before, beat)
            if not seen.ok or not runbooks:
                return seen
            failed = await beating(held(self._verifier.look, name, tuple(service.all_checks()), runbooks), beat)
            return failed if failed is not None else seen

    def _service(self, name: str) -> Service:
        service = self._config.services.get(name)
        if service is None:
            raise NotFoundError(f"service {name!r} is no longer in brainops.yaml; close its incident or add it again")
        return service


async def perform_once(
    ledger: EffectLedger,
    performer: ActionPerformer,
    request: ActionRequest,
    beat: Callable[[], None],
    check_permitted: Callable[[ActionRequest], Awaitable[None]],
) -> ActionResult:
    """Carry out one action through the ledger: begun, done, finished, each written down."""
    key = effect_key(request.plan_id, request.step)
    reach("before-begin")
    entry = await ledger.begin(request, key)
    reach("after-begin")
    if entry.result is not None:
        return entry.result.model_copy(update={"repeated": True})
    try:
        result = await performer.reconcile(request, key) if entry.state == "begun" else None
        if result is None:
            await (_check_undo(ledger, request) if request.undoing else check_permitted(request))
            result = await performer.perform(request, key, beat)
    except (ConflictError, NotAllowedError, NotFoundError) as error:
        await ledger.finish(key, ActionResult(ok=False, summary=f"refused: {error}"[:500]))
        raise
    reach("before-finish")
    await ledger.finish(key, result)
    reach("after-finish")
    return result


async def _check_undo(ledger: EffectLedger, request: ActionRequest) -> None:
    """What a plan has done it may take back, whatever has changed since; that, and nothing else."""
    done = await ledger.list(request.plan_id)
    if not any(effect.result is not None and effect.result.undo == request.action for effect in done):
        raise NotAllowedError(
            f"plan {request.plan_id} has done nothing that {request.action.kind} of {request.action.service} would undo"
        )
