"""Running containers of a Docker engine that this user may talk to."""

import getpass
import os
from pathlib import Path
from typing import Any, cast

import docker
from docker.errors import DockerException

from interfaces.setup.found import Found, as_name, unique

DEFAULT_ENDPOINT = "unix:///var/run/docker.sock"
ANSWER_SECONDS = 2
MOST_CONTAINERS = 200


def endpoint() -> str:
    """Where the engine is looked for: $DOCKER_HOST, else the socket that it has everywhere."""
    return os.environ.get("DOCKER_HOST") or DEFAULT_ENDPOINT


def without_permission(where: str) -> str:
    """What to do where a Docker socket is there and this user may not use it; empty where that is not so."""
    socket = Path(where.removeprefix("unix://"))
    if not where.startswith("unix://") or not socket.exists() or os.access(socket, os.R_OK | os.W_OK):
        return ""
    return (
        f"the Docker socket {socket} may not be used by {getpass.getuser()}: "
        f"sudo usermod -aG docker {getpass.getuser()} (and log in anew), or run it as root"
    )


def running_containers() -> tuple[list[dict[str, Any]], list[str]]:
    """What the engine says of each running container, and why nothing can be seen. One request.

    Any: the engine's own JSON.
    """
    where = endpoint()
    if where.startswith("unix://") and not Path(where.removeprefix("unix://")).exists():
        return [], []
    if refused := without_permission(where):
        return [], [refused]
    try:
        client = docker.APIClient(base_url=where, timeout=ANSWER_SECONDS, version="auto")
    except DockerException as error:
        return [], [f"the Docker engine at {where} does not answer: {str(error)[:150]}"]
    engine = cast("Any", client)  # the package has no types
    try:
        listed: list[dict[str, Any]] = engine.containers(limit=MOST_CONTAINERS, filters={"status": "running"})
    except (DockerException, OSError) as error:
        return [], [f"the Docker engine at {where} does not answer: {str(error)[:150]}"]
    finally:
        client.close()
    return listed, []


def container_services(listed: list[dict[str, Any]], described: set[tuple[str, str]], taken: set[str]) -> list[Found]:
    """Services for containers that no Compose file under the folder describes.

    `described`: (file, service) of those that one does. `taken`: names that are given already.
    """
    found: list[Found] = []
    for container in listed:
        labels = cast("dict[str, str]", container.get("Labels") or {})
        files = labels.get("com.docker.compose.project.config_files", "").split(",")
        service = labels.get("com.docker.compose.service", "")
        if any((file, service) in described for file in files):
            continue
        names = cast("list[str]", container.get("Names") or [])
        if not names:
            continue
        name = names[0].lstrip("/")
        published = {
            int(port["PublicPort"])
            for port in cast("list[dict[str, Any]]", container.get("Ports") or [])
            if port.get("PublicPort") and port.get("Type") == "tcp"
        }
        has_health = "(healthy)" in str(container.get("Status")) or "health" in str(container.get("Status"))
        taken_now = taken | {one.name for one in found}
        found.append(
            Found(
                name=unique(as_name(service or name), taken_now, "container"),
                source="docker",
                what=f"container {name}, image {container.get('Image', '?')}",
                run={"kind": "docker", "container": name},
                checks={"health": {"kind": "health"}} if has_health else {},
                ports=tuple(sorted(published)),
            )
        )
    return found
