"""Times that can be kept: within what Postgres and Python both write, in UTC."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)
"""`9999-12-31` is how many say `never`."""

LATEST_TOLD = LATEST - timedelta(days=366)
"""For what is counted on from: a lease, a time to keep."""


def in_range(at: datetime) -> bool:
    """Whether something can be said to have happened then."""
    return at.tzinfo is not None and EARLIEST <= at <= LATEST_TOLD


def _end(at: datetime) -> datetime:
    if not EARLIEST <= at <= LATEST:
        raise ValueError(f"it must be from {EARLIEST.year} to {LATEST.year}, in UTC")
    return at.astimezone(UTC)


def _moment(at: datetime) -> datetime:
    if not in_range(at):
        raise ValueError(f"it must be from {EARLIEST.year} to {LATEST_TOLD.year}, in UTC")
    return at.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_moment)]
"""When something was said or begins to hold."""

End = Annotated[AwareDatetime, AfterValidator(_end)]
"""Until when something holds."""
