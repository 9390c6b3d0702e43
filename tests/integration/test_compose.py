"""Compose services on a real engine: containers with the labels that Compose gives them."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import yaml
from docker_engine import DockerEngine
from house import eventually, free_port

from brainops.checks.base import Subject
from brainops.checks.probe import Prober
from brainops.config.compose import find_compose_mistakes
from brainops.config.document import Plain
from brainops.config.load import load_config
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.config.runs import ComposeRun
from brainops.contracts.service import ServiceState, ServiceStatus
from brainops.errors import ActionError
from brainops.services.host import HostServices

PATIENCE = 30.0
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "compose"
FILE = "name: yard\nservices:\n  web: {image: 'brainops-test:1'}\n"


@pytest.fixture
async def host(tmp_path: Path) -> AsyncGenerator[HostServices]:
    (tmp_path / "compose.yaml").write_text(FILE)
    services = HostServices(StatePaths(tmp_path / "state"), tmp_path)
    yield services
    await services.close()


def web(engine: DockerEngine, service: str = "web") -> Service:
    fields = {"service": service, "endpoint": engine.endpoint, "stop_timeout": "1s"}
    return Service(run=ComposeRun.model_validate({"kind": "compose", **fields}))


def replica(engine: DockerEngine, number: int, project: str = "yard") -> str:
    labels = {"com.docker.compose.project": project, "com.docker.compose.service": "web"}
    name = f"{project}-web-{number}"
    engine.serve(name, free_port(), labels=labels)
    return name


async def at(host: HostServices, service: Service, status: ServiceStatus) -> ServiceState:
    async def seen() -> ServiceState | None:
        state = await host.state("web", service)
        return state if state.status is status else None

    return await eventually(seen, f"web is {status.value}", PATIENCE)


async def test_the_worst_of_several_containers_counts_and_all_are_restarted(
    docker_engine: DockerEngine, host: HostServices
) -> None:
    service = web(docker_engine)
    first, second = replica(docker_engine, 1), replica(docker_engine, 2)
    replica(docker_engine, 1, project="other")
    await at(host, service, ServiceStatus.RUNNING)
    docker_engine.client.kill(second)
    state = await at(host, service, ServiceStatus.EXITED)
    assert state.detail == f"1 of 2 containers; {second}: killed by SIGKILL"
    survivor = docker_engine.pid(first)
    ended, _ = await host.restart("web", service, "k1")
    assert ended == f"stopped container {first}"
    await at(host, service, ServiceStatus.RUNNING)
    assert docker_engine.pid(first) != survivor
    assert docker_engine.pid(second)


async def test_the_example_of_the_docs_sees_what_its_compose_file_declares(
    docker_engine: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_engine.endpoint)
    service = load_config(EXAMPLE / "brainops.yaml").config.services["web"]
    declared = yaml.safe_load((EXAMPLE / "compose.yaml").read_text())["services"]["web"]
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
    healthy = {"test": ["CMD", "true"], "interval": 200_000_000}
    docker_engine.serve("shop-web-1", free_port(), labels=labels, healthcheck=healthy, mem_limit=declared["mem_limit"])
    host = HostServices(StatePaths(tmp_path / "state"), EXAMPLE)
    try:
        state = await at(host, service, ServiceStatus.RUNNING)
        assert state.memory_limit_bytes == 128 * 2**20

        async with Prober(host, EXAMPLE) as prober:

            async def healthy_now() -> bool:
                result = await prober.look(Subject("web", "health", service), service.all_checks()["health"])
                return result.ok and not result.detail

            await eventually(healthy_now, "its health check passes", PATIENCE)
    finally:
        await host.close()


async def test_a_container_that_is_declared_and_missing_is_named_with_what_makes_it(
    docker_engine: DockerEngine, host: HostServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = web(docker_engine)
    state = await host.state("web", service)
    assert state.status is ServiceStatus.NEVER_STARTED
    assert "of the Compose project yard; docker compose up -d web" in state.detail
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ActionError, match="neither docker compose nor docker-compose is installed here"):
        await host.start("web", service, "k1")


async def test_a_compose_file_with_mistakes_is_named_with_its_line(
    docker_engine: DockerEngine, host: HostServices, tmp_path: Path
) -> None:
    (tmp_path / "compose.yaml").write_text("services:\n  web: {image: [\n")
    state = await host.state("web", web(docker_engine))
    assert state.status is ServiceStatus.UNSEEN
    assert "compose.yaml:3: " in state.detail
    (tmp_path / "compose.yaml").write_text(FILE)
    assert "has no service wep" in (await host.state("web", web(docker_engine, "wep"))).detail


@pytest.mark.parametrize(
    ("content", "run", "message", "remedy"),
    [
        (None, {}, "there is no Compose file", "write docker-compose.yml under run.files"),
        (None, {"files": ["none.yaml"]}, "there is no Compose file", "write docker-compose.yml under run.files"),
        ("services: [web]", {}, "services is no mapping", "write the name of each service and `:` under it"),
        ("services:\n  web: {", {}, "compose.yaml:2: ", "docker compose config tells more"),
        ("just words", {}, "holds no mapping", "it must begin with services:"),
        ("services: {web: {}}", {"service": "wep"}, "has no service 'wep'", "did you mean web?"),
        ("name: ${STAGE}\nservices: {web: {}}", {}, "is made of variables", "write run.project"),
    ],
)
def test_what_is_wrong_with_a_compose_file_is_found_with_its_remedy(
    tmp_path: Path, content: str | None, run: dict[str, Plain], message: str, remedy: str
) -> None:
    (tmp_path / "docker-compose.yml").write_text(FILE)
    if content is not None:
        (tmp_path / "compose.yaml").write_text(content)
    declared: dict[str, Plain] = {"kind": "compose", "service": "web", **run}
    (finding,) = find_compose_mistakes(("services", "web"), declared, tmp_path)
    assert message in finding.message
    assert finding.remedy == remedy
