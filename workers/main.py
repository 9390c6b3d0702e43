"""A worker process: `python -m workers.main --role control` or `--role host`.

Waits for Postgres and Temporal as long as it takes, says so once, and serves its queue until SIGTERM.
"""

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

import structlog
from temporalio.client import Client
from temporalio.worker import Worker

from activities.agent import AgentRecords
from activities.consolidation import Consolidation
from activities.incident import AgentDesk, IncidentActions, IncidentRecords, PermissionReader
from activities.maintenance import MaintenanceRecords
from activities.memory_retention import MemoryUpkeep
from activities.monitoring import Watch
from activities.notification import Notifications
from activities.retention import Upkeep
from activities.startup import Startup
from agents.roster import charter
from brainops.checks.probe import Prober
from brainops.checks.store import CheckStore
from brainops.config.load import LoadedConfig, reload_config
from brainops.config.models import LOCAL_HOST, BrainOpsConfig
from brainops.config.paths import StatePaths
from brainops.contracts.agent import AgentName
from brainops.contracts.base import Actor, ActorKind
from brainops.contracts.names import CONTROL_QUEUE, host_queue
from brainops.crew.maintenance import Maintenance, MaintenanceStore
from brainops.crew.store import CrewStore
from brainops.database.engine import Database
from brainops.effects.ledger import EffectLedger
from brainops.errors import BrainOpsError, UnavailableError
from brainops.incidents.alerts import AlertStore
from brainops.incidents.evidence import EvidenceCollector
from brainops.incidents.store import IncidentStore
from brainops.incidents.verification import Verifier
from brainops.memory.deeds import DeedStore
from brainops.memory.knowledge import KnowledgeStore
from brainops.memory.runbooks import RunbookFolder
from brainops.notify.channels import Channels
from brainops.notify.delivery import Dispatcher
from brainops.notify.desk import NoticeDesk
from brainops.notify.heartbeat import OutboundHeartbeat
from brainops.notify.store import NoticeStore
from brainops.remedies.performer import ActionPerformer
from brainops.services.host import HostServices
from brainops.services.known_good import KnownGoodFiles
from brainops.services.known_good_store import KnownGoodStore
from brainops.services.store import ServiceStore
from brainops.storage.objects import ObjectStore
from brainops.telemetry.logging import configure_logging
from brainops.telemetry.outage import Outage
from workers.plugin import brainops_plugin
from workers.runtime import connect_temporal, end_process, return_memory
from workflows.agent import AgentWorkflow
from workflows.consolidation import ConsolidationWorkflow
from workflows.incident import IncidentWorkflow
from workflows.memory_retention import MemoryRetentionWorkflow
from workflows.monitoring import MonitoringWorkflow
from workflows.notification import NotificationWorkflow
from workflows.retention import RetentionWorkflow
from workflows.startup import StartupWorkflow

Role = Literal["control", "host"]

WORKFLOWS: tuple[type, ...] = (
    AgentWorkflow,
    ConsolidationWorkflow,
    IncidentWorkflow,
    MemoryRetentionWorkflow,
    MonitoringWorkflow,
    NotificationWorkflow,
    RetentionWorkflow,
    StartupWorkflow,
)
"""Every workflow there is. All run on the control queue."""

STICKY_SECONDS = 1
"""A dead worker's cached workflows are given to another one after this; the SDK's default is 10 s."""

GRACEFUL_SECONDS = 5

BLOCKING_THREADS = 32
"""At most, for what cannot be awaited: name resolution, files, engines. They are made when they are needed."""

_log = structlog.get_logger("workers")


