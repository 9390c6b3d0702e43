"""What the watch has to tell, kept while nobody can be told.

A lost database must neither stop the probing nor lose a change: the newest change of each check is tried again until
it is taken, and samples wait in a bounded buffer. That the other side is away is said once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from brainops.contracts.check import CheckState, Sample
from brainops.errors import UnavailableError

SAMPLES_KEPT = 10_000
SAMPLES_INTERVAL_SECONDS = 2.0
_FIRST_BACKOFF_SECONDS = 0.1
_LONGEST_BACKOFF_SECONDS = 2.0
_PARALLEL = 16

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)

Key = tuple[str, str]


class Reachability:
    """Says once that the other side is away, and once that it is back."""

    def __init__(self) -> None:
        self._away = False

    def lost(self, error: UnavailableError) -> None:
        """A call failed."""
        if not self._away:
            log.warning("the watch goes on, but what it sees waits", reason=str(error))
        self._away = True

    def found(self) -> None:
        """A call succeeded."""
        if self._away:
            log.info("what the watch saw is being told again")
        self._away = False


class Changes:
    """Tells each change of a check, in order; while the other side is away, only the newest of each check waits."""

    def __init__(self, tell: Callable[[CheckState], Awaitable[None]], reachability: Reachability) -> None:
        self._tell = tell
        self._reachability = reachability
        self._pending: dict[Key, CheckState] = {}
        self._busy: set[Key] = set()
        self._slots = asyncio.Semaphore(_PARALLEL)

    def put(self, state: CheckState, tasks: asyncio.TaskGroup) -> None:
        """Tell this as soon as possible, in a task of `tasks`."""
        key = (state.service, state.check)
        self._pending[key] = state
        if key not in self._busy:
            self._busy.add(key)
            tasks.create_task(self._deliver(key))

    def waits(self, key: Key) -> bool:
        """Whether a change of this check is still to be told."""
        return key in self._pending

    async def _deliver(self, key: Key) -> None:
        backoff = _FIRST_BACKOFF_SECONDS
        while (state := self._pending.get(key)) is not None:
            try:
                async with self._slots:
                    await self._tell(state)
            except UnavailableError as error:
                self._reachability.lost(error)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, _LONGEST_BACKOFF_SECONDS)
                continue
            self._reachability.found()
            backoff = _FIRST_BACKOFF_SECONDS
            if self._pending[key] is state:
                del self._pending[key]
        self._busy.discard(key)


class Samples:
    """Tells samples in batches; while the other side is away, the newest are kept."""

    def __init__(
        self, tell: Callable[[list[Sample]], Awaitable[None]], reachability: Reachability, kept: int = SAMPLES_KEPT
    ) -> None:
        self._tell = tell
        self._reachability = reachability
        self._waiting: deque[Sample] = deque(maxlen=kept)
        self.dropped = 0
        """Samples that were lost because too many waited."""

    def put(self, sample: Sample) -> None:
        """Keep a sample for the next batch."""
        if len(self._waiting) == self._waiting.maxlen:
            self.dropped += 1
        self._waiting.append(sample)

    async def deliver_for_ever(self) -> None:
        """Tell what waits, every two seconds."""
        while True:
            await asyncio.sleep(SAMPLES_INTERVAL_SECONDS)
            await self.deliver()

    async def deliver(self) -> None:
        """Tell what waits now; it goes on waiting where that cannot be done."""
        batch = list(self._waiting)
        if not batch:
            return
        self._waiting.clear()
        try:
            await self._tell(batch)
        except UnavailableError as error:
            self._reachability.lost(error)
            self._take_back(batch)
            return
        self._reachability.found()

    def _take_back(self, batch: list[Sample]) -> None:
        newer = list(self._waiting)
        overflow = max(0, len(batch) + len(newer) - (self._waiting.maxlen or 0))
        self.dropped += overflow
        self._waiting.clear()
        self._waiting.extend((batch + newer)[overflow:])
