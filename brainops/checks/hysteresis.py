"""Hysteresis: a check believes what it sees only after it has seen it a few times in a row."""

from dataclasses import dataclass

from brainops.contracts.check import CheckStatus


@dataclass(frozen=True, slots=True)
class Standing:
    """What a check believes, and how many probes in a row said otherwise since."""

    status: CheckStatus = CheckStatus.UNKNOWN
    bad: int = 0
    """Failed probes in a row."""
    good: int = 0
    """Good probes in a row."""


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """How many probes in a row turn a check."""

    fail_after: int
    pass_after: int

    def after(self, standing: Standing, *, ok: bool) -> tuple[Standing, bool]:
        """The standing after one more probe, and whether the check turned with it."""
        bad, good = (0, standing.good + 1) if ok else (standing.bad + 1, 0)
        status = standing.status
        if ok and good >= self.pass_after:
            status = CheckStatus.PASSING
        if not ok and bad >= self.fail_after:
            status = CheckStatus.FAILING
        return Standing(status, bad, good), status is not standing.status


def after_fact(standing: Standing) -> tuple[Standing, bool]:
    """The standing after a failure that needs no confirmation, such as the end of a process."""
    failing = Standing(CheckStatus.FAILING, bad=standing.bad + 1)
    return failing, standing.status is not CheckStatus.FAILING
