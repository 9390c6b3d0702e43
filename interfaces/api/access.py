"""Who asks, and whether they may.

A key is sent as `Authorization: Bearer bok_…` or `X-API-Key: bok_…`. A request on the Unix socket without a key is
the owner's: the socket's mode 0600 lets nobody else connect. Scopes are explicit sets: `operate` does not include
`read`, so that a key which only sends heartbeats reads nothing; `admin` includes all.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fastapi import Request
from fastapi.exceptions import HTTPException
from starlette.types import Scope as ConnectionScope

from brainops.access.keys import KeyStore, Scope

FAILURES_ALLOWED = 10
FAILURE_WINDOW_SECONDS = 60.0
ADDRESSES_REMEMBERED = 1024
GOOD_KEYS_REMEMBERED = 1024
LONGEST_SECRET = 256


@dataclass(frozen=True)
class Caller:
    """Who a request is from."""

    name: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Whether the caller has `scope`, by name or as admin."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


OWNER = Caller("owner", frozenset({Scope.ADMIN}))
"""Whoever may open the Unix socket."""


@dataclass
class FailureLimit:
    """Refuses an address after ten wrong keys in a minute, in bounded memory.

    A key that was right before is looked at all the same: one wrong program on this machine must not lock out
    the others, which share its address.
    """

    clock: Callable[[], float] = time.monotonic
    _failures: OrderedDict[str, tuple[float, int]] = field(default_factory=OrderedDict[str, tuple[float, int]])
    _good: OrderedDict[bytes, None] = field(default_factory=OrderedDict[bytes, None])

    def seconds_to_wait(self, address: str, secret: str) -> float:
        """How long `address` must wait before `secret` is looked at; 0: not at all."""
        began, count = self._failures.get(address, (0.0, 0))
        remaining = began + FAILURE_WINDOW_SECONDS - self.clock()
        if count < FAILURES_ALLOWED or remaining <= 0 or _digest(secret) in self._good:
            return 0.0
        return remaining

    def failed(self, address: str) -> None:
        """A key from `address` was wrong."""
        now = self.clock()
        began, count = self._failures.pop(address, (now, 0))
        if now - began > FAILURE_WINDOW_SECONDS:
            began, count = now, 0
        self._failures[address] = (began, count + 1)
        while len(self._failures) > ADDRESSES_REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, secret: str) -> None:
        """`secret` was right."""
        digest = _digest(secret)
        self._good.pop(digest, None)
        self._good[digest] = None
        while len(self._good) > GOOD_KEYS_REMEMBERED:
            self._good.popitem(last=False)

    @property
    def remembered(self) -> tuple[int, int]:
        """How many addresses with failures and how many good keys are kept."""
        return len(self._failures), len(self._good)

    def withdrawn(self, secret: str) -> None:
        """`secret` is wrong, even if it was right before."""
        self._good.pop(_digest(secret), None)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def on_unix_socket(scope: ConnectionScope) -> bool:
    """Whether a connection came in by the Unix socket: uvicorn names the socket's path and no port."""
    server = scope.get("server")
    return server is not None and server[1] is None


def presented_secret(request: Request) -> str | None:
    """The secret that a request carries; None without one. Raises 401 on another kind of authorization."""
    authorization = request.headers.get("authorization")
    if authorization is None:
        return request.headers.get("x-api-key")
    kind, _, secret = authorization.partition(" ")
    if kind.lower() != "bearer" or not secret.strip():
        raise _unauthorized("The Authorization header must read `Bearer bok_…`.")
    return secret.strip()


async def identify(request: Request, keys: KeyStore, limit: FailureLimit) -> Caller:
    """The caller of `request`. Raises 401 without a valid key and 429 after too many wrong ones."""
    secret = presented_secret(request)
    if secret is None:
        if on_unix_socket(request.scope):
            return OWNER
        raise _unauthorized("Send an API key as `Authorization: Bearer bok_…`; `brainops keys create NAME` makes one.")
    address = request.client.host if request.client else "unix"
    wait = limit.seconds_to_wait(address, secret)
    if wait > 0:
        raise HTTPException(
            429,
            f"Too many wrong keys from {address}; wait {wait:.0f} s.",
            headers={"Retry-After": str(max(1, round(wait)))},
        )
    key = await keys.verify(secret) if len(secret) <= LONGEST_SECRET else None
    if key is None:
        limit.failed(address)
        limit.withdrawn(secret)
        raise _unauthorized("The API key is unknown, expired or revoked; `brainops keys create NAME` makes a new one.")
    limit.succeeded(secret)
    return Caller(key.name, frozenset(key.scopes))


def require(scope: Scope | None) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency that lets callers with `scope` in; None: any caller with a valid key."""

    async def caller(request: Request) -> Caller:
        resources = request.app.state.resources
        found = await identify(request, resources.keys, resources.failure_limit)
        if scope is not None and not found.may(scope):
            raise HTTPException(
                403,
                f"The key {found.name!r} has not the scope {scope.value}; "
                f"create one that has: brainops keys create NAME --scope {scope.value}",
            )
        return found

    return caller


def _unauthorized(detail: str) -> HTTPException:
    return HTTPException(401, detail, headers={"WWW-Authenticate": 'Bearer realm="brainops"'})
