"""What a person sees of the stack, and what its parts are told."""

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from brainops.config.models import Api
from brainops.config.paths import StatePaths
from brainops.errors import SetupError
from workers.stack import parts
from workers.stack.screen import Screen
from workers.stack.stack import EMBEDDED, Stack
from workers.stack.state import StackInfo
from workers.stack.supervisor import Part, PartState


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    return StatePaths(tmp_path / "state")


@pytest.fixture
def info(paths: StatePaths) -> StackInfo:
    return StackInfo(
        pid=1,
        start_ticks=1,
        temporal_address="127.0.0.1:7233",
        temporal_embedded=True,
        ui_url="http://127.0.0.1:8233",
        database_url="postgresql+psycopg://brainops_app:secret@/brainops",
        api_url="http://127.0.0.1:8420",
        api_socket=paths.api_socket,
        config_path=Path("/srv/brainops.yaml"),
        state_folder=paths.root,
    )


@pytest.fixture
def stack(paths: StatePaths, info: StackInfo) -> Stack:
    stack = Stack(paths)
    part = Part(parts.worker_part(parts.CONTROL, paths, {}), lambda _line: None)
    part.state = PartState.RESTARTING
    part.restarts = 4
    stack.parts.append(part)
    stack.info = info
    return stack


def shown(stack: Stack, *, terminal: bool) -> str:
    file = io.StringIO()
    with Screen(stack, Console(file=file, force_terminal=terminal, width=200, color_system=None)) as screen:
        screen.say("control ended [SIGKILL]")
        screen.announce_ready()
    return file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_screen_says_where_everything_is_and_what_happened(stack: Stack, paths: StatePaths, terminal: bool) -> None:
    text = shown(stack, terminal=terminal)
    places = ("http://127.0.0.1:8233", "http://127.0.0.1:8420", str(paths.root), str(paths.logs), "/srv/brainops.yaml")
    for words in (*places, "control ended [SIGKILL]"):
        assert words in text
    assert "secret" not in text


def test_terminal_shows_each_part_with_its_state(stack: Stack) -> None:
    (line,) = {line.rstrip() for line in shown(stack, terminal=True).splitlines() if line.startswith("control  ")}
    assert line.split() == ["control", "restarting", "4"]


def test_plain_output_has_no_control_sequences(stack: Stack) -> None:
    assert "\x1b" not in shown(stack, terminal=False)


def test_addresses_of_a_stack_that_is_not_up_are_refused(paths: StatePaths) -> None:
    stack = Stack(paths)
    assert stack.pid_of(parts.POSTGRES) is None
    with pytest.raises(SetupError, match="not up"):
        _ = stack.temporal_address


def test_children_of_an_embedded_server_get_its_address_and_no_other_credentials(info: StackInfo) -> None:
    ours = {"TEMPORAL_API_KEY": "key", "SHOP_TOKEN": "token", "BRAINOPS_CONFIG": "/elsewhere.yaml"}
    child = parts.child_environment(ours, info)
    assert child["TEMPORAL_ADDRESS"] == info.temporal_address
    assert child["TEMPORAL_CONFIG_FILE"] == os.devnull
    assert "TEMPORAL_API_KEY" not in child
    assert child["SHOP_TOKEN"] == "token"
    assert child["BRAINOPS_CONFIG"] == "/srv/brainops.yaml"
    assert child["BRAINOPS_DATABASE_URL"] == info.database_url


def test_children_beside_a_given_server_keep_its_credentials(info: StackInfo) -> None:
    given = info.model_copy(update={"temporal_embedded": False, "config_path": None})
    ours = {"TEMPORAL_API_KEY": "key", "TEMPORAL_PROFILE": "cloud", "BRAINOPS_CONFIG": "/elsewhere.yaml"}
    child = parts.child_environment(ours, given)
    assert (child["TEMPORAL_API_KEY"], child["TEMPORAL_PROFILE"]) == ("key", "cloud")
    assert "BRAINOPS_CONFIG" not in child


def test_servers_do_not_get_the_secrets_of_services() -> None:
    assert parts.plain_environment({"PATH": "/bin", "SHOP_TOKEN": "token"}) == {"PATH": "/bin"}


def test_embedded_ignores_what_the_shell_says(paths: StatePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "cloud:7233")
    monkeypatch.setenv("BRAINOPS_DATABASE_URL", "postgresql://elsewhere/brainops")
    stack = Stack(paths, environment=EMBEDDED)
    stack.info = StackInfo(
        pid=1,
        start_ticks=1,
        temporal_address="127.0.0.1:1",
        temporal_embedded=True,
        ui_url=None,
        database_url="postgresql://ours",
        api_url="",
        api_socket=paths.api_socket,
        config_path=None,
        state_folder=paths.root,
    )
    assert stack.child_environment["TEMPORAL_ADDRESS"] == "127.0.0.1:1"
    assert stack.child_environment["BRAINOPS_DATABASE_URL"] == "postgresql://ours"


@pytest.mark.parametrize(
    ("bind", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8420"),
        ("0.0.0.0", "http://127.0.0.1:8420"),
        ("::", "http://[::1]:8420"),
        ("::1", "http://[::1]:8420"),
        ("10.1.2.3", "http://10.1.2.3:8420"),
    ],
)
def test_api_is_reached_where_it_listens(bind: str, url: str) -> None:
    assert parts.api_url(Api(bind=bind), 8420) == url
