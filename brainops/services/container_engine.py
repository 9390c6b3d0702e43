"""One Docker engine, asked through its SDK.

The SDK blocks, so it is called in threads, each call with a limit of its own. What stands in the way of reaching the
engine is told in words that a person can act upon.
"""

import asyncio
import grp
import os
import pwd
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from brainops.errors import ActionError, UnavailableError

DEFAULT_ENDPOINT = "unix:///var/run/docker.sock"

READ_SECONDS = 30.0
"""A call that has no answer by then has failed; what waits for a container to stop gets its time on top."""

_LONGEST = 300
_THREADS = 8

Raw = dict[str, Any]
"""JSON of the engine. Any: its shape is the engine's."""

Filters = dict[str, list[str]]
"""The SDK takes nothing but lists for lists."""

ResultT = TypeVar("ResultT")


class EventStream(Protocol):
    """Events of the engine, one after the other."""

    def __iter__(self) -> Iterator[Raw]: ...

    def close(self) -> None: ...


class EngineClient(Protocol):
    """What is used of `docker.APIClient`, which has no types of its own."""

    def inspect_container(self, container: str) -> Raw: ...
    def containers(self, *, all: bool, filters: Filters | None = None) -> list[Raw]: ...  # noqa: A002 - the SDK's
    def events(self, *, decode: bool, filters: Filters) -> EventStream: ...
    def start(self, container: str) -> None: ...
    def stop(self, container: str, timeout: int) -> None: ...
    def kill(self, container: str, signal: str) -> None: ...
    def rename(self, container: str, name: str) -> None: ...
    def update_container(self, container: str, **limits: int | Mapping[str, str]) -> Raw: ...
    def remove_container(self, container: str, *, v: bool = False, force: bool = False) -> None: ...
    def create_container_from_config(self, config: Raw, name: str) -> Raw: ...
    def connect_container_to_network(self, container: str, net_id: str, **options: Any) -> None: ...
    def logs(self, container: str, *, since: float | None, tail: int) -> bytes: ...
    def df(self) -> Raw: ...
    def inspect_image(self, image: str) -> Raw: ...
    def remove_image(self, image: str) -> list[Raw]: ...
    def prune_builds(self, *, keep_storage: int, all: bool) -> Raw: ...  # noqa: A002 - the SDK's
    def ping(self) -> bool: ...
    def close(self) -> None: ...


class EngineRefusedError(ActionError):
    """The engine has answered, and will not. `status`: as in HTTP."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status

    @property
    def missing(self) -> bool:
        """Whether what was named does not exist."""
        return self.status == 404


def part(raw: Raw, key: str) -> Raw:
    """An object inside an answer; empty where there is none."""
    return cast("Raw", raw.get(key) or {})


def parts(raw: Raw, key: str) -> list[Raw]:
    """A list of objects inside an answer; empty where there is none."""
    return cast("list[Raw]", raw.get(key) or [])


def endpoint_of(declared: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """Where the engine listens: as declared, else `$DOCKER_HOST`, else the usual socket."""
    return declared or environment.get("DOCKER_HOST") or DEFAULT_ENDPOINT


class Engine:
    """One engine. Nothing is connected before the first call."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._client: EngineClient | None = None
        self._connecting = asyncio.Lock()
        # of its own: calls that a stuck engine holds must not keep anything else waiting
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="docker")

    @property
    def is_local(self) -> bool:
        """Whether it listens on a socket of this machine, so that its processes may be seen here."""
        return self.endpoint.startswith("unix://")

    async def call(self, work: Callable[[EngineClient], ResultT], seconds: float = READ_SECONDS) -> ResultT:
        """Do `work` with a client, in a thread.

        Raises UnavailableError while the engine does not answer, EngineRefusedError when it does and will not.
        """
        client = await self._connected()
        try:
            async with asyncio.timeout(seconds):
                return await self._in_thread(self._told, work, client)
        except TimeoutError:
            raise self._silent(seconds) from None

    async def close(self) -> None:
        """Give the connections back. A later call connects again."""
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.close)
        threads, self._threads = self._threads, ThreadPoolExecutor(_THREADS, thread_name_prefix="docker")
        threads.shutdown(wait=False, cancel_futures=True)

    async def _connected(self) -> EngineClient:
        async with self._connecting:
            client = self._client
            if client is None:
                try:
                    async with asyncio.timeout(READ_SECONDS):
                        client = await self._in_thread(self._told, _connect, self.endpoint)
                        self._client = client
                except TimeoutError:
                    raise self._silent(READ_SECONDS) from None
            return client

    async def _in_thread(
        self, told: Callable[[Callable[[Any], ResultT], object], ResultT], work: Callable[[Any], ResultT], on: object
    ) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._threads, told, work, on)

    def _told(self, work: Callable[[Any], ResultT], argument: object) -> ResultT:
        """`work(argument)`, its errors told in our words. Any: an endpoint or a client."""
        import docker.errors  # noqa: PLC0415 - half a second that nobody without containers should wait
        import requests  # noqa: PLC0415 - the same

        try:
            _reach(self.endpoint)
            return work(argument)
        except docker.errors.APIError as error:
            status = error.response.status_code if error.response is not None else 0
            said = str(error.explanation or error)[:_LONGEST]
            raise EngineRefusedError(said, status) from None
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            raise UnavailableError(self._why_away(error)) from None

    def _silent(self, seconds: float) -> UnavailableError:
        return UnavailableError(f"the Docker engine at {self.endpoint} gave no answer in {seconds:.0f} s; is it stuck?")

    def _why_away(self, error: BaseException) -> str:
        causes = list(_causes(error))
        where = self.endpoint
        if any(isinstance(cause, PermissionError) for cause in causes):
            return _not_permitted(where)
        if any(isinstance(cause, FileNotFoundError | ConnectionRefusedError) for cause in causes):
            return (
                f"no Docker engine listens at {where}; start it (systemctl start docker), "
                "or write where it listens under run.endpoint"
            )
        return f"the Docker engine at {where} does not answer: {str(error)[:_LONGEST]}"


def _reach(endpoint: str) -> None:
    """See that somebody listens: the SDK leaves a socket open for each time that nobody does. Raises OSError."""
    if endpoint.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(READ_SECONDS)
            probe.connect(endpoint.removeprefix("unix://"))


def _connect(endpoint: str) -> EngineClient:
    import docker  # noqa: PLC0415 - half a second that nobody without containers should wait
    import docker.utils  # noqa: PLC0415 - the same

    settings = cast("Raw", docker.utils.kwargs_from_env())  # pyright: ignore[reportUnknownMemberType] - untyped
    settings["base_url"] = endpoint
    if endpoint.startswith("unix://"):
        settings.pop("tls", None)
    client = docker.APIClient(**settings, version="auto", timeout=int(READ_SECONDS), max_pool_size=16)
    return cast("EngineClient", client)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and everything that it came from, also what libraries hide among its arguments."""
    pending: list[object] = [error]
    seen: set[int] = set()
    while pending:
        found = pending.pop()
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        pending += [found.__cause__, found.__context__, *found.args]


def _not_permitted(endpoint: str) -> str:
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    path = endpoint.removeprefix("unix://")
    remedy = "start BrainOps as a user that may"
    try:
        group = grp.getgrgid(Path(path).stat().st_gid).gr_name
    except (OSError, KeyError):
        pass  # the folder is closed to us, too
    else:
        if group != "root":
            remedy = f"sudo usermod -aG {group} {user}, and start BrainOps again"
    return f"the user {user} may not use the Docker socket {path}; {remedy}"
