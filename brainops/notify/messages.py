"""What a message says. It stands on its own: what, since when, cause, tried, what happens next, what you can do.

Everything that came from a service is redacted here once more and has no line breaks of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from brainops.config.notify import Severity
from brainops.contracts.incident import Attempt, IncidentStatus
from brainops.telemetry.redaction import clean

_MOST_NAMED = 10
_MOST_LISTED = 20
_LONGEST_LINE = 400


class Kind(StrEnum):
    """Why something is told. Reminders are numbered: `reminder-1`."""

    ESCALATED = "escalated"
    WAITING_APPROVAL = "waiting_approval"
    OBSERVING = "observing"
    STILL_OPEN = "still_open"
    REMINDER = "reminder"
    CLOSED = "closed"


PAGED_STATUS: dict[IncidentStatus, tuple[Kind, Severity]] = {
    IncidentStatus.ESCALATED: (Kind.ESCALATED, "critical"),
    IncidentStatus.WAITING_APPROVAL: (Kind.WAITING_APPROVAL, "warning"),
    IncidentStatus.OBSERVING: (Kind.OBSERVING, "warning"),
}
"""Which statuses page, and how urgently."""


@dataclass(frozen=True)
class Story:
    """What is known of an incident when something is told about it."""

    plan_id: UUID
    service: str
    check: str
    status: IncidentStatus
    headline: str
    cause: str
    note: str
    """What its plan says of its status."""
    opened_at: datetime
    closed_at: datetime | None = None
    affected: tuple[str, ...] = ()
    """Other services that fail because of it."""
    attempts: tuple[Attempt, ...] = ()
    approval_id: UUID | None = None
    approval_expires_at: datetime | None = None


@dataclass(frozen=True)
class Message:
    """What goes to a channel."""

    severity: Severity
    subject: str
    body: str
    closing: bool = False
    """It tells the end of what was told before."""


def tell(
    story: Story, kind: Kind, severity: Severity, now: datetime, public_url: str | None, machine: str = ""
) -> Message:
    """The message about an incident. `machine`: where the commands that it names are to be typed."""
    closing = kind is Kind.CLOSED
    headline = _line(story.headline or f"{story.service} fails {story.check}")
    what = headline.removeprefix(f"{story.service}:").removeprefix(f"{story.service} ").strip()
    label = story.status.value if closing else severity
    # a plan's note begins with the headline where nothing was tried: that is told above
    note = _line(story.note).removeprefix(headline).lstrip(". ")
    facts = [
        ("What", f"{story.service}: {what}"),
        ("Where", machine),
        ("Since", _since(story, now)),
        ("Cause", _line(story.cause) or "not known yet"),
        ("Also failing because of it", _some(story.affected)),
        ("Tried", _tried(story.attempts)),
        ("Now", note),
        ("Next", _next(story, kind)),
        ("You can", _orders(story, kind)),
        ("More", _more(story.plan_id, public_url)),
    ]
    return Message(
        severity=severity,
        subject=clean(f"[{label}] {story.service}: {_ASKS[kind] or what}", 150).replace("\n", " "),
        body="\n".join(f"{name}: {value}" for name, value in facts if value),
        closing=closing,
    )


def summarise(messages: Sequence[tuple[datetime, str]], because: str, public_url: str | None) -> tuple[str, str]:
    """Subject and body that stand for several messages that were held back, oldest first."""
    count = len(messages)
    subject = f"{count} more messages held back: {because}"
    lines = [f"{at.astimezone(UTC):%H:%M} {text}" for at, text in messages[:_MOST_LISTED]]
    if count > _MOST_LISTED:
        lines.append(f"… and {count - _MOST_LISTED} more")
    lines.append(f"More: {public_url.rstrip('/')}/incidents" if public_url else "More: brainops incidents")
    return subject, "\n".join(lines)


_ASKS: dict[Kind, str] = {
    Kind.ESCALATED: "",
    Kind.WAITING_APPROVAL: "your answer is needed",
    Kind.OBSERVING: "",
    Kind.STILL_OPEN: "",
    Kind.REMINDER: "still waits for you",
    Kind.CLOSED: "",
}


def _since(story: Story, now: datetime) -> str:
    ended = story.closed_at
    lasted = _lasted((ended or now) - story.opened_at)
    began = f"{story.opened_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"{began}, over after {lasted}" if ended else f"{began} ({lasted})"


def _lasted(span: timedelta) -> str:
    seconds = max(0, round(span.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _tried(attempts: Sequence[Attempt]) -> str:
    if not attempts:
        return "nothing"
    return ", ".join(f"{one.remedy.replace('_', ' ')} ({'helped' if one.helped else 'no'})" for one in attempts)


def _some(services: Sequence[str]) -> str:
    if not services:
        return ""
    rest = len(services) - _MOST_NAMED
    named = ", ".join(services[:_MOST_NAMED])
    return f"{len(services)} service{'s' * (len(services) != 1)} ({named}{f' and {rest} more' if rest > 0 else ''})"


def _next(story: Story, kind: Kind) -> str:
    if kind is Kind.CLOSED:
        return "nothing needs to be done"
    if story.status is IncidentStatus.WAITING_APPROVAL:
        expires = story.approval_expires_at
        until = f" until {expires.astimezone(UTC):%H:%M} UTC" if expires else ""
        return f"without an answer{until} it counts as rejected"
    if story.status is IncidentStatus.OBSERVING:
        return "BrainOps goes on watching and closes the incident when the check passes; it does nothing about it"
    if story.status is IncidentStatus.ESCALATED:
        return "a person must look; BrainOps closes the incident when the check passes"
    return "BrainOps goes on working at it"


def _orders(story: Story, kind: Kind) -> str:
    if kind is Kind.CLOSED:
        return ""
    short = str(story.plan_id)[:8]
    if story.status is IncidentStatus.WAITING_APPROVAL and story.approval_id is not None:
        approval = str(story.approval_id)[:8]
        return f"brainops approve {approval} · brainops reject {approval}"
    return f"brainops retry {short} · brainops dismiss {short} · brainops logs {story.service}"


def _more(plan_id: UUID, public_url: str | None) -> str:
    return f"{public_url.rstrip('/')}/incidents/{plan_id}" if public_url else f"brainops incidents {str(plan_id)[:8]}"


def _line(text: str) -> str:
    return " ".join(clean(text, _LONGEST_LINE).split())
