"""Command: what a command of the user's says, by its exit code and its output."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from brainops.checks.base import CheckProbe, Subject
from brainops.checks.conditions import Value, judge
from brainops.config.checks import CommandCheck
from brainops.config.environment import expand, secret_values
from brainops.config.quantities import format_duration
from brainops.contracts.check import ProbeResult, Reason
from brainops.errors import ConfigError
from brainops.services import procfs
from brainops.services.process import base_environment
from brainops.telemetry.redaction import clean

OUTPUT_LIMIT = 64 * 1024
"""Bytes of output that are read and judged; what follows is read and forgotten, so the command does not wait for us."""

_LAST_WORDS_SECONDS = 0.2
"""After the end of the command, for what it wrote at last; a child that lives on may hold the output open."""
_REAP_SECONDS = 1.0

Verdict = tuple[Reason, str]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    exit_code: int
    """128 and the signal's number where a signal ended it, as shells say it."""
    output: bytes
    """Both streams as they came, at most 64 KiB."""


class CommandProbe(CheckProbe[CommandCheck]):
    """Runs a command in the folder of the file, in a session of its own, without a shell."""

    check = CommandCheck

    async def look(self, subject: Subject, check: CommandCheck, /) -> ProbeResult:
        if not subject.here:
            detail = "its command runs on another host"
            return ProbeResult(ok=False, reason=Reason.ERROR, detail=detail)
        begun = time.perf_counter()
        environment = dict[str, str]()
        try:
            environment = {name: expand(text, self._tools.environment) for name, text in check.environment.items()}
            async with asyncio.timeout(check.timeout.total_seconds()):
                ended = await run(check.run, self._tools.directory, base_environment() | environment)
            reason, detail = _judged(check, ended, time.perf_counter() - begun)
        except TimeoutError:
            reason = Reason.TIMEOUT
            detail = f"{check.run[0]} had not ended after {format_duration(check.timeout)} and was killed"
        except ConfigError as error:
            reason, detail = Reason.ERROR, str(error)
        except (OSError, ValueError) as error:
            words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            reason, detail = Reason.ERROR, f"{check.run[0]} cannot be executed: {words}"
        latency_ms = (time.perf_counter() - begun) * 1000
        told = clean(" ".join(detail.split()), 500, secret_values(environment))
        return ProbeResult(ok=reason is Reason.NONE, reason=reason, latency_ms=latency_ms, detail=told)


async def run(command: Sequence[str], directory: Path, environment: dict[str, str]) -> Ended:
    """Run a command to its end. When the caller waits no longer, its whole session is killed.

    Raises OSError when it cannot be executed.
    """
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as reader:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                cwd=directory,
                env=environment,
                start_new_session=True,
            )
        finally:
            os.close(writing)
        output = _Output()
        try:
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: output, reader)
            try:
                code = await process.wait()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LAST_WORDS_SECONDS):
                        await output.ended.wait()
            finally:
                transport.close()
        finally:
            if process.returncode is None:
                kill_session(process.pid)
                # also where this was cancelled: a killed child is gone at once, and must not stay as a zombie
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(process.wait()), _REAP_SECONDS)
    return Ended(128 - code if code < 0 else code, bytes(output.kept))


def kill_session(session: int) -> None:
    """Kill every process of a session whose leader has not been waited for: until then its number is nobody else's."""
    for _ in range(10):  # what is born meanwhile is found by the next look
        family = [
            process for process in procfs.everything().values() if process.session == session and not process.ended
        ]
        if not family:
            return
        for process in family:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


class _Output(asyncio.Protocol):
    """Keeps the first 64 KiB."""

    def __init__(self) -> None:
        self.kept = bytearray()
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.kept += data[: OUTPUT_LIMIT - len(self.kept)]

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


def _judged(check: CommandCheck, ended: Ended, seconds: float) -> Verdict:
    text = ended.output.decode("utf-8", "replace")
    if ended.exit_code not in check.expect_exit_code:
        return Reason.EXIT_CODE, f"{check.run[0]} {_ending(ended.exit_code)}{_last_line(text)}"
    if check.expect_output is not None and check.expect_output not in text:
        return Reason.OUTPUT, f"the output does not contain {check.expect_output[:80]!r}{_last_line(text)}"
    values: dict[str, Value] = {
        "EXIT_CODE": ended.exit_code,
        "OUTPUT": _parsed(text),
        "RESPONSE_TIME": timedelta(seconds=seconds),
    }
    return judge(check.conditions, values)


def _ending(code: int) -> str:
    known = {number.value: number.name for number in signal.Signals}
    if code > 128 and code - 128 in known:
        return f"was ended by {known[code - 128]}"
    return f"ended with exit code {code}"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return f": {lines[-1][:300]}" if lines else ""


def _parsed(text: str) -> Value:
    """JSON where the output is such, else the text without the space around it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.strip()
