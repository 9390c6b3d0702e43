"""TCP: the port accepts a connection."""

import asyncio
import time
from datetime import timedelta

from brainops.checks.base import CheckProbe, Subject
from brainops.checks.conditions import judge
from brainops.checks.failures import from_os_error
from brainops.config.checks import TcpCheck
from brainops.config.quantities import format_duration
from brainops.contracts.check import ProbeResult, Reason


class TcpProbe(CheckProbe[TcpCheck]):
    """Opens a connection and closes it."""

    check = TcpCheck

    async def look(self, _subject: Subject, check: TcpCheck, /) -> ProbeResult:
        begun = time.perf_counter()
        reason, detail = Reason.NONE, ""
        try:
            async with asyncio.timeout(check.timeout.total_seconds()):
                loop = asyncio.get_running_loop()
                connection, _ = await loop.create_connection(asyncio.Protocol, check.host, check.port)
                connection.abort()
        except TimeoutError:
            reason, detail = Reason.TIMEOUT, f"no connection within {format_duration(check.timeout)}"
        except (OSError, UnicodeError) as error:  # a label of the name may be too long to be written
            reason, detail = from_os_error(error) if isinstance(error, OSError) else (Reason.ERROR, str(error))
        took = time.perf_counter() - begun
        if reason is Reason.NONE:
            reason, detail = judge(check.conditions, {"RESPONSE_TIME": timedelta(seconds=took)})
        return ProbeResult(
            ok=reason is Reason.NONE,
            reason=reason,
            latency_ms=took * 1000,
            detail=detail and f"{check.host}:{check.port}: {detail}"[:500],
        )
