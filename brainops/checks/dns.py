"""DNS: a name has an answer, and the one that is expected."""

import asyncio
import ipaddress
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import cast

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.reversename
import dns.rrset
from dns.rdata import Rdata

from brainops.checks.base import CheckProbe, ProbeTools, Subject
from brainops.checks.conditions import GOOD, Value, Verdict, judge
from brainops.checks.failures import from_os_error
from brainops.config.checks import DnsCheck
from brainops.config.conditions import parse_condition
from brainops.config.quantities import format_duration
from brainops.contracts.check import ProbeResult, Reason
from brainops.telemetry.redaction import clean

_SERVERS_READ_AGAIN_SECONDS = 10.0
_SHOWN = 200


class DnsProbe(CheckProbe[DnsCheck]):
    """Asks a DNS server over UDP, and over TCP where the answer does not fit. Nothing is remembered between probes."""

    check = DnsCheck

    def __init__(self, tools: ProbeTools) -> None:
        super().__init__(tools)
        self._servers: tuple[float, list[str]] = (float("-inf"), [])

    async def look(self, _subject: Subject, check: DnsCheck, /) -> ProbeResult:
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(check.timeout.total_seconds()):
                answer = await self._ask(check)
            reason, detail = _judged(check, answer, timedelta(seconds=time.perf_counter() - begun))
        except TimeoutError:
            reason, detail = Reason.TIMEOUT, f"no answer within {format_duration(check.timeout)}"
        except OSError as error:
            reason, detail = from_os_error(error)
        except (dns.exception.DNSException, ValueError) as error:
            reason, detail = Reason.PROTOCOL, f"not valid DNS: {str(error) or type(error).__name__}"
        detail = detail and clean(f"{check.name} {check.type}: {' '.join(detail.split())}")
        latency_ms = (time.perf_counter() - begun) * 1000
        return ProbeResult(ok=reason is Reason.NONE, reason=reason, latency_ms=latency_ms, detail=detail)

    async def _ask(self, check: DnsCheck) -> dns.message.Message:
        """The answer of the first server that gives one. Each has an equal share of what is left of the timeout."""
        query = dns.message.make_query(_name(check), check.type)
        servers = [check.server] if check.server else self._machine_servers()
        until = time.monotonic() + check.timeout.total_seconds()
        for left, server in zip(range(len(servers), 0, -1), servers, strict=True):
            share = max(0.001, (until - time.monotonic()) / left)
            try:
                answer, _ = await dns.asyncquery.udp_with_fallback(query, server, timeout=share, port=check.port)
            except (dns.exception.Timeout, OSError) as error:
                if left > 1:
                    continue
                if isinstance(error, OSError):
                    raise
                raise TimeoutError from error
            return answer
        raise ValueError("this machine names no DNS server; name one as server")

    def _machine_servers(self) -> list[str]:
        read_at, servers = self._servers
        if time.monotonic() - read_at > _SERVERS_READ_AGAIN_SECONDS:
            try:
                servers = [str(server) for server in dns.resolver.Resolver().nameservers]
            except dns.resolver.NoResolverConfiguration:
                servers = []
            self._servers = time.monotonic(), servers
        return servers


def _name(check: DnsCheck) -> dns.name.Name:
    if check.type == "PTR":
        try:
            return dns.reversename.from_address(str(ipaddress.ip_address(check.name)))
        except ValueError:
            pass  # it is written as a name already: 1.0.0.127.in-addr.arpa
    return dns.name.from_text(check.name)


def _judged(check: DnsCheck, answer: dns.message.Message, took: timedelta) -> Verdict:
    rcode = dns.rcode.to_text(answer.rcode())
    wanted = dns.rdatatype.from_text(check.type)
    found = [records for records in answer.answer if records.rdtype == wanted]
    # One of the library's types is missing: a set of records is one of rdata. Servers give them in any order.
    answers = sorted(_plain(item.to_text()) for records in found for item in cast("Iterable[Rdata]", records))
    names = {parse_condition(condition).name for condition in check.conditions}
    if "RCODE" not in names:
        if rcode != "NOERROR":
            return Reason.DNS, _RCODES.get(rcode, f"the server answers {rcode}")
        if not answers and "ANSWERS" not in names:
            return Reason.DNS, f"the name has no {check.type} record"
    missing = [value for value in check.expect if _plain(value) not in answers]
    if missing:
        return Reason.DNS, f"{', '.join(missing[:5])} is not among the answers: {_listed(answers)}"
    if not check.conditions:
        return GOOD
    values: dict[str, Value] = {
        "ANSWERS": answers,
        "RCODE": rcode,
        "TTL": _time_to_live(found),
        "RESPONSE_TIME": took,
    }
    return judge(check.conditions, values)


def _plain(value: str) -> str:
    """An answer as people write it: without the dot at the end of a name, the quotes of a text, in small letters."""
    text = value.strip()
    if text.startswith('"'):
        return text.replace('" "', "").strip('"')
    return text.lower().rstrip(".") or "."


def _listed(answers: Sequence[str]) -> str:
    return ", ".join(answers[:10])[:_SHOWN] or "none"


def _time_to_live(found: Sequence[dns.rrset.RRset]) -> timedelta | None:
    return timedelta(seconds=min(records.ttl for records in found)) if found else None


_RCODES = {
    "NXDOMAIN": "there is no such name (NXDOMAIN)",
    "SERVFAIL": "the server failed (SERVFAIL)",
    "REFUSED": "the server refuses to answer (REFUSED)",
}
