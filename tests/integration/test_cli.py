"""The commands over a real database: what people see at 80 columns, what programs get, and what mistakes get."""

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner, Result

from brainops.checks.store import CheckStore
from brainops.config.models import BrainOpsConfig
from brainops.contracts.action import ActionRequest, ActionResult, RestartService
from brainops.contracts.agent import ActionClass, AgentName, AgentState
from brainops.contracts.approval import Approval, ApprovalDecision, ApprovalStatus
from brainops.contracts.base import Actor
from brainops.contracts.check import CheckState, CheckStatus, Observation, Reason, Sample
from brainops.contracts.incident import (
    AttemptRecord,
    DecisionRecord,
    Evidence,
    EvidenceSummary,
    FaultKind,
    IncidentStatus,
    IncidentUpdate,
    LogFacts,
    PlanRef,
    Signature,
)
from brainops.contracts.names import effect_key
from brainops.contracts.recording import WorkRecord
from brainops.contracts.service import ServiceState, ServiceStatus
from brainops.crew.store import CrewStore
from brainops.database.engine import Database
from brainops.effects.ledger import EffectLedger
from brainops.incidents.alerts import AlertStore
from brainops.incidents.store import IncidentStore
from brainops.memory.deeds import DeedStore
from brainops.memory.knowledge import KnowledgeStore
from brainops.services.store import ServiceStore
from interfaces.cli.main import app

HOST = "local"
SIGNATURE = Signature(key="crash/process/exited/5f1c2a9b", kind=FaultKind.CRASH, description="checkout crashed")
Seed = Callable[[Database], Coroutine[Any, Any, Any]]


