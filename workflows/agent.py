"""An agent's durable life: paused or not, how freely it may act, what it works on, how it has changed.

One workflow for each agent, for ever. Its state is mirrored to the agent's row, from which a fresh Temporal
takes the life up again and from which the hosts enforce it.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from activities.agent import AgentRecords
from agents.autonomy import after_outcome
from brainops.contracts.agent import AgentName, AgentSettings, AgentState, OutcomeReport, PauseRequest, Work, WorkReport
from brainops.contracts.names import agent_workflow_id

MOST_CURRENT_WORK = 50
"""More than this at once is counted, but not listed."""

_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=100), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=5)
)


@workflow.defn
class AgentWorkflow:
    """The life of one agent."""

    @workflow.init
    def __init__(self, state: AgentState) -> None:
        self._state = state
        self._saved: AgentState | None = None
        self._handled = 0
        self._describe()

    @workflow.query
    def state(self) -> AgentState:
        """The agent as it is now."""
        return self._state

    @workflow.update
    async def pause(self, request: PauseRequest) -> AgentState:
        """Stop the agent acting, or let it go on. Durable before the answer."""
        self._state = self._state.model_copy(update={"paused": request.paused, "paused_reason": request.reason})
        await self._save()
        return self._state

    @pause.validator
    def check_pause(self, request: PauseRequest) -> None:
        """Refuse what would change nothing."""
        if request.paused == self._state.paused:
            word = "paused already" if request.paused else "not paused"
            raise ApplicationError(f"{self._state.name} is {word}", type="ConflictError", non_retryable=True)

    @workflow.signal
    def configure(self, settings: AgentSettings) -> None:
        """The configuration was read anew."""
        budget = self._state.budget.model_copy(update={"daily_usd": settings.daily_usd})
        told = {"has_job": settings.has_job, "job": settings.job}
        said = {name: value for name, value in told.items() if value is not None}
        self._state = self._state.model_copy(update={"enabled": settings.enabled, "budget": budget, **said})
        self._handled += 1

    @workflow.signal
    def report_work(self, report: WorkReport) -> None:
        """A plan of this agent begins or has ended."""
        work: list[Work] = [item for item in self._state.current_work if item.workflow_id != report.work.workflow_id]
        finished = self._state.finished_count
        if report.finished:
            finished += 1
        elif len(work) < MOST_CURRENT_WORK:
            work.append(report.work)
        self._state = self._state.model_copy(update={"current_work": tuple(work), "finished_count": finished})
        self._handled += 1

    @workflow.signal
    def report_outcome(self, report: OutcomeReport) -> None:
        """An action had a bad outcome: the autonomy ladder may step down."""
        self._state = after_outcome(self._state, report, workflow.now())
        self._handled += 1

    @workflow.run
    async def run(self, _state: AgentState) -> None:
        """Live until told otherwise; a new run begins when the history has grown."""
        await self._save()
        while not self._is_long:
            await workflow.wait_condition(lambda: self._state != self._saved or self._is_long)
            await self._save()
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(self._state)

    @property
    def _is_long(self) -> bool:
        return workflow.info().is_continue_as_new_suggested() or self._handled >= 500

    async def _save(self) -> None:
        saving = self._state
        if saving == self._saved:
            return
        self._saved = saving
        await workflow.execute_activity_method(
            AgentRecords.save_agent,
            saving,
            start_to_close_timeout=timedelta(seconds=5),
            retry_policy=_RETRY,
            summary=f"{saving.name}: {'paused' if saving.paused else 'at work' if saving.current_work else 'ready'}",
        )
        self._describe()

    def _describe(self) -> None:
        state = self._state
        condition = "paused" if state.paused else "enabled" if state.enabled else "disabled"
        lines = [f"**{state.name}** {condition}: {state.job}"]
        lines += [f"- {work.summary} (`{work.workflow_id}`)" for work in state.current_work]
        workflow.set_current_details("\n".join(lines))


async def tell_agent(report: OutcomeReport) -> None:
    """Tell SystemMonitor's own workflow, from a plan, how an action ended. That it does not run is logged."""
    handle = workflow.get_external_workflow_handle_for(AgentWorkflow.run, agent_workflow_id(AgentName.SYSTEM_MONITOR))
    try:
        await handle.signal(AgentWorkflow.report_outcome, report)
    except ApplicationError as error:
        workflow.logger.warning("the agent's own workflow does not run: %s", error)
