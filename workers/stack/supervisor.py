"""Keeps one part of the stack running: starts it, waits until it is ready, and starts it again when it dies."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from time import monotonic

from brainops.errors import SetupError
from workers.stack.process import Child, RunAs

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 10.0
HEALTHY_SECONDS = 3.0
"""A part that ran for this long begins with the shortest delay again."""
READY_POLL_SECONDS = 0.02
LOG_LINES_SHOWN = 8


class PartState(StrEnum):
    """Where a part is in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class PartSpec:
    """How a part runs.

    `command` is asked before each start. `ready` is asked again and again, and is true once the part can be used.
    `repair` gets what a process printed that ended before it was ready, and returns a line for people when it has
    mended the cause. `on_restart` is called each time it is ready again.
    """

    name: str
    command: Callable[[], Sequence[str]]
    environment: Mapping[str, str]
    log_file: Path
    ready: Callable[[], Awaitable[bool]]
    run_as: RunAs | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    start_timeout: timedelta = timedelta(seconds=60)
    stop_timeout: timedelta = timedelta(seconds=10)
    first_tries: int = 3
    repair: Callable[[str], str | None] = field(default=lambda _said: None)
    on_restart: Callable[[], None] = field(default=lambda: None)


def backoff(failures: int) -> float:
    """Seconds before the start after the `failures`-th end in a row: 0.1, 0.2, 0.4 … 10."""
    return min(FIRST_DELAY_SECONDS * 2 ** max(failures - 1, 0), LONGEST_DELAY_SECONDS)


class Part:
    """A part under supervision. `announce` gets a line for people whenever something happens to it."""

    def __init__(self, spec: PartSpec, announce: Callable[[str], None]) -> None:
        self.spec = spec
        self.state = PartState.WAITING
        self.restarts = 0
        self._announce = announce
        self._child: Child | None = None
        self._started_at = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the running child; None when there is none."""
        return self._child.pid if self._child and self._child.exit_status is None else None

    async def start(self) -> None:
        """Start it and return when it is ready; from then on it is kept running.

        Raises SetupError, with its command and its last log lines, when it ends `first_tries` times before it is
        ready, or is not ready within `start_timeout`.
        """
        self.state = PartState.STARTING
        failures = 0
        while True:
            try:
                said = await self._start_once()
            except OSError as error:
                self.state = PartState.FAILED
                raise SetupError(f"{self.spec.name} cannot be started: {error}") from error
            except BaseException:
                await self._end_child()
                raise
            if said is None:
                break
            failures += 1
            if repaired := self.spec.repair(said):
                self._announce(repaired)
            elif failures >= self.spec.first_tries:
                self.state = PartState.FAILED
                raise SetupError(self._failure(said))
            await asyncio.sleep(backoff(failures))
        self._task = asyncio.create_task(self._keep_running(), name=f"supervise {self.spec.name}")

    async def stop(self) -> None:
        """End it and return when it is gone. Does nothing when it is not running."""
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._end_child()
        self.state = PartState.STOPPED

    async def renew(self) -> None:
        """End it and start it again, so that it reads its configuration anew. Raises SetupError as `start` does."""
        await self.stop()
        await self.start()

    async def _end_child(self) -> None:
        if self._child:
            await self._child.stop(self.spec.stop_signal, self.spec.stop_timeout)

    async def _start_once(self) -> str | None:
        """One start. None once it is ready; what it printed when it ended before or was too slow (and was ended)."""
        spec = self.spec
        child = self._child = Child(
            spec.command(),
            environment=spec.environment,
            log_file=spec.log_file,
            run_as=spec.run_as,
            death_signal=spec.death_signal,
        )
        self._started_at = monotonic()
        ready, exited = asyncio.ensure_future(self._become_ready()), asyncio.ensure_future(child.exited())
        try:
            timeout = spec.start_timeout.total_seconds()
            await asyncio.wait((ready, exited), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not exited.done() and ready.done():
                ready.result()
                self.state = PartState.RUNNING
                return None
        finally:
            for task in (ready, exited):
                task.cancel()
            await asyncio.gather(ready, exited, return_exceptions=True)
        if child.exit_status is None:
            await self._end_child()
            return f"{child.said()}\n(not ready after {spec.start_timeout.total_seconds():g} s)"
        return child.said()

    async def _become_ready(self) -> None:
        while not await self.spec.ready():  # noqa: ASYNC110 - another process becomes ready: there is nothing to await
            await asyncio.sleep(READY_POLL_SECONDS)

    async def _keep_running(self) -> None:
        failures = 0
        while True:
            assert self._child is not None  # noqa: S101 - `start` made one
            status = await self._child.exited()
            failures = 1 if monotonic() - self._started_at >= HEALTHY_SECONDS else failures + 1
            self.state = PartState.RESTARTING
            delay = backoff(failures)
            self._announce(f"{self.spec.name} ended ({describe_exit(status)}): it is started again in {delay:g} s")
            await asyncio.sleep(delay)
            self.restarts += 1
            try:
                said = await self._start_once()
            except OSError as error:  # no memory, no descriptor, no disk for its log: perhaps later
                self._announce(f"{self.spec.name} cannot be started: {error}; trying again")
                continue
            if said is None:
                self._announce(f"{self.spec.name} runs again (pid {self.pid})")
                self.spec.on_restart()
            elif repaired := self.spec.repair(said):
                self._announce(repaired)

    def _failure(self, said: str) -> str:
        lines = [line for line in said.splitlines() if line.strip()][-LOG_LINES_SHOWN:]
        status = self._child.exit_status if self._child else None
        ended = describe_exit(status) if status is not None else "it did not get ready"
        return "\n".join(
            (
                f"{self.spec.name} does not start ({ended}). Its command: {' '.join(self.spec.command())}",
                f"Its last log lines, from {self.spec.log_file}:",
                *(f"  {line}" for line in lines or ["(it said nothing)"]),
            )
        )


def describe_exit(status: int) -> str:
    """What people read of an exit status: `exit code 1`, `SIGKILL`."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
