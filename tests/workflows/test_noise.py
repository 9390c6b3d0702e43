"""Maintenance, messages and grouping, in a whole BrainOps."""

import asyncio
import socket
from uuid import uuid4

from house import PERSON, Builder, House, eventually, free_port
from receiver import running_receiver
from sqlalchemy import text

from activities.maintenance import MaintenanceRecords
from brainops.contracts.incident import IncidentStatus
from brainops.contracts.maintenance import CloseMaintenance, OpenMaintenance

CLOSE = {"interval": "100ms", "timeout": "300ms"}
ENDED = {IncidentStatus.RESOLVED, IncidentStatus.RECOVERED}


async def test_a_window_lets_a_crash_be_and_its_end_heals_it(builder: Builder) -> None:
    async with running_receiver() as receiver:
        notify = {"channels": {"ops": {"url": receiver.url}}}
        async with builder.house({"shop": {}}, notify=notify) as house:
            await house.answers("shop")
            window = OpenMaintenance(id=uuid4(), services=("sh*",), seconds=6, reason="new disks", actor=PERSON)
            await house.parts.windows.open(window)
            await house.crash("shop")
            detail = await house.incident("shop", IncidentStatus.OBSERVING)
            assert any("new disks" in line.note for line in detail.timeline)
            assert house.starts("shop") == 1
            await house.incident("shop", IncidentStatus.RESOLVED)
            assert house.starts("shop") == 2
        assert receiver.messages == []


async def test_a_window_that_is_closed_early_takes_effect_at_once(builder: Builder) -> None:
    async with builder.house({"shop": {}}) as house:
        await house.answers("shop")
        windows = MaintenanceRecords(house.parts.windows, house.incidents, house.client)
        window = OpenMaintenance(id=uuid4(), seconds=3600, actor=PERSON, plan_id=uuid4())
        await windows.open_maintenance(window)
        await house.crash("shop")
        await house.incident("shop", IncidentStatus.OBSERVING)
        await windows.close_maintenance(CloseMaintenance(id=window.id, actor=PERSON))
        await house.incident("shop", IncidentStatus.RESOLVED)


async def alerts(house: House, condition: str = "true") -> int:
    async with house.database.transaction() as connection:
        found = await connection.scalar(text(f"SELECT count(*) FROM brainops.incident_alerts WHERE {condition}"))
    return int(found or 0)


async def test_a_storm_is_one_incident_one_page_and_every_resolution(builder: Builder) -> None:
    port = free_port()
    check = {"kind": "tcp", "port": port, **CLOSE}
    external = {"run": {"kind": "external"}}
    webs = {f"web{number}": {**external, "checks": {"front": check}, "depends_on": ["root"]} for number in range(20)}
    root = {"root": {**external, "checks": {"front": check}}}
    async with running_receiver() as receiver:
        notify = {"channels": {"ops": {"url": receiver.url}}}
        server = await asyncio.start_server(_hang_up, "127.0.0.1", port)
        async with builder.house(webs | root, notify=notify) as house:

            async def states(status: str) -> bool:
                async with house.database.transaction() as connection:
                    query = text(
                        "SELECT count(*) FROM brainops.check_states WHERE check_name = 'front' AND status = :s"
                    )
                    return int(await connection.scalar(query, {"s": status}) or 0) == 21

            await eventually(lambda: states("passing"), "all pass", 30)
            server.close()
            await server.wait_closed()
            await eventually(lambda: states("failing"), "all fail", 30)

            async def grouped() -> bool:
                return await alerts(house) == 20

            await eventually(grouped, "twenty alerts are part of the incident", 30)
            listed = await house.incidents.list(limit=100)
            roots = [row for row in listed if row.status is not IncidentStatus.ABSORBED]
            assert [row.service for row in roots] == ["root"]
            assert len(listed) <= 1 + 4

            async def paged() -> bool:
                return len(receiver.messages) > 0

            await eventually(paged, "the page is delivered")
            server = await asyncio.start_server(_hang_up, "127.0.0.1", port, family=socket.AF_INET)
            await house.incident("root", IncidentStatus.RECOVERED, timeout=30)

            async def resolved() -> bool:
                return await alerts(house, "resolved_at IS NULL") == 0 and len(receiver.messages) == 2

            await eventually(resolved, "every alert is over, and the end is told", 30)
            assert [message["type"] for message in receiver.messages] == ["failure", "success"]
            assert len([row for row in await house.incidents.list(limit=100) if row.status in ENDED]) == 1
        server.close()
        await server.wait_closed()


async def _hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_what_still_fails_after_its_root_was_closed_gets_an_incident(builder: Builder) -> None:
    ports = free_port(), free_port()
    external = {"run": {"kind": "external"}}
    services = {
        "root": {**external, "checks": {"front": {"kind": "tcp", "port": ports[0], **CLOSE}}},
        "web": {**external, "checks": {"front": {"kind": "tcp", "port": ports[1], **CLOSE}}, "depends_on": ["root"]},
    }
    async with builder.house(services) as house:
        await house.incident("root", IncidentStatus.ESCALATED)

        async def grouped() -> bool:
            return await alerts(house) == 1

        await eventually(grouped, "web is part of the incident of root", 30)
        server = await asyncio.start_server(_hang_up, "127.0.0.1", ports[0])
        await house.incident("root", IncidentStatus.RECOVERED)
        await house.incident("web", IncidentStatus.ESCALATED, timeout=30)
        server.close()
        await server.wait_closed()
