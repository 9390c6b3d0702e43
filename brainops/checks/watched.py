"""One check of one service, as it is watched."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from brainops.checks.base import Subject
from brainops.checks.flapping import FlapRule, Turns
from brainops.checks.hysteresis import Hysteresis, Standing, after_fact
from brainops.config.checks import CheckConfig
from brainops.config.models import Service
from brainops.config.quantities import format_duration
from brainops.contracts.check import CheckState, CheckStatus, ProbeResult, Reason


@dataclass(slots=True)
class WatchedCheck:
    """What is known of a check; `seen` brings it up to date."""

    service_name: str
    name: str
    service: Service
    check: CheckConfig
    standing: Standing
    seq: int
    reason: Reason
    detail: str
    since: datetime
    latency_ms: float | None
    turns: Turns = field(default_factory=Turns)
    due: float = 0.0
    """When its newest probe was or is due, on the event loop's clock."""
    ended: bool = False
    """A run of the service ended since the last probe."""

    @classmethod
    def resume(
        cls, service_name: str, name: str, service: Service, check: CheckConfig, previous: CheckState | None
    ) -> "WatchedCheck":
        """Go on from a state, or from nothing."""
        state = previous or CheckState(
            service=service_name, check=name, status=CheckStatus.UNKNOWN, since=datetime.now(UTC)
        )
        flapped = state.status is CheckStatus.FAILING and state.reason is Reason.FLAPPING
        return cls(
            service_name=service_name,
            name=name,
            service=service,
            check=check,
            # What a flapping check saw last is not kept: its next probes decide on which side it is.
            standing=Standing(CheckStatus.UNKNOWN if flapped else state.status),
            seq=state.seq,
            reason=state.reason,
            detail=state.detail,
            since=state.since,
            latency_ms=state.latency_ms,
            turns=_rule(service).taken_up(time.monotonic()) if flapped else Turns(),
        )

    @property
    def key(self) -> tuple[str, str]:
        """Service and check."""
        return self.service_name, self.name

    @property
    def subject(self) -> Subject:
        """What its probe looks at."""
        return Subject(self.service_name, self.name, self.service)

    @property
    def status(self) -> CheckStatus:
        """What is believed: a check that passes and fails in turn is failing."""
        return CheckStatus.FAILING if self.turns.flapping else self.standing.status

    @property
    def passing(self) -> bool:
        """Whether it is believed to pass."""
        return self.status is CheckStatus.PASSING

    @property
    def state(self) -> CheckState:
        """What leaves the watch."""
        return CheckState(
            service=self.service_name,
            check=self.name,
            status=self.status,
            seq=self.seq,
            reason=self.reason,
            detail=self.detail,
            since=self.since,
            latency_ms=self.latency_ms,
        )

    def seen(self, result: ProbeResult, *, fact: bool = False) -> bool:
        """Take in what a probe saw; whether there is something to tell: the check turned, or began or ceased to flap.

        `fact`: a failure that needs no confirmation.
        """
        before, flapped = self.status, self.turns.flapping
        if self.ended:
            self.turns, self.ended = Turns(), False
        if fact and not result.ok:
            self.standing, _ = after_fact(self.standing)
        else:
            self._look(ok=result.ok)
        self.latency_ms = result.latency_ms
        turned = self.status is not before
        if turned:
            self.since = datetime.now(UTC)
        if told := turned or self.turns.flapping != flapped:
            self.seq += 1
        if self.turns.flapping:
            rule = self.service.flapping
            self.reason = Reason.FLAPPING
            self.detail = f"passes and fails in turn: {rule.turns} turns in {format_duration(rule.within)}"
        elif self.status is not CheckStatus.FAILING:
            self.reason, self.detail = Reason.NONE, ""
        elif not result.ok:
            self.reason, self.detail = result.reason, result.detail
        return told

    def process_ended(self) -> None:
        """A run of the service ended: what turned before says nothing about what comes after."""
        self.ended = True

    def _look(self, *, ok: bool) -> None:
        known = self.standing.status
        self.standing, turned = Hysteresis(self.check.fail_after, self.check.pass_after).after(self.standing, ok=ok)
        rule, now = _rule(self.service), time.monotonic()
        if turned and known is not CheckStatus.UNKNOWN:
            self.turns = rule.after_turn(self.turns, now)
        else:
            self.turns = rule.after_look(self.turns, now)


def _rule(service: Service) -> FlapRule:
    return FlapRule(service.flapping.turns, service.flapping.within.total_seconds())
