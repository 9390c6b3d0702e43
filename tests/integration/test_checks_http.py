"""HTTP checks beyond a plain answer: requests with secrets, redirects, conditions, TLS in all its states."""

import asyncio
import re
import socket
import ssl
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from brainops.checks.base import ProbeTools, Subject
from brainops.checks.http import HttpProbe, new_session
from brainops.config.checks import HttpCheck
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.contracts.check import ProbeResult, Reason
from brainops.services.host import HostServices

SERVICE = Service.model_validate({"run": {"kind": "external"}})
SUBJECT = Subject("web", "front", SERVICE)
ENVIRONMENT = {"SHOP_TOKEN": "Zauberwort42"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Site:
    """A real server with one handler for everything; what it was asked."""

    handler: Handler
    url: str = ""
    asked: list[tuple[str, str, Mapping[str, str], str]] = field(
        default_factory=list[tuple[str, str, Mapping[str, str], str]]
    )

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path, dict(request.headers), await request.text()))
        return await self.handler(request)

    @property
    def paths(self) -> list[str]:
        return [path for _, path, _, _ in self.asked]


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncGenerator[Site]:
    site = Site(handler)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", site.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    listening = web.TCPSite(runner, host, 0, ssl_context=tls)
    await listening.start()
    port = runner.addresses[0][1]
    shown = f"[{host}]" if ":" in host else host
    site.url = f"{'https' if tls else 'http'}://{shown}:{port}"
    try:
        yield site
    finally:
        await runner.cleanup()


@pytest.fixture
async def probe(tmp_path: Path) -> AsyncGenerator[HttpProbe]:
    async with new_session() as session:
        here = HostServices(StatePaths(tmp_path / "state"), tmp_path)
        yield HttpProbe(ProbeTools(here, tmp_path, session, environment=ENVIRONMENT))


async def ask(probe: HttpProbe, url: str, **check: object) -> ProbeResult:
    return await probe.look(SUBJECT, HttpCheck.model_validate({"url": url, "timeout": "5s", **check}))


