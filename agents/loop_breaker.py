"""Loop breaker: when healing itself becomes the fault.

A remedy that seems to help and does not is repeated for ever by a naive healer (kubernetes operators have
restarted nodes for days this way). The breaker opens on recurrence, not on failure of the remedy.
"""

from collections.abc import Sequence
from datetime import datetime

from brainops.config.models import Recurrence


def must_escalate(openings: Sequence[datetime], now: datetime, allowed: Recurrence) -> bool:
    """Whether the incident that opens at `now` exceeds `allowed`.

    `openings` are the times at which the same signature opened before, in any order, timezone-aware.
    """
    recent = [opened for opened in openings if now - opened <= allowed.within]
    return len(recent) + 1 >= allowed.incidents
