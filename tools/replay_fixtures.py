"""Records the histories that `tests/replay` replays: `python tools/replay_fixtures.py`.

Runs real plans against a real server and writes their histories to `tests/replay/histories/`. Run it when a plan's
commands have changed on purpose; older histories that must still replay are kept by renaming them before.
"""

import asyncio
import gzip
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from house import PERSON, Builder, House, eventually, running_temporal, update  # noqa: E402 - found by the line above

from brainops.config.paths import StatePaths  # noqa: E402
from brainops.contracts.agent import AgentName, PauseRequest  # noqa: E402
from brainops.contracts.approval import ApprovalDecision  # noqa: E402
from brainops.contracts.incident import IncidentStatus  # noqa: E402
from brainops.contracts.keeping import ConsolidationRequest, MemoryRetentionRequest  # noqa: E402
from brainops.contracts.memory import Append, NewMessage, SessionStart  # noqa: E402
from brainops.contracts.message import Role, TextPart  # noqa: E402
from brainops.contracts.monitoring import RetentionRequest  # noqa: E402
from brainops.contracts.names import (  # noqa: E402
    CONTROL_QUEUE,
    NOTIFICATIONS_WORKFLOW_ID,
    agent_workflow_id,
    monitoring_workflow_id,
    startup_workflow_id,
)
from brainops.database.embedded import running_postgres  # noqa: E402
from brainops.database.engine import Database  # noqa: E402
from brainops.database.migrate import upgrade  # noqa: E402
from brainops.memory.artifacts import ArtifactStore  # noqa: E402
from brainops.memory.indexing import Indexer  # noqa: E402
from brainops.memory.sessions import SessionStore  # noqa: E402
from workflows.agent import AgentWorkflow  # noqa: E402
from workflows.consolidation import ConsolidationWorkflow  # noqa: E402
from workflows.incident import IncidentWorkflow  # noqa: E402
from workflows.memory_retention import MemoryRetentionWorkflow  # noqa: E402
from workflows.retention import RetentionWorkflow  # noqa: E402

HISTORIES = ROOT / "tests" / "replay" / "histories"


async def save(house: House, name: str, workflow_id: str) -> None:
    """Write the history of a plan, finished or not."""
    history = await house.client.get_workflow_handle(workflow_id).fetch_history()
    path = HISTORIES / f"{name}.json.gz"
    path.write_bytes(gzip.compress(history.to_json().encode(), mtime=0))
    sys.stdout.write(f"{path.relative_to(ROOT)}: {len(history.events)} events\n")


async def record_healing(builder: Builder) -> None:
    """A crash that is healed, a wrong remedy first, a dependent that is absorbed, and the plans around them."""
    (builder.folder / "web").mkdir()
    store_port = builder.port("store")
    (builder.folder / "web" / "config.json").write_text(f'{{"depends_on": {store_port}}}')
    # the store is looked at more rarely than what depends on it: the web's own incident is open before its root's
    url = f"http://127.0.0.1:{store_port}/health"
    checks = {"process": {"kind": "process"}, "front": {"kind": "http", "url": url, "interval": "700ms"}}
    store = {"recover_within": "1s", "checks": checks}
    async with builder.house({"store": store, "web": {"depends_on": ["store"]}}) as house:
        await house.answers("web")
        await house.crash("store")
        await house.incident("store", IncidentStatus.RESOLVED)
        await house.handle("store").result()
        await save(house, "incident-crash", house.handle("store").id)
        await house.answers("web")
        (house.folder_of("store") / "sick").touch()
        await house.incident("store", IncidentStatus.ESCALATED)
        await save(house, "incident-escalated", house.handle("store", "front").id)
        absorbed = await house.incident("web", IncidentStatus.ABSORBED)
        await save(house, "incident-absorbed", absorbed.row.workflow_id)
        monitor = house.client.get_workflow_handle_for(AgentWorkflow.run, agent_workflow_id(AgentName.SYSTEM_MONITOR))
        await update(monitor, AgentWorkflow.pause, PauseRequest(paused=True, reason="recording"))
        await update(monitor, AgentWorkflow.pause, PauseRequest(paused=False))
        await save(house, "agent-paused", monitor.id)
        await save(house, "monitoring-running", monitoring_workflow_id("local"))
        await save(house, "notifications-running", NOTIFICATIONS_WORKFLOW_ID)
        await save(house, "startup-two", startup_workflow_id("local"))
        await house.client.execute_workflow(
            RetentionWorkflow.run, RetentionRequest(), id="retention", task_queue=CONTROL_QUEUE
        )
        await save(house, "retention-once", "retention")


async def record_approval(builder: Builder) -> None:
    """A plan that asks a person."""
    async with builder.house({"shop": {"autonomy": {"start": "act", "restart": "approve"}}}) as house:
        await house.answers("shop")
        await house.crash("shop")
        approval = (await eventually(house.incidents.pending_approvals, "an approval"))[0]
        decision = ApprovalDecision(approval_id=approval.id, approved=True, actor=PERSON)
        await update(house.handle("shop"), IncidentWorkflow.decide_approval, decision)
        await house.incident("shop", IncidentStatus.RESOLVED)
        await house.handle("shop").result()
        await save(house, "incident-approved", house.handle("shop").id)


async def record_keeping(builder: Builder) -> None:
    """ContextKeeper's two rounds, with a session to read and another to archive."""
    async with builder.house({}) as house:
        store = SessionStore(house.database, ArtifactStore(house.database, house.parts.objects))
        for session, days in (("recorded", 1), ("recorded-long-ago", 40)):
            at = datetime.now(UTC) - timedelta(days=days)
            await store.start(SessionStart(session_id=session, at=at))
            said = NewMessage(role=Role.USER, parts=(TextPart(text="We keep the queue in Postgres."),), at=at)
            await store.append(Append(session_id=session, messages=(said,)))
        await Indexer(house.database).run_once()
        await house.client.execute_workflow(
            ConsolidationWorkflow.run, ConsolidationRequest(), id="consolidation", task_queue=CONTROL_QUEUE
        )
        await save(house, "consolidation-once", "consolidation")
        await house.client.execute_workflow(
            MemoryRetentionWorkflow.run, MemoryRetentionRequest(), id="memory-retention", task_queue=CONTROL_QUEUE
        )
        await save(house, "memory_retention-once", "memory-retention")


async def main() -> None:
    """Record everything anew."""
    HISTORIES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bo-", dir="/tmp") as folder, running_temporal() as temporal:
        root = Path(folder)
        root.chmod(0o711)
        paths = StatePaths(root / "state")
        async with running_postgres(paths) as server:
            upgrade(server.owner_url, paths)
            database = Database(server.app_url)
            for number, scenario in enumerate((record_healing, record_approval, record_keeping)):
                place = root / str(number)
                place.mkdir()
                builder = Builder(temporal, database, place)
                try:
                    await scenario(builder)
                finally:
                    await builder.end_services()
            await database.close()


if __name__ == "__main__":
    asyncio.run(main())
