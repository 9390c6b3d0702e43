"""Memory's public calls over HTTP: the same names, requests and answers as `MemoryService`, from another process."""

import asyncio
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast, get_origin

from pydantic import ValidationError
from pydantic_core import to_json

from brainops.config.paths import StatePaths
from brainops.contracts.base import Contract
from brainops.errors import (
    ActionError,
    BadInputError,
    BrainOpsError,
    ConflictError,
    NotAllowedError,
    NotFoundError,
    UnavailableError,
)
from brainops.memory.calls import BY_NAME, mistakes_of

if TYPE_CHECKING:
    import aiohttp

TIMEOUT_SECONDS = 120.0
"""For one call: an import of a long session, the first recall of a large memory."""

CONNECT_SECONDS = 5.0

_ERROR_OF: dict[int, type[BrainOpsError]] = {
    400: BadInputError,
    401: NotAllowedError,
    403: NotAllowedError,
    404: NotFoundError,
    408: UnavailableError,
    409: ConflictError,
    413: BadInputError,
    422: BadInputError,
    429: UnavailableError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


class MemoryClient:
    """Talks to an API. Use it as an async context manager, or `close` it.

    `address`: the path of a Unix socket (no key is needed: it is its owner's), or the URL of an API. `key`: sent with
    each call.
    """

    def __init__(self, address: str, key: str | None = None) -> None:
        self.address = address
        self._key = key
        self._over_socket = "://" not in address
        self._base = "http://localhost" if self._over_socket else address.rstrip("/")
        self._http: aiohttp.ClientSession | None = None

    @classmethod
    def found(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The memory that is meant here: of BRAINOPS_URL with BRAINOPS_KEY, else of the stack in the state folder.

        Raises UnavailableError when there is neither.
        """
        url = environment.get("BRAINOPS_URL")
        if url:
            if not url.startswith(("http://", "https://")):
                raise BadInputError(f"BRAINOPS_URL is {url!r}; give an address such as https://brainops.example.com")
            return cls(url, environment.get("BRAINOPS_KEY"))
        socket = StatePaths.default().api_socket
        if not socket.is_socket():
            raise UnavailableError(
                f"no BrainOps listens on {socket}; start one with `brainops up --only memory`, or set BRAINOPS_URL and "
                "BRAINOPS_KEY for that of a team"
            )
        return cls(str(socket))

    async def __aenter__(self) -> Self:
        """Nothing is sent before the first call."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        await self.close()

    async def close(self) -> None:
        """Close the connection. A later call opens it anew."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def call(self, name: str, request: Mapping[str, object] | Contract) -> Any:
        """The answer to a call by its name: the contract that `CALLS` names (so Any: its type follows from a value).

        Raises what `MemoryService.call` raises, NotAllowedError for a key that may not, and UnavailableError when the
        API does not answer.
        """
        call = BY_NAME.get(name)
        if call is None:
            raise NotFoundError(f"memory has no call {name!r}; there are {', '.join(sorted(BY_NAME))}")
        try:
            asked = request if isinstance(request, Contract) else call.request.model_validate(request)
        except ValidationError as error:
            raise BadInputError(mistakes_of(error)) from error
        body = to_json(_told(asked))
        return call.answer.model_validate_json(await self.post(f"/v1/memory/{name}", body))

    async def post(self, path: str, body: bytes) -> bytes:
        """The body of the answer to a POST of JSON. Raises as `call`."""
        import aiohttp  # noqa: PLC0415 - 0.1 s that a command without memory need not pay

        try:
            if self._http is None:
                self._http = self._opened()
            async with self._http.post(
                self._base + path,
                data=io.BytesIO(body),
                headers={"Content-Type": "application/json"},
                allow_redirects=False,
            ) as answer:
                content = await answer.read()
                if answer.status >= 300:
                    raise _error(answer.status, content)
                return content
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            raise UnavailableError(f"{self.address} does not answer ({error or type(error).__name__})") from error

    def _opened(self) -> "aiohttp.ClientSession":
        import aiohttp  # noqa: PLC0415

        connector = aiohttp.UnixConnector(str(Path(self.address))) if self._over_socket else None
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, connect=CONNECT_SECONDS)
        return aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout)


def _told(value: object) -> object:
    """What a request says, without what it leaves unsaid: that has a meaning of its own, as in `supersede`."""
    if isinstance(value, Contract):
        said = value.model_fields_set
        return {
            name: _told(getattr(value, name))
            for name, field in type(value).model_fields.items()
            if name in said or get_origin(field.annotation) is Literal  # which kind of part it is
        }
    if isinstance(value, tuple | list):
        return [_told(item) for item in cast("Sequence[object]", value)]
    return value


def _error(status: int, content: bytes) -> BrainOpsError:
    detail = f"the API answers with status {status}"
    try:
        problem = json.loads(content)
    except ValueError:
        problem = None
    if isinstance(problem, dict):
        detail = str(cast("dict[str, object]", problem).get("detail", detail))
    return _ERROR_OF.get(status, ActionError)(detail)
