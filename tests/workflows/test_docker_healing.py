"""Containers of a real engine, broken by crash, hang and limit, and healed by whole plans."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from docker_engine import DockerEngine
from house import Builder, House, eventually

from brainops.contracts.incident import IncidentStatus

PATIENCE = 60.0


@pytest.fixture(autouse=True)
def compose_file(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("name: yard\nservices:\n  shop: {image: 'brainops-test:1'}\n")


def declared(engine: DockerEngine, kind: str, **extra: Any) -> dict[str, Any]:
    """The service `shop` as a container, or as a Compose service of one."""
    named = {"container": "shop"} if kind == "docker" else {"service": "shop"}
    run = {"kind": kind, "endpoint": engine.endpoint, "stop_timeout": "1s", **named}
    return {"run": run, "recover_within": "10s", "escalate_after": {"incidents": 9}, **extra}


def serve(engine: DockerEngine, port: int, **how: Any) -> None:
    labels = {"com.docker.compose.project": "yard", "com.docker.compose.service": "shop"}
    engine.serve("shop", port, labels=labels, **how)


async def healed(house: House, count: int) -> str:
    """The remedy of the newest incident, once so many are over and the service answers."""
    detail = await house.incident("shop", IncidentStatus.RESOLVED, timeout=PATIENCE, count=count)
    await house.answers("shop", PATIENCE)
    return detail.row.remedy or ""


@pytest.mark.parametrize("kind", ["docker", "compose"])
async def test_crash_and_hang_of_a_container_are_healed(
    builder: Builder, docker_engine: DockerEngine, kind: str
) -> None:
    serve(docker_engine, builder.port("shop"))
    async with builder.house({"shop": declared(docker_engine, kind)}) as house:
        await house.answers("shop", PATIENCE)
        os.kill(docker_engine.pid("shop"), signal.SIGKILL)
        assert await healed(house, 1) == "restart"
        docker_engine.client.pause("shop")
        assert await healed(house, 2) == "restart"
        os.kill(docker_engine.pid("shop"), signal.SIGSTOP)
        assert await healed(house, 3) == "restart"


_SMALL = 96 * 2**20
_NEEDS_MORE = (
    "sleep 1; dd if=/dev/zero of=/dev/null bs=100M count=1 || exit 137; exec httpd -f -p 127.0.0.1:{port} -h /www"
)


@pytest.mark.parametrize("kind", ["docker", "compose"])
async def test_a_container_that_its_memory_limit_killed_is_given_more_within_the_ceiling(
    builder: Builder, docker_engine: DockerEngine, kind: str
) -> None:
    port = builder.port("shop")
    labels = {"com.docker.compose.project": "yard", "com.docker.compose.service": "shop"}
    docker_engine.run(
        "shop", ["sh", "-c", _NEEDS_MORE.format(port=port)], labels=labels, mem_limit=_SMALL, memswap_limit=_SMALL
    )
    service = declared(docker_engine, kind, limits={"memory_ceiling": "256MiB"})
    async with builder.house({"shop": service}) as house:
        assert await healed(house, 1) == "raise_limit"
        assert docker_engine.inspect("shop")["HostConfig"]["Memory"] > _SMALL


async def test_a_removed_container_is_made_anew_and_the_other_services_are_watched_on(
    builder: Builder, docker_engine: DockerEngine
) -> None:
    serve(docker_engine, builder.port("shop"))
    services = {"shop": declared(docker_engine, "docker"), "web": {}}
    async with builder.house(services) as house:
        await house.answers("shop", PATIENCE)
        await house.answers("web", PATIENCE)
        await kept(house)
        docker_engine.client.remove_container("shop", force=True)
        assert await healed(house, 1) == "recreate"
        await house.crash("web")
        await house.incident("web", IncidentStatus.RESOLVED, timeout=PATIENCE)
        await house.answers("web", PATIENCE)


async def kept(house: House) -> None:
    folder = house.folder / "state" / "services" / "shop" / "good-containers"

    async def is_kept() -> bool:
        return folder.is_dir() and any(folder.glob("*.json"))

    await eventually(is_kept, "how the container was made is kept", PATIENCE)
