"""Delivery of what stands in the outbox: at least once, channel by channel, never more than a channel wants.

A resolution of what was delivered is sent whatever the rate limit or the quiet time says. Everything else that a limit
holds back comes later as one counted summary.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog

from brainops.config.notify import Notify, Severity
from brainops.contracts.incident import IncidentStatus
from brainops.crew.maintenance import Maintenance
from brainops.errors import BrainOpsError, UnavailableError
from brainops.notify.channels import Channels
from brainops.notify.desk import SETTLING, NoticeDesk
from brainops.notify.messages import PAGED_STATUS, Kind, summarise
from brainops.notify.store import DueNotice, NoticeStore

GIVEN_UP_AFTER = timedelta(days=1)
_FIRST_BACKOFF = timedelta(seconds=2)
_LONGEST_BACKOFF = timedelta(minutes=10)
_LOOK_EVERY = timedelta(seconds=5)
_URGENCY: Sequence[Severity] = ("critical", "warning", "info")

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class Dispatcher:
    """Delivers what is due. One of them at a time, which the workflow sees to."""

    def __init__(
        self,
        notify: Notify,
        store: NoticeStore,
        desk: NoticeDesk,
        channels: Channels,
        maintenance: Maintenance,
        public_url: str | None,
    ) -> None:
        self._notify = notify
        self._store = store
        self._desk = desk
        self._channels = channels
        self._maintenance = maintenance
        self._public_url = public_url
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, int] = {}
        self._not_before: dict[str, datetime] = {}
        self._looked_at: datetime | None = None

    async def round(self) -> None:
        """Look once, and begin to deliver what is due on channels that are free. Raises UnavailableError."""
        for name in [name for name, task in self._busy.items() if task.done()]:
            _finished(self._busy.pop(name))
        now = datetime.now(UTC)
        if self._looked_at is None or now - self._looked_at >= _LOOK_EVERY:
            self._looked_at = now
            await self._desk.look(now)
        due = await self._after_maintenance(await self._store.due(now), now)
        for name in dict.fromkeys(notice.channel for notice in due):
            mine = [notice for notice in due if notice.channel == name]
            if name not in self._notify.channels:
                await self._store.change(mine, "dropped", "", now)
            elif name not in self._busy and self._not_before.get(name, now) <= now:
                self._busy[name] = asyncio.create_task(self._deliver(name, mine))

    async def settle(self) -> None:
        """Wait until what was begun is through."""
        while self._busy:
            name, task = self._busy.popitem()
            _log.debug("waiting for a channel", channel=name)
            await asyncio.wait({task})
            _finished(task)

    async def stop(self) -> None:
        """Give up what is under way; it is delivered by the next dispatcher."""
        tasks = list(self._busy.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._busy.clear()

    async def _after_maintenance(self, found: Sequence[DueNotice], now: datetime) -> list[DueNotice]:
        """`found` without what maintenance still holds; of what it held, only what is still true."""
        held = [notice for notice in found if notice.held_because == "maintenance"]
        free = [notice for notice in found if notice.held_because != "maintenance"]
        if not held:
            return free
        covered = await self._maintenance.covered({notice.service for notice in held})
        for notice in held:
            window = covered.get(notice.service)
            due = window.until + SETTLING if window else min(notice.due_at, now + SETTLING)
            if not _still_true(notice):
                await self._store.change([notice], "dropped", "", now)
            elif due != notice.due_at:
                await self._store.change([notice], "held", "maintenance", due)
            elif due <= now:
                quiet = self._notify.quiet_until(now) if notice.severity != "critical" else None
                if quiet is None:
                    await self._store.change([notice], "pending", "", now)
                    free.append(notice)
                else:
                    await self._store.change([notice], "held", "quiet", quiet)
        return free

    async def _deliver(self, name: str, due: Sequence[DueNotice]) -> None:
        """Everything of one channel, in order; stops at the first failure, so that no end comes before its beginning."""
        room, free_at = await self._room(name)
        waiting: list[DueNotice] = []
        kept_back = {notice.plan_id for notice in due if notice.held_because}
        for notice in due:
            if notice.held_because:
                waiting.append(notice)
            elif notice.closing and notice.plan_id not in kept_back:
                if not await self._send(name, [notice]):
                    return
            elif room > 0 and not notice.closing:
                room -= 1
                if not await self._send(name, [notice]):
                    return
            else:
                kept_back.add(notice.plan_id)
                await self._store.change([notice], "held", "rate", free_at)
        if waiting and room > 0:
            await self._send(name, waiting)
        elif waiting:
            await self._store.change(waiting, "held", "rate", free_at)

    async def _room(self, name: str) -> tuple[int, datetime]:
        """How many messages the channel may get now, and when there is room again if there is none."""
        limit = self._notify.channels[name].at_most
        now = datetime.now(UTC)
        sent = await self._store.recently_sent(name, now - limit.per, limit.messages)
        room = limit.messages - len(sent)
        return room, (sent[0] if sent else now) + limit.per

    async def _send(self, name: str, notices: Sequence[DueNotice]) -> bool:
        """One message for all of `notices`; whether it was taken."""
        first = notices[0]
        subject, body = first.subject, first.body
        if len(notices) > 1:
            told = [(notice.created_at, notice.subject) for notice in notices]
            subject, body = summarise(told, _because(notices), self._public_url)
        severities: set[Severity] = {notice.severity for notice in notices}
        severity = min(severities, key=_URGENCY.index)
        closing = all(notice.closing for notice in notices)
        try:
            await self._channels.send(name, severity, subject, body, closing=closing)
        except BrainOpsError as error:
            await self._missed(name, notices, error)
            return False
        self._failures.pop(name, None)
        await self._store.sent(notices)
        return True

    async def _missed(self, name: str, notices: Sequence[DueNotice], error: BrainOpsError) -> None:
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        if failures == 1:
            _log.warning("a message was not taken; it is tried again", channel=name, reason=str(error))
        now = datetime.now(UTC)
        due = now + min(_FIRST_BACKOFF * 2 ** min(failures - 1, 16), _LONGEST_BACKOFF)
        self._not_before[name] = due
        await self._store.failed(notices, str(error)[:500], due, now - GIVEN_UP_AFTER)


def _still_true(notice: DueNotice) -> bool:
    """Whether the incident still stands where it stood when this was written."""
    status = notice.incident_status
    if status is None or status.closed:
        return False
    if notice.kind == Kind.STILL_OPEN:
        return status is IncidentStatus.OPEN
    if notice.kind.startswith(Kind.REMINDER):
        return status in (IncidentStatus.ESCALATED, IncidentStatus.WAITING_APPROVAL)
    return status in PAGED_STATUS and PAGED_STATUS[status][0] == notice.kind


def _because(notices: Sequence[DueNotice]) -> str:
    causes = {notice.held_because for notice in notices}
    if causes == {"quiet"}:
        return "quiet time"
    return "too many at once" if causes <= {"rate", ""} else "quiet time, too many at once"


def _finished(task: "asyncio.Task[None]") -> None:
    """Take the result of a delivery: a database that is away is met again at the next look."""
    if task.cancelled():
        return
    error = task.exception()
    if error is not None and not isinstance(error, UnavailableError):
        raise error
