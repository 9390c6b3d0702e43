"""The outbox: each message is a row before it is sent, and stays as a record of what was delivered."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Text, bindparam, select, text
from sqlalchemy import Uuid as UuidType
from sqlalchemy.dialects.postgresql import ARRAY

from brainops.config.notify import Severity
from brainops.contracts.base import Contract
from brainops.contracts.incident import Attempt, IncidentStatus
from brainops.database.engine import Database
from brainops.notify.messages import Message, Story
from brainops.notify.tables import notices

NoticeState = Literal["pending", "held", "sent", "failed", "dropped"]
Held = Literal["", "maintenance", "quiet", "rate"]

_MOST_DUE = 500
_MOST_FOUND = 100

# What was said about a maintenance window that is over may be said anew; anything else is said once.
_QUEUE = text("""
    INSERT INTO brainops.notices AS kept
        (plan_id, kind, channel, service, severity, closing, subject, body, state, held_because, due_at)
    VALUES (:plan, :kind, :channel, :service, :severity, :closing, :subject, :body, :state, :held, :due)
    ON CONFLICT (tenant_id, plan_id, kind, channel) DO UPDATE
    SET severity = excluded.severity, closing = excluded.closing, subject = excluded.subject, body = excluded.body,
        state = excluded.state, held_because = excluded.held_because, due_at = excluded.due_at,
        created_at = clock_timestamp()
    WHERE kept.state = 'dropped' OR kept.state = 'held' AND kept.held_because = 'maintenance'
""")

_STORY = text("""
    SELECT i.plan_id, i.service, i.check_name, i.status, i.headline, i.cause, i.opened_at, i.closed_at, i.dependents,
        i.observation, i.root_plan,
        (SELECT note FROM brainops.incident_events e WHERE e.plan_id = i.plan_id ORDER BY id DESC LIMIT 1) AS note,
        (SELECT jsonb_agg(jsonb_build_object('remedy', remedy, 'helped', helped) ORDER BY first_step)
            FROM brainops.remediations r WHERE r.plan_id = i.plan_id) AS attempts,
        a.id AS approval_id, a.expires_at AS approval_expires_at,
        (SELECT jsonb_object_agg(channel, held) FROM (
            SELECT channel, CASE WHEN bool_and(state = 'held')
                THEN jsonb_build_object('due', max(due_at), 'because', min(held_because)) END AS held
            FROM brainops.notices n
            WHERE n.plan_id = i.plan_id AND kind <> 'closed' AND state <> 'dropped' AND held_because <> 'maintenance'
            GROUP BY channel
        ) AS told) AS told
    FROM brainops.incidents i
    LEFT JOIN brainops.approvals a ON a.plan_id = i.plan_id AND a.status = 'pending'
    WHERE i.plan_id = :plan
    ORDER BY a.created_at DESC LIMIT 1
""")

_DUE = text("""
    SELECT n.*, i.status AS incident_status, i.closed_at AS incident_closed_at
    FROM brainops.notices n LEFT JOIN brainops.incidents i ON i.plan_id = n.plan_id
    WHERE n.state IN ('pending', 'held') AND (n.due_at <= :now OR n.held_because = 'maintenance')
    ORDER BY n.created_at, n.plan_id, n.kind LIMIT :limit
""")

_STILL_OPEN = text("""
    SELECT plan_id, service FROM brainops.incidents i
    WHERE closed_at IS NULL AND status = 'open' AND opened_at < :before AND coalesce(root_plan, plan_id) = plan_id
        AND NOT EXISTS (SELECT FROM brainops.notices n WHERE n.plan_id = i.plan_id AND n.kind = 'still_open')
    ORDER BY opened_at LIMIT :limit
""")

_UNANSWERED = text("""
    SELECT i.plan_id, count(DISTINCT n.kind) FILTER (WHERE n.kind LIKE 'reminder-%') AS reminders
    FROM brainops.incidents i JOIN brainops.notices n ON n.plan_id = i.plan_id
    WHERE i.closed_at IS NULL AND i.status IN ('escalated', 'waiting_approval') AND n.state <> 'dropped'
    GROUP BY i.plan_id
    HAVING bool_and(n.state IN ('sent', 'failed')) AND max(n.sent_at) < :before
    ORDER BY i.plan_id LIMIT :limit
""")

_KEYS = "(plan_id, kind, channel) IN (SELECT * FROM unnest(:plans, :kinds, :channels))"
_ARRAYS = (
    bindparam("plans", type_=ARRAY(UuidType())),
    bindparam("kinds", type_=ARRAY(Text)),
    bindparam("channels", type_=ARRAY(Text)),
)

_SENT = text(f"""
    UPDATE brainops.notices
    SET state = 'sent', held_because = '', sent_at = clock_timestamp(), attempts = attempts + 1, last_error = '',
        summarised = (plan_id, kind, channel) <> (:first_plan, :first_kind, :first_channel)
    WHERE {_KEYS}
""").bindparams(*_ARRAYS)  # noqa: S608  # our own constant

_FAILED = text(f"""
    UPDATE brainops.notices
    SET attempts = attempts + 1, last_error = :error, due_at = :due,
        state = CASE WHEN created_at < :given_up THEN 'failed' ELSE state END
    WHERE {_KEYS}
""").bindparams(*_ARRAYS)  # noqa: S608

_CHANGE = text(f"""
    UPDATE brainops.notices SET state = :state, held_because = :held, due_at = :due WHERE {_KEYS}
