"""Verification of real services: soon, honest, and no longer than there is hope."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from brainops.checks.probe import Prober
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.contracts.check import CheckKind, Reason
from brainops.contracts.incident import DependencyFacts, Evidence, Verification
from brainops.contracts.service import ServiceState, ServiceStatus
from brainops.errors import NotFoundError
from brainops.incidents.verification import STABLE_SECONDS, Verifier
from brainops.services.host import HostServices

WEB = """
import http.server, os, pathlib, sys, threading, time
time.sleep(float(sys.argv[2]))
if len(sys.argv) > 3:
    def end():
        print("KeyError: 'port'", flush=True)
        os._exit(3)
    threading.Timer(float(sys.argv[3]), end).start()
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        broken = pathlib.Path("broken" + self.path.strip("/")).exists()
        self.send_response(500 if broken else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class House:
    """A host with web services and a verifier."""

    def __init__(self, folder: Path, host: HostServices, prober: Prober) -> None:
        self.folder = folder
        self.adapter = host.processes.adapter
        self.services: dict[str, Service] = {}
        self.verifier = Verifier(prober, host, self.services)

    async def start(self, name: str, *arguments: str, **fields: Any) -> None:
        """Start a web service that begins to listen after `arguments[0]` seconds."""
        port = free_port()
        (self.folder / name).mkdir()
        urls = {check: f"http://127.0.0.1:{port}/{check}" for check in ("health", "items")}
        checks = {
            check: {"kind": "http", "url": url, "timeout": "500ms", "interval": "100ms"} for check, url in urls.items()
        }
        run = {"command": [sys.executable, "-c", WEB, str(port), *arguments], "directory": name, "stop_timeout": "1s"}
        service = Service.model_validate({"run": run, "checks": checks, "recover_within": "3s"} | fields)
        self.services[name] = service
        await self.adapter.start(name, service, f"{name}-{uuid4()}")

    async def verify(self, name: str, *dependents: str, **before: Any) -> Verification:
        """Verify the service after a remedy."""
        return await self.verifier.verify(name, "health", dependents, evidence(name, **before), lambda: None)


def evidence(name: str, status: ServiceStatus = ServiceStatus.RUNNING, **fields: Any) -> Evidence:
    given: dict[str, Any] = {
        "service": name,
        "check": "health",
        "reason": Reason.STATUS,
        "captured_at": datetime.now(UTC),
        "state": ServiceState(service=name, status=status),
        "check_kinds": {"health": CheckKind.HTTP},
    }
    return Evidence(**(given | fields))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    host = HostServices(StatePaths(tmp_path / "state"), tmp_path)
    async with Prober(host, tmp_path) as prober:
        house = House(tmp_path, host, prober)
        yield house
        for name, service in house.services.items():
            await house.adapter.stop(name, service)


async def test_recovery_is_seen_soon_after_it_is_there(house: House) -> None:
    await house.start("api", "0.3")
    seen = await house.verify("api")
    assert seen.ok
    assert seen.summary == "all 3 checks of api pass"
    assert 0.3 <= seen.seconds < 1.5
    assert not seen.harmful


async def test_what_had_crashed_must_stay_up_for_a_while(house: House) -> None:
    await house.start("api", "0")
    assert (await house.verify("api")).ok
    seen = await house.verify("api", status=ServiceStatus.EXITED)
    assert seen.ok
    assert seen.seconds >= STABLE_SECONDS


async def test_a_process_that_ends_again_is_the_end_of_hope(house: House) -> None:
    await house.start("api", "60")
    began = time.perf_counter()
    ending = asyncio.create_task(house.verify("api", status=ServiceStatus.EXITED))
    await asyncio.sleep(0.1)
    os.kill(_pid(house, "api"), signal.SIGKILL)
    seen = await ending
    assert not seen.ok
    assert "killed by SIGKILL" in seen.summary
    assert time.perf_counter() - began < 1.5


async def test_a_crash_loop_that_passes_for_a_moment_is_found_out(house: House) -> None:
    await house.start("api", "0", "0.15")
    seen = await house.verify("api", status=ServiceStatus.EXITED)
    assert not seen.ok
    assert "ended with exit code 3: KeyError: 'port'" in seen.summary


async def test_a_neighbour_that_fails_is_told_after_the_whole_time(house: House) -> None:
    await house.start("api", "0", recover_within="600ms")
    (house.folder / "api" / "brokenitems").touch()
    seen = await house.verify("api")
    assert not seen.ok
    assert seen.failing == ("api/items",)
    assert "api/items still fails: 500" in seen.summary
    assert 0.5 <= seen.seconds < 2


@pytest.mark.parametrize(
    ("before", "harmful"),
    [
        ({"health": Reason.STATUS, "items": Reason.NONE}, True),
        ({"health": Reason.STATUS, "items": Reason.STATUS}, False),
        ({"process": Reason.NONE}, False),
    ],
)
async def test_what_served_before_and_fails_now_is_harm(house: House, before: dict[str, Reason], harmful: bool) -> None:
    await house.start("api", "0", recover_within="300ms")
    (house.folder / "api" / "brokenitems").touch()
    assert (await house.verify("api", probes=before)).harmful is harmful


async def test_dependents_are_waited_for_and_named_without_spoiling_the_proof(house: House) -> None:
    await house.start("api", "0")
    await house.start("front", "0.2")
    seen = await house.verify("api", "front", "unknown")
    assert (seen.ok, seen.failing) == (True, ())
    (house.folder / "front" / "brokenhealth").touch()
    seen = await house.verify("api", "front")
    assert (seen.ok, seen.failing, seen.harmful) == (True, ("front/health",), False)


async def test_a_dependency_that_the_remedy_broke_is_harm(house: House) -> None:
    await house.start("api", "0")
    await house.start("store", "0")
    (house.folder / "store" / "brokenhealth").touch()
    seen = await house.verify("api", dependencies=(DependencyFacts(service="store", passing=True),))
    assert seen.harmful
    assert seen.failing == ("store/health",)


async def test_the_worker_is_seen_to_live_meanwhile(house: House) -> None:
    await house.start("api", "0.7")
    beats: list[float] = []
    await house.verifier.verify("api", "health", (), evidence("api"), lambda: beats.append(time.monotonic()))
    assert len(beats) >= 2


async def test_a_service_that_never_ran_cannot_have_recovered(house: House) -> None:
    house.services["api"] = Service.model_validate({"run": {"command": ["true"]}})
    seen = await house.verify("api")
    assert not seen.ok
    assert "never started" in seen.summary
    with pytest.raises(NotFoundError):
        await house.verify("gone")


def _pid(house: House, name: str) -> int:
    run = house.adapter.running(name)
    assert run is not None
    return run.pid
