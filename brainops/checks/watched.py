"""One check of one service, as it is watched."""

from dataclasses import dataclass
from datetime import UTC, datetime

from brainops.checks.hysteresis import Hysteresis, Standing, after_fact
from brainops.config.models import HttpCheck, ProcessCheck, Service, TcpCheck
from brainops.contracts.check import CheckState, CheckStatus, ProbeResult, Reason

CheckConfig = HttpCheck | TcpCheck | ProcessCheck


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

    @classmethod
    def resume(
        cls, service_name: str, name: str, service: Service, check: CheckConfig, previous: CheckState | None
    ) -> "WatchedCheck":
        """Go on from a state, or from nothing."""
        state = previous or CheckState(
            service=service_name, check=name, status=CheckStatus.UNKNOWN, since=datetime.now(UTC)
        )
        return cls(
            service_name=service_name,
            name=name,
            service=service,
            check=check,
            standing=Standing(state.status),
            seq=state.seq,
            reason=state.reason,
            detail=state.detail,
            since=state.since,
            latency_ms=state.latency_ms,
        )

    @property
    def key(self) -> tuple[str, str]:
        """Service and check."""
        return self.service_name, self.name

    @property
    def passing(self) -> bool:
        """Whether it is believed to pass."""
        return self.standing.status is CheckStatus.PASSING

    @property
    def state(self) -> CheckState:
        """What leaves the watch."""
        return CheckState(
            service=self.service_name,
            check=self.name,
            status=self.standing.status,
            seq=self.seq,
            reason=self.reason,
            detail=self.detail,
            since=self.since,
            latency_ms=self.latency_ms,
        )

    def seen(self, result: ProbeResult, *, fact: bool = False) -> bool:
        """Take in what a probe saw; whether the check turned. `fact`: a failure that needs no confirmation."""
        if fact and not result.ok:
            self.standing, turned = after_fact(self.standing)
        else:
            hysteresis = Hysteresis(self.check.fail_after, self.check.pass_after)
            self.standing, turned = hysteresis.after(self.standing, ok=result.ok)
        self.latency_ms = result.latency_ms
        if turned:
            self.seq += 1
            self.since = datetime.now(UTC)
        failing = self.standing.status is CheckStatus.FAILING
        if failing and not result.ok:
            self.reason, self.detail = result.reason, result.detail
        elif not failing:
            self.reason, self.detail = Reason.NONE, ""
        return turned
