"""Incidents from fault to end, with nothing simulated."""

import asyncio
import os
import signal
from uuid import uuid4

import pytest
from house import PERSON, Builder, House, eventually, update
from temporalio.client import WorkflowExecutionStatus, WorkflowUpdateFailedError

from brainops.contracts.agent import PauseRequest
from brainops.contracts.approval import Approval, ApprovalDecision, ApprovalStatus
from brainops.contracts.base import ActorKind
from brainops.contracts.incident import Dismissal, IncidentStatus
from brainops.contracts.names import agent_workflow_id
from brainops.effects.ledger import EffectLedger
from brainops.memory.deeds import DeedStore
from brainops.memory.knowledge import KnowledgeStore
from workflows.agent import AgentWorkflow
from workflows.incident import IncidentWorkflow

OPEN_ENDS = (IncidentStatus.ESCALATED, IncidentStatus.OBSERVING, IncidentStatus.WAITING_APPROVAL)


async def pending(house: House, service: str) -> Approval:
    async def asked() -> Approval | None:
        waiting = [item for item in await house.incidents.pending_approvals() if item.service == service]
        return waiting[0] if waiting else None

    return await eventually(asked, f"an approval for {service}")


async def decide(house: House, approval: Approval, *, approved: bool) -> Approval:
    decision = ApprovalDecision(approval_id=approval.id, approved=approved, actor=PERSON)
    handle = house.client.get_workflow_handle(approval.workflow_id)
    return await update(handle, IncidentWorkflow.decide_approval, decision)


async def test_crash_is_healed_once_and_written_down(builder: Builder) -> None:
    async with builder.house({"shop": {}}) as house:
        await house.answers("shop")
        await house.crash("shop")
        detail = await house.incident("shop", IncidentStatus.RESOLVED)
        await house.answers("shop")

        assert house.starts("shop") == 2
        effects = await EffectLedger(house.database).list(detail.row.plan_id)
        assert [(entry.state, entry.result.ok) for entry in effects if entry.result] == [("done", True)]
        deeds = await DeedStore(house.database).work(limit=100, service="shop")
        performed = [deed for deed in deeds if deed.action == "perform_action"]
        assert len(performed) == 1
        assert performed[0].actor.kind is ActorKind.AGENT
        assert await DeedStore(house.database).decisions(detail.row.plan_id)
        description = await house.handle("shop").describe()
        assert description.status is WorkflowExecutionStatus.COMPLETED


async def test_second_crash_begins_with_what_worked_and_calls_no_model(builder: Builder) -> None:
    async with builder.house({"shop": {"escalate_after": {"incidents": 9}}}) as house:
        await house.answers("shop")
        for count in (1, 2):
            await house.crash("shop")
            detail = await house.incident("shop", IncidentStatus.RESOLVED, count=count)
            await house.answers("shop")
        known = await KnowledgeStore(house.database).list(limit=10)
        assert [(entry.usage_count, entry.success_rate) for entry in known] == [(2, 1.0)]
        decisions = await DeedStore(house.database).decisions(detail.row.plan_id)
        assert "helped 1 of 1" in decisions[0].reason
        assert detail.row.model_calls == 0


async def test_corrupt_file_is_restored_after_a_restart_did_not_help(builder: Builder) -> None:
    async with builder.house({"shop": {"files": [{"path": "shop/config.json"}]}}) as house:
        config = house.folder_of("shop") / "config.json"
        # The service wrote nothing itself: give it a file, and let it prove the file by living with it.
        config.write_text("{}")
        await house.adapter().stop("shop", house.parts.config.services["shop"])
        await house.incident("shop", IncidentStatus.RESOLVED, IncidentStatus.RECOVERED)
        await house.answers("shop")
        await eventually(lambda: house.kept("shop"), "the file kept as known good")

        config.write_text('{"broken": ')
        await house.crash("shop")
        detail = await house.incident("shop", IncidentStatus.RESOLVED, count=2)
        assert [(attempt.remedy, attempt.helped) for attempt in detail.attempts][-1] == ("restore_files", True)
        assert config.read_text() == "{}"
        await house.answers("shop")


async def test_hang_is_ended_and_started_anew(builder: Builder) -> None:
    async with builder.house({"shop": {}}) as house:
        await house.answers("shop")
        os.kill(await house.pid("shop"), signal.SIGSTOP)
        await house.incident("shop", IncidentStatus.RESOLVED)
        await house.answers("shop")


