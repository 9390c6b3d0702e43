"""What runbooks demand before a fault counts as mended, beyond the checks of the service itself."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from brainops.contracts.check import ProbeResult
from brainops.contracts.incident import Verification
from brainops.errors import NotFoundError
from brainops.memory.runbooks import Runbook

_EVERY_SECONDS = 0.5
_LOOK = timedelta(seconds=5)

Look = Callable[[str, str, timedelta | None], Awaitable[ProbeResult | None]]
"""One probe of a check of a service; None: no answer in time. Raises NotFoundError."""


async def held(look: Look, service: str, checks: Sequence[str], runbooks: Sequence[Runbook]) -> Verification | None:
    """Look at what the runbooks demand, all at once, until it has held for long enough. None: it has.

    `checks`: those of the service, which are looked at where a runbook names none. The first failure ends a runbook's.
    """
    seen = await asyncio.gather(*(_held(look, service, checks, runbook) for runbook in runbooks))
    return next((failed for failed in seen if failed is not None), None)


async def _held(look: Look, service: str, checks: Sequence[str], runbook: Runbook) -> Verification | None:
    rule = runbook.front.verification
    if not rule.checks and not rule.hold:
        return None
    named = [_place(service, check) for check in rule.checks or checks]
    failed = await _fails_within(look, named, rule.hold.total_seconds())
    if failed is None:
        return None
    name, why = failed
    return Verification(ok=False, summary=f"{name} {why} (runbook {runbook.path})"[:500], failing=(name,))


async def _fails_within(look: Look, named: Sequence[tuple[str, str]], seconds: float) -> tuple[str, str] | None:
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while True:
        for service, check in named:
            if why := await _failure(look, service, check):
                return f"{service}/{check}", why
        if loop.time() >= until:
            return None
        await asyncio.sleep(min(_EVERY_SECONDS, max(0.0, until - loop.time())))


async def _failure(look: Look, service: str, check: str) -> str:
    try:
        result = await look(service, check, _LOOK)
    except NotFoundError as error:
        return f"cannot be looked at: {error}"
    if result is None:
        return "gives no answer"
    return "" if result.ok else f"fails: {result.detail or result.reason.value}"


def _place(service: str, check: str) -> tuple[str, str]:
    """`front` is a check of the service, `store/front` one of another."""
    other, slash, name = check.partition("/")
    return (other, name) if slash else (service, check)
