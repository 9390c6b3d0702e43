"""Which activities are deeds: the recording interceptor writes those to `work_history`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from brainops.contracts.agent import AgentName

_ATTRIBUTE = "brainops_deed"
F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True)
class Deed:
    """How an activity is recorded. `agent`: who answers for it; None: its one argument names it."""

    action: str
    agent: AgentName | None


def recorded(action: str, agent: AgentName | None = None) -> Callable[[F], F]:
    """Mark an activity as a deed that is written to `work_history` each time it runs."""

    def mark(function: F) -> F:
        setattr(function, _ATTRIBUTE, Deed(action=action, agent=agent))
        return function

    return mark


def deed_of(function: object) -> Deed | None:
    """The mark of an activity, or None when it is not a deed."""
    deed = getattr(function, _ATTRIBUTE, None)
    return deed if isinstance(deed, Deed) else None
