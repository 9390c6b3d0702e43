"""What ContextKeeper's rounds share: its own life knows what it is at."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from brainops.contracts.agent import AgentName, Work, WorkReport
from brainops.contracts.names import agent_workflow_id
from workflows.agent import AgentWorkflow


@asynccontextmanager
async def at_work(summary: str) -> AsyncGenerator[None]:
    """Tell ContextKeeper's own workflow that this round begins, and that it has ended, however it did."""
    work = Work(workflow_id=workflow.info().workflow_id, summary=summary, since=workflow.now())
    await _tell(WorkReport(work=work))
    try:
        yield
    finally:
        await _tell(WorkReport(work=work, finished=True))


async def _tell(report: WorkReport) -> None:
    handle = workflow.get_external_workflow_handle_for(AgentWorkflow.run, agent_workflow_id(AgentName.CONTEXT_KEEPER))
    try:
        await handle.signal(AgentWorkflow.report_work, report)
    except ApplicationError as error:
        workflow.logger.warning("the agent's own workflow does not run: %s", error)
