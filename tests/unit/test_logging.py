"""Logs of our own processes."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from brainops.errors import SetupError
from brainops.telemetry.logging import configure_logging
from brainops.telemetry.outage import Outage


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def configured(**environment: str) -> io.StringIO:
    stream = io.StringIO()
    configure_logging("worker", stream=stream, environment=environment)
    return stream


def test_lines_of_ours_and_of_libraries_look_the_same_and_hold_no_secret() -> None:
    stream = configured(BRAINOPS_LOG_FORMAT="json")
    structlog.get_logger("ours").info("connected", url="postgres://shop:hunter2@db/shop", api_key="hunter2")
    logging.getLogger("theirs").warning("password=%s", "hunter2")
    ours, theirs = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (ours["event"], ours["api_key"], ours["level"]) == ("connected", "[redacted]", "info")
    assert ours["url"] == "postgres://shop:[redacted]@db/shop"
    assert (theirs["event"], theirs["logger"], theirs["process"]) == ("password=[redacted]", "theirs", "worker")


def test_text_of_a_service_cannot_forge_a_line() -> None:
    stream = configured()
    structlog.get_logger("ours").warning("said", text="a\nlevel=error event=forged \x1b[2J")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


def test_exception_is_logged_with_its_traceback() -> None:
    stream = configured(BRAINOPS_LOG_FORMAT="json")
    try:
        raise RuntimeError("token=hunter2")
    except RuntimeError:
        structlog.get_logger("ours").exception("failed")
    entry = json.loads(stream.getvalue())
    assert "RuntimeError: token=[redacted]" in entry["exception"]


def test_level_comes_from_the_environment() -> None:
    stream = configured(BRAINOPS_LOG_LEVEL="warning")
    logging.getLogger("x").info("unheard")
    structlog.get_logger("x").info("unheard")
    structlog.get_logger("x").error("heard")
    assert [line.count("heard") - line.count("unheard") for line in stream.getvalue().splitlines()] == [1]


@pytest.mark.parametrize("variable", ["BRAINOPS_LOG_LEVEL", "BRAINOPS_LOG_FORMAT"])
def test_unknown_setting_is_refused_with_what_is_allowed(variable: str) -> None:
    with pytest.raises(SetupError, match=f"{variable} is 'loud'; set it to "):
        configured(**{variable: "loud"})


def test_outage_is_said_once_and_its_end_with_the_count() -> None:
    outage = Outage()
    assert outage.recovered() == 0
    assert [outage.failed() for _ in range(3)] == [True, False, False]
    assert outage.recovered() == 3
    assert outage.failed()
