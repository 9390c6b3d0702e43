"""HTTP: the answer's status, headers, body, time and certificate, from whatever answers, however badly."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import aiohttp
from yarl import URL

from brainops.checks.base import CheckProbe, ProbeTools, Subject
from brainops.checks.conditions import GOOD, Value, Verdict, judge
from brainops.checks.failures import from_os_error
from brainops.checks.tls import TlsContexts
from brainops.config.certificates import CertificateError, TlsFiles, expiry_of
from brainops.config.checks import HttpCheck
from brainops.config.conditions import parse_condition
from brainops.config.environment import expand, looks_secret, references
from brainops.config.quantities import format_duration
from brainops.contracts.check import ProbeResult, Reason
from brainops.errors import ConfigError
from brainops.telemetry.redaction import clean

BODY_LIMIT = 64 * 1024
"""Bytes of a body that are read and judged."""

_DETAIL_LIMIT = 500
_HEADERS = {"User-Agent": "brainops", "Accept": "*/*", "Accept-Encoding": "identity"}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEP_METHOD = frozenset({307, 308})
_SHORTEST_SECRET = 4


class Answer(aiohttp.ClientResponse):
    """An answer that remembers the certificate of who gave it, also when the connection is closed already."""

    certificate: bytes | None = None
    """As DER."""

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        """Begin to read."""
        tls = connection.transport.get_extra_info("ssl_object") if connection.transport is not None else None
        if tls is not None:
            self.certificate = tls.getpeercert(binary_form=True)
        return await super().start(connection)


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
        response_class=Answer,
    )


@dataclass(frozen=True)
class _Question:
    """What a check sends: prepared once, and sent with every probe."""

    check: HttpCheck
    url: URL
    headers: dict[str, str]
    body: bytes | None
    tls: TlsFiles
    secrets: tuple[str, ...]
    """What must not be told, should the answer repeat it."""
    judges_status: bool
    """False: nothing is said of the status but by conditions."""
    wants_certificate: bool

    @cached_property
    def shows_something(self) -> bool:
        """Whether it would tell a secret to somebody who listens."""
        return bool(self.headers or self.body or self.tls.certificate or self.url.user or self.url.password)


@dataclass(frozen=True)
class _Hop:
    """One request on the way to the answer."""

    url: URL
    method: str
    headers: dict[str, str]
    body: bytes | None
    tls: TlsFiles


class _RedirectError(Exception):
    """A redirect that is not followed; the message says why."""


class HttpProbe(CheckProbe[HttpCheck]):
    """Asks over HTTP. Follows redirects up to the check's limit; each is part of the one timeout."""

    check = HttpCheck

    def __init__(self, tools: ProbeTools) -> None:
        super().__init__(tools)
        self._contexts = TlsContexts()
        self._questions: dict[tuple[str, str], _Question] = {}

    async def look(self, subject: Subject, check: HttpCheck, /) -> ProbeResult:
        begun = time.perf_counter()
        secrets: tuple[str, ...] = ()
        try:
            question = self._question(subject, check)
            secrets = question.secrets
            async with asyncio.timeout(check.timeout.total_seconds()):
                reason, detail = await self._ask(question, begun)
        except TimeoutError:
            reason, detail = Reason.TIMEOUT, f"no whole answer within {format_duration(check.timeout)}"
        except _RedirectError as error:
            reason, detail = Reason.REDIRECT, str(error)
        except CertificateError as error:
            reason, detail = Reason.CERTIFICATE, f"{error.field}: {error}"
        except ConfigError as error:
            reason, detail = Reason.ERROR, str(error)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason, detail = _from_error(error)
        latency_ms = (time.perf_counter() - begun) * 1000
        if reason is Reason.NONE and check.max_latency is not None and latency_ms > check.max_latency / _MILLISECOND:
            reason = Reason.SLOW
            detail = f"answered in {latency_ms:.0f} ms, allowed {format_duration(check.max_latency)}"
        return ProbeResult(
            ok=reason is Reason.NONE, reason=reason, latency_ms=latency_ms, detail=detail and _readable(detail, secrets)
        )

    def _question(self, subject: Subject, check: HttpCheck) -> _Question:
        known = self._questions.get(subject.key)
        if known is None or known.check is not check:
            known = self._questions[subject.key] = self._prepared(check)
        return known

    def _prepared(self, check: HttpCheck) -> _Question:
        """Raises ConfigError when a variable is not set, ValueError when the URL is none."""
        environment, directory = self._tools.environment, self._tools.directory
        secrets = {value for name, value in check.headers.items() if looks_secret(name)}
        for text in (*check.headers.values(), check.body or ""):
            secrets |= {environment[name] for name in references(text) if name in environment}
        headers = {name: expand(value, environment) for name, value in check.headers.items()}
        if any(sign in text for item in headers.items() for text in item for sign in "\r\n\0"):
            raise ValueError("a header has a line end in it; remove it from the file or the variable")
        url = URL(check.url)
        names = {parse_condition(condition).name for condition in check.conditions}
        return _Question(
            check=check,
            url=url,
            headers=headers,
            body=None if check.body is None else expand(check.body, environment).encode(),
            tls=TlsFiles(
                check.verify,
                *(
                    None if path is None else directory / path
                    for path in (check.ca, check.client_certificate, check.client_key)
                ),
            ),
            secrets=tuple(value for value in {*secrets, url.password or ""} if len(value) >= _SHORTEST_SECRET),
            judges_status="STATUS" not in names or "expect_status" in check.model_fields_set,
            wants_certificate=check.certificate_valid_for is not None or "CERTIFICATE_EXPIRATION" in names,
        )

    async def _ask(self, question: _Question, begun: float) -> Verdict:
        hop = _Hop(question.url, question.check.method, question.headers, question.body, question.tls)
        seen = {(hop.method, hop.url)}
        while True:
            answer = await self._send(hop)
            try:
                following = answer.headers.get("Location") if answer.status in _REDIRECTS else None
                if following is None or question.check.redirects == 0:
                    body = await _read_body(answer)
                    return _judged(question, answer, body, redirects=len(seen) - 1, begun=begun)
                hop = _next_hop(question, hop, answer.status, following)
            finally:
                answer.close()
            if (hop.method, hop.url) in seen:
                raise _RedirectError(f"redirects in a circle, back to {_shown(hop.url)}")
            if len(seen) > question.check.redirects:
                raise _RedirectError(f"more than {question.check.redirects} redirects, the last to {_shown(hop.url)}")
            seen.add((hop.method, hop.url))

    async def _send(self, hop: _Hop) -> aiohttp.ClientResponse:
        return await self._tools.session.request(
            hop.method,
            hop.url,
            headers=hop.headers,
            data=hop.body,
            ssl=self._contexts.of(hop.tls) if hop.url.scheme == "https" else True,
            allow_redirects=False,
        )


