"""`brainops maintenance` and `brainops notify` over a real database and a real receiver."""

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from brainops.config.models import BrainOpsConfig
from brainops.database.engine import Database
from brainops.services.store import ServiceStore
from interfaces.cli.main import app

Command = Callable[..., Result]
SERVICES = {"shop-api": {"run": {"kind": "external"}}, "store": {"run": {"kind": "external"}}}


@pytest.fixture
def brainops(app_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("BRAINOPS_STATE_DIR", os.environ.get("BRAINOPS_STATE_DIR", str(tmp_path)))
    environment = {
        "BRAINOPS_DATABASE_URL": app_url,
        "BRAINOPS_STATE_DIR": str(tmp_path),
        "BRAINOPS_ACTOR": "person:mira",
        "TEMPORAL_ADDRESS": "127.0.0.1:1",
        "COLUMNS": "200",
        "NO_COLOR": "1",
    }

    async def apply() -> None:
        database = Database(app_url)
        await ServiceStore(database).apply(BrainOpsConfig.model_validate({"services": SERVICES}).services)
        await database.close()

    asyncio.run(apply())
    return lambda *arguments: CliRunner().invoke(app, list(arguments), env=environment)


class Taking(BaseHTTPRequestHandler):
    """Keeps what is posted."""

    taken: list[dict[str, Any]]

    def do_POST(self) -> None:  # the base class names it
        self.taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # says nothing
        """Not into the test's output."""


@pytest.fixture
def receiver() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    taken: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Taking,), {"taken": taken}))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_address[1], taken
    server.shutdown()
    thread.join()
    server.server_close()


def test_windows_are_opened_listed_and_closed(brainops: Command) -> None:
    opened = brainops("maintenance", "open", "shop-*", "--for", "2h", "--reason", "new disks")
    assert (opened.exit_code, "until" in opened.stdout) == (0, True)
    listed = brainops("maintenance", "list").stdout
    for part in ("shop-*", "person:mira", "new disks"):
        assert part in listed
    answer = json.loads(brainops("maintenance", "list", "--json").stdout)
    window = answer["open"][0]
    assert window["services"] == ["shop-*"]
    assert "1 maintenance window closed" in brainops("maintenance", "close", window["id"][:8]).stdout
    assert brainops("maintenance", "close", "--all").exit_code == 2
    assert json.loads(brainops("maintenance", "list", "--json").stdout)["open"] == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["open"], "name the services"),
        (["open", "shop-api", "--all"], "name the services"),
        (["open", "shop-apy"], "shop-api"),
        (["open", "shop-api", "--for", "2"], "--for"),
        (["open", "shop-api", "--for", "60d"], "out of bounds"),
        (["close"], "name a window"),
        (["close", "shop-api"], "no maintenance window 'shop-api'"),
    ],
)
def test_wrong_input_is_told(brainops: Command, arguments: list[str], told: str) -> None:
    result = brainops("maintenance", *arguments)
    assert (result.exit_code, told in result.output) == (2, True), result.output


def test_each_channel_gets_a_real_message_and_its_result_is_told(
    brainops: Command, receiver: tuple[int, list[dict[str, Any]]], tmp_path: Path
) -> None:
    port, taken = receiver
    file = tmp_path / "brainops.yaml"
    file.write_text(
        f"notify: {{channels: {{good: {{url: 'json://127.0.0.1:{port}'}}, bad: {{url: 'json://127.0.0.1:1'}}}}}}"
    )
    both = brainops("notify", "test", "--config", str(file), "--json")
    results = {one["channel"]: one["ok"] for one in json.loads(both.stdout)["results"]}
    assert (both.exit_code, results) == (1, {"good": True, "bad": False})
    assert brainops("notify", "test", "good", "--config", str(file)).exit_code == 0
    assert [message["title"] for message in taken] == ["[test] BrainOps can reach you"] * 2
    unknown = brainops("notify", "test", "goood", "--config", str(file))
    assert (unknown.exit_code, "good" in unknown.output) == (2, True)
    assert "Nothing was told yet" in brainops("notify", "list").stdout