async def test_failing_dependency_is_one_incident_with_its_dependents(builder: Builder) -> None:
    store_port = builder.port("store")
    services = {"store": {}, "web": {"depends_on": ["store"]}}
    (builder.folder / "web").mkdir()
    (builder.folder / "web" / "config.json").write_text(f'{{"depends_on": {store_port}}}')
    async with builder.house(services) as house:
        await house.answers("web")
        await house.crash("store")
        await house.incident("store", IncidentStatus.RESOLVED)
        await house.answers("web")
        rest = await house.incidents.list(limit=50, service="web")
        assert {row.status for row in rest} <= {IncidentStatus.ABSORBED}
        assert house.starts("web") == 1


async def test_observed_service_is_left_alone_until_it_recovers(builder: Builder) -> None:
    async with builder.house({"shop": {}}) as house:
        await house.answers("shop")
    async with builder.house({"shop": {"autonomy": "observe"}}) as house:
        sick = house.folder_of("shop") / "sick"
        sick.touch()
        await house.incident("shop", IncidentStatus.OBSERVING)
        assert house.starts("shop") == 1
        sick.unlink()
        await house.incident("shop", IncidentStatus.RECOVERED)


async def test_approval_given_heals_and_a_second_answer_is_refused(builder: Builder) -> None:
    async with builder.house({"shop": {"autonomy": {"start": "act", "restart": "approve"}}}) as house:
        await house.answers("shop")
        await house.crash("shop")
        approval = await pending(house, "shop")
        assert house.starts("shop") == 1
        decided = await decide(house, approval, approved=True)
        assert decided.status is ApprovalStatus.APPROVED
        await house.incident("shop", IncidentStatus.RESOLVED)
        await house.answers("shop")
        deeds = await DeedStore(house.database).work(limit=100)
        assert [deed.actor for deed in deeds if deed.action == "decide_approval"] == [PERSON]


async def test_rejected_approval_is_escalated_and_cannot_be_given_afterwards(builder: Builder) -> None:
    async with builder.house({"shop": {"autonomy": {"start": "act", "restart": "approve"}}}) as house:
        await house.answers("shop")
        await house.crash("shop")
        approval = await pending(house, "shop")
        await decide(house, approval, approved=False)
        await house.incident("shop", IncidentStatus.ESCALATED)
        with pytest.raises(WorkflowUpdateFailedError):
            await decide(house, approval, approved=True)
        unknown = approval.model_copy(update={"id": uuid4()})
        with pytest.raises(WorkflowUpdateFailedError):
            await decide(house, unknown, approved=True)
        assert house.starts("shop") == 1


async def test_unanswered_approval_expires_and_nothing_is_done(builder: Builder) -> None:
    service = {"autonomy": {"start": "act", "restart": "approve"}, "approval_expires": "500ms"}
    async with builder.house({"shop": service}) as house:
        await house.answers("shop")
        await house.crash("shop")
        detail = await house.incident("shop", IncidentStatus.ESCALATED)
        assert [approval.status for approval in detail.approvals] == [ApprovalStatus.EXPIRED]
        assert house.starts("shop") == 1


async def test_loop_breaker_stops_acting_on_recurrence(builder: Builder) -> None:
    async with builder.house({"shop": {"escalate_after": {"incidents": 3, "within": "10m"}}}) as house:
        for count in (1, 2):
            await house.answers("shop")
            await house.crash("shop")
            await house.incident("shop", IncidentStatus.RESOLVED, count=count)
        await house.answers("shop")
        await house.crash("shop")
        await house.incident("shop", IncidentStatus.ESCALATED)
        assert house.starts("shop") == 3


async def test_what_cannot_be_healed_is_escalated_with_everything_tried(builder: Builder) -> None:
    async with builder.house({"shop": {"recover_within": "600ms"}}) as house:
        await house.answers("shop")
        (house.folder_of("shop") / "sick").touch()
        detail = await house.incident("shop", IncidentStatus.ESCALATED)
        assert [attempt.helped for attempt in detail.attempts] == [False]
        assert any("A person must look" in line.note for line in detail.timeline)
        (house.folder_of("shop") / "sick").unlink()
        await house.incident("shop", IncidentStatus.RECOVERED)


async def test_paused_agent_looks_on_and_heals_once_resumed(builder: Builder) -> None:
    async with builder.house({"shop": {}}) as house:
        await house.answers("shop")
        monitor = house.client.get_workflow_handle_for(AgentWorkflow.run, agent_workflow_id("system_monitor"))
        await update(monitor, AgentWorkflow.pause, PauseRequest(paused=True, reason="audit"))
        with pytest.raises(WorkflowUpdateFailedError):
            await update(monitor, AgentWorkflow.pause, PauseRequest(paused=True))
        await house.crash("shop")
        await house.incident("shop", IncidentStatus.OBSERVING)
        assert house.starts("shop") == 1
        await update(monitor, AgentWorkflow.pause, PauseRequest(paused=False))
        await house.handle("shop").signal(IncidentWorkflow.reconsider)
        await house.incident("shop", IncidentStatus.RESOLVED)


