"""What doctor, simulate and promote read of a stack: stuck plans, lost messages, what is known, what was seen."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from house import TemporalForTests, eventually
from sqlalchemy import text
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker
from typer.testing import CliRunner

from brainops.config.load import load_config
from brainops.config.paths import StatePaths
from brainops.contracts.check import Observation, Reason
from brainops.contracts.incident import FaultKind, IncidentStatus, IncidentUpdate, PlanRef
from brainops.database.engine import Database
from brainops.incidents.store import IncidentStore
from interfaces.cli.main import app
from interfaces.setup.rehearsal import rehearse
from interfaces.setup.stack_diagnosis import STUCK_ATTEMPTS, stack_lines


@activity.defn(name="fail_for_ever")
async def fail_for_ever() -> None:
    raise ApplicationError("the disk is full")


@workflow.defn(name="Stuck", sandboxed=False)
class Stuck:
    """A plan whose one activity fails again and again."""

    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            fail_for_ever,
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10), backoff_coefficient=1.0),
        )


async def test_plan_that_is_stuck_is_named_with_why(
    temporal: TemporalForTests, app_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace = temporal.unused.pop()
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal.address)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", namespace)
    monkeypatch.setenv("BRAINOPS_DATABASE_URL", app_url)
    client = await Client.connect(temporal.address, namespace=namespace)
    async with Worker(client, task_queue="stuck", workflows=[Stuck], activities=[fail_for_ever]):
        handle = await client.start_workflow("Stuck", id="plan-of-the-test", task_queue="stuck")

        async def told() -> str:
            lines = await stack_lines(None, "local")
            return next((line.found for line in lines if line.subject == "plan plan-of-the-test"), "")

        found = await eventually(told, f"a plan with {STUCK_ATTEMPTS} attempts is told", 30)
        await handle.terminate()
    assert "fail_for_ever was tried" in found
    assert "the disk is full" in found


async def test_watch_that_does_not_run_and_messages_that_were_lost_are_told(
    temporal: TemporalForTests, app_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal.address)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", temporal.unused.pop())
    monkeypatch.setenv("BRAINOPS_DATABASE_URL", app_url)
    lost = text(
        "INSERT INTO brainops.notices (plan_id, kind, channel, service, severity, closing, subject, body, state, "
        "due_at, last_error) VALUES (gen_random_uuid(), 'opened', 'ops', 'web', 'critical', false, 's', 'b', 'failed', "
        "now(), 'ops refused the message')"
    )
    await database.write(lost, {})
    lines = {line.subject: line for line in await stack_lines(None, "local")}
    assert lines["watch"].level == "fail"
    assert "1 messages of the last day were not delivered: ops refused the message" in lines["channel ops"].found
    assert "brainops notify test" in lines["channel ops"].to_do


async def test_database_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAINOPS_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    (line,) = await stack_lines(None, "local")
    assert (line.subject, line.level) == ("stack", "fail")


def file_of(folder: Path) -> Path:
    file = folder / "brainops.yaml"
    service = {"run": {"command": ["/bin/sleep", "600"]}, "autonomy": "observe"}
    file.write_text(yaml.safe_dump({"services": {"web": service}}, sort_keys=False))
    return file


async def test_simulation_beside_a_stack_writes_nothing_to_its_database(
    app_url: str, database: Database, tmp_path: Path
) -> None:
    counts = text(
        "SELECT (SELECT count(*) FROM brainops.incidents) + (SELECT count(*) FROM brainops.knowledge_base) "
        "+ (SELECT count(*) FROM brainops.effects) + (SELECT count(*) FROM brainops.decision_logs) AS rows"
    )
    loaded = load_config(file_of(tmp_path))
    seen = await rehearse(loaded, "web", FaultKind.CRASH, StatePaths(tmp_path / "state"), app_url)
    assert seen.with_memory
    assert seen.choice is not None
    assert [dict(row) for row in await database.read(counts)] == [{"rows": 0}]
    assert not (tmp_path / "state").exists()


async def seen_in_shadow(database: Database, seq: int, lasted: timedelta) -> None:
    """One incident of `web` in which a restart was only looked at."""
    plan = PlanRef(
        plan_id=uuid4(), workflow_id=f"incident/{uuid4()}", run_id="r", service="web", check="process", host="local"
    )
    now = datetime.now(UTC)
    seen = Observation(
        host="local", service="web", check="process", seq=seq, failing=True, reason=Reason.EXITED, at=now - lasted
    )
    store = IncidentStore(database)
    await store.open(plan, seen)
    await store.update(
        IncidentUpdate(
            plan=plan, status=IncidentStatus.OBSERVING, note="looks on: restart", remedy="restart", cause="c"
        )
    )
    await store.update(IncidentUpdate(plan=plan, status=IncidentStatus.RECOVERED, note="passes again"))
    moved = text("UPDATE brainops.incidents SET opened_at = closed_at - make_interval(secs => :s) WHERE plan_id = :p")
    await database.write(moved, {"s": lasted.total_seconds(), "p": plan.plan_id})


async def test_what_was_seen_in_shadow_becomes_the_recommendation_and_one_line_of_the_file(
    app_url: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seq in (1, 2, 3):
        await seen_in_shadow(database, seq, timedelta(minutes=10 * seq))
    file = file_of(tmp_path)
    before = file.read_text()
    monkeypatch.setenv("BRAINOPS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("BRAINOPS_DATABASE_URL", app_url)
    monkeypatch.setenv("COLUMNS", "200")

    def promote() -> str:
        result = CliRunner().invoke(app, ["promote", "web", "--yes", "--config", str(file)])
        assert result.exit_code == 0, result.output
        return result.stdout

    told = await asyncio.to_thread(promote)
    assert "right 3 of 3 times" in told
    assert file.read_text() == before.replace("autonomy: observe", "autonomy: {restart: act}")
