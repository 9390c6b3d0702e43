"""The first start of a host's services, dependencies first; each start goes through the ledger."""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.startup import Startup
from brainops.contracts.action import ActionRequest, StartService
from brainops.contracts.agent import ActionClass
from brainops.contracts.monitoring import StartupRequest, StartupResult
from brainops.contracts.names import host_queue
from workflows.retries import WAITING


@workflow.defn
class StartupWorkflow:
    """Starts what has never run and may be started."""

    @workflow.run
    async def run(self, request: StartupRequest) -> StartupResult:
        """Start each service once; one that cannot start does not keep the others from it."""
        plan_id = request.plan_id or workflow.uuid4()
        queue = host_queue(request.host)
        pending = await workflow.execute_activity_method(
            Startup.pending_starts,
            request,
            task_queue=queue,
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=WAITING,
            summary="what has never run",
        )
        started: list[str] = []
        failed: dict[str, str] = {}
        for number, service in enumerate(pending.services, start=1):
            action = ActionRequest(
                tenant_id=request.tenant_id,
                plan_id=plan_id,
                step=number,
                action_class=ActionClass.START,
                service=service,
                action=StartService(service=service),
            )
            try:
                result = await workflow.execute_activity_method(
                    Startup.start_service,
                    action,
                    task_queue=queue,
                    start_to_close_timeout=timedelta(minutes=15),
                    heartbeat_timeout=timedelta(seconds=3),
                    retry_policy=WAITING,
                    summary=f"start {service}",
                )
            except ActivityError as error:
                failed[service] = str(error.cause or error)[:500]
                continue
            if result.ok:
                started.append(service)
            else:
                failed[service] = result.summary
        return StartupResult(started=tuple(started), failed=failed)
