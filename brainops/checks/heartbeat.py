"""Heartbeat: a dead man's switch for jobs that must report."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from brainops.checks.base import CheckProbe, ProbeTools, Subject
from brainops.checks.conditions import judge
from brainops.config.checks import HeartbeatCheck
from brainops.config.quantities import format_duration
from brainops.contracts.check import ProbeResult, Reason
from brainops.errors import UnavailableError

FRESH_SECONDS = 1.0
"""For so long one answer serves all heartbeat checks."""


class HeartbeatProbe(CheckProbe[HeartbeatCheck]):
    """Compares the last report of a job with the clock."""

    check = HeartbeatCheck

    def __init__(self, tools: ProbeTools) -> None:
        super().__init__(tools)
        self._reported: Mapping[str, datetime] = {}
        self._asked_at = float("-inf")
        self._away = ""
        """Why the last question had no answer."""
        self._asking = asyncio.Lock()
        self._watched_since: dict[tuple[str, str], datetime] = {}
        self._missed: set[tuple[str, str]] = set()

    async def look(self, subject: Subject, check: HeartbeatCheck, /) -> ProbeResult:
        if self._tools.heartbeats is None:
            detail = "reports of jobs cannot be asked for from here; they are kept by the stack"
            return ProbeResult(ok=False, reason=Reason.ERROR, detail=detail)
        now = datetime.now(UTC)
        watched_since = self._watched_since.setdefault(subject.key, now)
        reported = await self._reports(check)
        last = reported.get(check.heartbeat)
        silent = now - (last or watched_since)
        if silent <= check.period + check.grace:
            self._missed.discard(subject.key)
            reason, detail = judge(check.conditions, {"AGE": silent}) if last else (Reason.NONE, "")
            return ProbeResult(ok=reason is Reason.NONE, reason=reason, detail=detail)
        if self._away and subject.key not in self._missed:
            # it may have reported all the while: nothing is known, and that is not the job's fault
            return ProbeResult(ok=True, detail=f"whether it reported is not known: {self._away}"[:500])
        self._missed.add(subject.key)
        since = f"last reported at {last:%Y-%m-%d %H:%M:%S} UTC" if last else "has never reported"
        every = f"every {format_duration(check.period)} and {format_duration(check.grace)} late at most"
        return ProbeResult(
            ok=False,
            reason=Reason.MISSED,
            detail=f"{check.heartbeat} {since}; it must report {every}",
        )

    async def _reports(self, check: HeartbeatCheck) -> Mapping[str, datetime]:
        """When each job last reported, as it was known at most a second ago; the last answer while nobody can tell."""
        async with self._asking:
            if time.monotonic() - self._asked_at >= FRESH_SECONDS and self._tools.heartbeats is not None:
                try:
                    async with asyncio.timeout(check.timeout.total_seconds()):
                        self._reported = await self._tools.heartbeats()
                    self._away = ""
                except UnavailableError as error:
                    self._away = str(error)
                except TimeoutError:
                    self._away = "the database does not answer in time"
                self._asked_at = time.monotonic()
        return self._reported
