"""Who holds the ports that a service needs, and whether that process may be ended.

A process that holds a port is a stray only if this BrainOps started it and it belongs to no service that runs now, or
if the service's configuration names its command line. Everything else belongs to somebody: BrainOps says who, and
leaves it alone.
"""

import asyncio
from collections.abc import Mapping
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from brainops.config.checks import HttpCheck, TcpCheck
from brainops.config.models import Service
from brainops.contracts.incident import PortFacts
from brainops.services import procfs
from brainops.services.host import HostServices
from brainops.services.procfs import Listener
from brainops.telemetry.redaction import clean

_LOOPBACK = frozenset({"localhost", "::1", "0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to
_DEFAULT_PORTS = {"http": 80, "https": 443}


def needed_ports(service: Service) -> tuple[int, ...]:
    """Ports that the service listens on: the declared ones, and those that its checks ask on this machine."""
    ports = dict.fromkeys(service.ports)
    for check in service.checks.values():
        if isinstance(check, TcpCheck) and _is_loopback(check.host):
            ports[check.port] = None
        elif isinstance(check, HttpCheck):
            url = urlsplit(check.url)
            if _is_loopback(url.hostname or ""):
                ports[_port(check.url) or _DEFAULT_PORTS[url.scheme]] = None
    return tuple(ports)


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:  # not a number: the check itself says so
        return None


def _is_loopback(host: str) -> bool:
    return host in _LOOPBACK or host.startswith("127.")


class PortInspector:
    """Looks at the holders of ports on this host. `services`: all that are configured."""

    def __init__(self, host: HostServices, services: Mapping[str, Service]) -> None:
        self._host = host
        self._services = services

    async def facts(self, name: str, service: Service, port: int) -> PortFacts:
        """Who holds `port`. Where several processes share the socket, the one that is not the service's is named."""
        holders = await asyncio.to_thread(procfs.listeners, port)
        if not holders:
            return PortFacts(port=port)
        strangers = [holder for holder in holders if not await self._host.owns(name, service, holder)]
        holder = strangers[0] if strangers else holders[0]
        return PortFacts(
            port=port,
            holder_pid=holder.pid,
            holder_start_ticks=holder.start_ticks,
            holder_command=clean(holder.command)[:500],
            holder_is_service=not strangers,
            may_be_ended=bool(strangers) and await self.may_be_ended(name, service, holder),
        )

    async def may_be_ended(self, name: str, service: Service, holder: Listener) -> bool:
        """Whether the holder is a stray of ours, or named by the service's `may_end`."""
        for other, declared in self._services.items():
            if await self._host.owns(other, declared, holder):
                return False
        if any(fnmatchcase(holder.command, pattern) for pattern in service.may_end):
            return True
        known = holder.service in {name, *self._services}
        return known and self._host.processes.was_started_here(holder)
