"""Looking at services without a stack: the adapters and probes that the workers use, in this process."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from brainops.checks.base import Heartbeats, Subject
from brainops.checks.probe import Prober
from brainops.checks.store import CheckStore
from brainops.config.load import LoadedConfig
from brainops.config.models import LOCAL_HOST, Service
from brainops.config.paths import StatePaths
from brainops.contracts.check import ProbeResult, Reason
from brainops.database.engine import Database
from brainops.errors import BrainOpsError, UnavailableError
from brainops.services.host import HostServices
from brainops.telemetry.redaction import clean

_MARGIN = timedelta(seconds=2)
"""Beyond a check's own timeout: a probe that does not keep its own is told, and not waited for."""


@asynccontextmanager
async def on_this_host(
    loaded: LoadedConfig, paths: StatePaths, database: Database | None = None
) -> AsyncGenerator[tuple[HostServices, Prober]]:
    """The services of this host and a prober. `database`: of a running stack, where jobs report to."""
    # what cannot be seen is in the answer; a line of the library's own log would say it twice
    logging.getLogger("brainops").addHandler(logging.NullHandler())
    here = HostServices(paths, loaded.directory)
    try:
        async with Prober(here, loaded.directory, _heartbeats(database)) as prober:
            yield here, prober
    finally:
        await here.close()


async def look_at(prober: Prober, name: str, service: Service) -> dict[str, ProbeResult]:
    """One look at each check of a service, all at once."""
    checks = service.all_checks()
    results = await asyncio.gather(*(_look(prober, name, check, service) for check in checks))
    return dict(zip(checks, results, strict=True))


async def _look(prober: Prober, name: str, check: str, service: Service) -> ProbeResult:
    declared = service.all_checks()[check]
    subject = Subject(name, check, service, here=service.host == LOCAL_HOST)
    try:
        async with asyncio.timeout((declared.timeout + _MARGIN).total_seconds()):
            return await prober.look(subject, declared)
    except TimeoutError:
        return ProbeResult(ok=False, reason=Reason.TIMEOUT, detail="the look itself did not end in its time")
    except BrainOpsError as error:
        return ProbeResult(ok=False, reason=Reason.ERROR, detail=clean(str(error)))


def _heartbeats(database: Database | None) -> Heartbeats:
    async def ask() -> Mapping[str, datetime]:
        if database is None:
            raise UnavailableError("reports are kept by the stack, and none runs; start it with `brainops up`")
        return await CheckStore(database).heartbeat_times()

    return ask
