"""Starts the plans that must always run, and those that a fresh Temporal server does not know: `workers.bring_up`."""

import asyncio
import json
import signal
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from brainops.errors import SetupError
from workers.stack.parts import bring_up_command
from workers.stack.process import Child
from workers.stack.supervisor import backoff

TIMEOUT = timedelta(minutes=12)
"""Longer than the plan that starts the services for the first time may take."""
FIRST_TRIES = 3
LOG_LINES_SHOWN = 8


class Plans:
    """Runs `workers.bring_up` as often as it takes. `announce` gets lines for people."""

    def __init__(self, log_file: Path, announce: Callable[[str], None]) -> None:
        self._log_file = log_file
        self._announce = announce
        self._wanted = asyncio.Event()

    def want(self) -> None:
        """Ask `keep` for another run: the Temporal server was started again, perhaps with a fresh file."""
        self._wanted.set()

    async def start(self, environment: Mapping[str, str]) -> None:
        """Start the plans. Raises SetupError, with the last log lines, when it fails `FIRST_TRIES` times."""
        failures = 0
        while (said := await self._run(environment)) is not None:
            failures += 1
            if failures == FIRST_TRIES:
                raise SetupError(f"Plans cannot be started; the end of {self._log_file}:\n{said}")
            await asyncio.sleep(backoff(failures))

    async def keep(self, environment: Mapping[str, str]) -> None:
        """Start the plans whenever they are wanted, each time until it succeeds. Never returns."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            failures = 0
            while (said := await self._run(environment)) is not None:
                failures += 1
                if failures == 1:
                    self._announce(f"plans cannot be started yet, trying again; the end of {self._log_file}:\n{said}")
                await asyncio.sleep(backoff(failures))

    async def _run(self, environment: Mapping[str, str]) -> str | None:
        """One run. None when it succeeded, else its last log lines."""
        child = Child(bring_up_command(), environment=environment, log_file=self._log_file)
        try:
            async with asyncio.timeout(TIMEOUT.total_seconds()):
                status = await child.exited()
        except TimeoutError:
            status = None
        finally:
            await child.stop(signal.SIGKILL, timedelta())
        lines = [line for line in child.said().splitlines() if line.strip()]
        if status == 0:
            self._announce(describe(lines[-1]) if lines else "plans are running")
            return None
        return "\n".join(f"  {line}" for line in lines[-LOG_LINES_SHOWN:])


def describe(outcome: str) -> str:
    """What people read of the outcome that `workers.bring_up` prints: one line of JSON."""
    try:
        done = json.loads(outcome)
        started: list[str] = list(done["started"])
        failed: dict[str, str] = dict(done["failed"])
        lines = [f"{done['agents']} agents live, {done['plans_taken_up']} open plans taken up again"]
    except (ValueError, KeyError, TypeError):
        return f"plans are running: {outcome}"
    if started:
        lines.append(f"started for the first time: {', '.join(started)}")
    return "\n".join([*lines, *(f"{service} does not start: {why}" for service, why in failed.items())])
