"""TCP: the port accepts a connection."""

import asyncio
import time

from brainops.checks.failures import from_os_error
from brainops.config.models import TcpCheck
from brainops.config.quantities import format_duration
from brainops.contracts.check import ProbeResult, Reason


async def probe_tcp(check: TcpCheck) -> ProbeResult:
    """Open a connection and close it, within the check's timeout."""
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(check.timeout.total_seconds()):
            _, writer = await asyncio.open_connection(check.host, check.port)
            writer.close()
        reason, detail = Reason.NONE, ""
    except TimeoutError:
        reason, detail = Reason.TIMEOUT, f"no connection within {format_duration(check.timeout)}"
    except OSError as error:
        reason, detail = from_os_error(error)
    return ProbeResult(
        ok=reason is Reason.NONE,
        reason=reason,
        latency_ms=(time.perf_counter() - begun) * 1000,
        detail=detail and f"{check.host}:{check.port}: {detail}"[:500],
    )