class Parts:
    """The stores and clients that activities share in one process."""

    def __init__(self, database: Database, loaded: LoadedConfig, paths: StatePaths, client: Client, host: str) -> None:
        self.client = client
        self.config: BrainOpsConfig = loaded.config
        self.directory: Path = loaded.directory
        self.paths = paths
        self.host = host
        self.database = database
        self.incidents = IncidentStore(database)
        self.ledger = EffectLedger(database)
        self.checks = CheckStore(database)
        self.crew = CrewStore(database)
        self.deeds = DeedStore(database)
        self.knowledge = KnowledgeStore(database)
        self.objects = ObjectStore(paths.objects)
        self.windows = MaintenanceStore(database)
        self.maintenance = Maintenance(self.config.maintenance, self.windows)
        self.permissions = PermissionReader(self.config, self.crew, ServiceStore(database), self.maintenance)
        self._known_good = KnownGoodStore(database)
        self._alerts = AlertStore(database)
        self._notices = NoticeStore(database)
        self._notice_desk = NoticeDesk(self.config.notify, self._notices, self.maintenance, self.config.public_url)
        self._heartbeat = OutboundHeartbeat(self.config, database, os.environ)

    def control(self) -> list[Callable[..., Any]]:
        """Activities of the control queue."""
        records = IncidentRecords(
            self.config,
            AgentDesk(self.client),
            self.incidents,
            self.knowledge,
            self.deeds,
            self.permissions,
            self._notice_desk,
        )
        windows = MaintenanceRecords(self.windows, self.incidents, self.client)
        upkeep = Upkeep(self.config.retention, self.checks, self.incidents, self.objects, self.client)
        return [
            AgentRecords(self.crew).save_agent,
            records.open_incident,
            records.find_root,
            records.look_up_knowledge,
            records.read_permissions,
            records.record_decision,
            records.record_attempt,
            records.learn,
            records.update_incident,
            records.record_approval,
            records.settle_approval,
            upkeep.thin_samples,
            upkeep.archive_histories,
            *self._context_keeper(),
            windows.open_maintenance,
            windows.close_maintenance,
            self._notifications().deliver_notifications,
        ]

    def _context_keeper(self) -> list[Callable[..., Any]]:
        # Where the API keeps what is too big for a row, which may be a bucket.
        objects = ObjectStore(self.config.memory.place(self.directory) or self.paths.objects)
        consolidation = Consolidation(self.database, objects, self.crew, self.deeds)
        upkeep = MemoryUpkeep(self.config.memory, self.database, objects, self.objects)
        return [
            consolidation.keeper_may_work,
            consolidation.unread_sessions,
            consolidation.read_session,
            consolidation.merge_memories,
            consolidation.propose_repeats,
            consolidation.aggregate_agents,
            consolidation.measure_proposals,
            upkeep.archive_sessions,
            upkeep.purge_memory,
        ]

    def _notifications(self) -> Notifications:
        notify = self.config.notify
        dispatcher = Dispatcher(
            notify,
            self._notices,
            self._notice_desk,
            Channels(notify.channels, os.environ),
            self.maintenance,
            self.config.public_url,
        )
        return Notifications(dispatcher if notify.channels else None, self._heartbeat if notify.heartbeat else None)

    @asynccontextmanager
    async def on_host(self) -> AsyncGenerator[list[Callable[..., Any]]]:
        """Activities of the host's queue, with the connections that they probe through."""
        services = self.config.services
        here = HostServices(self.paths, self.directory)
        known_good = KnownGoodFiles(self._known_good, self.objects, self.directory)
        performer = ActionPerformer(
            here,
            known_good,
            services,
            self.paths,
            self.directory,
            objects=self.objects,
            charter=charter(AgentName.SYSTEM_MONITOR).actions,
            host=self.host,
        )
        try:
            async with Prober(here, self.directory, self.checks.heartbeat_times) as prober:
                yield self._on_host(here, known_good, performer, prober)
        finally:
            await here.close()

    def _on_host(
        self, here: HostServices, known_good: KnownGoodFiles, performer: ActionPerformer, prober: Prober
    ) -> list[Callable[..., Any]]:
        services = self.config.services
        verifier = Verifier(prober, here, services)
        collector = EvidenceCollector(here, known_good, self.objects, prober, services, self.directory)
        actions = IncidentActions(
            self.config,
            self.incidents,
            self.ledger,
            self.permissions,
            collector,
            performer,
            verifier,
            RunbookFolder(self.directory, self.config.runbooks),
        )
        startup = Startup(self.config, self.host, here, self.ledger, performer, verifier, self.permissions)
        watch = Watch(
            self.config,
            self.host,
            self.checks,
            self.incidents,
            here,
            known_good,
            self.client,
            prober,
            self._alerts,
        )
        return [
            actions.capture_evidence,
            actions.propose_remedies,
            actions.perform_action,
            actions.verify_remedy,
            startup.pending_starts,
            startup.start_service,
            watch.watch_services,
        ]


