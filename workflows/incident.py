"""The plan that heals one failing check: look, find the root, choose, ask if needed, act, verify, undo, escalate.

The plan holds ids and decisions only. Evidence, logs and timelines live in Postgres; what is written here can be
read in the Temporal UI: each step is an activity with a summary of its own.
"""

import asyncio
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from activities.incident import IncidentActions, IncidentRecords
from agents.system_monitor import MOST_ATTEMPTS, choose_remedy, escalation_summary
from brainops.contracts.action import Action, ActionRequest, ActionResult, StopService
from brainops.contracts.agent import AgentName, OutcomeReport
from brainops.contracts.approval import Approval, ApprovalDecision, ApprovalStatus
from brainops.contracts.base import Actor, ActorKind
from brainops.contracts.check import Observation
from brainops.contracts.incident import (
    Attempt,
    AttemptRecord,
    CandidatesRequest,
    CaptureRequest,
    Choice,
    DecisionRecord,
    Dismissal,
    EvidenceSummary,
    Gate,
    GateAnswer,
    IncidentInput,
    IncidentResult,
    IncidentStatus,
    IncidentUpdate,
    IncidentView,
    LearnRequest,
    OpenIncident,
    Permissions,
    PlanRef,
    Root,
    RootRequest,
    Signature,
    Verification,
)
from workflows.agent import tell_agent
from workflows.incident_steps import IncidentSteps
from workflows.search_attributes import show_outcome, show_signature

_ROOT_TRIES = 4
_FIRST_LOOK = timedelta(seconds=10)
_RAREST_LOOK = timedelta(hours=1)
"""How soon, and at last how rarely, an escalated incident is compared with what stood in its way."""
_SETTLING = timedelta(seconds=2)
"""How long a check that passes again on a fresh look is waited for before it is treated as failing."""

_NEIGHBOUR_RESTS = timedelta(hours=1)
"""How long a neighbour of low priority that was stopped for another service is let be."""

_WAITING = (IncidentStatus.OBSERVING, IncidentStatus.ESCALATED)


