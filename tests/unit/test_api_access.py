"""The limit on wrong keys, what a heartbeat's body may be, and settings: without a server."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainops.errors import BadInputError, BrainOpsError, ConflictError, NotFoundError, SetupError, UnavailableError
from interfaces.api.access import (
    ADDRESSES_REMEMBERED,
    FAILURE_WINDOW_SECONDS,
    FAILURES_ALLOWED,
    GOOD_KEYS_REMEMBERED,
    FailureLimit,
    on_unix_socket,
)
from interfaces.api.heartbeats import parse_body
from interfaces.api.problems import status_of
from interfaces.api.settings import ApiSettings


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_address_waits_out_its_minute() -> None:
    clock = Clock()
    limit = FailureLimit(clock)
    for _ in range(FAILURES_ALLOWED):
        assert limit.seconds_to_wait("a", "x") == 0
        limit.failed("a")
    assert limit.seconds_to_wait("a", "x") == FAILURE_WINDOW_SECONDS
    assert limit.seconds_to_wait("b", "x") == 0
    clock.now += FAILURE_WINDOW_SECONDS + 1
    assert limit.seconds_to_wait("a", "x") == 0
    limit.failed("a")
    assert limit.seconds_to_wait("a", "x") == 0


def test_a_key_that_was_right_is_looked_at_until_it_is_wrong() -> None:
    limit = FailureLimit(Clock())
    limit.succeeded("good")
    for _ in range(FAILURES_ALLOWED):
        limit.failed("a")
    assert limit.seconds_to_wait("a", "good") == 0
    limit.withdrawn("good")
    assert limit.seconds_to_wait("a", "good") > 0


def test_no_flood_of_addresses_or_keys_grows_the_memory() -> None:
    limit = FailureLimit(Clock())
    for number in range(5000):
        limit.failed(f"10.0.{number // 256}.{number % 256}")
        limit.succeeded(f"key-{number}")
    assert limit.remembered == (ADDRESSES_REMEMBERED, GOOD_KEYS_REMEMBERED)


def test_only_the_kernel_says_that_a_connection_came_by_the_socket() -> None:
    assert on_unix_socket({"server": ("/run/api.sock", None)})
    assert not on_unix_socket({"server": ("127.0.0.1", 8420)})
    assert not on_unix_socket({"server": None})
    assert not on_unix_socket({})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_every_json_that_postgres_can_keep_is_taken_as_it_is(value: object) -> None:
    raw = json.dumps(value).encode()
    if b"\\u0000" in raw or b"\\ud" in raw:
        return
    assert parse_body(raw, "application/json; charset=utf-8") == value


@given(st.binary(max_size=200), st.sampled_from(["application/json", "text/plain", "", "application/x+json"]))
def test_no_body_breaks_the_parser(raw: bytes, content_type: str) -> None:
    try:
        value = parse_body(raw, content_type)
    except BadInputError:
        return
    assert "\x00" not in json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFoundError("x"), 404),
        (ConflictError("x"), 409),
        (BadInputError("x"), 400),
        (UnavailableError("x"), 503),
        (SetupError("x"), 500),
    ],
)
def test_each_error_has_its_status(error: BrainOpsError, status: int) -> None:
    assert status_of(error) == status


def test_settings_are_read_from_the_environment() -> None:
    read = ApiSettings.from_environment(
        {"BRAINOPS_DATABASE_URL": "postgresql://x/y", "BRAINOPS_API_PORT": "0", "BRAINOPS_API_SOCKET": "/run/a.sock"}
    )
    assert read == ApiSettings("postgresql://x/y", port=0, socket=Path("/run/a.sock"))


@pytest.mark.parametrize("port", ["", "http", "-1", "65536", "٣"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(BadInputError, match="BRAINOPS_API_PORT"):
        ApiSettings.from_environment({"BRAINOPS_DATABASE_URL": "postgresql://x/y", "BRAINOPS_API_PORT": port})
