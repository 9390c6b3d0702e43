"""What a remedy is: a class in a file of its own.

A remedy proposes itself from evidence, purely; and the handlers of its actions carry them out on the host, each at
most once per effect key. `registry` finds every remedy in this folder, so adding one is adding one file.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.contracts.action import ActionResult
from brainops.contracts.agent import ActionClass
from brainops.contracts.base import Contract
from brainops.contracts.incident import Candidate, Evidence
from brainops.services.host import HostServices
from brainops.services.known_good import KnownGoodFiles
from brainops.storage.objects import ObjectStore


@dataclass(frozen=True)
class RemedyContext:
    """What a remedy may know beside the evidence."""

    service: str
    """Name of the service that the incident is about."""
    services: Mapping[str, Service]
    """All that are configured, by name."""
    dependents: tuple[str, ...] = ()
    """Services that fail because of this one."""


@dataclass(frozen=True)
class HostTools:
    """What handlers work with. Every path is of this host."""

    host: HostServices
    known_good: KnownGoodFiles
    objects: ObjectStore
    paths: StatePaths
    directory: Path
    """Folder of `brainops.yaml`."""
    services: Mapping[str, Service]


@dataclass(frozen=True)
class Call:
    """One action on one service, under one effect key."""

    service_name: str
    service: Service
    effect_key: str
    undoing: bool = False
    """Whether the plan takes something back."""


ActionT = TypeVar("ActionT", bound=Contract)


class Handler(ABC, Generic[ActionT]):
    """Carries one kind of action out."""

    action: type[ActionT]

    def __init__(self, tools: HostTools) -> None:
        self._tools = tools

    def authorize(self, action: ActionT, call: Call, /) -> None:
        """Refuse what the configuration of the service does not declare: the action comes from a workflow that anybody
        may have started. Raises NotAllowedError that names what to write where. Default: the service itself is enough.
        """

    @abstractmethod
    async def perform(self, action: ActionT, call: Call, /) -> ActionResult:
        """Do it; a repetition under the same effect key does no more than finish it.

        Raises ActionError when it was done and failed, UnavailableError when trying again can help; it is tried
        again for a while.
        """

    @abstractmethod
    async def reconcile(self, action: ActionT, call: Call, /) -> ActionResult | None:
        """Look, without changing anything, whether this key's effect has happened. None: it may be performed.

        Raises AmbiguousEffectError when that cannot be told.
        """


class Remedy(ABC):
    """A way to mend a fault. Subclasses are found by `registry`."""

    name: ClassVar[str]
    """As in `remedies.only` and `remedies.never`; kept in the knowledge base, so it never changes."""
    action_class: ClassVar[ActionClass]
    """Under which its autonomy is granted."""
    cost: ClassVar[int]
    """Cost of being wrong: 0 none, 1 a restart, 2 other services notice, 3 something is lost."""
    rank: ClassVar[int]
    """Place in the registry: of remedies that cost the same, the smaller comes first."""
    handlers: ClassVar[tuple[type[Handler[Any]], ...]] = ()
    """Of the actions that this remedy brings along. Any, since each handler has an action type of its own."""
    uses: ClassVar[tuple[type[Contract], ...]]
    """Every kind of action that it may propose, or leave behind as an undo. The host refuses others in its name."""

    @abstractmethod
    def propose(self, evidence: Evidence, service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        """Candidates, if the evidence meets the preconditions; mostly one or none. Pure.

        Candidates of one remedy carry its name, followed by `:` and what tells them apart if there are several.
        """

    def candidate(
        self,
        actions: Sequence[Any],
        cause: str,
        *,
        explains: bool = False,
        rules_out: tuple[str, ...] = (),
        cost: int | None = None,
        variant: str = "",
    ) -> Candidate:
        """A candidate of this remedy. `actions`: any kinds of `Action`. `cost`: the remedy's own if not given."""
        return Candidate(
            remedy=f"{self.name}:{variant}" if variant else self.name,
            action_class=self.action_class,
            actions=tuple(actions),
            cause=cause[:500],
            explains=explains,
            rules_out=rules_out,
            cost=self.cost if cost is None else cost,
        )
