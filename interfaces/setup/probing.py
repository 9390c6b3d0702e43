"""What a port speaks, by asking it once or a few times, gently."""

import asyncio
from dataclasses import dataclass

import aiohttp

from brainops.checks.http import new_session

PATHS = ("/health", "/healthz", "/ready", "/")
"""Asked in this order; the first that answers 200 says how the service is."""

REQUEST_SECONDS = 1.0
PORT_SECONDS = 3.0
AT_ONCE = 16

_SILENT_PROGRAMS = frozenset(
    ("postgres", "postmaster", "redis-server", "valkey-server", "mysqld", "mariadbd", "mongod", "memcached", "beam.smp",
     "epmd", "etcd", "slapd", "vsftpd", "proftpd", "dovecot", "smbd")
)  # fmt: skip
_SILENT_PORTS = frozenset(
    (21, 22, 25, 53, 110, 143, 389, 445, 465, 587, 993, 995, 3306, 5432, 5672, 6379, 11211, 27017)
)
_TLS_PORTS = frozenset((443, 8443, 9443))
_GOOD_ENOUGH = range(200, 500)


@dataclass(frozen=True)
class Spoken:
    """What a port answered."""

    url: str = ""
    """The page to ask; empty where it does not speak HTTP."""
    status: int = 200
    """What it answers there."""


async def ask_all(addresses: dict[int, str], programs: dict[int, str]) -> dict[int, Spoken]:
    """What each port speaks. `addresses`: port → where it is bound. `programs`: port → name of the program.

    Ports of programs that speak something else are left alone: some write a warning for each stray request.
    """
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(port: int, address: str, session: aiohttp.ClientSession) -> Spoken:
        if port in _SILENT_PORTS or programs.get(port, "") in _SILENT_PROGRAMS:
            return Spoken()
        async with limit:
            try:
                async with asyncio.timeout(PORT_SECONDS):
                    return await _ask(port, address, session)
            except TimeoutError:
                return Spoken()

    async with new_session() as session:
        answers = await asyncio.gather(*(one(port, address, session) for port, address in addresses.items()))
    return dict(zip(addresses, answers, strict=True))


def reachable_host(address: str) -> str:
    """The host part of a URL for something that is bound to `address`."""
    if address in ("0.0.0.0", "::", "127.0.0.1", ""):  # noqa: S104 - compared with, not bound to
        return "127.0.0.1"
    return f"[{address}]" if ":" in address else address


async def _ask(port: int, address: str, session: aiohttp.ClientSession) -> Spoken:
    scheme = "https" if port in _TLS_PORTS else "http"
    base = f"{scheme}://{reachable_host(address)}:{port}"
    last = Spoken()
    for path in PATHS:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                # the certificate is of a name that nobody has told us
                response = await session.get(base + path, allow_redirects=False, ssl=False)
                response.close()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return last
        if response.status == 200:
            return Spoken(base + path)
        if response.status in _GOOD_ENOUGH:
            last = Spoken(base + path, response.status)
    return last
