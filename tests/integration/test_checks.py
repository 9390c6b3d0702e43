"""Probes against real sockets and processes, well behaved and not."""

import asyncio
import gzip
import os
import signal
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from brainops.checks.base import Subject
from brainops.checks.probe import Prober
from brainops.checks.tcp import TcpProbe
from brainops.config.checks import HttpCheck, ProcessCheck, TcpCheck
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.contracts.check import ProbeResult, Reason
from brainops.services.host import HostServices

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncGenerator[int]:
    """A server on a free port that answers every connection with `answer`."""
    answers: set[asyncio.Task[None]] = set()
    handled: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handled.add(task)
        answering = asyncio.ensure_future(answer(reader, writer))
        answers.add(answering)
        await asyncio.gather(answering, return_exceptions=True)
        writer.transport.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for answering in answers:
            answering.cancel()
        await asyncio.gather(*handled)


def probing() -> Prober:
    """A prober that needs nothing of this host."""
    nowhere = Path("nowhere")
    return Prober(HostServices(StatePaths(nowhere), nowhere), nowhere)


async def ask(answer: Answer, **check: object) -> ProbeResult:
    async with serving(answer) as port, probing() as prober:
        return await prober.look(SUBJECT, http(port, **check))


def http(port: int, **check: object) -> HttpCheck:
    return HttpCheck.model_validate({"url": f"http://127.0.0.1:{port}/health", "timeout": "2s", **check})


def saying(*parts: bytes, pause: float = 0) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)

    return answer


def response(status: str, body: bytes = b"", *headers: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers))
    return head.encode() + b"\r\n" + body


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes, part: bytes) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(head)
    while True:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0)


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    writer.transport.abort()


SERVICE = Service.model_validate({"run": {"command": ["sleep", "600"]}})
SUBJECT = Subject("web", "health", SERVICE)
OK = response("200 OK", b"all is well")