""").bindparams(*_ARRAYS)  # noqa: S608

_RECENTLY_SENT = text("""
    SELECT sent_at FROM brainops.notices
    WHERE channel = :channel AND state = 'sent' AND NOT summarised AND NOT closing AND sent_at > :since
    ORDER BY sent_at LIMIT :limit
""")


class HeldBack(Contract):
    """Why, and until when, what was to be told is still held."""

    due: datetime
    because: Held


Told = dict[str, HeldBack | None]
"""Channels that were told of an incident; with what still holds that back, or None."""


class Notice(Contract):
    """One message to one channel."""

    plan_id: UUID
    kind: str
    channel: str
    service: str
    severity: Severity
    closing: bool
    subject: str
    body: str
    state: NoticeState
    held_because: Held = ""
    due_at: datetime
    attempts: int
    last_error: str
    created_at: datetime
    sent_at: datetime | None = None
    summarised: bool = False


class DueNotice(Notice):
    """One that could be delivered now, and where its incident stands."""

    incident_status: IncidentStatus | None = None
    incident_closed_at: datetime | None = None


class NoticeStore:
    """Reads and writes `notices`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def story(self, plan_id: UUID) -> tuple[Story, Told] | None:
        """What is known of an incident, and who was told of it."""
        rows = await self._database.read(_STORY, {"plan": plan_id})
        if not rows:
            return None
        row = rows[0]
        observation: dict[str, Any] = row["observation"]
        story = Story(
            plan_id=row["plan_id"],
            service=row["service"],
            check=row["check_name"],
            status=IncidentStatus(row["status"]),
            headline=row["headline"] or f"{row['check_name']} fails: {observation.get('detail', '')}",
            cause=row["cause"],
            note=row["note"] or "",
            opened_at=row["opened_at"],
            closed_at=row["closed_at"],
            affected=tuple(row["dependents"]),
            attempts=tuple(Attempt.model_validate(attempt) for attempt in row["attempts"] or ()),
            approval_id=row["approval_id"],
            approval_expires_at=row["approval_expires_at"],
        )
        told: dict[str, Any] = row["told"] or {}
        return story, {name: HeldBack.model_validate(held) if held else None for name, held in told.items()}

    async def queue(
        self, story: Story, kind: str, message: Message, places: Iterable[tuple[str, NoticeState, Held, datetime]]
    ) -> None:
        """Keep a message for channels: name, state, why it is held, and when it is due. Known ones are left alone."""
        values = [
            {
                "plan": story.plan_id,
                "kind": kind,
                "channel": channel,
                "service": story.service,
                "severity": message.severity,
                "closing": message.closing,
                "subject": message.subject,
                "body": message.body,
                "state": state,
                "held": held,
                "due": due,
            }
            for channel, state, held, due in places
        ]
        if values:
            async with self._database.transaction() as connection:
                await connection.execute(_QUEUE, values)

    async def due(self, now: datetime) -> list[DueNotice]:
        """What could be delivered now, oldest first; of what maintenance holds, all."""
        rows = await self._database.read(_DUE, {"now": now, "limit": _MOST_DUE})
        return [DueNotice.model_validate(dict(row)) for row in rows]

    async def sent(self, delivered: Sequence[Notice]) -> None:
        """These went out as one message."""
        first = delivered[0]
        values = {"first_plan": first.plan_id, "first_kind": first.kind, "first_channel": first.channel}
        await self._write(_SENT, delivered, values)

    async def failed(self, tried: Sequence[Notice], error: str, due: datetime, given_up: datetime) -> None:
        """These could not be delivered; they are tried again at `due`, except those made before `given_up`."""
        await self._write(_FAILED, tried, {"error": error, "due": due, "given_up": given_up})

    async def change(self, found: Sequence[Notice], state: NoticeState, held: Held, due: datetime) -> None:
        """Hold, release or drop these."""
        await self._write(_CHANGE, found, {"state": state, "held": held, "due": due})

    async def recently_sent(self, channel: str, since: datetime, limit: int) -> list[datetime]:
        """When the messages since then went out, oldest first. A summary is one; resolutions are not counted."""
        rows = await self._database.read(_RECENTLY_SENT, {"channel": channel, "since": since, "limit": limit})
        return [row["sent_at"] for row in rows]

    async def still_open(self, now: datetime, after: timedelta) -> list[UUID]:
        """Incidents that are being worked on for longer than `after`, of which that was not told."""
        rows = await self._database.read(_STILL_OPEN, {"before": now - after, "limit": _MOST_FOUND})
        return [row["plan_id"] for row in rows]

    async def unanswered(self, now: datetime, every: timedelta) -> list[tuple[UUID, int]]:
        """Incidents that wait for a person and were last told of longer ago than `every`; with their reminders."""
        rows = await self._database.read(_UNANSWERED, {"before": now - every, "limit": _MOST_FOUND})
        return [(row["plan_id"], row["reminders"]) for row in rows]

    async def list(self, limit: int) -> list[Notice]:
        """The last messages, newest first."""
        query = select(notices).order_by(notices.c.created_at.desc(), notices.c.channel).limit(limit)
        return [Notice.model_validate(dict(row)) for row in await self._database.read(query)]

    async def _write(self, statement: Any, found: Sequence[Notice], values: dict[str, Any]) -> None:
        """Any: a statement with its arrays, and values of many types."""
        if not found:
            return
        keys = {
            "plans": [notice.plan_id for notice in found],
            "kinds": [notice.kind for notice in found],
            "channels": [notice.channel for notice in found],
        }
        async with self._database.transaction() as connection:
            await connection.execute(statement, keys | values)
