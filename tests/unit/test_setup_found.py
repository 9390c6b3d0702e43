"""What is found, and the file that is made of it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from brainops.config.load import check_config
from interfaces.setup.compose_files import compose_services
from interfaces.setup.first_file import first_file
from interfaces.setup.found import Found, SeenProcess, Survey, as_name, unique
from interfaces.setup.probing import reachable_host
from interfaces.setup.survey import git_remotes

COMPOSE = """\
services:
  web:
    image: nginx:1
    ports: ["8080:80", "127.0.0.1:8443:443/tcp", "9000:9000/udp", "3000", "7000-7010:7000-7010",
            {target: 9, published: 9999}, "${PORT}:80"]
    healthcheck: {test: [CMD, "true"]}
    depends_on: {db: {condition: service_started}, elsewhere: {}}
  db:
    build: .
    healthcheck: {disable: true}
  "My Cache":
    image: redis
"""


def file_of(*services: Found) -> str:
    return first_file(Survey(services=services), datetime(2026, 11, 21, tzinfo=UTC))


def test_compose_file_is_read_with_ports_health_and_dependencies(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "compose.yaml").write_text(COMPOSE)
    found, unseen = compose_services(tmp_path)
    web, db, cache = found
    assert unseen == []
    assert web.run == {"kind": "compose", "service": "web", "files": ["shop/compose.yaml"]}
    assert web.ports == (8080, 8443, 9999)
    assert web.checks == {"health": {"kind": "health"}}
    assert web.depends_on == ("db",)
    assert (db.checks, cache.name, cache.run["service"]) == ({}, "my-cache", "My Cache")


def test_two_compose_files_with_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("shop", "blog"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "docker-compose.yml").write_text("services:\n  web: {image: x}\n")
    assert [service.name for service in compose_services(tmp_path)[0]] == ["web", "web-shop"]


def test_compose_file_that_cannot_be_read_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services:\n  web: {image: x\n")
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "compose.yaml").write_text("services:\n  api: {image: x}\n")
    found, unseen = compose_services(tmp_path)
    assert [service.name for service in found] == ["api"]
    assert unseen[0].startswith("compose.yaml was passed over: line")


def test_git_remotes_are_listed_without_their_passwords(tmp_path: Path) -> None:
    (tmp_path / "shop" / ".git").mkdir(parents=True)
    (tmp_path / "shop" / ".git" / "config").write_text(
        '[remote "origin"]\n\turl = https://me:hunter2hunter2@git.example/shop.git\n'
    )
    assert git_remotes(tmp_path) == ["shop: https://git.example/shop.git"]


def test_every_service_is_only_observed_and_the_file_can_be_used() -> None:
    process = SeenProcess(pid=1, start_ticks=1, command=("python3", "-m", "http.server"), directory="/srv/shop")
    text = file_of(
        Found(name="web", source="port", what="process 1", run={"kind": "external"}, ports=(80,), process=process,
              checks={"port-80": {"kind": "tcp", "port": 80}}),
        Found(name="machine", source="host", what="the machine itself", run={"kind": "host"}),
    )  # fmt: skip
    assert check_config(text, Path("brainops.yaml")) == []
    services = yaml.safe_load(text)["services"]
    assert {service["autonomy"] for service in services.values()} == {"observe"}
    assert "brainops init --adopt web" in text


@given(st.text(max_size=200), st.text(max_size=60), st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4))
def test_whatever_a_process_is_called_the_file_can_be_read(what: str, directory: str, command: list[str]) -> None:
    command = [word.replace("\0", "").encode("utf-8", "ignore").decode() or "x" for word in command]
    directory = "/" + directory.replace("\0", "").encode("utf-8", "ignore").decode()
    seen = SeenProcess(pid=1, start_ticks=1, command=tuple(command), directory=directory)
    text = file_of(
        Found(name="web", source="port", what=what, run={"kind": "external"}, process=seen),
        Found(name="own", source="port", what=what, run={"kind": "process", "command": command}, process=seen),
    )
    services = yaml.safe_load(text)["services"]
    assert list(services) == ["web", "own"]
    assert services["own"]["run"]["command"] == command


@pytest.mark.parametrize(
    ("text", "name"),
    [("web", "web"), ("My Shop!", "my-shop"), ("9lives", "lives"), ("__", "service"), ("ä" * 80, "service"),
     ("a" * 80, "a" * 50)],
)  # fmt: skip
def test_any_text_becomes_a_name(text: str, name: str) -> None:
    assert as_name(text) == name


def test_name_that_is_taken_gets_another_behind_it() -> None:
    assert unique("web", {"web"}, "8080") == "web-8080"
    assert unique("web", {"web", "web-8080", "web-2"}, "8080") == "web-3"


def test_address_that_is_bound_everywhere_is_asked_at_home() -> None:
    assert [reachable_host(one) for one in ("0.0.0.0", "::", "192.0.2.1", "fe80::1")] == [
        "127.0.0.1", "127.0.0.1", "192.0.2.1", "[fe80::1]",
    ]  # fmt: skip
