"""What a check is: a class in a file of its own that looks once and tells what it saw."""

import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import aiohttp

from brainops.config.checks import CheckTiming
from brainops.config.models import Service
from brainops.contracts.check import ProbeResult
from brainops.services.host import HostServices

Heartbeats = Callable[[], Awaitable[Mapping[str, datetime]]]
"""When each job last reported. Raises UnavailableError while nobody can tell."""


@dataclass(frozen=True)
class Subject:
    """What is looked at."""

    service_name: str
    check_name: str
    service: Service
    here: bool = True
    """Whether it runs on this host. If not, only what the network shows can be seen."""

    @property
    def key(self) -> tuple[str, str]:
        """Service and check: by it a probe that compares with earlier looks keeps them."""
        return self.service_name, self.check_name


@dataclass(frozen=True)
class ProbeTools:
    """What probes work with."""

    services: HostServices
    directory: Path
    """Folder of `brainops.yaml`."""
    session: aiohttp.ClientSession
    heartbeats: Heartbeats | None = None
    """None: this process cannot ask; heartbeat checks then say so."""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    """Where `${NAME}` comes from."""


CheckT = TypeVar("CheckT", bound=CheckTiming)


class CheckProbe(ABC, Generic[CheckT]):
    """Looks at checks of one kind. One instance serves all of them in a process."""

    check: ClassVar[type[Any]]
    """The configuration that it understands. Any: each kind has a model of its own."""

    def __init__(self, tools: ProbeTools) -> None:
        self._tools = tools

    @abstractmethod
    async def look(self, subject: Subject, check: CheckT, /) -> ProbeResult:
        """Look once, within the check's timeout. Never raises for what the service does, however bad it is."""

    async def close(self) -> None:
        """Give connections back."""
