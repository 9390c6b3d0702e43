"""HTTP: the answer's status, body and time, from whatever answers, however badly."""

import asyncio
import time

import aiohttp

from brainops.checks.failures import from_os_error
from brainops.config.models import HttpCheck
from brainops.config.quantities import format_duration
from brainops.contracts.check import ProbeResult, Reason
from brainops.telemetry.redaction import clean

BODY_LIMIT = 64 * 1024
"""Bytes of a body that are read and judged."""

_DETAIL_LIMIT = 500
_HEADERS = {"User-Agent": "brainops", "Accept": "*/*", "Accept-Encoding": "identity"}

Verdict = tuple[Reason, str]
_GOOD: Verdict = (Reason.NONE, "")


def new_session() -> aiohttp.ClientSession:
    """A client for probes: a fresh connection for each, no cookies, no proxy, nothing decompressed. Close it."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
        headers=_HEADERS,
        auto_decompress=False,
        trust_env=False,
        read_bufsize=BODY_LIMIT,
    )


async def probe_http(check: HttpCheck, session: aiohttp.ClientSession) -> ProbeResult:
    """GET the URL within the check's timeout: connecting, headers, and up to 64 KiB of body. No redirect is followed."""
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(check.timeout.total_seconds()):
            reason, detail = await _look(check, session)
    except TimeoutError:
        reason, detail = Reason.TIMEOUT, f"no whole answer within {format_duration(check.timeout)}"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        reason, detail = _from_error(error)
    latency_ms = (time.perf_counter() - begun) * 1000
    if (
        reason is Reason.NONE
        and check.max_latency is not None
        and latency_ms > check.max_latency.total_seconds() * 1000
    ):
        reason, detail = Reason.SLOW, f"answered in {latency_ms:.0f} ms, allowed {format_duration(check.max_latency)}"
    return ProbeResult(ok=reason is Reason.NONE, reason=reason, latency_ms=latency_ms, detail=_readable(detail))


async def _look(check: HttpCheck, session: aiohttp.ClientSession) -> Verdict:
    response = await session.get(check.url, allow_redirects=False)
    try:
        body = await _read_body(response)
    finally:
        response.close()
    if response.status not in check.expect_status:
        said = body[:_DETAIL_LIMIT].decode("utf-8", "replace").strip() or response.headers.get("Location", "")
        return Reason.STATUS, f"{response.status} {response.reason or ''}".strip() + (f": {said}" if said else "")
    if check.expect_body is not None and check.expect_body.encode() not in body:
        said = body[:200].decode("utf-8", "replace").strip() or "an empty body"
        return Reason.BODY, f"the body does not contain {check.expect_body[:80]!r}: {said}"
    return _GOOD


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    """At most 64 KiB of the body."""
    parts: list[bytes] = []
    size = 0
    while size < BODY_LIMIT and (part := await response.content.read(BODY_LIMIT - size)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _from_error(error: Exception) -> Verdict:
    """Reason and sentence for what aiohttp raises."""
    verdict = Reason.ERROR, str(error) or type(error).__name__
    if isinstance(error, aiohttp.ServerDisconnectedError):
        verdict = Reason.RESET, "the connection was closed without an answer"
    elif isinstance(error, aiohttp.ClientPayloadError):
        verdict = Reason.PROTOCOL, "the body broke off"
    elif isinstance(error, aiohttp.ClientResponseError):
        verdict = Reason.PROTOCOL, f"not valid HTTP: {error.message}"
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        verdict = Reason.ERROR, f"the name cannot be resolved: {error.strerror}"
    elif isinstance(error, aiohttp.ClientConnectorError):
        verdict = from_os_error(error.os_error)
    elif isinstance(error, OSError):
        verdict = from_os_error(error)
    return verdict


def _readable(detail: str) -> str:
    """One redacted, printable line."""
    return clean(" ".join(detail.split()))[:_DETAIL_LIMIT]
