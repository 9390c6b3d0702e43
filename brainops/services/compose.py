"""Services of kind `compose`: all containers of one service of a Compose project, found by its labels."""

import os
import shutil
from pathlib import Path

from brainops.config.compose import ComposeProject, read_project
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.config.runs import ComposeRun
from brainops.errors import ActionError, BadInputError, UnavailableError
from brainops.services import programs
from brainops.services.container_engine import endpoint_of
from brainops.services.container_services import ContainerServices, Engines
from brainops.services.docker_events import ByService, Selector
from brainops.telemetry.redaction import clean

UP_SECONDS = 300.0
"""For `docker compose up`, which may have to pull an image."""

_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
_PLUGIN_FOLDERS = (
    "~/.docker/cli-plugins",
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)

_Versions = tuple[tuple[int, int] | None, ...]


class ComposeServices(ContainerServices):
    """Services of Compose projects. The worst of several containers counts; all are started and stopped.

    `directory`: the folder of `brainops.yaml`, where relative paths start.
    """

    def __init__(self, paths: StatePaths, engines: Engines, directory: Path) -> None:
        super().__init__(paths, engines)
        self._directory = directory
        self._read: dict[tuple[tuple[Path, ...], str | None], tuple[_Versions, ComposeProject]] = {}

    def run_of(self, service: Service) -> ComposeRun:
        if not isinstance(service.run, ComposeRun):
            raise TypeError(f"a service of kind {service.run.kind} is no part of a Compose project")
        return service.run

    def selector(self, service: Service) -> Selector:
        run = self.run_of(service)
        return ByService(run.project or self._project(run).name, run.service)

    def missing(self, service: Service) -> str:
        run = self.run_of(service)
        try:
            project = self._project(run)
        except UnavailableError as error:
            return str(error)
        if project.complete and run.service not in project.services:
            return f"{run.files[-1]} has no service {run.service}; it has: {', '.join(project.services[:10]) or 'none'}"
        return (
            f"there is no container of the service {run.service} of the Compose project {project.name}; "
            f"docker compose up -d {run.service}"
        )

    async def make(self, name: str, service: Service) -> None:
        """`docker compose up`. Raises ActionError with what it said, or with what is to be installed."""
        run = self.run_of(service)
        project = self._project(run)
        files = self._files(run)
        program = _compose_program()
        if program is None:
            raise ActionError(
                f"{self.missing(service)}: neither docker compose nor docker-compose is installed here; "
                "install docker-compose-plugin, or make the container yourself"
            )
        named = [part for path in files for part in ("-f", str(path))]
        command = [*program, "-p", project.name, *named, "up", "-d", "--no-deps", run.service]
        environment = {key: os.environ[key] for key in _KEPT_VARIABLES if key in os.environ}
        environment["DOCKER_HOST"] = endpoint_of(run.endpoint)
        done = await programs.run(
            command, timeout_seconds=UP_SECONDS, environment=environment, directory=files[0].parent
        )
        if done.exit_code != 0:
            lines = clean(done.errors.strip() or done.output, programs.OUTPUT_BYTES).strip().splitlines() or [""]
            told = f"{' '.join(command)[:200]} ended with {done.exit_code}: {lines[-1][:300]}"
            raise ActionError(f"{name} could not be made: {told}"[:500])

    def _files(self, run: ComposeRun) -> tuple[Path, ...]:
        return tuple((self._directory / path).absolute() for path in run.files)

    def _project(self, run: ComposeRun) -> ComposeProject:
        """Read again only when a file has changed. Raises UnavailableError while a file has mistakes."""
        files = self._files(run)
        versions = tuple(_version(path) for path in files)
        known = self._read.get((files, run.project))
        if known is None or known[0] != versions:
            try:
                known = versions, read_project(files, run.project)
            except BadInputError as error:
                raise UnavailableError(str(error)) from None
            self._read[files, run.project] = known
        return known[1]


def _compose_program() -> list[str] | None:
    """How Compose is called on this machine: the plugin of `docker`, else the program of its own."""
    docker = shutil.which("docker")
    plugins = (Path(folder).expanduser() / "docker-compose" for folder in _PLUGIN_FOLDERS)
    if docker is not None and any(os.access(plugin, os.X_OK) for plugin in plugins):
        return [docker, "compose"]
    standalone = shutil.which("docker-compose")
    return [standalone] if standalone is not None else None


def _version(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
