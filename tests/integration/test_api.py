"""The HTTP API over real sockets and a real Postgres: who may ask, what is refused and how."""

import asyncio
import io
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from brainops.access.keys import KeyStore, Scope
from brainops.config.paths import StatePaths
from brainops.database.engine import Database
from brainops.errors import BadInputError, SetupError
from interfaces.api.main import bind_port, bind_socket, serve
from interfaces.api.settings import ApiSettings

ROOT = Path(__file__).parents[2]
PROBLEM = "application/problem+json"
WELL_FORMED = f"bok_{'0' * 12}_{'x' * 43}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@dataclass
class Api:
    """A running API and clients for its two doors."""

    url: str
    socket_path: Path
    keys: KeyStore
    port_client: aiohttp.ClientSession
    socket_client: aiohttp.ClientSession

    async def key(self, *scopes: Scope, expires_at: datetime | None = None) -> dict[str, str]:
        """Headers with a new key."""
        _, secret = await self.keys.create("test", frozenset(scopes), expires_at)
        return {"Authorization": f"Bearer {secret}"}

    async def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any, str]:
        async with self.port_client.get(self.url + path, headers=headers) as answer:
            return answer.status, await answer.json(), answer.content_type


@pytest.fixture
async def api(database: Database, app_url: str, state_paths: StatePaths) -> AsyncGenerator[Api]:
    """The app as the API process serves it, in this process."""
    port = free_port()
    path = state_paths.api_socket
    path.parent.mkdir()
    serving = asyncio.create_task(serve(ApiSettings(app_url, port=port, socket=path)))
    async with (
        aiohttp.ClientSession() as port_client,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as socket_client,
    ):
        url = f"http://127.0.0.1:{port}"
        while True:
            assert not serving.done(), serving.result()
            try:
                async with port_client.get(f"{url}/live") as answer:
                    assert answer.status == 200
                    break
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.01)
        yield Api(url, path, KeyStore(database), port_client, socket_client)
    assert not serving.done()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 10)
    assert not path.exists()


async def test_a_key_names_itself_and_its_scopes(api: Api) -> None:
    status, me, _ = await api.get("/v1/me", await api.key(Scope.READ, Scope.OPERATE))
    assert (status, me) == (200, {"name": "test", "scopes": ["operate", "read"]})


async def test_the_other_header_serves_as_well(api: Api) -> None:
    secret = (await api.key(Scope.READ))["Authorization"].removeprefix("Bearer ")
    status, _, _ = await api.get("/v1/me", {"X-API-Key": secret})
    assert status == 200


async def test_whoever_may_open_the_socket_is_the_owner(api: Api) -> None:
    assert stat.S_IMODE(api.socket_path.stat().st_mode) == 0o600
    async with api.socket_client.get("http://localhost/v1/me") as answer:
        assert await answer.json() == {"name": "owner", "scopes": ["admin"]}


async def test_a_wrong_key_is_refused_on_the_socket_too(api: Api) -> None:
    async with api.socket_client.get("http://localhost/v1/me", headers={"X-API-Key": "bok_x_y"}) as answer:
        assert answer.status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic Zm9vOmJhcg=="},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer bok_nobody_nothing"},
        {"X-API-Key": "x" * 5000},
        {"X-API-Key": "bok_\xff\xfe"},
    ],
    ids=["none", "basic", "empty", "unknown", "long", "binary"],
)
async def test_without_a_valid_key_nothing_is_told(api: Api, headers: dict[str, str]) -> None:
    status, problem, kind = await api.get("/v1/me", headers)
    assert (status, kind) == (401, PROBLEM)
    assert problem["instance"] == "/v1/me"