def build_worker(
    client: Client, queue: str, activities: Sequence[Callable[..., Any]], workflows: Sequence[type] = ()
) -> Worker:
    """A worker with the time-outs that bound recovery after a killed one. The client carries the plugin."""
    return Worker(
        client,
        task_queue=queue,
        workflows=workflows,
        activities=activities,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=STICKY_SECONDS),
        graceful_shutdown_timeout=timedelta(seconds=GRACEFUL_SECONDS),
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        default_heartbeat_throttle_interval=timedelta(seconds=1),
        max_cached_workflows=500,
        max_concurrent_activities=200,
    )


T = TypeVar("T")


async def wait_for(what: str, attempt: Callable[[], Awaitable[T]]) -> T:
    """Try until it works, with backoff up to 2 s; says once that it waits and once that it goes on."""
    outage = Outage()
    delay = 0.1
    while True:
        try:
            result = await attempt()
        except UnavailableError as error:
            if outage.failed():
                _log.warning("waiting", what=what, reason=str(error))
            await asyncio.sleep(delay)
            delay = min(delay * 2, 2.0)
        else:
            if outage.recovered():
                _log.info("it is there", what=what)
            return result


def configured() -> LoadedConfig:
    """The file that `$BRAINOPS_CONFIG` names, without a look at this machine; no services where it names none."""
    path = os.environ.get("BRAINOPS_CONFIG")
    return reload_config(Path(path)) if path else LoadedConfig(BrainOpsConfig(), Path("brainops.yaml").absolute())


async def _database_answers(database: Database) -> None:
    if not await database.ready():
        raise UnavailableError("Postgres does not answer; it is waited for")


async def serve(role: Role, stopping: asyncio.Event) -> None:
    """Serve one role until `stopping` is set. Everything it needs to know stands in the environment."""
    paths = StatePaths.default()
    host = os.environ.get("BRAINOPS_HOST", LOCAL_HOST)
    loaded = configured()
    _settle(asyncio.get_running_loop())
    database = Database(os.environ["BRAINOPS_DATABASE_URL"], pool_size=8)
    try:
        await wait_for("Postgres", lambda: _database_answers(database))
        actor = Actor(kind=ActorKind.AGENT, name=AgentName.SYSTEM_MONITOR.value)
        plugin = brainops_plugin(actor, DeedStore(database))
        client = await wait_for("Temporal", lambda: connect_temporal(plugins=[plugin]))
        parts = Parts(database, loaded, paths, client, host)
        if role == "control":
            worker = build_worker(client, CONTROL_QUEUE, parts.control(), WORKFLOWS)
            await _run(worker, database, stopping)
        else:
            async with parts.on_host() as activities:
                await _run(build_worker(client, host_queue(host), activities), database, stopping)
    finally:
        await database.close()


def _settle(loop: asyncio.AbstractEventLoop) -> None:
    """Prepare the process for the many objects, and the few blocking calls, that it will hold for all of its life."""
    # names are resolved and disks are asked in threads: some that hang must not hold the others up
    loop.set_default_executor(ThreadPoolExecutor(BLOCKING_THREADS, "blocking"))
    # modules and configuration stay: to look through them again and again cost half of a core at 5,000 endpoints
    gc.collect()
    gc.freeze()


async def _run(worker: Worker, database: Database, stopping: asyncio.Event) -> None:
    ready_file = os.environ.get("BRAINOPS_READY_FILE")
    async with worker:
        _log.info("serving", queue=worker.task_queue)
        if ready_file:
            Path(ready_file).touch()
        trimming = asyncio.create_task(return_memory(database))
        try:
            await stopping.wait()
        finally:
            trimming.cancel()


async def main(role: Role) -> None:
    """Run until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    serving = asyncio.create_task(serve(role, stopping))
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        # Stopped while it serves (it then ends by itself) or while it still waits for a server.
        done, _ = await asyncio.wait([serving], timeout=GRACEFUL_SECONDS * 2)
        if not done:
            serving.cancel()
    stopped.cancel()
    await asyncio.gather(stopped, return_exceptions=True)
    if not serving.cancelled():
        await serving


def run() -> None:
    """Entry point of `python -m workers.main`."""
    parser = argparse.ArgumentParser(prog="python -m workers.main", description="A BrainOps worker process.")
    parser.add_argument("--role", choices=["control", "host"], required=True, help="which queue to serve")
    role: Role = parser.parse_args().role
    configure_logging(f"worker-{role}")
    code = 0
    try:
        asyncio.run(main(role))
    except BrainOpsError as error:
        sys.stderr.write(f"{error}\n")
        code = 1
    end_process(code)


if __name__ == "__main__":
    run()