class Cli:
    """Runs commands against the test's database; no Temporal answers."""

    def __init__(self, url: str, state_dir: Path) -> None:
        self._url = url
        self._environment = {
            "BRAINOPS_DATABASE_URL": url,
            "BRAINOPS_STATE_DIR": str(state_dir),
            "TEMPORAL_ADDRESS": "127.0.0.1:1",
            "COLUMNS": "80",
            "NO_COLOR": "1",
        }

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env=self._environment)

    def text(self, *arguments: str) -> str:
        """What a command prints where there is room, in one line; and it fits 80 columns where there is not."""
        narrow = self(*arguments)
        assert narrow.exit_code == 0, narrow.output
        assert max((len(line) for line in narrow.stdout.splitlines()), default=0) <= 80, narrow.stdout
        wide = CliRunner().invoke(app, list(arguments), env=self._environment | {"COLUMNS": "250"})
        assert "\x1b" not in wide.stdout
        return " ".join(wide.stdout.split())

    def json(self, *arguments: str) -> Any:
        result = self(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def seed(self, work: Seed) -> Any:
        """Run `work` on the database, as the workers would."""

        async def run() -> Any:
            database = Database(self._url)
            try:
                return await work(database)
            finally:
                await database.close()

        return asyncio.run(run())


@pytest.fixture
def cli(app_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    # The command writes this variable for the stack's processes; the test's own must come back.
    monkeypatch.setenv("BRAINOPS_STATE_DIR", os.environ.get("BRAINOPS_STATE_DIR", str(tmp_path)))
    return Cli(app_url, tmp_path)


def observation(seq: int = 1) -> Observation:
    return Observation(
        host=HOST,
        service="checkout",
        check="process",
        seq=seq,
        failing=True,
        reason=Reason.EXITED,
        detail="exited with code 1 [/red] \x1b[31m",
        at=datetime.now(UTC),
    )


def plan(plan_id: UUID | None = None) -> PlanRef:
    return PlanRef(
        plan_id=plan_id or uuid4(),
        workflow_id="incident/checkout/process",
        run_id=str(uuid4()),
        service="checkout",
        check="process",
        host=HOST,
    )


def approval(of: PlanRef, **changes: Any) -> Approval:
    now = datetime.now(UTC)
    return Approval(
        id=uuid4(),
        plan_id=of.plan_id,
        workflow_id=of.workflow_id,
        run_id=of.run_id,
        service=of.service,
        action_class=ActionClass.RESTART,
        question="Restart checkout? It has exited with code 1.",
        created_at=now,
        expires_at=now + timedelta(minutes=30),
    ).model_copy(update=changes)


async def configure(database: Database) -> None:
    """A configuration with two services, and the agents."""
    command = {"command": ["/bin/true"]}
    config = BrainOpsConfig.model_validate(
        {"services": {"checkout": {"run": command, "autonomy": "act"}, "store": {"run": command}}}
    )
    await ServiceStore(database).apply(config.services)
    monitor = AgentState(name=AgentName.SYSTEM_MONITOR, has_job=True, job="watches and heals services")
    await CrewStore(database).save(monitor)
    await CrewStore(database).save(AgentState(name=AgentName.CODE_REVIEWER, job="reviews code: in a later release"))


async def heal(database: Database) -> PlanRef:
    """An incident of checkout from its opening to its end."""
    store = IncidentStore(database)
    of = plan()
    await store.open(of, observation())
    evidence = Evidence(
        service="checkout",
        check="process",
        reason=Reason.EXITED,
        detail="exited with code 1",
        captured_at=datetime.now(UTC),
        state=ServiceState(service="checkout", status=ServiceStatus.EXITED),
        log=LogFacts(error_line="KeyError: 'PRICE' [bold]", template="KeyError: <str>"),
    )
    await store.save_evidence(of.plan_id, evidence, EvidenceSummary(signature=SIGNATURE, headline="checkout exited"))
    await DeedStore(database).record_decision(
        DecisionRecord(
            plan=of, agent="system_monitor", decision="restart", reason="cheapest that helps", alternatives=("start",)
        )
    )
    request = ActionRequest(
        plan_id=of.plan_id,
        step=1,
        action_class=ActionClass.RESTART,
        service="checkout",
        action=RestartService(service="checkout"),
    )
    key = effect_key(of.plan_id, 1)
    await EffectLedger(database).begin(request, key)
    await EffectLedger(database).finish(key, ActionResult(ok=True, summary="started as 4711"))
    record = AttemptRecord(
        plan=of,
        signature=SIGNATURE,
        remedy="restart",
        action_class=ActionClass.RESTART,
        first_step=1,
        helped=True,
        cause="the process crashed",
        summary="all checks pass",
        verify_seconds=0.31,
    )
    await store.record_attempt(record)
    await KnowledgeStore(database).learn(of, SIGNATURE, "restart", [request.action], "the process crashed", True)
    await store.update(
        IncidentUpdate(
            plan=of,
            status=IncidentStatus.RESOLVED,
            note="restart helped: all checks pass",
            cause="the process crashed",
            remedy="restart",
        )
    )
    return of


def test_an_empty_stack_has_sentences_and_no_tables(cli: Cli) -> None:
    for command, sentence in (
        (["status"], "No services yet"),
        (["incidents"], "There has been no incident"),
        (["incidents", "--open"], "No incident is open"),
        (["approvals"], "Nothing waits for your answer"),
        (["agents"], "No agent has come to life"),
        (["knowledge"], "Nothing has been learned yet"),
        (["history"], "Nothing has been done yet"),
        (["keys", "list"], "There are no keys"),
    ):
        result = cli(*command)
        assert result.exit_code == 0, result.output
        assert sentence in result.stdout
        assert "─" not in result.stdout


def test_status_shows_services_checks_incidents_and_questions(cli: Cli) -> None:
    async def seed(database: Database) -> UUID:
        await configure(database)
        now = datetime.now(UTC)
        checks = CheckStore(database)
        for service, status in (("checkout", CheckStatus.FAILING), ("store", CheckStatus.PASSING)):
            await checks.save_state(
                HOST,
                CheckState(
                    service=service,
                    check="process",
                    status=status,
                    seq=1,
                    reason=Reason.EXITED if status is CheckStatus.FAILING else Reason.NONE,
                    detail="exited with code 1" if status is CheckStatus.FAILING else "",
                    since=now - timedelta(minutes=3),
                    latency_ms=1.5,
                ),
            )
        samples = [
            Sample(service="store", check="process", at=now - timedelta(seconds=n), ok=n != 1, latency_ms=1)
            for n in range(10)
        ]
        await checks.add_samples(samples)
        of = plan()
        await IncidentStore(database).open(of, observation())
        await IncidentStore(database).save_approval(approval(of))
        await ServiceStore(database).set_paused("store", True, "disk move")
        return of.plan_id

    plan_id = cli.seed(seed)
    shown = cli.text("status")
    for word in (
        "Temporal does not answer",
        "checkout",
        "exited: exited with code 1",
        "3 min ago",
        "90.00 %",
        "paused (disk move)",
        "only observed",
        "system_monitor ready",
        str(plan_id)[:8],
        "brainops approve ID",
    ):
        assert word in shown
    told = cli.json("status")
    services = {service["name"]: service for service in told["services"]}
    assert services["checkout"]["state"] == "failing"
    assert services["checkout"]["incident"] == str(plan_id)
    assert services["store"]["uptime_24h"] == pytest.approx(0.9)
    assert services["store"]["paused"] is True
    assert told["stack"]["temporal_reachable"] is False
    assert len(told["approvals"]) == 1


def test_an_incident_tells_its_story(cli: Cli) -> None:
    cli.seed(configure)
    of: PlanRef = cli.seed(heal)
    assert "the process crashed → restart" in cli.text("incidents")
    story = cli.text("incidents", str(of.plan_id)[:6])
    for word in (
        "resolved",
        "KeyError: 'PRICE' [bold]",
        "restart helped: all checks pass",
        "started as 4711",
        "cheapest that helps",
        "310 ms",
        SIGNATURE.key,
    ):
        assert word in story
    told = cli.json("incidents", str(of.plan_id))
    assert told["incident"]["status"] == "resolved"
    assert [line["status"] for line in told["timeline"]] == ["open", "resolved"]
    assert told["effects"][0]["result"]["summary"] == "started as 4711"
    assert told["temporal_url"] is None
    assert cli.json("incidents", "--service", "checkout", "--open")["incidents"] == []


def test_an_incident_lists_the_alerts_that_are_part_of_it(cli: Cli) -> None:
    def state(check: str, status: CheckStatus, seq: int, detail: str = "") -> CheckState:
        return CheckState(service="store", check=check, status=status, seq=seq, detail=detail, since=datetime.now(UTC))

    async def group(database: Database) -> PlanRef:
        of = plan()
        await IncidentStore(database).open(of, observation())
        checks, alerts = CheckStore(database), AlertStore(database)
        for check in ("back", "front"):
            await checks.save_state(HOST, state(check, CheckStatus.FAILING, 1, f"{check} is closed"))
        await alerts.place({("store", "front"): of.plan_id, ("store", "back"): of.plan_id})
        await checks.save_state(HOST, state("back", CheckStatus.PASSING, 2))
        assert await alerts.resolve(HOST) == 1
        return of

    cli.seed(configure)
    of: PlanRef = cli.seed(group)
    story = cli.text("incidents", str(of.plan_id))
    assert "Alerts that are part of it" in story
    assert "failing front is closed" in story
    assert "over just now back is closed" in story
    told = [
        (alert["check"], alert["resolved_at"] is None) for alert in cli.json("incidents", str(of.plan_id))["alerts"]
    ]
    assert told == [("front", True), ("back", False)]


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["incidents", "00000000-0000-4000-8000-000000000000"], "there is no incident"),
        (["incidents", "beef"], "there is no incident"),
        (["incidents", "zz"], "no incident id"),
        (["incidents", "--service", "chekout"], "did you mean checkout?"),
        (["approve", "00000000-0000-4000-8000-000000000000"], "there is no approval"),
        (["reject", "beefbeef"], "there is no approval"),
        (["approve", "be"], "too short"),
        (["approve", "beefbeef", "--reason", "x" * 501], "at most 500"),
        (["pause", "chekout"], "did you mean checkout?"),
        (["resume", "system_monitr"], "did you mean system_monitor?"),
        (["agents", "nobody"], "there is no agent"),
        (["knowledge", "show", "no/such/key"], "nothing is known"),
        (["keys", "revoke", "nothing"], "no API key"),
        (["keys", "create", "x", "--expires", "soon"], "is not a duration"),
        (["run", "nothing"], "there is no workflow"),
        (["run", "incident"], "name a service"),
        (["run", "incident", "chekout"], "did you mean checkout?"),
        (["run", "retention", "now"], "takes no arguments"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(cli: Cli, command: list[str], sentence: str) -> None:
    cli.seed(configure)
    result = cli(*command)
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert result.stdout == ""


def test_an_answered_or_expired_approval_says_by_whom_and_when(cli: Cli) -> None:
    async def seed(database: Database) -> tuple[UUID, UUID]:
        store = IncidentStore(database)
        of = plan()
        await store.open(of, observation())
        answered = approval(of)
        await store.save_approval(answered)
        mira = Actor.parse("person:mira")
        await store.decide_approval(
            ApprovalDecision(approval_id=answered.id, approved=False, actor=mira), datetime.now(UTC)
        )
        late = approval(of, expires_at=datetime.now(UTC) - timedelta(minutes=2))
        await store.save_approval(late)
        return answered.id, late.id

    answered, late = cli.seed(seed)
    for command in ("approve", "reject"):
        result = cli(command, str(answered)[:8])
        assert result.exit_code == 2
        assert "rejected already by person:mira" in result.stderr
        result = cli(command, str(late))
        assert result.exit_code == 2
        assert "expired 2 min ago" in result.stderr
    assert "by mira" in cli.text("approvals", "--all")
    statuses = {item["id"]: item["status"] for item in cli.json("approvals", "--all")["approvals"]}
    assert statuses[str(answered)] == ApprovalStatus.REJECTED


def test_an_approval_without_temporal_is_not_lost_but_left_open(cli: Cli) -> None:
    async def seed(database: Database) -> UUID:
        of = plan()
        await IncidentStore(database).open(of, observation())
        asked = approval(of)
        await IncidentStore(database).save_approval(asked)
        return asked.id

    asked = cli.seed(seed)
    result = cli("approve", str(asked))
    assert result.exit_code == 3
    assert "127.0.0.1:1" in result.stderr
    assert cli.json("approvals")["approvals"][0]["status"] == "pending"


def test_a_service_is_paused_and_resumed_without_temporal(cli: Cli) -> None:
    cli.seed(configure)
    assert "is paused" in cli("pause", "checkout", "--reason", "move").stdout
    again = cli("pause", "checkout")
    assert (again.exit_code, "paused already (move)" in again.stdout) == (0, True)
    assert "taken up again" in cli("resume", "checkout").stdout
    assert "is not paused" in cli("resume", "checkout").stdout


def test_a_healthy_service_gets_no_incident_by_hand(cli: Cli) -> None:
    cli.seed(configure)
    result = cli("run", "incident", "checkout")
    assert result.exit_code == 0, result.output
    assert "checkout is healthy" in result.stdout


def test_knowledge_and_agents_are_told(cli: Cli) -> None:
    cli.seed(configure)
    cli.seed(heal)
    assert "restart" in cli.text("knowledge")
    assert "100 % of 1 times" in cli.text("knowledge", "show", SIGNATURE.key)
    assert cli.json("knowledge", "show", SIGNATURE.key)["remedy"] == "restart"
    assert "no job yet" in cli.text("agents")
    assert cli.json("agents", "system_monitor")["has_job"] is True
    assert "watches and heals" in cli.text("agents", "system_monitor")


def test_history_tells_who_did_what(cli: Cli) -> None:
    async def seed(database: Database) -> None:
        for number, actor in enumerate(("agent:system_monitor", "person:mira")):
            await DeedStore(database).record_work(
                WorkRecord(
                    key=str(number),
                    task_id=str(number),
                    agent="system_monitor",
                    actor=Actor.parse(actor),
                    action="perform_action",
                    service="checkout",
                    success=number == 0,
                    error_message="" if number == 0 else "it did not start",
                    duration_ms=310,
                    workflow_id="incident/checkout/process",
                    run_id="r",
                    started_at=datetime.now(UTC) - timedelta(minutes=3 - number),
                )
            )

    cli.seed(seed)
    text = cli.text("history")
    assert "310 ms" in text
    assert "50.0 % of the last seven days' actions" in text
    work = cli.json("history", "-n", "1")["work"]
    assert [record["success"] for record in work] == [False]
    assert cli.json("history", "--service", "store")["work"] == []


def test_a_key_is_shown_once_and_revoked(cli: Cli) -> None:
    created = cli("keys", "create", "ci", "--scope", "operate", "--scope", "read", "--expires", "90d")
    assert created.exit_code == 0, created.output
    secret = created.stdout.strip()
    assert secret.startswith("bok_")
    listed = cli.text("keys", "list")
    assert "operate, read" in listed
    assert secret not in listed
    assert "expires in 90 d" in listed
    key = cli.json("keys", "list")["keys"][0]
    assert cli("keys", "revoke", key["id"]).exit_code == 0
    assert "revoked" in cli("keys", "list").stdout


def test_run_without_a_name_lists_the_workflows(cli: Cli) -> None:
    listed = cli("run")
    assert listed.exit_code == 0
    for name in ("monitoring", "startup", "retention", "incident"):
        assert name in listed.stdout
