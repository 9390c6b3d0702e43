"""Messages to people, from the outbox on a real server to a real HTTP receiver."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from house import eventually
from receiver import Receiver, running_receiver
from sqlalchemy import text

from brainops.checks.store import CheckStore
from brainops.config.maintenance import MaintenanceWindow
from brainops.config.models import BrainOpsConfig
from brainops.config.notify import Notify
from brainops.contracts.agent import ActionClass
from brainops.contracts.approval import Approval
from brainops.contracts.base import Actor, ActorKind
from brainops.contracts.check import Observation, Reason, Sample
from brainops.contracts.incident import IncidentStatus, IncidentUpdate, PlanRef
from brainops.contracts.maintenance import CloseMaintenance, OpenMaintenance
from brainops.crew.maintenance import Maintenance, MaintenanceStore
from brainops.database.engine import Database
from brainops.errors import ActionError, ConfigError, ConflictError, UnavailableError
from brainops.incidents.store import IncidentStore
from brainops.notify.channels import Channels
from brainops.notify.delivery import Dispatcher
from brainops.notify.desk import NoticeDesk
from brainops.notify.heartbeat import OutboundHeartbeat
from brainops.notify.store import NoticeStore

MIRA = Actor(kind=ActorKind.PERSON, name="mira")
ALL_DAY = "00:00-24:00"
ESCALATED, OPEN, RESOLVED = IncidentStatus.ESCALATED, IncidentStatus.OPEN, IncidentStatus.RESOLVED


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with running_receiver() as running:
        yield running


class Office:
    """The desk and the dispatcher over one database."""

    def __init__(self, database: Database, declared: dict[str, Any], calendar: tuple[MaintenanceWindow, ...] = ()):
        self.database = database
        self.notify = Notify.model_validate(declared)
        self.store = NoticeStore(database)
        self.incidents = IncidentStore(database)
        self.windows = MaintenanceStore(database)
        maintenance = Maintenance(calendar, self.windows)
        self.desk = NoticeDesk(self.notify, self.store, maintenance, None)
        self.channels = Channels(self.notify.channels, {})
        self.dispatcher = Dispatcher(self.notify, self.store, self.desk, self.channels, maintenance, None)

    async def incident(self, service: str = "web") -> PlanRef:
        """A new one, just opened."""
        plan = PlanRef(
            plan_id=uuid4(),
            workflow_id=f"incident/{service}/front",
            run_id="run",
            service=service,
            check="front",
            host="local",
        )
        seen = Observation(
            host="local",
            service=service,
            check="front",
            seq=1,
            failing=True,
            reason=Reason.REFUSED,
            detail="connection refused",
            at=datetime.now(UTC),
        )
        await self.incidents.open(plan, seen)
        return plan

    async def becomes(self, plan: PlanRef, status: IncidentStatus, note: str = "no remedy fits") -> None:
        """What the activity `update_incident` does."""
        update = IncidentUpdate(plan=plan, status=status, note=note, cause="the port is closed")
        await self.incidents.update(update)
        await self.desk.note(update)

    async def delivered(self) -> None:
        """One round, and everything that it began."""
        await self.dispatcher.round()
        await self.dispatcher.settle()

    async def later(self, by: timedelta) -> None:
        """Let the rows grow older instead of waiting."""
        async with self.database.transaction() as connection:
            await connection.execute(
                text(
                    "UPDATE brainops.notices SET due_at = due_at - CAST(:by AS interval), sent_at = sent_at - CAST(:by AS interval)"
                ),
                {"by": by},
            )
            await connection.execute(
                text("UPDATE brainops.incidents SET opened_at = opened_at - CAST(:by AS interval)"), {"by": by}
            )

    async def states(self) -> list[str]:
        return sorted(notice.state for notice in await self.store.list(100))


def to(receiver: Receiver, **more: Any) -> dict[str, Any]:
    """One channel and what else is declared."""
    return {"channels": {"ops": {"url": receiver.url}}, **more}


async def test_an_escalation_is_paged_once_and_its_resolution_follows(database: Database, receiver: Receiver) -> None:
    office = Office(database, to(receiver))
    plan = await office.incident()
    await office.becomes(plan, ESCALATED)
    await office.becomes(plan, ESCALATED)
    await office.delivered()
    await office.becomes(plan, OPEN, "looking again")
    await office.becomes(plan, ESCALATED, "still no remedy")
    await office.delivered()
    assert receiver.titles == ["[critical] web: front fails: connection refused"]
    body = receiver.messages[0]["message"]
    for part in ("What: web", "Since: ", "Cause: the port is closed", "Tried: nothing", "Next: a person", "You can: "):
        assert part in body
    assert f"brainops incidents {str(plan.plan_id)[:8]}" in body
    await office.becomes(plan, IncidentStatus.RECOVERED, "passes again")
    await office.becomes(plan, IncidentStatus.RECOVERED, "passes again")
    await office.delivered()
    await office.delivered()
    assert [message["type"] for message in receiver.messages] == ["failure", "success"]
    assert receiver.titles[1].startswith("[recovered] web")


async def test_what_was_never_paged_is_not_resolved_loudly_and_absorbed_incidents_never_page(
    database: Database, receiver: Receiver
) -> None:
    office = Office(database, to(receiver))
    for status in (RESOLVED, IncidentStatus.ABSORBED, IncidentStatus.DISMISSED):
        await office.becomes(await office.incident(status.value), status)
    await office.delivered()
    assert receiver.messages == []


async def test_an_incident_that_became_part_of_another_after_it_was_paged_is_closed_for_its_readers(
    database: Database, receiver: Receiver
) -> None:
    office = Office(database, to(receiver))
    plan = await office.incident()
    await office.becomes(plan, ESCALATED)
    await office.delivered()
    await office.becomes(plan, IncidentStatus.ABSORBED, "part of incident/store/process")
    await office.delivered()
    assert [message["type"] for message in receiver.messages] == ["failure", "success"]
    assert "part of incident/store/process" in receiver.messages[1]["message"]


async def test_more_than_a_channel_wants_comes_as_one_counted_summary_and_resolutions_still_come(
    database: Database, receiver: Receiver
) -> None:
    channel = {"url": receiver.url, "at_most": {"messages": 3, "per": "10m"}}
    office = Office(database, {"channels": {"ops": channel}})
    plans = [await office.incident(f"web{number:02}") for number in range(20)]
    for plan in plans:
        await office.becomes(plan, ESCALATED)
    await office.delivered()
    assert len(receiver.messages) == 3
    await office.becomes(plans[0], RESOLVED)
    await office.becomes(plans[19], RESOLVED)
    await office.delivered()
    assert receiver.titles[3].startswith("[resolved] web00")
    assert len(receiver.messages) == 4
    await office.later(timedelta(minutes=11))
    await office.delivered()
    assert receiver.titles[4:] == ["18 more messages held back: too many at once"]
    assert "web10" in receiver.messages[4]["message"]
    assert set(await office.states()) == {"sent"}


async def test_quiet_time_holds_what_is_not_critical_and_ends_with_a_summary(
    database: Database, receiver: Receiver
) -> None:
    office = Office(database, to(receiver, quiet=[{"hours": ALL_DAY}]))
    observing = [await office.incident(f"web{number}") for number in range(3)]
    for plan in observing:
        await office.becomes(plan, IncidentStatus.OBSERVING, "would do: restart")
    critical = await office.incident("store")
    await office.becomes(critical, ESCALATED)
    await office.delivered()
    await office.becomes(critical, RESOLVED)
    await office.delivered()
    assert [message["type"] for message in receiver.messages] == ["failure", "success"]
    await office.later(timedelta(days=1))
    await office.delivered()
    assert receiver.titles[2:] == ["3 more messages held back: quiet time"]


async def test_maintenance_pages_nobody_and_afterwards_only_what_is_still_broken(
    database: Database, receiver: Receiver
) -> None:
    office = Office(database, to(receiver))
    window = OpenMaintenance(id=uuid4(), services=("web*",), seconds=3600, reason="moving", actor=MIRA)
    await office.windows.open(window)
    mended, broken = await office.incident("web1"), await office.incident("web2")
    for plan in (mended, broken):
        await office.becomes(plan, ESCALATED)
    other = await office.incident("store")
    await office.becomes(other, ESCALATED)
    await office.delivered()
    assert [title.split()[1] for title in receiver.titles] == ["store:"]
    await office.becomes(mended, RESOLVED)
    await office.windows.close(CloseMaintenance(id=window.id, actor=MIRA))
    await office.delivered()  # it has ended early: the plans get a moment to look again
    await office.later(timedelta(seconds=6))
    await office.delivered()
    assert [title.split()[1] for title in receiver.titles] == ["store:", "web2:"]


async def test_windows_are_opened_once_and_closed_once(database: Database) -> None:
    store = MaintenanceStore(database)
    maintenance = Maintenance((), store)
    request = OpenMaintenance(id=uuid4(), services=("web",), seconds=60, reason="deploy", actor=MIRA, plan_id=uuid4())
    opened = await store.open(request)
    assert await store.open(request) == opened
    covered = await maintenance.covers("web")
    assert covered is not None
    assert "deploy" in covered.reason
    assert covered.until == opened.ends_at
    assert await maintenance.covers("store") is None
    close = CloseMaintenance(id=request.id, actor=MIRA)
    assert await store.close(close) == await store.close(close)
    assert await maintenance.covers("web") is None
    with pytest.raises(ConflictError, match="ended already"):
        await store.close(close.model_copy(update={"actor": Actor(kind=ActorKind.PERSON, name="tom")}))


async def test_windows_of_the_calendar_cover_their_services(database: Database) -> None:
    always = MaintenanceWindow(name="always", services=("web",), schedule="* * * * *", lasts=timedelta(hours=1))
    covered = await Maintenance((always,), MaintenanceStore(database)).covered(["web", "store"])
    assert list(covered) == ["web"]
    assert "always" in covered["web"].reason


async def test_a_channel_that_fails_or_hangs_holds_up_nobody_and_gets_its_messages_later(
    database: Database, receiver: Receiver
) -> None:
    async with running_receiver() as hanging, running_receiver() as refusing:
        hanging.held.clear()
        refusing.status = 503
        urls = {"hangs": hanging.url, "refuses": refusing.url, "works": receiver.url}
        office = Office(database, {"channels": {name: {"url": url} for name, url in urls.items()}})
        plan = await office.incident()
        await office.becomes(plan, ESCALATED)
        await office.dispatcher.round()

        async def told() -> bool:
            return bool(receiver.messages) and refusing.asked > 0

        await eventually(told, "the working channel is told")
        await office.becomes(plan, RESOLVED)

        async def closed() -> bool:
            await office.dispatcher.round()
            return len(receiver.messages) == 2

        await eventually(closed, "and told of the end")
        refusing.status = 200
        hanging.held.set()
        await office.later(timedelta(minutes=11))

        async def caught_up() -> bool:
            await office.dispatcher.round()
            return len(refusing.messages) >= 2 and len(hanging.messages) >= 2

        await eventually(caught_up, "the others get both")
        assert [message["type"] for message in refusing.messages] == ["failure", "success"]
        await office.dispatcher.stop()
        office.channels.close()


async def test_reminders_come_while_nobody_answers_and_end_with_the_incident(
    database: Database, receiver: Receiver
) -> None:
    office = Office(database, to(receiver, remind_every="1h"))
    plan = await office.incident()
    await office.becomes(plan, ESCALATED)
    await office.delivered()
    for count in (2, 3):
        await office.later(timedelta(hours=2))
        await office.desk.look(datetime.now(UTC))
        await office.desk.look(datetime.now(UTC))
        await office.delivered()
        assert len(receiver.messages) == count
        assert "still waits for you" in receiver.titles[-1]
    await office.becomes(plan, RESOLVED)
    await office.delivered()
    await office.later(timedelta(hours=2))
    await office.desk.look(datetime.now(UTC))
    await office.delivered()
    assert len(receiver.messages) == 4


async def test_an_incident_that_stays_open_is_told_after_a_while(database: Database, receiver: Receiver) -> None:
    office = Office(database, to(receiver, page_after="5m"))
    await office.incident()
    await office.desk.look(datetime.now(UTC))
    await office.later(timedelta(minutes=6))
    await office.desk.look(datetime.now(UTC))
    await office.desk.look(datetime.now(UTC))
    await office.delivered()
    assert [message["type"] for message in receiver.messages] == ["warning"]
    assert "goes on working" in receiver.messages[0]["message"]


async def test_a_question_names_the_commands_that_answer_it(database: Database, receiver: Receiver) -> None:
    office = Office(database, to(receiver))
    plan = await office.incident()
    now = datetime.now(UTC)
    approval = Approval(
        id=uuid4(),
        plan_id=plan.plan_id,
        workflow_id=plan.workflow_id,
        run_id="run",
        service="web",
        action_class=ActionClass.RESTART,
        question="restart for web?",
        created_at=now,
        expires_at=now + timedelta(minutes=30),
    )
    status = IncidentStatus.WAITING_APPROVAL
    update = IncidentUpdate(plan=plan, status=status, note="asks: restart for web?", approval=approval)
    await office.incidents.update(update)
    await office.desk.note(update)
    await office.delivered()
    body = receiver.messages[0]["message"]
    assert f"brainops approve {str(approval.id)[:8]}" in body
    assert "counts as rejected" in body


async def test_routes_choose_by_severity_and_service(database: Database, receiver: Receiver) -> None:
    async with running_receiver() as chat:
        routes = [
            {"channels": ["pager"], "severities": ["critical"], "services": ["store"]},
            {"channels": ["chat"], "severities": ["critical", "warning", "info"]},
        ]
        channels = {"pager": {"url": receiver.url}, "chat": {"url": chat.url}}
        office = Office(database, {"channels": channels, "routes": routes})
        for service in ("web", "store"):
            await office.becomes(await office.incident(service), ESCALATED)
        await office.becomes(await office.incident("mended"), RESOLVED)
        await office.delivered()
        assert [title.split()[1] for title in receiver.titles] == ["store:"]
        assert len(chat.messages) == 3
        assert [message["type"] for message in chat.messages][2] == "info"


async def test_secrets_of_an_address_are_never_in_what_is_said(receiver: Receiver) -> None:
    declared = Notify.model_validate({"channels": {"ops": {"url": "json://127.0.0.1:${PORT}/${HOOK}"}}})
    receiver.status = 500
    channels = Channels(declared.channels, {"PORT": str(receiver.port), "HOOK": "supersecrethook"})
    with pytest.raises(ActionError) as refused:
        await channels.send("ops", "info", "subject", "body")
    assert "supersecrethook" not in str(refused.value)
    assert "channel ops" in str(refused.value)
    with pytest.raises(ConfigError, match="variable HOOK is not set"):
        await Channels(declared.channels, {"PORT": "1"}).send("ops", "info", "subject", "body")


async def test_the_outbound_heartbeat_beats_only_while_probes_are_kept(database: Database, receiver: Receiver) -> None:
    config = BrainOpsConfig.model_validate(
        {
            "services": {"web": {"run": {"kind": "external"}, "checks": {"front": {"kind": "tcp", "port": 1}}}},
            "notify": {"heartbeat": {"url": f"http://127.0.0.1:{receiver.port}/", "every": "1s"}},
        }
    )
    with pytest.raises(UnavailableError, match="no probe was kept"):
        await OutboundHeartbeat(config, database, {}).beat_if_due()
    assert receiver.asked == 0
    sample = Sample(service="web", check="front", at=datetime.now(UTC), ok=False, latency_ms=1)
    await CheckStore(database).add_samples([sample])
    heartbeat = OutboundHeartbeat(config, database, {})
    assert await heartbeat.beat_if_due()
    assert not await heartbeat.beat_if_due()
    assert receiver.asked == 1
