"""Which ports the stack's servers get."""

import os
import socket
from collections.abc import Iterator

import pytest

from brainops.errors import SetupError
from workers.stack.ports import Wanted, choose, holder_of


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def ignore(_line: str) -> None: ...


def test_default_port_that_is_free_is_used() -> None:
    port = free_port()
    assert choose([Wanted("Temporal", port)], "default", ignore) == [port]


def test_taken_default_port_is_replaced_and_said(taken: int) -> None:
    said: list[str] = []
    (port,) = choose([Wanted("Temporal", taken)], "default", said.append)
    assert port != taken
    assert said == [f"port {taken} for Temporal is taken by {holder_of(taken)}: using {port} instead"]


@pytest.mark.parametrize("mode", ["default", "auto"])
def test_taken_port_that_a_person_named_is_refused_with_its_holder(taken: int, mode: str) -> None:
    wanted = Wanted("the API", taken, fixed=True, setting="api.port in brainops.yaml")
    with pytest.raises(SetupError, match=rf"Port {taken} .*pid {os.getpid()}.*api\.port"):
        choose([wanted], "auto" if mode == "auto" else "default", ignore)


def test_automatic_ports_are_free_and_different() -> None:
    wanted = [Wanted(name, 7233) for name in ("Temporal", "UI", "API")]
    chosen = choose(wanted, "auto", ignore)
    assert len(set(chosen)) == 3
    for port in chosen:
        socket.create_server(("127.0.0.1", port)).close()


def test_port_of_nobody_has_no_holder() -> None:
    assert holder_of(free_port()) is None
