"""The outbound heartbeat: tells an outside watcher that BrainOps lives, only for as long as it does what it is for."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import aiohttp
from sqlalchemy import text

from brainops.config.environment import expand
from brainops.config.models import BrainOpsConfig
from brainops.database.engine import Database
from brainops.errors import BrainOpsError, UnavailableError

_TIMEOUT = aiohttp.ClientTimeout(total=10)
_SHORTEST = timedelta(minutes=1)

_PROBED = text("SELECT EXISTS (SELECT FROM brainops.samples WHERE at > :since) AS probed")


class OutboundHeartbeat:
    """Asks one address while the database answers and the probes of the last minute are in it."""

    def __init__(self, config: BrainOpsConfig, database: Database, environment: Mapping[str, str]) -> None:
        self._declared = config.notify.heartbeat
        self._database = database
        self._environment = environment
        intervals = [check.interval for service in config.services.values() for check in service.all_checks().values()]
        self._fresh = max(_SHORTEST, 3 * min(intervals)) if intervals else None
        self._due: datetime | None = None

    async def beat_if_due(self) -> bool:
        """Beat when it is time; whether it was. Raises UnavailableError when BrainOps does not work or nobody answers."""
        now = datetime.now(UTC)
        if self._declared is None or (self._due is not None and now < self._due):
            return False
        self._due = now + self._declared.every
        if not await self._watching(now):
            raise UnavailableError("no probe was kept for a while: the outbound heartbeat is left out")
        try:
            url = expand(self._declared.url, self._environment)
            async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, session.get(url) as answer:
                if answer.status >= 400:
                    raise UnavailableError(f"the outbound heartbeat was answered with {answer.status}")
        except BrainOpsError as error:
            raise UnavailableError(str(error)) from error
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            # The address may hold a token: it is not in the message.
            raise UnavailableError(f"the outbound heartbeat could not be sent: {type(error).__name__}") from None
        return True

    async def _watching(self, now: datetime) -> bool:
        if self._fresh is None:
            return await self._database.ready()
        return bool((await self._database.read(_PROBED, {"since": now - self._fresh}))[0]["probed"])
