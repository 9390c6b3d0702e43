"""Plugin: checks that packages from elsewhere bring (entry points `brainops.checks`)."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar, cast

import structlog
from pydantic import BaseModel, ValidationError

from brainops.checks.base import CheckProbe, ProbeTools, Subject
from brainops.checks.conditions import Value, judge
from brainops.config.checks import PluginCheck
from brainops.config.plugins import PluginKind, find
from brainops.config.quantities import format_duration
from brainops.contracts.check import ProbeResult, Reason
from brainops.errors import SetupError
from brainops.telemetry.redaction import clean

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)

OptionsT = TypeVar("OptionsT", bound=BaseModel)


@dataclass(frozen=True)
class Seen:
    """What a check of a package saw, with values that conditions may be about."""

    result: ProbeResult
    values: Mapping[str, Value] = field(default_factory=dict[str, Value])
    """By name without brackets: `{"DEPTH": 12}` for `[DEPTH] < 100`."""


class PackageProbe(ABC, Generic[OptionsT]):
    """A check of a package: a subclass, named by an entry point of the group `brainops.checks`.

    One instance serves all checks of its kind in a process. It must not block: `await`, or `asyncio.to_thread`.
    """

    options: ClassVar[type[BaseModel]]
    """What may stand under `options` in the file. Give it `extra="forbid"`, and mistakes are told with their line."""

    def __init__(self, tools: ProbeTools) -> None:
        self.tools = tools

    @abstractmethod
    async def look(self, subject: Subject, options: OptionsT, /) -> ProbeResult | Seen:
        """Look once. The check's timeout is kept by BrainOps, and what is raised is told as a failed probe."""

    async def close(self) -> None:
        """Give connections back."""


class PluginProbe(CheckProbe[PluginCheck]):
    """Hands the look on to the package, and stands by what the package does not."""

    check = PluginCheck

    def __init__(self, tools: ProbeTools) -> None:
        super().__init__(tools)
        # Any: each package has options of its own
        self._loaded: dict[str, PackageProbe[Any] | SetupError] = {}

    async def look(self, subject: Subject, check: PluginCheck, /) -> ProbeResult:
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(check.timeout.total_seconds()):
                result = await self._looked(subject, check)
        except TimeoutError:
            detail = f"{check.use} has no answer within {format_duration(check.timeout)}"
            result = ProbeResult(ok=False, reason=Reason.TIMEOUT, detail=detail)
        except SetupError as error:
            result = ProbeResult(ok=False, reason=Reason.ERROR, detail=clean(str(error)))
        except Exception as error:  # noqa: BLE001 - a package must not stop the watch, whatever it raises
            detail = clean(f"{check.use} of a package failed: {type(error).__name__}: {error}")
            result = ProbeResult(ok=False, reason=Reason.ERROR, detail=detail)
        latency_ms = result.latency_ms or (time.perf_counter() - begun) * 1000
        return result.model_copy(update={"latency_ms": latency_ms, "detail": clean(result.detail)})

    async def close(self) -> None:
        for probe in self._loaded.values():
            if isinstance(probe, PackageProbe):
                try:
                    await probe.close()
                except Exception as error:  # noqa: BLE001 - the others are closed all the same
                    log.warning("a check of a package cannot be closed", reason=clean(str(error)))

    async def _looked(self, subject: Subject, check: PluginCheck) -> ProbeResult:
        probe = self._probe(check.use)
        try:
            options = probe.options.model_validate(check.options)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in ("options", *wrong["loc"]))
            return ProbeResult(ok=False, reason=Reason.ERROR, detail=f"{where} of {check.use}: {wrong['msg']}"[:500])
        seen = await probe.look(subject, options)
        if isinstance(seen, ProbeResult):
            seen = Seen(seen)
        if not seen.result.ok:
            return seen.result
        reason, detail = judge(check.conditions, seen.values)
        return seen.result if reason is Reason.NONE else ProbeResult(ok=False, reason=reason, detail=detail)

    def _probe(self, use: str) -> PackageProbe[Any]:
        """The package's probe, loaded once; what cannot be loaded is not tried again before the next start."""
        if use not in self._loaded:
            self._loaded[use] = self._load(use)
        probe = self._loaded[use]
        if isinstance(probe, SetupError):
            raise probe
        return probe

    def _load(self, use: str) -> PackageProbe[Any] | SetupError:
        try:
            plugin = find(PluginKind.CHECK, use)
            kind = plugin.load()
            if not (isinstance(kind, type) and issubclass(kind, PackageProbe)):
                return plugin.broken("it is no subclass of brainops.checks.plugin.PackageProbe")
            return cast("type[PackageProbe[Any]]", kind)(self._tools)
        except SetupError as error:
            return error
