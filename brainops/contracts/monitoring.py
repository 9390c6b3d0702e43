"""A host's watch, the first start of its services, and the upkeep of what was seen."""

from uuid import UUID

from pydantic import Field

from brainops.contracts.base import DEFAULT_TENANT, Contract, ShortText


class WatchRequest(Contract):
    """Watch every service of a host."""

    tenant_id: str = DEFAULT_TENANT
    host: str


class StartupRequest(Contract):
    """Start the services of a host that have never run, in the order of their dependencies."""

    tenant_id: str = DEFAULT_TENANT
    host: str
    plan_id: UUID | None = None


class PendingStarts(Contract):
    """Services to start, dependencies first."""

    services: tuple[str, ...] = ()


class StartupResult(Contract):
    """What was started, and what was not with the reason."""

    started: tuple[str, ...] = ()
    failed: dict[str, ShortText] = Field(default_factory=dict)


class RetentionResult(Contract):
    """What one round of upkeep did."""

    minutes_written: int = 0
    hours_written: int = 0
    rows_removed: int = 0
    histories_archived: int = 0


class RetentionRequest(Contract):
    """One round of upkeep."""

    tenant_id: str = DEFAULT_TENANT
    archive_limit: int = 50
