"""One probe of any check."""

from types import TracebackType

import aiohttp

from brainops.checks.http import new_session, probe_http
from brainops.checks.process import probe_process
from brainops.checks.tcp import probe_tcp
from brainops.config.models import HttpCheck, ProcessCheck, Service, TcpCheck
from brainops.contracts.check import ProbeResult, Reason
from brainops.services.process import ProcessAdapter


async def probe(
    name: str,
    check: HttpCheck | TcpCheck | ProcessCheck,
    service: Service,
    adapter: ProcessAdapter | None,
    session: aiohttp.ClientSession,
) -> ProbeResult:
    """Look once at the service `name`. Never raises for what the service does; what it sees is in the answer.

    `adapter`: None where the service's processes cannot be seen, on another host. `session`: see `new_session`.
    """
    if isinstance(check, HttpCheck):
        return await probe_http(check, session)
    if isinstance(check, TcpCheck):
        return await probe_tcp(check)
    if adapter is None:
        return ProbeResult(ok=False, reason=Reason.ERROR, detail="its processes cannot be seen from this host")
    return await probe_process(name, service, adapter)


class Prober:
    """Probes with one HTTP client for all of them: `async with Prober() as prober`."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Prober":
        self._session = new_session()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def probe(
        self,
        name: str,
        check: HttpCheck | TcpCheck | ProcessCheck,
        service: Service,
        adapter: ProcessAdapter | None,
    ) -> ProbeResult:
        """See `probe`. Raises RuntimeError outside of `async with`."""
        if self._session is None:
            raise RuntimeError("a Prober works inside `async with` only")
        return await probe(name, check, service, adapter, self._session)
