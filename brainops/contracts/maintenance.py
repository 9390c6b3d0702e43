"""Maintenance windows that are opened by a command or a plan."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from brainops.contracts.base import DEFAULT_TENANT, Actor, Contract, ShortText


class OpenMaintenance(Contract):
    """Let services be for a while. The same `id` again opens no second window."""

    tenant_id: str = DEFAULT_TENANT
    id: UUID
    services: tuple[str, ...] = ()
    """Names of services or patterns over names. Empty: all."""
    seconds: float = Field(gt=0, le=30 * 86400)
    reason: ShortText = ""
    actor: Actor
    plan_id: UUID | None = None
    """The plan that opens it."""


class CloseMaintenance(Contract):
    """Take the services of a window up again before its end."""

    tenant_id: str = DEFAULT_TENANT
    id: UUID
    actor: Actor


class Window(Contract):
    """A window that a command or a plan opened."""

    id: UUID
    services: tuple[str, ...]
    reason: ShortText = ""
    opened_by: str
    plan_id: UUID | None = None
    opened_at: datetime
    ends_at: datetime
    closed_at: datetime | None = None
    closed_by: str | None = None


class Covered(Contract):
    """Why a service is let be now, and until when."""

    reason: ShortText
    """Such as `maintenance nightly until 03:00 UTC`."""
    until: datetime