async def test_expired_and_revoked_keys_are_no_keys(api: Api) -> None:
    expired = await api.key(Scope.READ, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert (await api.get("/v1/me", expired))[0] == 401
    created, secret = await api.keys.create("short", frozenset({Scope.READ}), None)
    headers = {"X-API-Key": secret}
    assert (await api.get("/v1/me", headers))[0] == 200
    await api.keys.revoke(created.id)
    assert (await api.get("/v1/me", headers))[0] == 401


async def test_scopes_are_explicit_and_admin_has_all(api: Api) -> None:
    assert (await api.get("/v1/status", await api.key(Scope.OPERATE)))[0] == 403
    assert (await api.get("/v1/status", await api.key(Scope.READ)))[0] == 200
    assert (await api.get("/v1/status", await api.key(Scope.ADMIN)))[0] == 200


async def test_wrong_keys_are_slowed_down_and_good_ones_are_not(api: Api) -> None:
    good = await api.key(Scope.READ)
    assert (await api.get("/v1/me", good))[0] == 200
    for _ in range(10):
        assert (await api.get("/v1/me", {"X-API-Key": WELL_FORMED}))[0] == 401
    status, problem, kind = await api.get("/v1/me", {"X-API-Key": WELL_FORMED})
    assert (status, kind) == (429, PROBLEM)
    assert "wait" in str(problem["detail"])
    assert (await api.get("/v1/me", good))[0] == 200


async def test_a_heartbeat_is_kept_with_its_body(api: Api) -> None:
    headers = await api.key(Scope.OPERATE)
    async with api.port_client.post(f"{api.url}/v1/heartbeats/backup", headers=headers, json={"rows": 3}) as answer:
        assert answer.status == 200
    async with api.port_client.post(f"{api.url}/v1/heartbeats/mail", headers=headers, data="12 sent") as answer:
        assert answer.status == 200
    async with api.port_client.post(f"{api.url}/v1/heartbeats/quiet", headers=headers) as answer:
        assert answer.status == 200
    _, told, _ = await api.get("/v1/heartbeats", await api.key(Scope.READ))
    bodies = {heartbeat["name"]: heartbeat["body"] for heartbeat in told["heartbeats"]}
    assert bodies == {"backup": {"rows": 3}, "mail": "12 sent", "quiet": None}


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"x": NaN}', "application/json", 400),
        (b'{"x": "\\u0000"}', "application/json", 400),
        (b'"\\ud800"', "application/json", 400),
        (b"[" * 60_000, "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"1" * 60_000, "application/json", 400),
        (b"a\x00b", "text/plain", 400),
        (b"\xff\xfe", "text/plain", 200),
        (b"x" * (64 * 1024), "text/plain", 200),
        (b"x" * (64 * 1024 + 1), "text/plain", 413),
        (b"x" * (1024 * 1024 + 1), "text/plain", 413),
    ],
)
async def test_a_heartbeat_that_cannot_be_kept_says_why(api: Api, body: bytes, content_type: str, status: int) -> None:
    headers = await api.key(Scope.OPERATE) | {"Content-Type": content_type}
    async with api.port_client.post(f"{api.url}/v1/heartbeats/job", headers=headers, data=io.BytesIO(body)) as answer:
        assert answer.status == status, await answer.text()
        assert answer.content_type == (PROBLEM if status >= 400 else "application/json")


async def test_a_chunked_body_is_bounded_too(api: Api) -> None:
    async def endless() -> AsyncGenerator[bytes]:
        for _ in range(64):
            yield b"x" * 65536

    headers = await api.key(Scope.OPERATE)
    try:
        async with api.port_client.post(f"{api.url}/v1/heartbeats/job", headers=headers, data=endless()) as answer:
            assert answer.status == 413
    except aiohttp.ClientConnectionError:
        pass  # refused while it still sent


@pytest.mark.parametrize("name", ["Backup", "a/b", "x" * 64, "%00", "-a"])
async def test_a_heartbeat_needs_a_name_that_can_be_kept(api: Api, name: str) -> None:
    headers = await api.key(Scope.OPERATE)
    async with api.port_client.post(f"{api.url}/v1/heartbeats/{name}", headers=headers) as answer:
        assert answer.status in (404, 422)
        assert answer.content_type == PROBLEM


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("DELETE", "/live", 405),
        ("GET", "/v1/incidents?limit=0", 422),
        ("GET", "/v1/incidents/zzzz", 422),
        ("GET", "/v1/incidents/00000000-0000-4000-8000-000000000000", 404),
        ("GET", "/live/", 404),
    ],
)
async def test_every_error_is_a_problem_with_a_remedy(api: Api, method: str, path: str, status: int) -> None:
    headers = await api.key(Scope.READ) | {"X-Request-ID": "my-id.1"}
    async with api.port_client.request(method, api.url + path, headers=headers) as answer:
        problem = json.loads(await answer.text())
        assert (answer.status, answer.content_type) == (status, PROBLEM)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Request-ID"] == problem["request_id"] == "my-id.1"
    assert problem["type"].startswith("urn:brainops:problem:")
    assert problem["status"] == status
    assert problem["detail"]
    assert problem["instance"] == path.partition("?")[0]


