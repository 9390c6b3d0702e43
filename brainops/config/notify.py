"""`notify:`: who is told what, when, and how much at most."""

from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from brainops.config.maintenance import Glob, TimeZone, zone
from brainops.config.quantities import Duration
from brainops.config.section import Name, Section

Severity = Literal["critical", "warning", "info"]
"""`critical`: a person must look; `warning`: a person should know or answer; `info`: it has been dealt with."""

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_MINUTES_A_DAY = 24 * 60


def _minutes(text: str) -> int:
    hour, _, minute = text.partition(":")
    if not (hour.isdigit() and minute.isdigit() and len(minute) == 2 and len(hour) in (1, 2)):
        raise ValueError(f"{text[:40]!r} is no time of day; write one such as 08:00 or 22:30")
    value = int(hour) * 60 + int(minute)
    if int(minute) > 59 or value > _MINUTES_A_DAY:
        raise ValueError(f"{text[:40]!r} is no time of day; write one from 00:00 to 24:00")
    return value


def minutes_of_day(hours: str) -> tuple[int, int]:
    """First and last minute of `22:00-07:00`, in minutes of the day. Raises ValueError with the remedy."""
    first, dash, last = hours.replace(" ", "").partition("-")
    if not dash:
        raise ValueError(f"{hours[:40]!r} is no span of hours; write one such as 08:00-18:00 or 22:00-07:00")
    span = _minutes(first), _minutes(last)
    if span[0] == span[1]:
        raise ValueError(f"{hours[:40]!r} begins when it ends; leave the hours out for the whole day")
    return span


def _valid_hours(hours: str) -> str:
    minutes_of_day(hours)
    return hours


Hours = Annotated[str, AfterValidator(_valid_hours)]
"""From and to, such as 08:00-18:00; over midnight where the end is the smaller: 22:00-07:00."""


class Times(Section):
    """Hours of days of the week."""

    hours: Hours | None = None
    """From and to, such as 22:00-07:00. Default: the whole day."""
    days: tuple[Day, ...] = ()
    """Days of the week on which these hours begin: mon, tue, wed, thu, fri, sat, sun. Empty: every day."""
    timezone: TimeZone = "UTC"
    """Whose clock the hours go by."""

    def hold(self, at: datetime) -> bool:
        """Whether `at` is within these times."""
        return self.end(at) is not None

    def end(self, at: datetime) -> datetime | None:
        """When the span that `at` lies in ends; None outside of one. A span is at most a day."""
        local = at.astimezone(zone(self.timezone))
        first, last = minutes_of_day(self.hours) if self.hours else (0, _MINUTES_A_DAY)
        for days_ago in (0, 1):
            midnight = (local - timedelta(days=days_ago)).replace(hour=0, minute=0, second=0, microsecond=0)
            if self.days and DAYS[midnight.weekday()] not in self.days:
                continue
            begins = midnight + timedelta(minutes=first)
            ends = midnight + timedelta(minutes=last if last > first else last + _MINUTES_A_DAY)
            if begins <= local < ends:
                return ends.astimezone(at.tzinfo)
        return None


class RateLimit(Section):
    """How many messages a channel gets; the others are held back and told in one counted summary."""

    messages: int = Field(default=10, ge=1, le=10_000)
    """So many messages …"""
    per: Duration = Field(default=timedelta(minutes=10), ge=timedelta(seconds=1), le=timedelta(days=1))
    """… within this time."""


class Channel(Section):
    """One place that messages go to."""

    url: Annotated[str, StringConstraints(min_length=1)]
    """An Apprise URL (https://github.com/caronc/apprise). `${NAME}` names a variable of BrainOps' own environment, so
    that no secret is in the file."""
    at_most: RateLimit = RateLimit()
    """How many messages it gets."""


class Route(Times):
    """Which messages go to which channels."""

    severities: tuple[Severity, ...] = ("critical", "warning")
    """Messages of these severities. What was paged is always followed by its resolution."""
    services: tuple[Glob, ...] = ()
    """Names of services or patterns over names. Empty: all services."""
    channels: tuple[Name, ...] = Field(min_length=1)
    """Where they go, by the names of `channels`."""


class OutboundHeartbeat(Section):
    """Tells an outside watcher that BrainOps itself lives. When it stays away, somebody should look."""

    url: Annotated[str, StringConstraints(min_length=1)]
    """Asked with GET for as long as BrainOps probes and its database answers. `${NAME}` as in a channel."""
    every: Duration = Field(default=timedelta(minutes=1), ge=timedelta(seconds=1), le=timedelta(days=1))
    """How often."""


class Notify(Section):
    """Who is told what. Default: nobody; `brainops incidents` tells everything."""

    channels: dict[Name, Channel] = Field(default_factory=dict[str, Channel])
    """Places that messages go to, by name."""
    routes: tuple[Route, ...] = ()
    """Which messages go where; one goes to every channel of every route that fits. Default: critical and warning to
    all channels."""
    quiet: tuple[Times, ...] = ()
    """Times at which only critical messages and resolutions of what was paged are delivered; the others come
    afterwards in one summary."""
    remind_every: Duration | None = Field(default=timedelta(hours=1), ge=timedelta(seconds=1))
    """An escalation or a question that nobody dealt with is told again after this."""
    page_after: Duration = Field(default=timedelta(minutes=5), ge=timedelta(seconds=1))
    """An incident that BrainOps still works on after this is told, too."""
    heartbeat: OutboundHeartbeat | None = None
    """Tells an outside watcher that BrainOps itself lives. Default: nobody."""

    def route(self, severity: Severity, service: str, at: datetime) -> tuple[str, ...]:
        """The channels that a message of this severity about `service` goes to at `at`, in the file's order."""
        if not self.routes:
            return tuple(self.channels) if severity != "info" else ()
        wanted = {
            channel
            for route in self.routes
            if severity in route.severities and names(route.services, service) and route.hold(at)
            for channel in route.channels
        }
        return tuple(name for name in self.channels if name in wanted)

    def quiet_until(self, at: datetime) -> datetime | None:
        """When the quiet time that `at` lies in ends; None outside of one."""
        ends = [end for times in self.quiet if (end := times.end(at)) is not None]
        return max(ends, default=None)


def names(globs: tuple[str, ...], service: str) -> bool:
    """Whether one of `globs` names the service; no globs name all."""
    return not globs or any(fnmatchcase(service, glob) for glob in globs)
