"""An independent prober: a user of the shop with a stopwatch, who knows nothing of BrainOps.

It opens a new connection for every question, so it sees what a stranger would see. What it measures is what the
demo and the benchmarks call down and up.
"""

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_LARGEST_ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True)
class ProbeTarget:
    """What to ask, and what a good answer is: status 200, body `ok`, in time, from a process of a decent size."""

    port: int
    path: str = "/health"
    latency_limit_seconds: float = 1.0
    """A good answer that took longer is a bad one."""
    patience_seconds: float = 1.0
    """How long to wait for an answer at all. Longer than the limit where slow answers are to be waited for, so that
    impatience does not pile up work on a slow server."""
    memory_limit_bytes: int | None = None
    """Resident memory of the process that answers, read from /proc. None: not judged."""


@dataclass(frozen=True)
class Verdict:
    """One question and its answer. Times are `time.monotonic()`."""

    asked_at: float
    answered_at: float
    good: bool
    why: str = ""
    """What was wrong with it."""


class Prober:
    """Asks `target` every `interval_seconds` in a thread of its own, from `start` to `stop`.

    Use as a context manager. The questions of a slow target follow each other after the interval, never at once.
    """

    def __init__(self, target: ProbeTarget, interval_seconds: float = 0.01) -> None:
        self._target = target
        self._interval = interval_seconds
        self._verdicts: list[Verdict] = []
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"prober-{target.port}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Stop asking, and wait for the last answer."""
        self._stopped.set()
        self._thread.join()

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """All answers so far, in order."""
        with self._changed:
            return tuple(self._verdicts)

    def first_bad_after(self, moment: float) -> float | None:
        """When the first bad answer to a question asked after `moment` was known."""
        return self._first(moment, good=False)

    def first_good_after(self, moment: float) -> float | None:
        """When the first good answer to a question asked after `moment` came."""
        return self._first(moment, good=True)

    def _first(self, moment: float, *, good: bool) -> float | None:
        with self._changed:
            return next((v.answered_at for v in self._verdicts if v.asked_at >= moment and v.good is good), None)

    async def bad_after(self, moment: float, timeout_seconds: float) -> float | None:
        """Wait for `first_bad_after(moment)`; None when the time is over."""
        return await self._wait(lambda: self.first_bad_after(moment), timeout_seconds)

    async def good_after(self, moment: float, timeout_seconds: float) -> float | None:
        """Wait for `first_good_after(moment)`; None when the time is over."""
        return await self._wait(lambda: self.first_good_after(moment), timeout_seconds)

    async def _wait(self, found: Callable[[], float | None], timeout_seconds: float) -> float | None:
        deadline = time.monotonic() + timeout_seconds

        def wait() -> float | None:
            with self._changed:
                while not self._stopped.is_set() and (left := deadline - time.monotonic()) > 0:
                    if (answer := found()) is not None:
                        return answer
                    self._changed.wait(min(left, 0.5))
            return found()

        return await asyncio.to_thread(wait)

    def _run(self) -> None:
        while not self._stopped.is_set():
            verdict = ask(self._target)
            with self._changed:
                self._verdicts.append(verdict)
                self._changed.notify_all()
            self._stopped.wait(self._interval)


def ask(target: ProbeTarget) -> Verdict:
    """Ask once. Never raises: whatever goes wrong is a bad answer."""
    asked_at = time.monotonic()
    try:
        answer = _exchange(target, asked_at + target.patience_seconds)
        why = _judge(target, answer, time.monotonic() - asked_at)
    except OSError as error:
        why = str(error) or type(error).__name__
    return Verdict(asked_at=asked_at, answered_at=time.monotonic(), good=not why, why=why)


def _exchange(target: ProbeTarget, deadline: float) -> bytes:
    """Send one GET and read the whole answer. Raises OSError, TimeoutError when it is not there in time."""
    with socket.create_connection(("127.0.0.1", target.port), timeout=target.patience_seconds) as connection:
        connection.sendall(f"GET {target.path} HTTP/1.0\r\nHost: shop\r\n\r\n".encode())
        answer = b""
        while len(answer) < _LARGEST_ANSWER_BYTES:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no whole answer in time")
            connection.settimeout(left)
            chunk = connection.recv(16 * 1024)
            if not chunk:
                break
            answer += chunk
        return answer


def _judge(target: ProbeTarget, answer: bytes, seconds: float) -> str:
    """What is wrong with an answer; empty when it is good."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status != [b"200"]:
        return f"status {status[0].decode('ascii', 'replace') if status else 'missing'}"
    if seconds > target.latency_limit_seconds:
        return f"took {seconds * 1000:.0f} ms"
    try:
        facts = json.loads(body)
    except ValueError:
        return "not a health answer"
    if facts.get("status") != "ok":
        return "does not say ok"
    if target.memory_limit_bytes is not None:
        resident = resident_bytes(int(facts["pid"]))
        if resident > target.memory_limit_bytes:
            return f"uses {resident / 1e6:.0f} MB"
    return ""


def resident_bytes(pid: int) -> int:
    """Resident memory of a process from /proc; 0 when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    except (FileNotFoundError, ProcessLookupError):
        return 0
