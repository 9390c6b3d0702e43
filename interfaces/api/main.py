"""The API process: one app on a TCP port and on a Unix socket, until SIGTERM or Ctrl-C."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
from collections.abc import Generator
from pathlib import Path

import structlog
import uvicorn

from brainops.errors import BadInputError, BrainOpsError, SetupError
from brainops.telemetry.logging import configure_logging
from interfaces.api.app import create_app
from interfaces.api.settings import ApiSettings

logger = structlog.get_logger("api")

GRACEFUL_SECONDS = 5
LONGEST_SOCKET_PATH = 107
"""Bytes of a Unix socket's path (unix(7): sun_path has 108 with its NUL)."""


class ApiServer(uvicorn.Server):
    """uvicorn, but a signal stops it and leaves the process to its caller.

    uvicorn raises the signal again when it has stopped, which would end the process before the socket is removed.
    """

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Stop on SIGTERM and SIGINT while serving."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def bind_port(address: str, port: int) -> socket.socket:
    """A TCP socket on `address`:`port`. Raises BadInputError if there is no such address, SetupError if it is taken."""
    try:
        family, *_, target = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(target[:2], family=family)
    except socket.gaierror as error:
        raise BadInputError(f"api.bind is {address!r}, which is no address of this machine; try 127.0.0.1") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SetupError(
                f"port {port} of {address} is taken by another program; set api.port to a free one"
            ) from error
        raise SetupError(f"cannot listen on {address}:{port}: {error.strerror}") from error


def bind_socket(path: Path) -> socket.socket:
    """A Unix socket at `path` that only its owner may open; one that a dead process left is replaced.

    Raises SetupError when a living process listens on it or the path is too long.
    """
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise SetupError(
            f"the socket's path {path} is longer than {LONGEST_SOCKET_PATH} bytes; use a shorter state folder"
        )
    if path.is_socket():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                path.unlink()
            else:
                raise SetupError(f"another API process listens on {path}; stop it with `brainops down`")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode must hold from the first moment, so it is set by the umask and not afterwards.
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise SetupError(f"cannot make the socket {path}: {error.strerror}") from error
    finally:
        os.umask(before)
    return listener


async def serve(settings: ApiSettings) -> None:
    """Serve until a signal. Raises SetupError or BadInputError when a socket cannot be had."""
    with contextlib.ExitStack() as held:
        listener = held.enter_context(bind_port(settings.bind, settings.port))
        listeners = [listener]
        if settings.socket is not None:
            listeners.append(held.enter_context(bind_socket(settings.socket)))
            held.callback(settings.socket.unlink, missing_ok=True)
        config = uvicorn.Config(
            create_app(settings),
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            # The caller's address and socket decide what it may; a header must not change them.
            proxy_headers=False,
            timeout_graceful_shutdown=GRACEFUL_SECONDS,
        )
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        logger.info("listening", url=f"http://{shown}:{port}", socket=str(settings.socket or ""))
        await ApiServer(config).serve(sockets=listeners)


def main() -> None:
    """Entry of the process; exit code 2 for a wrong setting, 1 for what cannot be had."""
    configure_logging("api")
    try:
        asyncio.run(serve(ApiSettings.from_environment()))
    except BrainOpsError as error:
        print(f"brainops api: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, BadInputError) else 1)


if __name__ == "__main__":
    main()
