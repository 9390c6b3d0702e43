"""The prober believes only a good answer, in time, from a process of a decent size."""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Generator

import pytest

from interfaces.demo.prober import Prober, ProbeTarget, ask


@contextlib.contextmanager
def answering(answer: bytes, delay_seconds: float = 0.0) -> Generator[int]:
    """A server on loopback that gives every connection the same answer."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    time.sleep(delay_seconds)
                    connection.sendall(answer)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def health(status: str = "ok", pid: int | None = None, code: str = "200 OK") -> bytes:
    body = json.dumps({"status": status, "pid": pid or os.getpid()}).encode()
    return f"HTTP/1.0 {code}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_a_good_answer_is_good() -> None:
    with answering(health()) as port:
        assert ask(ProbeTarget(port=port)).good


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (health(code="503 Service Unavailable"), "status 503"),
        (health(status="failing"), "does not say ok"),
        (b"HTTP/1.0 200 OK\r\n\r\nhello", "not a health answer"),
        (b"garbage", "status missing"),
        (b"", "status missing"),
    ],
)
def test_a_bad_answer_is_bad_with_its_reason(answer: bytes, why: str) -> None:
    with answering(answer) as port:
        verdict = ask(ProbeTarget(port=port))
    assert (verdict.good, verdict.why) == (False, why)


def test_nobody_there_is_bad() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    verdict = ask(ProbeTarget(port=port))
    assert not verdict.good
    assert "refused" in verdict.why


def test_a_listener_that_never_answers_is_bad_when_patience_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        verdict = ask(ProbeTarget(port=listener.getsockname()[1], patience_seconds=0.1))
    assert not verdict.good
    assert verdict.answered_at - verdict.asked_at < 1


def test_a_slow_answer_is_waited_for_and_bad() -> None:
    with answering(health(), delay_seconds=0.1) as port:
        verdict = ask(ProbeTarget(port=port, latency_limit_seconds=0.05))
    assert not verdict.good
    assert verdict.why.startswith("took ")


def test_a_process_over_its_memory_is_bad() -> None:
    with answering(health()) as port:
        assert "uses" in ask(ProbeTarget(port=port, memory_limit_bytes=1)).why
        assert ask(ProbeTarget(port=port, memory_limit_bytes=10**12)).good


async def test_prober_tells_when_down_began_and_ended() -> None:
    with answering(health()) as port:
        with Prober(ProbeTarget(port=port)) as prober:
            good = await prober.good_after(0, timeout_seconds=5)
            assert good is not None
            assert prober.first_bad_after(0) is None
            assert await prober.bad_after(0, timeout_seconds=0.1) is None
        assert prober.first_good_after(good + 3600) is None
