"""A message stands on its own, for somebody who was asleep a minute ago."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from brainops.contracts.incident import IncidentStatus
from brainops.notify.messages import Kind, Story, tell

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
STORY = Story(
    plan_id=UUID("7292c51f-3d69-4f94-9fc4-69cab6812c13"),
    service="kiosk",
    check="front",
    status=IncidentStatus.ESCALATED,
    headline="kiosk fails front: connection refused",
    cause="",
    note="kiosk fails front: connection refused. A person must look: no remedy fits the evidence. Nothing was tried.",
    opened_at=NOW - timedelta(minutes=2),
    affected=("shop",),
)


def test_a_page_says_everything_once() -> None:
    message = tell(STORY, Kind.ESCALATED, "critical", NOW, "https://ops.example", "vm-1")
    assert message.subject == "[critical] kiosk: fails front: connection refused"
    assert message.body.splitlines() == [
        "What: kiosk: fails front: connection refused",
        "Where: vm-1",
        "Since: 2026-11-21 02:58:00 UTC (2 min)",
        "Cause: not known yet",
        "Also failing because of it: 1 service (shop)",
        "Tried: nothing",
        "Now: A person must look: no remedy fits the evidence. Nothing was tried.",
        "Next: a person must look; BrainOps closes the incident when the check passes",
        "You can: brainops retry 7292c51f · brainops dismiss 7292c51f · brainops logs kiosk",
        "More: https://ops.example/incidents/7292c51f-3d69-4f94-9fc4-69cab6812c13",
    ]


@pytest.mark.parametrize(
    ("headline", "subject"),
    [
        ("kiosk was killed by SIGKILL", "[critical] kiosk: was killed by SIGKILL"),
        ("kiosk: nothing answers", "[critical] kiosk: nothing answers"),
        ("", "[critical] kiosk: fails front"),
        ("kiosk-2 is not meant", "[critical] kiosk: kiosk-2 is not meant"),
    ],
)
def test_the_subject_names_the_service_once(headline: str, subject: str) -> None:
    story = replace(STORY, headline=headline)
    assert tell(story, Kind.ESCALATED, "critical", NOW, None).subject == subject