@workflow.defn
class IncidentWorkflow:
    """One incident of one check of one service, from the observation to its end."""

    @workflow.init
    def __init__(self, request: IncidentInput) -> None:
        info = workflow.info()
        observation = request.observation
        self._observation = observation
        self._newest = observation
        self._absorbed_into = ""
        self._reconsider = False
        self._dismissal: Dismissal | None = None
        self._decision: Approval | None = None
        self._approval: Approval | None = None
        self._status = IncidentStatus.OPEN
        self._signature: Signature | None = None
        self._headline = f"{observation.service}/{observation.check}: {observation.detail or observation.reason.value}"
        self._cause = ""
        self._remedy = ""
        self._attempts: list[Attempt] = []
        self._forgiven = 0
        self._obstacles: tuple[str, ...] | None = None
        self._runbooks: tuple[str, ...] = ()
        self._next_look = _FIRST_LOOK
        self._final = False
        self._summaries: list[str] = []
        self._next_step = 1
        self._dependents: tuple[str, ...] = ()
        self._plan = PlanRef(
            tenant_id=observation.tenant_id,
            plan_id=request.plan_id or workflow.uuid4(),
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            service=observation.service,
            check=observation.check,
            host=observation.host,
        )
        self._steps = IncidentSteps(self._plan)
        self._background: list[asyncio.Task[None]] = []

    # What comes in

    @workflow.signal
    def observe(self, observation: Observation) -> None:
        """The watch saw the check again: still failing, or passing."""
        if observation.seq >= self._newest.seq:
            self._newest = observation

    @workflow.signal
    def absorb(self, into: str) -> None:
        """Another incident is the root of this one."""
        self._absorbed_into = into

    @workflow.signal
    def reconsider(self) -> None:
        """What may be done has changed: an agent or service was resumed, or a person asks for another try."""
        self._reconsider = True

    @workflow.signal
    def dismiss(self, dismissal: Dismissal) -> None:
        """Stop working on it: the service is no longer configured, or a person says that it is nothing."""
        self._dismissal = dismissal

    @workflow.update
    async def decide_approval(self, decision: ApprovalDecision) -> Approval:
        """A person answers the pending question. Returns the approval as decided."""
        decided = await self._steps.record(IncidentRecords.settle_approval, decision, "answer recorded")
        self._decision = decided
        return decided

    @decide_approval.validator
    def check_decision(self, decision: ApprovalDecision) -> None:
        """Refuse an answer to a question that is not open."""
        approval = self._approval
        if approval is None or approval.id != decision.approval_id:
            raise ApplicationError(
                f"approval {decision.approval_id} is not what this incident waits for; see `brainops approvals`",
                type="ConflictError",
                non_retryable=True,
            )
        if self._decision is not None or workflow.now() >= approval.expires_at:
            raise ApplicationError(
                f"approval {decision.approval_id} was decided already or has expired",
                type="ConflictError",
                non_retryable=True,
            )

    @workflow.query
    def view(self) -> IncidentView:
        """Where the incident stands now."""
        return IncidentView(
            plan_id=self._plan.plan_id,
            service=self._plan.service,
            check=self._plan.check,
            status=self._status,
            headline=self._headline,
            cause=self._cause,
            remedy=self._remedy,
            attempts=tuple(self._attempts),
            pending_approval=self._approval,
        )

    # The plan

    @workflow.run
    async def run(self, request: IncidentInput) -> IncidentResult:
        """Work until the incident is closed."""
        opening = await self._steps.record(
            IncidentRecords.open_incident, OpenIncident(plan=self._plan, observation=request.observation), "open"
        )
        if opening.duplicate:
            self._status = IncidentStatus.DISMISSED
            show_outcome(self._status.value)
            return self._result()
        self._status = opening.status
        self._next_step = opening.next_step
        self._attempts = list(opening.attempts)
        self._approval = opening.pending_approval
        while not self._status.closed:
            if self._dismissal is not None:
                note = f"dismissed by {self._dismissal.actor}: {self._dismissal.reason}"
                await self._close(IncidentStatus.DISMISSED, note)
            elif self._absorbed_into:
                await self._close(IncidentStatus.ABSORBED, f"part of {self._absorbed_into}")
            elif not self._newest.failing:
                await self._close(IncidentStatus.RECOVERED, f"{self._plan.check} passes again: {self._newest.detail}")
            elif self._status in _WAITING:
                await self._wait_for_change()
            else:
                await self._heal()
        await asyncio.gather(*self._background)
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._newest.failing and self._newest.seq > self._observation.seq and self._dismissal is None:
            # It broke anew while this plan was ending: the next run of the same id takes it up.
            workflow.continue_as_new(IncidentInput(observation=self._newest))
        return self._result()

    async def _wait_for_change(self) -> None:
        """Wait for the check to pass or for a person; what stands in the way may also go away by itself."""
        looks_again = self._status is IncidentStatus.ESCALATED and not self._final
        until = await self._observes_until() if self._status is IncidentStatus.OBSERVING else None
        try:
            await workflow.wait_condition(
                lambda: not self._still_wanted or self._reconsider,
                timeout=until or (self._next_look if looks_again else None),
                timeout_summary="maintenance ends" if until else "look again",
            )
        except TimeoutError:
            if until is None:
                await self._look_again()
                return
        if self._still_wanted:
            self._reconsider = False
            # Somebody has changed something: what did not help before may help now.
            self._forgiven = len(self._attempts)
            await self._update(IncidentStatus.OPEN, "what may be done has changed; looking again")

    async def _observes_until(self) -> timedelta | None:
        """How long the maintenance still lasts because of which nothing is done; None: there is none."""
        permissions = await self._steps.read(IncidentRecords.read_permissions, self._plan, "until when?")
        ends = [answer.until for answer in permissions.gates.values() if answer.until is not None]
        return max(max(ends) - workflow.now(), timedelta(milliseconds=1)) if ends else None

    async def _look_again(self) -> None:
        """Compare what stands in the way with the last look, ever more rarely."""
        if workflow.info().is_continue_as_new_suggested():
            await workflow.wait_condition(workflow.all_handlers_finished)
            workflow.continue_as_new(IncidentInput(observation=self._newest, plan_id=self._plan.plan_id))
        self._next_look = min(self._next_look * 2, _RAREST_LOOK)
        before = self._obstacles
        await self._capture()
        self._reconsider = self._reconsider or (before is not None and before != self._obstacles)

    async def _heal(self) -> None:
        """Try remedies until one helps, none is left, or nothing may be done."""
        evidence = await self._capture()
        if not evidence.still_failing and await self._ends_within(_SETTLING):
            return
        root = await self._find_root(evidence)
        if root is None or not root.is_root:
            return
        if root.loop:
            count = len(root.recent_openings) + 1
            await self._escalate(
                f"{count} incidents of this kind within {root.recurrence}: healing itself has failed", final=True
            )
            return
        while self._still_wanted:
            if len(self._tried) >= MOST_ATTEMPTS:
                await self._escalate(f"{len(self._tried)} remedies were tried")
                return
            choice, permissions = await self._choose()
            if choice is None:
                await self._escalate("out of remedies" if self._tried else "no remedy fits the evidence")
                return
            if not await self._permitted(choice, permissions):
                return
            if await self._attempt(choice, permissions.gate(choice.candidate.action_class)):
                return
            if self._status is not IncidentStatus.OPEN:
                return
            await self._capture()

    @property
    def _still_wanted(self) -> bool:
        return self._newest.failing and not self._absorbed_into and self._dismissal is None

    @property
    def _tried(self) -> list[Attempt]:
        """What was tried since a person last changed something."""
        return self._attempts[self._forgiven :]

    async def _capture(self) -> EvidenceSummary:
        evidence = await self._steps.on_host(
            IncidentActions.capture_evidence,
            CaptureRequest(plan=self._plan, observation=self._newest),
            "evidence",
        )
        self._headline = evidence.headline
        self._obstacles = evidence.obstacles
        self._runbooks = evidence.runbooks
        if self._signature is None:
            # The signature of the first look names the incident: later looks also see what our remedies did.
            self._signature = evidence.signature
            show_signature(evidence.signature.key)
        return evidence

    async def _find_root(self, evidence: EvidenceSummary) -> Root | None:
        """The decided root; None when the incident ended while it was being looked for."""
        root = await self._decide_root(evidence, tries_left=_ROOT_TRIES)
        for tries_left in range(_ROOT_TRIES - 1, 0, -1):
            if not root.wait_seconds:
                break
            # A dependency fails that has no incident yet: its own is about to open and will absorb this one.
            if await self._ends_within(timedelta(seconds=root.wait_seconds)):
                return None
            root = await self._decide_root(evidence, tries_left=tries_left)
        self._dependents = root.dependents
        if not root.is_root:
            self._absorbed_into = root.absorbed_into
            return root
        for workflow_id in root.absorbed:
            handle = workflow.get_external_workflow_handle_for(IncidentWorkflow.run, workflow_id)
            try:
                await handle.signal(IncidentWorkflow.absorb, self._plan.workflow_id)
            except ApplicationError:
                workflow.logger.info("%s had ended before it was absorbed", workflow_id)
        return root

    async def _decide_root(self, evidence: EvidenceSummary, tries_left: int) -> Root:
        request = RootRequest(
            plan=self._plan,
            signature=self._known_signature,
            failing_dependencies=evidence.failing_dependencies,
            last_try=tries_left == 1,
        )
        return await self._steps.record(IncidentRecords.find_root, request, "root cause by dependencies")

    async def _ends_within(self, limit: timedelta) -> bool:
        """Wait until the incident is no longer to be worked on. False: it still is after `limit`."""
        try:
            await workflow.wait_condition(lambda: not self._still_wanted, timeout=limit)
        except TimeoutError:
            return False
        return True

    async def _choose(self) -> tuple[Choice | None, Permissions]:
        knowledge, found, permissions = await asyncio.gather(
            self._steps.read(IncidentRecords.look_up_knowledge, self._known_signature, "what helped before"),
            self._steps.on_host(
                IncidentActions.propose_remedies,
                CandidatesRequest(plan=self._plan, dependents=self._dependents),
                "remedies that the evidence allows",
            ),
            self._steps.read(IncidentRecords.read_permissions, self._plan, "what may be done"),
        )
        return choose_remedy(found.candidates, knowledge, self._tried), permissions

    async def _permitted(self, choice: Choice, permissions: Permissions) -> bool:
        answer = permissions.gate(choice.candidate.action_class)
        if answer.gate is Gate.ACT:
            return True
        if answer.gate is Gate.ASK:
            return await self._ask(choice, timedelta(seconds=permissions.approval_expires_seconds))
        verb = "would do" if answer.gate is Gate.SUGGEST else "looks on"
        note = f"{verb}: {choice.candidate.remedy} ({choice.candidate.cause}); not done: {answer.reason}"
        await self._update(IncidentStatus.OBSERVING, note, choice)
        return False

    async def _ask(self, choice: Choice, expires: timedelta) -> bool:
        """Put the question to a person. True: approved, and the preconditions still hold."""
        candidate = choice.candidate
        question = f"{candidate.remedy} for {self._plan.service}? {candidate.cause}"[:500]
        pending = self._approval
        if pending is None or pending.question != question:
            if pending is not None:
                await self._settle(pending, ApprovalStatus.WITHDRAWN)
            self._approval = pending = self._new_approval(choice, question, workflow.now() + expires)
            self._decision = None
        # A plan that was taken up again may have been answered while it was still looking: that answer counts.
        await self._update(IncidentStatus.WAITING_APPROVAL, f"asks: {question}", choice, pending)
        remaining = pending.expires_at - workflow.now()
        try:
            await workflow.wait_condition(
                lambda: self._decision is not None or not self._still_wanted,
                timeout=max(remaining, timedelta(milliseconds=1)),
                timeout_summary="approval expires",
            )
        except TimeoutError:
            await self._settle(pending, ApprovalStatus.EXPIRED)
            await self._escalate(f"nobody answered: {question}", final=True)
            return False
        await workflow.wait_condition(workflow.all_handlers_finished)
        decision: Approval | None = self._decision
        self._decision = None
        if decision is None:
            await self._settle(pending, ApprovalStatus.WITHDRAWN)
            return False
        self._approval = None
        if decision.status is not ApprovalStatus.APPROVED:
            await self._escalate(f"{decision.decided_by} rejected: {question}", final=True)
            return False
        await self._update(IncidentStatus.OPEN, f"{decision.decided_by} approved: {question}", choice)
        return await self._still_applies(choice)

    def _new_approval(self, choice: Choice, question: str, expires_at: datetime) -> Approval:
        return Approval(
            id=workflow.uuid4(),
            tenant_id=self._plan.tenant_id,
            plan_id=self._plan.plan_id,
            workflow_id=self._plan.workflow_id,
            run_id=self._plan.run_id,
            service=self._plan.service,
            action_class=choice.candidate.action_class,
            question=question,
            created_at=workflow.now(),
            expires_at=expires_at,
        )

    async def _still_applies(self, choice: Choice) -> bool:
        """Look again after the wait: what was approved must still be what the evidence asks for."""
        await self._capture()
        found = await self._steps.on_host(
            IncidentActions.propose_remedies,
            CandidatesRequest(plan=self._plan, dependents=self._dependents),
            "does it still apply?",
        )
        if any(candidate.actions == choice.candidate.actions for candidate in found.candidates):
            return True
        await self._update(IncidentStatus.OPEN, f"{choice.candidate.remedy} no longer applies; looking again")
        return False

    async def _attempt(self, choice: Choice, answer: GateAnswer) -> bool:
        """Carry a remedy out and see whether it helped. True: the incident has ended."""
        candidate = choice.candidate
        first_step = self._next_step
        decided = self._decide(choice)
        undos: list[Action] = []
        summary = ""
        carried_out = True
        try:
            for action in candidate.actions:
                if isinstance(action, StopService) and action.service != self._plan.service:
                    await self._let_be(action.service)
                result = await self._perform(choice, action)
                summary = result.summary
                if result.undo is not None:
                    undos.insert(0, result.undo)
                if not result.ok:
                    carried_out = False
                    break
        except ActivityError as error:
            await decided
            return await self._refused(error, choice)
        await decided
        check = await self._steps.verify(self._dependents) if carried_out else Verification(ok=False, summary=summary)
        undone, undo_failed = (False, False) if check.ok else await self._undo(choice, undos)
        harmful = check.harmful or undo_failed
        self._attempts.append(Attempt(remedy=candidate.remedy, helped=check.ok))
        self._summaries.append(f"{candidate.remedy}: {check.summary}"[:500])
        record = AttemptRecord(
            plan=self._plan,
            signature=self._known_signature,
            remedy=candidate.remedy,
            action_class=candidate.action_class,
            first_step=first_step,
            helped=check.ok,
            harmful=harmful,
            undone=undone,
            cause=candidate.cause,
            summary=check.summary,
            verify_seconds=check.seconds,
        )
        await self._steps.record(IncidentRecords.record_attempt, record, "what the remedy did")
        learned = self._steps.record(
            IncidentRecords.learn, LearnRequest(record=record, actions=candidate.actions), "knowledge base"
        )
        if harmful or answer.learned:
            self._report_outcome(choice, answer, harmful=harmful, helped=check.ok, reason=check.summary)
        if not check.ok:
            await learned
            return False
        self._cause = candidate.cause
        self._remedy = candidate.remedy
        await asyncio.gather(learned, self._close(IncidentStatus.RESOLVED, check.summary, choice))
        return True

    async def _perform(self, choice: Choice, action: Action, *, undoing: bool = False) -> ActionResult:
        request = ActionRequest(
            tenant_id=self._plan.tenant_id,
            plan_id=self._plan.plan_id,
            step=self._next_step,
            action_class=choice.candidate.action_class,
            service=self._plan.service,
            action=action,
            undoing=undoing,
        )
        self._next_step += 1
        return await self._steps.perform(request, f"{'undo' if undoing else choice.candidate.remedy}: {action.kind}")

    async def _let_be(self, neighbour: str) -> None:
        """Stopped on purpose, a neighbour is not to be started again for a while; then what still fails fires again."""
        actor = Actor(kind=ActorKind.AGENT, name=AgentName.SYSTEM_MONITOR.value)
        reason = f"stopped so that {self._plan.service} has room: {self._headline}"
        await self._steps.let_be(neighbour, _NEIGHBOUR_RESTS.total_seconds(), reason, workflow.uuid4(), actor)

    async def _undo(self, choice: Choice, undos: list[Action]) -> tuple[bool, bool]:
        """Take back what did not help. Returns whether anything was taken back, and whether that failed."""
        failed = False
        for action in undos:
            try:
                result = await self._perform(choice, action, undoing=True)
            except ActivityError as error:
                workflow.logger.warning("undo of %s failed: %s", choice.candidate.remedy, error.cause)
                failed = True
            else:
                failed = failed or not result.ok
        return bool(undos), failed

    async def _refused(self, error: ActivityError, choice: Choice) -> bool:
        """The host did not carry an action out, or cannot tell whether it did."""
        cause = error.cause
        kind = cause.type if isinstance(cause, ApplicationError) else ""
        reason = str(cause or error)[:400]
        if kind == "ConflictError":
            # The incident is no longer to be worked on; the signal that says so is on its way.
            if not await self._ends_within(_SETTLING):
                await self._escalate(reason)
        elif kind == "NotAllowedError":
            await self._update(IncidentStatus.OBSERVING, f"not done: {reason}", choice)
        else:
            await self._escalate(reason)
        return True

    async def _escalate(self, reason: str, *, final: bool = False) -> None:
        """Out of what may be done: a person gets everything that is known. `final`: only a person changes that."""
        self._final = final
        text = escalation_summary(self._headline, reason, self._summaries, self._runbooks)
        await self._update(IncidentStatus.ESCALATED, text)

    async def _close(self, status: IncidentStatus, note: str, choice: Choice | None = None) -> None:
        if self._approval is not None:
            await self._settle(self._approval, ApprovalStatus.WITHDRAWN)
        await self._update(status, note, choice)
        show_outcome(status.value)

    async def _settle(self, approval: Approval, status: ApprovalStatus) -> None:
        self._approval = None
        await self._steps.record(
            IncidentRecords.record_approval, approval.model_copy(update={"status": status}), f"approval {status.value}"
        )

    async def _update(
        self, status: IncidentStatus, note: str, choice: Choice | None = None, approval: Approval | None = None
    ) -> None:
        update = IncidentUpdate(
            plan=self._plan,
            status=status,
            note=note[:500],
            signature=self._signature,
            cause=choice.candidate.cause if choice else None,
            remedy=choice.candidate.remedy if choice else None,
            approval=approval,
        )
        await self._steps.record(IncidentRecords.update_incident, update, status.value)
        self._status = status
        workflow.set_current_details(
            f"**{status.value}** {self._headline}\n\n{note}\n\n"
            + "\n".join(f"- {attempt.remedy}: {'helped' if attempt.helped else 'no'}" for attempt in self._attempts)
        )

    def _decide(self, choice: Choice) -> asyncio.Task[None]:
        """Write the choice down while it is carried out."""
        record = DecisionRecord(
            plan=self._plan,
            agent=AgentName.SYSTEM_MONITOR.value,
            decision=f"{choice.candidate.remedy}: {choice.candidate.cause}"[:500],
            reason=choice.reason,
            alternatives=choice.alternatives,
            context={"signature": self._known_signature.key, "known": choice.known},
        )
        return asyncio.create_task(self._steps.record(IncidentRecords.record_decision, record, choice.candidate.remedy))

    def _report_outcome(self, choice: Choice, answer: GateAnswer, *, harmful: bool, helped: bool, reason: str) -> None:
        """For the autonomy ladder, which only harm, or help after harm, moves."""
        report = OutcomeReport(
            service=self._plan.service,
            action_class=choice.candidate.action_class,
            autonomy=answer.autonomy,
            harmful=harmful,
            helped=helped and not harmful,
            reason=reason,
        )
        self._background.append(asyncio.create_task(tell_agent(report)))

    @property
    def _known_signature(self) -> Signature:
        if self._signature is None:
            raise ApplicationError("no evidence has been captured yet", type="InternalError")
        return self._signature

    def _result(self) -> IncidentResult:
        return IncidentResult(
            plan_id=self._plan.plan_id,
            status=self._status,
            cause=self._cause,
            remedy=self._remedy,
            attempts=len(self._attempts),
        )
