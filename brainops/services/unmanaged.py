"""What nobody here starts or stops: services that somebody else runs, and the machine itself."""

import asyncio

from brainops.config.models import Service
from brainops.contracts.service import ServiceRun, ServiceState, ServiceStatus
from brainops.errors import NotAllowedError
from brainops.services.adapter import ServiceAdapter


class UnmanagedServices(ServiceAdapter):
    """Services of kinds `external` and `host`: only their checks tell how they are."""

    async def start(self, name: str, service: Service, effect_key: str) -> ServiceRun:
        raise _not_ours(name, service, "started")

    async def stop(self, name: str, service: Service) -> str:
        raise _not_ours(name, service, "stopped")

    async def happened(self, name: str, service: Service, effect_key: str) -> ServiceRun | None:
        return None

    async def state(self, name: str, service: Service, *, memory: bool = True) -> ServiceState:
        return ServiceState(service=name, status=ServiceStatus.UNSEEN, detail="only its checks tell how it is")

    async def newest(self, name: str, service: Service) -> ServiceRun | None:
        return None

    async def ended(self, name: str, service: Service) -> None:
        await asyncio.Event().wait()

    async def started(self, name: str, service: Service, known: str) -> None:
        await asyncio.Event().wait()

    async def tail(self, name: str, service: Service, max_bytes: int, *, since_start: bool = True) -> bytes:
        return b""


def _not_ours(name: str, service: Service, verb: str) -> NotAllowedError:
    return NotAllowedError(f"{name} is of kind {service.run.kind} and is not {verb} by BrainOps")
