"""Everything that runs on this host, each service through the adapter of its kind."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.contracts.incident import ContainerFacts, UnitFacts
from brainops.contracts.service import ServiceRun, ServiceState
from brainops.services.adapter import ServiceAdapter
from brainops.services.command import CommandServices
from brainops.services.compose import ComposeServices
from brainops.services.container_services import Engines
from brainops.services.docker import DockerServices
from brainops.services.process import ProcessAdapter
from brainops.services.process_services import ProcessServices
from brainops.services.procfs import Listener
from brainops.services.records import Start
from brainops.services.systemd import SystemdServices
from brainops.services.unmanaged import UnmanagedServices


class HostServices(ServiceAdapter):
    """The services of this host. `directory`: the folder of `brainops.yaml`, where its relative paths start."""

    def __init__(self, paths: StatePaths, directory: Path) -> None:
        self.paths = paths
        self.directory = directory.absolute()
        self.processes = ProcessServices(ProcessAdapter(paths, directory))
        unmanaged = UnmanagedServices()
        engines = Engines()
        self._kinds: Mapping[str, ServiceAdapter] = {
            "process": self.processes,
            "docker": DockerServices(paths, engines),
            "compose": ComposeServices(paths, engines, self.directory),
            "systemd": SystemdServices(paths),
            "command": CommandServices(paths, directory),
            "external": unmanaged,
            "host": unmanaged,
        }

    def of(self, service: Service) -> ServiceAdapter:
        """The adapter of a service's kind."""
        return self._kinds[service.run.kind]

    async def start(self, name: str, service: Service, effect_key: str) -> ServiceRun:
        return await self.of(service).start(name, service, effect_key)

    async def stop(self, name: str, service: Service) -> str:
        return await self.of(service).stop(name, service)

    async def restart(self, name: str, service: Service, effect_key: str) -> tuple[str, ServiceRun]:
        return await self.of(service).restart(name, service, effect_key)

    async def reload(self, name: str, service: Service) -> str:
        return await self.of(service).reload(name, service)

    async def happened(self, name: str, service: Service, effect_key: str) -> ServiceRun | None:
        return await self.of(service).happened(name, service, effect_key)

    async def state(self, name: str, service: Service, *, memory: bool = True) -> ServiceState:
        return await self.of(service).state(name, service, memory=memory)

    async def newest(self, name: str, service: Service) -> ServiceRun | None:
        return await self.of(service).newest(name, service)

    async def ended(self, name: str, service: Service) -> None:
        await self.of(service).ended(name, service)

    async def started(self, name: str, service: Service, known: str) -> None:
        await self.of(service).started(name, service, known)

    async def watch(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for adapter in dict.fromkeys(self._kinds.values()):
                tasks.create_task(adapter.watch())

    async def meant_to_end(self, name: str, service: Service) -> bool:
        return await self.of(service).meant_to_end(name, service)

    async def starts(self, name: str, service: Service, within: timedelta) -> list[Start]:
        return await self.of(service).starts(name, service, within)

    async def tail(self, name: str, service: Service, max_bytes: int, *, since_start: bool = True) -> bytes:
        return await self.of(service).tail(name, service, max_bytes, since_start=since_start)

    async def owns(self, name: str, service: Service, holder: Listener) -> bool:
        return await self.of(service).owns(name, service, holder)

    async def container(self, name: str, service: Service) -> ContainerFacts | None:
        return await self.of(service).container(name, service)

    async def unit(self, name: str, service: Service) -> UnitFacts | None:
        return await self.of(service).unit(name, service)

    async def keep_good(self, name: str, service: Service) -> None:
        await self.of(service).keep_good(name, service)

    async def set_memory_limit(self, name: str, service: Service, limit_bytes: int) -> int:
        return await self.of(service).set_memory_limit(name, service, limit_bytes)

    async def keep_up(self, name: str, service: Service) -> None:
        await self.of(service).keep_up(name, service)

    async def close(self) -> None:
        for adapter in dict.fromkeys(self._kinds.values()):
            await adapter.close()
