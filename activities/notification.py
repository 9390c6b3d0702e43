"""Delivery of messages to people, and BrainOps' own heartbeat to the outside: one long activity."""

import asyncio

import structlog
from temporalio import activity

from activities.heartbeat import heartbeating, work_until_worker_stops
from brainops.errors import BrainOpsError
from brainops.notify.delivery import Dispatcher
from brainops.notify.heartbeat import OutboundHeartbeat
from brainops.telemetry.outage import Outage

LOOK_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class Notifications:
    """The long activity of the control queue."""

    def __init__(self, dispatcher: Dispatcher | None, heartbeat: OutboundHeartbeat | None) -> None:
        self._dispatcher = dispatcher
        self._heartbeat = heartbeat

    @activity.defn
    async def deliver_notifications(self) -> None:
        """Deliver until cancelled or the worker stops. Without channels and heartbeat it only waits."""
        works = [self._deliver(self._dispatcher)] if self._dispatcher is not None else []
        if self._heartbeat is not None:
            works.append(self._beat(self._heartbeat))
        async with heartbeating():
            await work_until_worker_stops(*works)

    async def _deliver(self, dispatcher: Dispatcher) -> None:
        outage = Outage()
        try:
            while True:
                try:
                    await dispatcher.round()
                except BrainOpsError as error:
                    if outage.failed():
                        _log.warning("messages wait", reason=str(error))
                else:
                    if failures := outage.recovered():
                        _log.info("messages are delivered again", failures=failures)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await dispatcher.stop()

    async def _beat(self, heartbeat: OutboundHeartbeat) -> None:
        outage = Outage()
        while True:
            try:
                if await heartbeat.beat_if_due() and (failures := outage.recovered()):
                    _log.info("the outbound heartbeat is sent again", failures=failures)
            except BrainOpsError as error:
                if outage.failed():
                    _log.warning("no outbound heartbeat", reason=str(error))
            await asyncio.sleep(LOOK_SECONDS)