async def fine(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok", "items": [{"id": 7}]}, headers={"X-Version": "12"})


async def test_what_the_check_declares_is_sent_with_its_variables(probe: HttpProbe) -> None:
    async with serving(fine) as site:
        result = await ask(
            probe,
            f"{site.url}/orders",
            method="POST",
            headers={"Authorization": "Bearer ${SHOP_TOKEN}", "X-Plain": "$${kept}"},
            body='{"token": "${SHOP_TOKEN}"}',
        )
    assert result.ok, result
    [(method, path, headers, body)] = site.asked
    assert (method, path, body) == ("POST", "/orders", '{"token": "Zauberwort42"}')
    assert (headers["Authorization"], headers["X-Plain"]) == ("Bearer Zauberwort42", "${kept}")


async def test_a_secret_that_the_server_repeats_is_not_told(probe: HttpProbe) -> None:
    async def repeating(request: web.Request) -> web.Response:
        return web.json_response({"you": request.headers["X-Any"]}, status=500)

    async with serving(repeating) as site:
        headers = {"X-Any": "${SHOP_TOKEN}"}
        failed = await ask(probe, site.url, headers=headers)
        judged = await ask(probe, site.url, headers=headers, conditions=["[STATUS] == 500", "[BODY].you == me"])
    assert failed.reason is Reason.STATUS
    assert judged.reason is Reason.BODY
    assert "[redacted]" in failed.detail
    assert "Zauberwort42" not in failed.detail + judged.detail


async def test_a_variable_that_is_not_set_is_named(probe: HttpProbe) -> None:
    result = await ask(probe, "http://127.0.0.1:1/", headers={"X-Key": "${NOBODY_SET_THIS}"})
    assert result.reason is Reason.ERROR
    assert "NOBODY_SET_THIS is not set" in result.detail


async def test_conditions_see_the_whole_answer(probe: HttpProbe) -> None:
    async with serving(fine) as site:
        good = await ask(
            probe,
            site.url,
            conditions=[
                "[STATUS] == 200",
                "[RESPONSE_TIME] < 5s",
                "[BODY].items[0].id == 7",
                "[HEADER].x-version >= 12",
                "[REDIRECTS] == 0",
            ],
        )
        bad = await ask(probe, site.url, conditions=["[BODY].status == up"])
    assert good.ok, good
    assert (bad.reason, bad.detail) == (Reason.BODY, "[BODY].status is ok, wanted up")


async def test_a_condition_on_the_status_stands_for_the_default_one(probe: HttpProbe) -> None:
    async def missing(_: web.Request) -> web.Response:
        return web.Response(status=404)

    async with serving(missing) as site:
        assert (await ask(probe, site.url, conditions=["[STATUS] == 404"])).ok
        both = await ask(probe, site.url, conditions=["[STATUS] == 404"], expect_status=[200])
        assert both.reason is Reason.STATUS
        assert (await ask(probe, site.url, method="HEAD", expect_status=[404])).ok


async def test_over_ipv6(probe: HttpProbe) -> None:
    async with serving(fine, host="::1") as site:
        assert (await ask(probe, site.url)).ok


# redirects


def moved(**places: str) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        place = places.get(request.path.strip("/"))
        status = 307 if request.path.startswith("/keep") else 302
        return (
            web.Response(text="arrived") if place is None else web.Response(status=status, headers={"Location": place})
        )

    return answer


async def test_redirects_are_followed_up_to_the_limit(probe: HttpProbe) -> None:
    async with serving(moved(a="/b", b="c", c="/d")) as site:
        assert (await ask(probe, f"{site.url}/a", redirects=3, expect_body="arrived")).ok
        assert site.paths == ["/a", "/b", "/c", "/d"]
        counted = await ask(probe, f"{site.url}/a", redirects=5, conditions=["[REDIRECTS] <= 2"])
        assert (counted.reason, counted.detail) == (Reason.REDIRECT, "[REDIRECTS] is 3, wanted <= 2")
        many = await ask(probe, f"{site.url}/a", redirects=2)
        assert (many.reason, many.detail) == (Reason.REDIRECT, f"more than 2 redirects, the last to {site.url}/d")
        assert (await ask(probe, f"{site.url}/a", expect_status=[302])).ok  # 0: it is the answer itself


@pytest.mark.parametrize(
    ("place", "detail"),
    [
        ("/loop", "redirects in a circle, back to"),
        ("file:///etc/passwd", "neither http nor https"),
        ("gopher://127.0.0.1/", "neither http nor https"),
        ("http://[::1", "which is no address"),
        ("http://127.0.0.1:99999/", "which is no address"),
    ],
)
async def test_a_redirect_that_leads_nowhere_is_told(probe: HttpProbe, place: str, detail: str) -> None:
    async with serving(moved(loop=place)) as site:
        result = await ask(probe, f"{site.url}/loop", redirects=20)
    assert result.reason is Reason.REDIRECT, result
    assert detail in result.detail


async def test_what_is_sent_goes_to_no_other_server(probe: HttpProbe) -> None:
    check = {"method": "POST", "headers": {"X-Key": "${SHOP_TOKEN}"}, "body": "${SHOP_TOKEN}", "redirects": 5}
    async with serving(fine) as other, serving(moved(keep=f"{other.url}/there", own="/here")) as site:
        assert (await ask(probe, f"{site.url}/own", **check)).ok
        assert (site.asked[1][0], site.asked[1][2].get("X-Key"), site.asked[1][3]) == ("GET", "Zauberwort42", "")
        assert (await ask(probe, f"{site.url}/keep", **check)).ok
    [(method, _, headers, body)] = other.asked
    assert (method, headers.get("X-Key"), body) == ("POST", None, "")


async def test_each_hop_counts_against_the_one_timeout(probe: HttpProbe) -> None:
    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(0.2)
        return web.Response(status=302, headers={"Location": f"{request.path}x"})

    async with serving(slow) as site:
        result = await ask(probe, f"{site.url}/", redirects=20, timeout="700ms")
    assert result.reason is Reason.TIMEOUT, result


# TLS


@dataclass(frozen=True)
class Authority:
    """Makes certificates, as files of `folder`."""

    folder: Path
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def name(self) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])

    def write_own(self) -> Path:
        made = self._signed(self.name, self.key, timedelta(days=30), [x509.BasicConstraints(ca=True, path_length=None)])
        return self._write("ca.pem", made.public_bytes(serialization.Encoding.PEM))

    def write(self, name: str, valid_for: timedelta, host: str = "127.0.0.1") -> tuple[Path, Path]:
        """Certificate and key; replaces those of the same name."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))])
        made = self._signed(subject, key, valid_for, [names])
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return (
            self._write(f"{name}.pem", made.public_bytes(serialization.Encoding.PEM)),
            self._write(f"{name}.key", private),
        )

    def server(self, name: str, valid_for: timedelta, host: str = "127.0.0.1") -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.write(name, valid_for, host))
        return context

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        valid_for: timedelta,
        extensions: list[x509.ExtensionType],
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=60))
            .not_valid_after(now + valid_for)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path)
    made.write_own()
    return made


TEN_DAYS = timedelta(days=10)


async def test_how_long_a_certificate_is_valid_is_seen_on_the_live_connection(
    probe: HttpProbe, authority: Authority
) -> None:
    async with serving(fine, authority.server("site", TEN_DAYS)) as site:
        assert (await ask(probe, site.url, ca="ca.pem")).ok
        assert (await ask(probe, site.url, ca="ca.pem", certificate_valid_for="9d")).ok
        soon = await ask(probe, site.url, ca="ca.pem", certificate_valid_for="14d")
        unverified = await ask(probe, site.url, verify=False, conditions=["[CERTIFICATE_EXPIRATION] > 14d"])
    assert soon.reason is unverified.reason is Reason.CERTIFICATE
    assert re.search("expires in (10d|9d23h)", soon.detail)
    assert "wanted at least 14d" in soon.detail
    assert "wanted > 14d" in unverified.detail


async def test_a_certificate_that_cannot_be_trusted_is_told_why(probe: HttpProbe, authority: Authority) -> None:
    async with serving(fine, authority.server("expired", -timedelta(days=1))) as site:
        expired = await ask(probe, site.url, ca="ca.pem")
        assert (await ask(probe, site.url, verify=False)).ok
    async with serving(fine, authority.server("site", TEN_DAYS)) as site:
        unknown = await ask(probe, site.url)
    async with serving(fine, authority.server("elsewhere", TEN_DAYS, host="192.0.2.1")) as site:
        other_name = await ask(probe, site.url, ca="ca.pem")
    assert {result.reason for result in (expired, unknown, other_name)} == {Reason.CERTIFICATE}
    assert "has expired" in expired.detail
    assert "unable to get local issuer" in unknown.detail
    assert "not valid for '127.0.0.1'" in other_name.detail


def _shake_hands(client: ssl.SSLSocket) -> None:
    try:
        client.do_handshake()
        client.recv(65536)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    except ssl.SSLError:
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            """What it still sends is read, lest the kernel throw our last word away."""


@contextmanager
def serving_known_clients(tls: ssl.SSLContext) -> Generator[str]:
    """A server that tells a client whose certificate it does not accept so, as nginx does (asyncio only hangs up)."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as client:
                    _shake_hands(client)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=10)