def _next_hop(question: _Question, hop: _Hop, status: int, location: str) -> _Hop:
    """Where a redirect leads. What the check sends goes to no other server, and never from https to http."""
    try:
        url = hop.url.join(URL(location)).with_fragment(None)
        if url.scheme not in ("http", "https"):
            raise _RedirectError(f"redirects to {location[:200]!r}, which is neither http nor https")
        if not url.host:
            raise ValueError("no host")
    except ValueError:
        raise _RedirectError(f"redirects to {location[:200]!r}, which is no address") from None
    if hop.url.scheme == "https" and url.scheme == "http" and question.shows_something:
        raise _RedirectError(f"redirects from https to {_shown(url)}, where what the check sends could be read")
    upgraded = (hop.url.scheme, url.scheme) == ("http", "https")
    same = url.host == hop.url.host and (upgraded or url.origin() == hop.url.origin())
    keeps = status in _KEEP_METHOD or hop.method in ("GET", "HEAD", "OPTIONS")
    return _Hop(
        url=url,
        method=hop.method if keeps else "GET",
        headers=hop.headers if same else {},
        body=hop.body if same and keeps else None,
        tls=hop.tls if same else TlsFiles(hop.tls.verify, hop.tls.ca),
    )


def _judged(
    question: _Question, answer: aiohttp.ClientResponse, body: bytes, *, redirects: int, begun: float
) -> Verdict:
    check = question.check
    if question.judges_status and answer.status not in check.expect_status:
        said = body[:_DETAIL_LIMIT].decode("utf-8", "replace").strip() or answer.headers.get("Location", "")
        return Reason.STATUS, f"{answer.status} {answer.reason or ''}".strip() + (f": {said}" if said else "")
    if check.expect_body is not None and check.expect_body.encode() not in body:
        said = body[:200].decode("utf-8", "replace").strip() or "an empty body"
        return Reason.BODY, f"the body does not contain {check.expect_body[:80]!r}: {said}"
    left = _certificate_left(answer) if question.wants_certificate else None
    if check.certificate_valid_for is not None and left is not None and left < check.certificate_valid_for:
        return Reason.CERTIFICATE, _expires(left, check.certificate_valid_for)
    if not check.conditions:
        return GOOD
    values: dict[str, Value] = {
        "STATUS": answer.status,
        "RESPONSE_TIME": timedelta(seconds=time.perf_counter() - begun),
        "BODY": body.decode("utf-8", "replace"),
        "HEADER": {name.lower(): value for name, value in answer.headers.items()},
        "CERTIFICATE_EXPIRATION": left,
        "REDIRECTS": redirects,
    }
    return judge(check.conditions, values, question.secrets)


def _certificate_left(answer: aiohttp.ClientResponse) -> timedelta | None:
    if not isinstance(answer, Answer) or answer.certificate is None:
        return None
    return expiry_of(answer.certificate) - datetime.now(UTC)


def _expires(left: timedelta, wanted: timedelta) -> str:
    whole = timedelta(seconds=abs(round(left.total_seconds())))
    told = f"expired {format_duration(whole)} ago" if left < timedelta() else f"expires in {format_duration(whole)}"
    return f"the certificate {told}, wanted at least {format_duration(wanted)}"


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
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        verdict = Reason.CERTIFICATE, f"the certificate is not to be trusted: {error.certificate_error}"
        if isinstance(error.certificate_error, OSError):
            verdict = from_os_error(error.certificate_error)
    elif isinstance(error, aiohttp.ServerDisconnectedError):
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
        verdict = from_os_error(error.__cause__ if isinstance(error.__cause__, OSError) else error)
    return verdict


def _shown(url: URL) -> str:
    """An address without what may be secret in it."""
    return str(url.with_user(None).with_query(None))[:200]


def _readable(detail: str, secrets: tuple[str, ...]) -> str:
    """One redacted, printable line."""
    return clean(" ".join(detail.split()), _DETAIL_LIMIT, secrets)


_MILLISECOND = timedelta(milliseconds=1)
