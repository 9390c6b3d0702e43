"""Which ports the stack's servers get."""

import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import psutil

from brainops.errors import SetupError

PortChoice = Literal["default", "auto"]
"""`default`: the known ports, or free ones (said aloud) where those are taken. `auto`: free ones."""

TEMPORAL_PORT = 7233
UI_PORT = 8233


@dataclass(frozen=True)
class Wanted:
    """A port that a server wants. `fixed`: a person named it, so another will not do."""

    server: str
    port: int
    fixed: bool = False
    setting: str = ""
    """Where a person can choose another; for messages."""
    address: str = "127.0.0.1"


def choose(wanted: list[Wanted], ports: PortChoice, announce: Callable[[str], None]) -> list[int]:
    """A free port for each of `wanted`, in their order, no two the same.

    A fixed port is taken in both modes. Raises SetupError, which names the port and who holds it, when a fixed one
    is not free.
    """
    with ExitStack() as held:
        return [_reserve(one, ports, announce, held) for one in wanted]


def _reserve(one: Wanted, ports: PortChoice, announce: Callable[[str], None], held: ExitStack) -> int:
    if ports == "default" or one.fixed:
        try:
            return _bind(one.address, one.port, held)
        except OSError as error:
            by = f" by {holder}" if (holder := holder_of(one.port)) else ""
            if one.fixed:
                raise SetupError(
                    f"Port {one.port} for {one.server} is not free: taken{by} ({error.strerror}). "
                    f"End that program, or choose another port: {one.setting}"
                ) from error
            free = _bind(one.address, 0, held)
            announce(f"port {one.port} for {one.server} is taken{by}: using {free} instead")
            return free
    return _bind(one.address, 0, held)


def _bind(address: str, port: int, held: ExitStack) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = held.enter_context(socket.socket(family, socket.SOCK_STREAM))
    # As servers do: a port whose last connections are only waiting to be forgotten is free.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen()
    return int(listener.getsockname()[1])


def holder_of(port: int) -> str | None:
    """Who listens on a TCP port, as `temporal (pid 4711)`; None when that cannot be seen."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return None
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            if connection.pid is None:
                return None
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                return None
    return None