@pytest.mark.parametrize(
    ("answer", "check", "reason", "detail"),
    [
        (saying(OK), {}, Reason.NONE, ""),
        (saying(OK), {"expect_body": "is well"}, Reason.NONE, ""),
        (saying(response("204 No Content")), {"expect_status": (200, 204)}, Reason.NONE, ""),
        (saying(OK), {"expect_body": "green"}, Reason.BODY, "does not contain 'green': all is well"),
        (
            saying(response("503 Service Unavailable", b"store\nis away")),
            {},
            Reason.STATUS,
            "503 Service Unavailable: store is away",
        ),
        (
            saying(response("302 Found", b"", "Location: /login")),
            {},
            Reason.STATUS,
            "302 Found: /login",
        ),  # not followed
        (saying(response("500 Oops", b"password=hunter2hunter2")), {}, Reason.STATUS, "[redacted]"),
        (saying(b"", OK, pause=0.05), {"max_latency": "10ms"}, Reason.SLOW, "allowed 10ms"),
        (saying(b"", pause=5), {"timeout": "300ms"}, Reason.TIMEOUT, "within 300ms"),  # accepts and says nothing
        (
            saying(*(bytes([byte]) for byte in OK), pause=0.05),
            {"timeout": "300ms"},
            Reason.TIMEOUT,
            "within 300ms",
        ),  # slow loris
        (saying(), {}, Reason.RESET, "closed without an answer"),
        (reset, {}, Reason.RESET, "connection reset"),
        (saying(b"\x00\xff\x17garbage\r\n\r\n"), {}, Reason.PROTOCOL, "not valid HTTP"),
        (saying(b"SSH-2.0-OpenSSH_9\r\n"), {}, Reason.PROTOCOL, "not valid HTTP"),
        (saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbroken"), {}, Reason.PROTOCOL, "broke off"),
        (saying(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), {}, Reason.PROTOCOL, "not valid HTTP"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, Reason) else "",
)
async def test_what_an_answer_is_judged_as(
    answer: Answer, check: dict[str, object], reason: Reason, detail: str
) -> None:
    result = await ask(answer, **check)
    assert (result.reason, result.ok) == (reason, reason is Reason.NONE), result
    assert detail in result.detail
    assert "hunter2" not in result.detail


async def test_a_huge_body_is_read_to_its_64th_kilobyte_and_no_further() -> None:
    sent = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000000\r\n\r\nbegin")
        while not writer.is_closing():
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    result = await ask(answer, expect_body="begin", timeout="2s")
    assert result.ok, result
    assert sent < 20_000_000


@pytest.mark.parametrize("part", [b"X-Many: y\r\n", b"x" * 4096], ids=["endless headers", "one endless header"])
async def test_endless_headers_are_bounded(part: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Long: "
    result = await ask(lambda reader, writer: endless(reader, writer, head, part), timeout="2s")
    assert result.reason is Reason.PROTOCOL, result
    assert result.latency_ms < 1500
    assert len(result.detail) <= 500


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"extension=" * 1000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        (b"", b"\r\n" * 1000),
    ],
    ids=["chunks of a byte", "an endless chunk extension", "endless interim answers", "empty lines"],
)
async def test_what_never_ends_is_left(head: bytes, part: bytes) -> None:
    before = psutil.Process().memory_info().rss
    result = await ask(lambda reader, writer: endless(reader, writer, head, part), timeout="500ms")
    assert result.ok or result.reason in (Reason.TIMEOUT, Reason.PROTOCOL), result
    assert psutil.Process().memory_info().rss - before < 200_000_000


async def test_a_compressed_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    result = await ask(saying(response("200 OK", bomb, "Content-Encoding: gzip")), timeout="1s")
    assert result.ok, result
    assert result.latency_ms < 500


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    tcp = TcpCheck.model_validate({"port": port, "host": "localhost"})
    async with probing() as prober:
        for check in (http(port), HttpCheck.model_validate({"url": f"http://localhost:{port}"}), tcp):
            result = await prober.look(SUBJECT, check)
            assert result.reason is Reason.REFUSED, result


async def test_a_name_that_does_not_exist_is_an_error() -> None:
    async with probing() as prober:
        for check in (
            HttpCheck.model_validate({"url": "http://no-such-host.invalid/", "timeout": "20s"}),
            HttpCheck.model_validate({"url": "http://[::1", "timeout": "20s"}),
            TcpCheck.model_validate({"host": "no-such-host.invalid", "port": 1, "timeout": "20s"}),
        ):
            result = await prober.look(SUBJECT, check)
            assert result.reason is Reason.ERROR, result
            assert result.detail


async def test_tcp_passes_where_somebody_listens_and_times_out_where_nobody_accepts() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        check = TcpCheck.model_validate({"port": port, "timeout": "100ms"})
        async with probing() as prober:
            assert (await prober.look(SUBJECT, check)).ok
            # that one fills the queue, for nobody accepts it
            assert (await prober.look(SUBJECT, check)).reason is Reason.TIMEOUT


async def test_a_prober_is_used_inside_its_block() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await probing().look(SUBJECT, http(1))


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[HostServices]:
    host = HostServices(StatePaths(tmp_path / "state"), tmp_path)
    yield host
    await host.stop("web", SERVICE)


async def test_a_process_is_judged_by_its_life_its_state_and_its_memory(host: HostServices) -> None:
    limited = Service.model_validate({"run": {"command": ["sleep", "600"]}, "limits": {"memory": "100kB"}})
    async with Prober(host, host.directory) as prober:

        async def look(service: Service = SERVICE) -> ProbeResult:
            return await prober.look(Subject("web", "process", service), ProcessCheck())

        assert (await look()).reason is Reason.NOT_RUNNING
        run = await host.start("web", SERVICE, "key-1")
        assert run.pid is not None
        assert (await look()).ok
        async with asyncio.timeout(20):  # what has just been executed has no memory yet
            while (heavy := await look(limited)).ok:
                await asyncio.sleep(0.01)
        assert heavy.reason is Reason.MEMORY
        assert "more than its limit of 100.0 kB" in heavy.detail
        os.kill(run.pid, signal.SIGSTOP)
        deadline = time.monotonic() + 5
        while (suspended := await look()).ok and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        assert suspended.reason is Reason.TIMEOUT
        assert "suspended" in suspended.detail
        os.kill(run.pid, signal.SIGKILL)
        await host.ended("web", SERVICE)
        gone = await look()
        assert (gone.reason, gone.detail) == (Reason.EXITED, "killed by SIGKILL")
        assert (
            await prober.look(Subject("web", "process", SERVICE, here=False), ProcessCheck())
        ).reason is Reason.ERROR


async def test_a_fault_of_a_probe_is_told_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> ProbeResult:
        raise RecursionError("too deep")

    monkeypatch.setattr(TcpProbe, "look", broken)
    service = Service.model_validate({"run": {"kind": "external"}})
    async with Prober(HostServices(StatePaths(tmp_path / "state"), tmp_path), tmp_path) as prober:
        result = await prober.look(Subject("shop", "port", service), TcpCheck(port=1))
    assert (result.ok, result.reason) == (False, Reason.ERROR)
    assert result.detail == "BrainOps itself failed to look: RecursionError: too deep"