async def test_a_renewed_client_certificate_is_picked_up(probe: HttpProbe, authority: Authority) -> None:
    tls = authority.server("site", TEN_DAYS)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(authority.folder / "ca.pem")
    stranger = Authority(authority.folder)
    mutual = {"ca": "ca.pem", "client_certificate": "watcher.pem", "client_key": "watcher.key"}
    with serving_known_clients(tls) as url:
        without = await ask(probe, url, ca="ca.pem")
        stranger.write("watcher", TEN_DAYS)
        refused = await ask(probe, url, **mutual)
        authority.write("watcher", TEN_DAYS)
        renewed = await ask(probe, url, **mutual)
    assert without.reason is refused.reason is Reason.CERTIFICATE, (without, refused)
    assert "does not accept our certificate" in without.detail
    assert renewed.ok, renewed


async def test_certificates_that_cannot_be_used_are_named(probe: HttpProbe, authority: Authority) -> None:
    authority.write("watcher", TEN_DAYS)
    authority.write("other", TEN_DAYS)
    authority.write("old", -timedelta(days=1))
    (authority.folder / "noise.pem").write_bytes(b"\x00\xff" * 100)
    cases = [
        ({"ca": "missing.pem"}, "ca: ", "correct the path"),
        ({"ca": "noise.pem"}, "ca: ", "holds no certificates"),
        ({"ca": "."}, "ca: ", "is not a file"),
        ({"client_certificate": "noise.pem"}, "client_certificate: ", "name a PEM file"),
        ({"client_certificate": "watcher.pem"}, "client_certificate: ", "the key in"),
        ({"client_certificate": "watcher.pem", "client_key": "other.key"}, "client_key: ", "is not that of"),
        ({"client_certificate": "old.pem", "client_key": "old.key"}, "client_certificate: ", "expired on"),
    ]
    for check, setting, detail in cases:
        result = await ask(probe, "https://127.0.0.1:1/", **check)
        assert result.reason is Reason.CERTIFICATE, result
        assert setting in result.detail
        assert detail in result.detail


async def test_who_speaks_no_tls_is_told(probe: HttpProbe) -> None:
    async with serving(fine) as site:
        result = await ask(probe, site.url.replace("http:", "https:"))
    assert result.reason is Reason.PROTOCOL, result
    assert "not valid TLS" in result.detail


async def test_secrets_are_not_taken_from_https_to_http(probe: HttpProbe, authority: Authority) -> None:
    async with (
        serving(fine) as plain,
        serving(moved(down=f"{plain.url}/there"), authority.server("site", TEN_DAYS)) as site,
    ):
        check = {"ca": "ca.pem", "redirects": 3}
        refused = await ask(probe, f"{site.url}/down", headers={"X-Key": "${SHOP_TOKEN}"}, **check)
        assert plain.asked == []
        harmless = await ask(probe, f"{site.url}/down", **check)
    assert refused.reason is Reason.REDIRECT
    assert "from https to" in refused.detail
    assert harmless.ok, harmless
