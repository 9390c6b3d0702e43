"""The port to services of one kind: start, stop, restart, reload, look, wait, read the log.

An adapter keeps nothing in memory that matters: any worker, also a new one after a crash, sees the same services.
What it does it does once per effect key, however often and by however many it is asked.
"""

from abc import ABC, abstractmethod
from datetime import timedelta

from brainops.config.models import Service
from brainops.contracts.incident import ContainerFacts, UnitFacts
from brainops.contracts.service import ServiceRun, ServiceState
from brainops.errors import NotAllowedError
from brainops.services.procfs import Listener
from brainops.services.records import Start


class ServiceAdapter(ABC):
    """Services of one kind on this host. Every method takes the service's name and its configuration."""

    @abstractmethod
    async def start(self, name: str, service: Service, effect_key: str) -> ServiceRun:
        """Start a service, once per effect key: a repeated call answers with the first start's run.

        Whether it works is for its checks to say. Raises ActionError when it runs already or cannot be started,
        UnavailableError when nothing was done and trying again can help.
        """

    @abstractmethod
    async def stop(self, name: str, service: Service) -> str:
        """End a service and all that it started. Answers with a sentence. Raises ActionError, UnavailableError."""

    async def restart(self, name: str, service: Service, effect_key: str) -> tuple[str, ServiceRun]:
        """End what is left and start, once per effect key. Answers with what was ended, and the new run."""
        ended = ""
        if await self.happened(name, service, effect_key) is None:
            ended = await self.stop(name, service)
        return ended, await self.start(name, service, effect_key)

    async def reload(self, name: str, service: Service) -> str:
        """Have it read its configuration anew, as `run.reload` declares. Answers with a sentence.

        Raises NotAllowedError where none is declared.
        """
        raise NotAllowedError(f"{name} declares no reload; write services.{name}.run.reload")

    @abstractmethod
    async def happened(self, name: str, service: Service, effect_key: str) -> ServiceRun | None:
        """The run that this effect key has caused; None if it has caused none, and now may."""

    @abstractmethod
    async def state(self, name: str, service: Service, *, memory: bool = True) -> ServiceState:
        """How the service is now. `memory`: also measure what it uses, which may cost more.

        Never raises for what the service, its engine or its manager does: `unseen` with the reason in `detail`.
        """

    @abstractmethod
    async def newest(self, name: str, service: Service) -> ServiceRun | None:
        """The newest run, whether it goes on or has ended. Cheap. None: never, or nobody can tell now."""

    @abstractmethod
    async def ended(self, name: str, service: Service) -> None:
        """Wait until nothing of the service runs. Told by the kernel or the engine as it happens, not by polling.

        Returns at once when it does not run, and never where nobody can tell.
        """

    @abstractmethod
    async def started(self, name: str, service: Service, known: str) -> None:
        """Wait for a run of another id than `known`; may return early, the caller looks again."""

    async def watch(self) -> None:
        """Background work that makes `started` and `ended` prompt, for as long as somebody watches."""

    async def meant_to_end(self, name: str, service: Service) -> bool:
        """Whether the newest run was ended by BrainOps, or by a person who stopped it on purpose."""
        return False

    async def starts(self, name: str, service: Service, within: timedelta) -> list[Start]:
        """Starts in the time before now, oldest first, with their ends, as far as they are on record."""
        return []

    @abstractmethod
    async def tail(self, name: str, service: Service, max_bytes: int, *, since_start: bool = True) -> bytes:
        """The last output as the service wrote it, raw and not redacted; of its newest run only if `since_start`."""

    async def owns(self, name: str, service: Service, holder: Listener) -> bool:
        """Whether the process that holds a port is part of what runs as this service now."""
        return False

    async def container(self, name: str, service: Service) -> ContainerFacts | None:
        """Its container, where there is one."""
        return None

    async def unit(self, name: str, service: Service) -> UnitFacts | None:
        """Its unit, where there is one."""
        return None

    async def keep_good(self, name: str, service: Service) -> None:
        """The service is proven to be healthy: keep what is needed to make it so again, such as a configuration."""

    async def set_memory_limit(self, name: str, service: Service, limit_bytes: int) -> int:
        """Set the limit that the kernel enforces on its memory, and answer with the previous one.

        Whether the ceiling allows it is for the caller to ask. Raises NotAllowedError where there is no such limit,
        ActionError, UnavailableError.
        """
        raise NotAllowedError(f"{name} is of kind {service.run.kind}, which has no limit on its memory to be set")

    async def keep_up(self, name: str, service: Service) -> None:
        """Bound what is kept for it, such as its log. Called once a second while it is watched."""

    async def close(self) -> None:
        """Give connections back."""
