"""DNS checks against a real server on loopback, well behaved and not."""

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from brainops.checks.base import Subject
from brainops.checks.probe import Prober
from brainops.config.checks import DnsCheck
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.contracts.check import ProbeResult, Reason
from brainops.services.host import HostServices

SUBJECT = Subject("zone", "names", Service.model_validate({"run": {"kind": "external"}}))
ZONE = {
    ("shop.test.", "A"): ["192.0.2.1", "192.0.2.2"],
    ("shop.test.", "AAAA"): ["2001:db8::1"],
    ("shop.test.", "MX"): ["10 Mail.shop.test."],
    ("shop.test.", "TXT"): ['"v=spf1 -all"'],
    ("1.2.0.192.in-addr.arpa.", "PTR"): ["shop.test."],
}

Answer = Callable[[dns.message.Message, bool], bytes | None]


class Server(asyncio.DatagramProtocol):
    """Answers over UDP and TCP with what `answer` says; None: with nothing."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self.answer(dns.message.from_wire(data), False)
        if reply is not None:
            self._transport.sendto(reply, addr)

    async def over_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        reply = self.answer(dns.message.from_wire(await reader.readexactly(length)), True)
        if reply is not None:
            writer.write(struct.pack("!H", len(reply)) + reply)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def serving(answer: Answer) -> AsyncGenerator[int]:
    server = Server(answer)
    tcp = await asyncio.start_server(server.over_tcp, "127.0.0.1", 0)
    port = tcp.sockets[0].getsockname()[1]
    udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", port))
    try:
        yield port
    finally:
        udp.close()
        tcp.close()


def from_zone(query: dns.message.Message, _: bool) -> bytes:
    reply = dns.message.make_response(query)
    question = query.question[0]
    values = ZONE.get((question.name.to_text(), dns.rdatatype.to_text(question.rdtype)))
    if values is not None:
        reply.answer.append(dns.rrset.from_text(question.name, 300, "IN", question.rdtype, *values))
    elif question.name.to_text() not in {name for name, _ in ZONE}:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    return reply.to_wire()


def failing(query: dns.message.Message, _: bool) -> bytes:
    reply = dns.message.make_response(query)
    reply.set_rcode(dns.rcode.SERVFAIL)
    return reply.to_wire()


def silent(_: dns.message.Message, __: bool) -> None:
    return None


def only_over_tcp(query: dns.message.Message, tcp: bool) -> bytes:
    if tcp:
        return from_zone(query, tcp)
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.TC
    return reply.to_wire()


async def ask(port: int, **check: object) -> ProbeResult:
    declared = {"kind": "dns", "name": "shop.test", "server": "127.0.0.1", "port": port, "timeout": "5s", **check}
    nowhere = Path("nowhere")
    async with Prober(HostServices(StatePaths(nowhere), nowhere), nowhere) as prober:
        return await prober.look(SUBJECT, DnsCheck.model_validate(declared))


CASES: list[tuple[Answer, dict[str, object], Reason, str]] = [
        (from_zone, {}, Reason.NONE, ""),
        (from_zone, {"expect": ["192.0.2.2"]}, Reason.NONE, ""),
        (from_zone, {"type": "AAAA", "expect": ["2001:db8::1"]}, Reason.NONE, ""),
        (from_zone, {"type": "MX", "expect": ["10 mail.shop.test"]}, Reason.NONE, ""),
        (from_zone, {"type": "TXT", "expect": ["v=spf1 -all"]}, Reason.NONE, ""),
        (from_zone, {"type": "PTR", "name": "192.0.2.1", "expect": ["shop.test"]}, Reason.NONE, ""),
        (only_over_tcp, {"expect": ["192.0.2.1"]}, Reason.NONE, ""),
        (from_zone, {"expect": ["192.0.2.9"]}, Reason.DNS, "192.0.2.9 is not among the answers: 192.0.2.1, 192.0.2.2"),
        (from_zone, {"name": "nobody.test"}, Reason.DNS, "nobody.test A: there is no such name (NXDOMAIN)"),
        (from_zone, {"type": "SRV"}, Reason.DNS, "the name has no SRV record"),
        (failing, {}, Reason.DNS, "the server failed (SERVFAIL)"),
        (silent, {"timeout": "300ms"}, Reason.TIMEOUT, "no answer within 300ms"),
        (from_zone, {"conditions": ["[ANSWERS] == pat(192.0.2.*)", "[TTL] <= 5m", "[RCODE] == NOERROR"]}, Reason.NONE, ""),
        (from_zone, {"conditions": ["len([ANSWERS]) >= 3"]}, Reason.DNS, "len([ANSWERS]) is 2, wanted >= 3"),
        (from_zone, {"name": "nobody.test", "conditions": ["[RCODE] == NXDOMAIN"]}, Reason.NONE, ""),
    ]  # fmt: skip


@pytest.mark.parametrize(("answer", "check", "reason", "detail"), CASES)
async def test_what_an_answer_is_judged_as(
    answer: Answer, check: dict[str, object], reason: Reason, detail: str
) -> None:
    async with serving(answer) as port:
        result = await ask(port, **check)
    assert (result.reason, result.ok) == (reason, reason is Reason.NONE), result
    assert detail in result.detail


async def test_garbage_and_answers_to_other_questions_are_not_believed() -> None:
    def garbled(query: dns.message.Message, _: bool) -> bytes:
        return struct.pack("!H", query.id) + b"\xff" * 40

    def another_id(query: dns.message.Message, tcp: bool) -> bytes:
        wire = from_zone(query, tcp)
        return struct.pack("!H", query.id ^ 1) + wire[2:]

    for answer in (garbled, another_id):
        async with serving(answer) as port:
            result = await ask(port, timeout="500ms")
        assert not result.ok
        assert result.reason in (Reason.PROTOCOL, Reason.TIMEOUT), result


async def test_a_server_that_is_not_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    result = await ask(port, timeout="500ms")
    assert not result.ok
    assert result.reason in (Reason.REFUSED, Reason.TIMEOUT), result