async def test_open_incident_and_approval_survive_a_fresh_temporal(builder: Builder) -> None:
    service = {"autonomy": {"start": "act", "restart": "approve"}}
    async with builder.house({"shop": service}) as house:
        await house.answers("shop")
        await house.crash("shop")
        asked = await pending(house, "shop")
    # Another namespace is a server that remembers nothing.
    async with builder.house({"shop": service}) as house:
        assert house.brought_up is not None
        assert house.brought_up.plans_taken_up >= 1
        handle = house.handle("shop")

        async def waits() -> bool:
            approval = (await handle.query(IncidentWorkflow.view)).pending_approval
            return approval is not None and approval.id == asked.id

        await eventually(waits, "the same approval is waited for")
        await decide(house, asked, approved=True)
        detail = await house.incident("shop", IncidentStatus.RESOLVED)
        assert detail.row.plan_id == asked.plan_id
        assert house.starts("shop") == 2


async def test_incident_of_a_service_that_is_no_longer_configured_is_dismissed(builder: Builder) -> None:
    async with builder.house({"old": {"recover_within": "500ms"}, "new": {}}) as house:
        await house.answers("old")
        (house.folder_of("old") / "sick").touch()
        await house.incident("old", IncidentStatus.ESCALATED)
        await house.adapter().stop("old", house.parts.config.services["old"])
    async with builder.house({"new": {}}) as house:
        detail = await house.incident("old", IncidentStatus.DISMISSED)
        assert "no longer in brainops.yaml" in detail.timeline[-1].note


async def test_history_stays_small(builder: Builder) -> None:
    async with builder.house({"shop": {}}) as house:
        await house.answers("shop")
        await house.crash("shop")
        await house.incident("shop", IncidentStatus.RESOLVED)
        await house.handle("shop").result()
        history = await house.handle("shop").fetch_history()
        size = sum(event.ByteSize() for event in history.events)
        assert len(history.events) < 90
        assert size < 40_000


async def test_escalated_incident_is_tried_again_when_a_person_asks(builder: Builder) -> None:
    async with builder.house({"shop": {"recover_within": "600ms"}}) as house:
        await house.answers("shop")
        (house.folder_of("shop") / "sick").touch()
        await house.incident("shop", IncidentStatus.ESCALATED)
        starts = house.starts("shop")
        (house.folder_of("shop") / "sick").unlink()
        (house.folder_of("shop") / "slow").touch()
        await house.handle("shop", "front").signal(IncidentWorkflow.reconsider)
        await eventually(lambda: _restarted(house, starts), "another restart")
        (house.folder_of("shop") / "slow").unlink()
        await house.incident("shop", IncidentStatus.RESOLVED, IncidentStatus.RECOVERED)


async def test_service_whose_port_a_stranger_held_is_started_when_the_stranger_has_gone(builder: Builder) -> None:
    async with builder.house({"shop": {"escalate_after": {"incidents": 9}}}) as house:
        await house.answers("shop")
        await house.crash("shop")
        stranger = await stranger_on(house.ports["shop"])
        await house.incident("shop", IncidentStatus.ESCALATED)
        stranger.close()
        await stranger.wait_closed()
        await house.incident("shop", IncidentStatus.RESOLVED, timeout=30)
        await house.answers("shop")


async def test_dismissed_incident_is_closed_and_opens_anew_while_its_check_fails(builder: Builder) -> None:
    async with builder.house({"shop": {"recover_within": "500ms"}}) as house:
        await house.answers("shop")
        (house.folder_of("shop") / "sick").touch()
        await house.incident("shop", IncidentStatus.ESCALATED)
        dismissal = Dismissal(reason="known", actor=PERSON)
        await house.handle("shop", "front").signal(IncidentWorkflow.dismiss, dismissal)
        await house.incident("shop", IncidentStatus.DISMISSED)
        await house.incident("shop", IncidentStatus.ESCALATED)


async def stranger_on(port: int) -> asyncio.Server:
    """A server that takes the port as soon as it is free."""

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def taken() -> asyncio.Server | None:
        try:
            return await asyncio.start_server(silent, "127.0.0.1", port)
        except OSError:
            return None

    return await eventually(taken, f"a stranger takes port {port}")


async def _restarted(house: House, starts: int) -> bool:
    return house.starts("shop") > starts
