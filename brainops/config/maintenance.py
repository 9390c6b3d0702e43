"""`maintenance:`: times at which a service may be down, by calendar."""

from datetime import datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema

from brainops.config.quantities import Duration
from brainops.config.section import Name, Section

Glob = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_*?\[\]!-]{1,63}$")]
"""A name of a service, or a pattern over names: `*`, `?` and `[…]` as a shell has them."""


def zone(name: str) -> ZoneInfo:
    """The time zone of a name such as Europe/Berlin. Raises ValueError with the remedy."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name[:60]!r} is no time zone; write one such as UTC or Europe/Berlin") from None


def _known_zone(name: str) -> str:
    zone(name)
    return name


def _valid_schedule(expression: str) -> str:
    try:
        CronSim(expression[:200], datetime(2026, 1, 1))  # noqa: DTZ001  # only its form is looked at
    except CronSimError as error:
        raise ValueError(
            f"{expression[:60]!r} is no cron expression ({error}); write one such as '0 2 * * 6' (Saturdays at 2:00)"
        ) from None
    return expression


TimeZone = Annotated[str, AfterValidator(_known_zone), WithJsonSchema({"type": "string"})]
"""A name of the IANA database."""

Schedule = Annotated[str, AfterValidator(_valid_schedule), WithJsonSchema({"type": "string"})]
"""Five fields: minute, hour, day of month, month, day of week."""


class MaintenanceWindow(Section):
    """Times that come again and again at which nothing is done about some services, and nobody is paged for them."""

    name: Name
    """What people read where the window is the reason."""
    services: tuple[Glob, ...] = ()
    """Names of services or patterns over names, such as shop-*. Empty: all services."""
    schedule: Schedule
    """When it begins, as a cron expression in five fields."""
    timezone: TimeZone = "UTC"
    """Whose clock the schedule goes by."""
    lasts: Duration = Field(ge=timedelta(minutes=1), le=timedelta(days=7))
    """How long it is open each time; 1m to 7d."""

    def open_until(self, now: datetime) -> datetime | None:
        """When the window that is open at `now` ends; None while it is closed."""
        local = now.astimezone(zone(self.timezone)) + timedelta(seconds=1)  # the search leaves its own start out
        begun = next(CronSim(self.schedule, local, reverse=True), None)
        ends = begun + self.lasts if begun is not None else None
        return ends.astimezone(now.tzinfo) if ends is not None and ends > now else None

    def opens_next(self, now: datetime) -> datetime | None:
        """When it begins next after `now`; None for a schedule that never comes, such as a 30th of February."""
        return next(CronSim(self.schedule, now.astimezone(zone(self.timezone))), None)
