"""One probe of any check."""

import importlib
import pkgutil
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import aiohttp
import structlog

import brainops.checks
from brainops.checks.base import CheckProbe, Heartbeats, ProbeTools, Subject
from brainops.checks.http import new_session
from brainops.config.checks import CheckConfig
from brainops.contracts.check import ProbeResult, Reason
from brainops.services.host import HostServices
from brainops.telemetry.redaction import clean

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)

_NOT_PROBES = frozenset(
    {
        "store",
        "tables",
        "watcher",
        "outbox",
        "hysteresis",
        "watched",
        "probe",
        "base",
        "failures",
        "tls",
        "descriptors",
        "conditions",
        "flapping",
        "threads",
        "log_kinds",
        "log_sources",
    }
)


def probe_types() -> tuple[type[CheckProbe[Any]], ...]:
    """A probe for each kind of check, from the files of this folder. Any: each has a configuration of its own."""
    for module in pkgutil.iter_modules(brainops.checks.__path__):
        if module.name not in _NOT_PROBES:
            importlib.import_module(f"{brainops.checks.__name__}.{module.name}")
    found = cast("list[type[CheckProbe[Any]]]", CheckProbe.__subclasses__())
    return tuple(kind for kind in found if kind.__module__.startswith("brainops.checks."))


class Prober:
    """Probes with one HTTP client, and one memory of earlier looks, for all of them: `async with Prober(…) as prober`.

    `services`: what runs on this host. `directory`: the folder of `brainops.yaml`. `heartbeats`: see `ProbeTools`.
    """

    def __init__(self, services: HostServices, directory: Path, heartbeats: Heartbeats | None = None) -> None:
        self._services = services
        self._directory = directory
        self._heartbeats = heartbeats
        self._session: aiohttp.ClientSession | None = None
        self._probes: dict[type, CheckProbe[Any]] = {}

    async def __aenter__(self) -> "Prober":
        session = new_session()
        try:
            tools = ProbeTools(self._services, self._directory, session, self._heartbeats)
            self._probes = {kind.check: kind(tools) for kind in probe_types()}
        except BaseException:
            await session.close()
            raise
        self._session = session
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for probe in self._probes.values():
            await probe.close()
        self._probes = {}
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def look(self, subject: Subject, check: CheckConfig) -> ProbeResult:
        """Look once. Never raises for what the service does; what it sees is in the answer.

        Raises RuntimeError outside of `async with`.
        """
        if self._session is None:
            raise RuntimeError("a Prober works inside `async with` only")
        probe = self._probes.get(type(check))
        if probe is None:
            return ProbeResult(ok=False, reason=Reason.ERROR, detail=f"nobody here can look at a {check.kind} check")
        try:
            return await probe.look(subject, check)
        except Exception as error:
            # a fault of ours: it is told, and the watch over everything else goes on
            log.exception("a probe failed", service=subject.service_name, check=subject.check_name)
            detail = clean(f"BrainOps itself failed to look: {type(error).__name__}: {error}")
            return ProbeResult(ok=False, reason=Reason.ERROR, detail=detail)
