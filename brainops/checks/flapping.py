"""Flapping: a check that passes and fails in turn is one incident that stays open, and not one for each turn.

What is counted are the turns that probes brought, after hysteresis. The end of a process is a fact and no turn:
that a service ends again and again is for the loop breaker, and each end begins the count anew.
"""

from dataclasses import dataclass

STEADY_SHARE = 0.5
"""Without a turn for this share of the window, a flapping check is believed again."""


@dataclass(frozen=True, slots=True)
class Turns:
    """What is remembered of a check. Times are monotonic seconds."""

    recent: tuple[float, ...] = ()
    """Of the last turns, oldest first; never more than the rule counts."""
    flapping: bool = False


@dataclass(frozen=True, slots=True)
class FlapRule:
    """From how many turns within how many seconds a check flaps."""

    turns: int
    within: float

    def after_turn(self, known: Turns, now: float) -> Turns:
        """What is remembered after one more turn."""
        recent = (*(at for at in known.recent if now - at < self.within), now)[-self.turns :]
        return Turns(recent, known.flapping or len(recent) >= self.turns)

    def after_look(self, known: Turns, now: float) -> Turns:
        """What is remembered after a probe that turned nothing: a check that has been steady flaps no more."""
        if known.flapping and (not known.recent or now - known.recent[-1] >= self.within * STEADY_SHARE):
            return Turns()
        return known

    def taken_up(self, now: float) -> Turns:
        """A check that flapped when the last watch stopped: it must be steady from now on."""
        return Turns((now,), flapping=True)
