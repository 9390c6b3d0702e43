"""Decides what is told of an incident, to which channels, and whether now or later."""

import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from brainops.config.notify import Notify, Severity
from brainops.contracts.incident import IncidentStatus, IncidentUpdate
from brainops.crew.maintenance import Maintenance
from brainops.notify.messages import PAGED_STATUS, Kind, Message, tell
from brainops.notify.store import Held, NoticeState, NoticeStore, Told

SETTLING = timedelta(seconds=5)
"""So long after maintenance the plan has to look again before what was held is told."""

_CLOSED_WELL = (IncidentStatus.RESOLVED, IncidentStatus.RECOVERED)

Place = tuple[str, NoticeState, Held, datetime]


class NoticeDesk:
    """Puts messages into the outbox. Every call may be repeated: what is known already is left alone."""

    def __init__(self, notify: Notify, store: NoticeStore, maintenance: Maintenance, public_url: str | None) -> None:
        self._notify = notify
        self._store = store
        self._maintenance = maintenance
        self._public_url = public_url
        self._machine = socket.gethostname()

    async def note(self, update: IncidentUpdate) -> None:
        """An incident's status has changed."""
        if not self._notify.channels:
            return
        if update.status.closed:
            await self._close(update.plan.plan_id, update.status)
        elif update.status in PAGED_STATUS:
            kind, severity = PAGED_STATUS[update.status]
            await self._page(update.plan.plan_id, kind, severity)

    async def look(self, now: datetime) -> None:
        """Tell what has been open for long, and remind of what nobody has answered."""
        if not self._notify.channels:
            return
        for plan_id in await self._store.still_open(now, self._notify.page_after):
            await self._page(plan_id, Kind.STILL_OPEN, "warning")
        if self._notify.remind_every is not None:
            for plan_id, count in await self._store.unanswered(now, self._notify.remind_every):
                await self._remind(plan_id, count + 1)

    async def _page(self, plan_id: UUID, kind: Kind, severity: Severity) -> None:
        found = await self._store.story(plan_id)
        if found is None:
            return
        story, _ = found
        now = datetime.now(UTC)
        channels = self._notify.route(severity, story.service, now)
        if channels:
            message = tell(story, kind, severity, now, self._public_url, self._machine)
            await self._store.queue(story, kind, message, await self._places(channels, story.service, severity, now))

    async def _remind(self, plan_id: UUID, number: int) -> None:
        found = await self._store.story(plan_id)
        if found is None:
            return
        story, told = found
        now = datetime.now(UTC)
        if story.status not in PAGED_STATUS:
            return
        _, severity = PAGED_STATUS[story.status]
        message = tell(story, Kind.REMINDER, severity, now, self._public_url, self._machine)
        places = await self._places(self._known(told), story.service, severity, now)
        await self._store.queue(story, f"{Kind.REMINDER}-{number}", message, places)

    async def _close(self, plan_id: UUID, status: IncidentStatus) -> None:
        """The end goes wherever anything was told, at once; elsewhere it is news for who wants such news."""
        found = await self._store.story(plan_id)
        if found is None:
            return
        story, told = found
        now = datetime.now(UTC)
        ending = tell(story, Kind.CLOSED, "info", now, self._public_url, self._machine)
        # Where what was told is still held back, its end is held with it: both come in one summary.
        places: list[Place] = []
        for name in self._known(told):
            held = told[name]
            places.append((name, "held", held.because, held.due) if held else (name, "pending", "", now))
        await self._store.queue(story, Kind.CLOSED, ending, places)
        if status in _CLOSED_WELL:
            curious = [name for name in self._notify.route("info", story.service, now) if name not in told]
            if curious and await self._maintenance.covers(story.service) is None:
                news = Message(ending.severity, ending.subject, ending.body)
                await self._store.queue(
                    story, Kind.CLOSED, news, await self._places(curious, story.service, "info", now)
                )

    def _known(self, told: Told) -> list[str]:
        return [name for name in self._notify.channels if name in told]

    async def _places(self, channels: Sequence[str], service: str, severity: Severity, now: datetime) -> list[Place]:
        window = await self._maintenance.covers(service)
        if window is not None:
            return [(name, "held", "maintenance", window.until + SETTLING) for name in channels]
        quiet = self._notify.quiet_until(now)
        if quiet is not None and severity != "critical":
            return [(name, "held", "quiet", quiet) for name in channels]
        return [(name, "pending", "", now) for name in channels]
