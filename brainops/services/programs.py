"""Short programs that BrainOps asks something: in a session of their own, with a time limit and a bound on their words."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from brainops.errors import ActionError, UnavailableError
from brainops.services import pidfds, procfs

OUTPUT_BYTES = 64 * 1024

_KILL_SECONDS = 2.0
_LAST_WORDS_SECONDS = 0.5
"""After the end of the program, for what it wrote at last."""


@dataclass(frozen=True)
class Finished:
    """How a program ended. Of each stream the last bytes that were asked for."""

    exit_code: int
    """Negative: the signal that ended it."""
    output: bytes
    errors: bytes

    @property
    def said(self) -> str:
        """What it said in one line, errors first."""
        text = (self.errors.strip() or self.output.strip()).decode("utf-8", "replace")
        return " ".join(text.split())


async def run(
    arguments: Sequence[str],
    *,
    timeout_seconds: float,
    environment: Mapping[str, str],
    directory: Path | None = None,
    max_bytes: int = OUTPUT_BYTES,
) -> Finished:
    """Run a program to its end. Whatever its exit code is, that is an answer.

    At its time limit, and when this is cancelled, it is killed with its whole session. Raises ActionError when it
    cannot be executed, UnavailableError when it had not ended in time.
    """
    loop = asyncio.get_running_loop()
    try:
        transport, program = await loop.subprocess_exec(
            lambda: _Program(max_bytes),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(environment),
            cwd=directory,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ActionError(f"{arguments[0]} cannot be run: {why}; is it installed and on PATH?") from None
    try:
        async with asyncio.timeout(timeout_seconds):
            await program.exited.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_SECONDS):
                    await program.silent.wait()
    except TimeoutError:
        raise UnavailableError(
            f"{' '.join(arguments)[:200]} had not ended after {timeout_seconds:g} s and was killed"
        ) from None
    finally:
        if transport.get_returncode() is None:
            await _kill_session(transport.get_pid(), program)
        transport.close()  # a child that lives on may hold the pipes open
    return Finished(transport.get_returncode() or 0, program.kept(1), program.kept(2))


class _Program(asyncio.SubprocessProtocol):
    """Keeps the last bytes of what a program writes."""

    def __init__(self, max_bytes: int) -> None:
        self.exited = asyncio.Event()
        self.silent = asyncio.Event()
        """It has ended, and all that it has written was read."""
        self._max_bytes = max_bytes
        self._written = {1: bytearray(), 2: bytearray()}

    def kept(self, descriptor: int) -> bytes:
        """What it wrote at last to standard output (1) or standard error (2)."""
        return bytes(self._written[descriptor][-self._max_bytes :])

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        written = self._written[fd]
        written += data
        if len(written) > 2 * self._max_bytes:
            del written[: -self._max_bytes]

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.silent.set()


async def _kill_session(pid: int, program: _Program) -> None:
    """Kill the program and all that it has started in its session; it is not reaped yet, so its pid is its own."""
    members = [other for other in procfs.everything().values() if other.session == pid and not other.ended]
    async with pidfds.opened(members) as targets:
        for descriptor, member in targets.items():
            pidfds.send(descriptor, member, signal.SIGKILL)
        await pidfds.wait_ended(targets, _KILL_SECONDS)
    with suppress(TimeoutError):  # one that the kernel holds ends when its disk comes back
        async with asyncio.timeout(_KILL_SECONDS):
            await program.exited.wait()