async def test_an_insane_request_id_is_replaced(api: Api) -> None:
    async with api.port_client.get(f"{api.url}/live", headers={"X-Request-ID": "<script>"}) as answer:
        assert len(answer.headers["X-Request-ID"]) == 32


async def test_the_description_names_every_route_with_problems_and_examples(api: Api) -> None:
    status, described, _ = await api.get("/openapi.json")
    assert status == 200
    paths = described["paths"]
    assert {"/live", "/ready", "/v1/me", "/v1/status", "/v1/incidents", "/v1/heartbeats/{name}"} <= set(paths)
    for methods in paths.values():
        for route in methods.values():
            assert PROBLEM in route["responses"]["default"]["content"]
    documented = (ROOT / "docs" / "api.md").read_text()
    for path in paths:
        assert path.replace("{incident_id}", "{id}") in documented


async def test_ready_names_what_is_missing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_port()}")
    status, problem, kind = await api.get("/ready")
    assert (status, kind) == (503, PROBLEM)
    assert problem["parts"] == {"database": "reachable", "temporal": "unreachable"}
    assert "temporal" in str(problem["detail"])


@pytest.fixture
def lonely(state_paths: StatePaths) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """The API process itself, with a database that is not there."""
    port = free_port()
    path = state_paths.api_socket
    path.parent.mkdir()
    environment = os.environ | {
        "BRAINOPS_DATABASE_URL": f"postgresql://nobody:secret-word@/none?host={state_paths.root}",
        "BRAINOPS_API_PORT": str(port),
        "BRAINOPS_API_SOCKET": str(path),
        "BRAINOPS_STATE_DIR": str(state_paths.root),
        "TEMPORAL_ADDRESS": "127.0.0.1:1",
    }
    command = [sys.executable, "-m", "interfaces.api.main"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    yield process, port, path
    if process.poll() is None:
        process.kill()
    process.communicate()


async def test_the_process_lives_without_a_database_and_stops_cleanly(
    lonely: tuple[subprocess.Popen[bytes], int, Path],
) -> None:
    process, port, path = lonely
    async with aiohttp.ClientSession() as client:
        while True:
            assert process.poll() is None
            try:
                async with client.get(f"http://127.0.0.1:{port}/live") as answer:
                    assert answer.status == 200
                    break
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.02)
        async with client.get(f"http://127.0.0.1:{port}/v1/me", headers={"X-API-Key": WELL_FORMED}) as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"]
            assert "secret-word" not in await answer.text()
    assert path.is_socket()
    process.terminate()
    output = (await asyncio.to_thread(process.communicate, timeout=15))[0].decode()
    assert process.returncode == 0, output
    assert not path.exists()
    assert "secret-word" not in output
    assert output.count("Postgres") == 1, output


@pytest.mark.parametrize(
    ("variables", "code", "sentence"),
    [
        ({"BRAINOPS_API_PORT": "eighty"}, 2, "BRAINOPS_API_PORT"),
        ({"BRAINOPS_DATABASE_URL": ""}, 1, "BRAINOPS_DATABASE_URL"),
    ],
)
def test_a_wrong_setting_is_a_sentence(variables: dict[str, str], code: int, sentence: str) -> None:
    environment = os.environ | {"BRAINOPS_DATABASE_URL": "postgresql://x/y", "BRAINOPS_API_PORT": "0"} | variables
    command = [sys.executable, "-m", "interfaces.api.main"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_what_cannot_be_listened_on_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SetupError, match="taken by another program"):
        bind_port("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(BadInputError, match=r"api\.bind"):
        bind_port("no.such.address.invalid", 0)
    with pytest.raises(SetupError, match="longer than 107"):
        bind_socket(Path("/tmp/" + "x" * 120))
    with pytest.raises(SetupError, match="No such file"):
        bind_socket(Path("/no/such/folder/api.sock"))
    with bind_port("::1", 0) as six:
        assert six.family == socket.AF_INET6


async def test_a_dead_process_socket_is_replaced_and_a_living_one_is_not(api: Api, state_paths: StatePaths) -> None:
    with pytest.raises(SetupError, match="another API process"):
        bind_socket(api.socket_path)
    left = state_paths.root / "left.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(left))
    with bind_socket(left) as taken:
        taken.listen()
        assert stat.S_IMODE(left.stat().st_mode) == 0o600
