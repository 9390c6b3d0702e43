"""The parts of the local stack: how each is run, and in what environment."""

import asyncio
import http.client
import os
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from brainops.config.models import LOCAL_HOST, Api, BrainOpsConfig
from brainops.config.paths import STATE_VARIABLE, StatePaths
from brainops.database.embedded import STOP_SIGNAL, EmbeddedPostgres
from workers.stack.process import PYTHON, RunAs
from workers.stack.state import StackInfo
from workers.stack.supervisor import PartSpec
from workers.stack.temporal_server import NAMESPACE, TemporalServer

POSTGRES, TEMPORAL, CONTROL, HOST, API = "postgres", "temporal", "control", "host", "api"
"""Names of the parts, in the order in which they start; also of their log files."""

SERVERS = frozenset({POSTGRES, TEMPORAL})
"""The parts that the others stand on: started first, stopped last."""

DATABASE_VARIABLE = "BRAINOPS_DATABASE_URL"
ONLY_VARIABLE = "BRAINOPS_ONLY"
"""`memory` where that is all that runs: the API then waits for no Temporal."""

SMALL_HEAP = {"GOGC": "40"}
"""Go lets its heap double before it collects; at 40 % the idle server keeps 25 MB less, for no CPU that can be measured."""

FEW_ARENAS = {"MALLOC_ARENA_MAX": "2"}
"""glibc gives each thread of the SDK an arena of its own, which it never returns."""

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
"""numpy would share each product of matrices out among the cores, where its threads spin: loading an index took half as
much CPU again [measured]. Whoever sets the variable is obeyed."""

_PLAIN_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")


def plain_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """All that Postgres and Temporal get of our environment, which may hold people's secrets."""
    return {name: environment[name] for name in _PLAIN_VARIABLES if name in environment}


def child_environment(environment: Mapping[str, str], info: StackInfo) -> dict[str, str]:
    """What workers and the API get: ours, and where everything of `info`'s stack is."""
    child = {**FEW_ARENAS, **environment}
    if info.temporal_embedded or info.memory_only:
        # Credentials and profiles are for another server.
        child = {name: value for name, value in child.items() if not name.startswith("TEMPORAL_")}
    if info.memory_only:
        child[ONLY_VARIABLE] = "memory"
    if info.temporal_embedded:
        child["TEMPORAL_ADDRESS"] = info.temporal_address
        child["TEMPORAL_NAMESPACE"] = NAMESPACE
        child["TEMPORAL_CONFIG_FILE"] = os.devnull
    child[STATE_VARIABLE] = str(info.state_folder)
    child[DATABASE_VARIABLE] = info.database_url
    child["BRAINOPS_HOST"] = LOCAL_HOST
    child.pop("BRAINOPS_CONFIG", None)
    if info.config_path:
        child["BRAINOPS_CONFIG"] = str(info.config_path)
    return child


def postgres_part(postgres: EmbeddedPostgres, paths: StatePaths, environment: Mapping[str, str]) -> PartSpec:
    """The embedded Postgres, prepared already."""
    return PartSpec(
        name=POSTGRES,
        command=postgres.command,
        environment=plain_environment(environment),
        log_file=paths.logs / f"{POSTGRES}.log",
        ready=postgres.ready,
        run_as=None if postgres.user is None or postgres.group is None else RunAs(postgres.user, postgres.group),
        stop_signal=STOP_SIGNAL,
        death_signal=STOP_SIGNAL,
        stop_timeout=timedelta(seconds=20),
        first_tries=8,  # one whose stack was killed a moment ago may still be shutting down
    )


def temporal_part(
    server: TemporalServer, paths: StatePaths, environment: Mapping[str, str], on_restart: Callable[[], None]
) -> PartSpec:
    """The embedded Temporal server with its UI."""
    return PartSpec(
        name=TEMPORAL,
        command=server.command,
        environment={**SMALL_HEAP, **plain_environment(environment)},
        log_file=paths.logs / f"{TEMPORAL}.log",
        ready=server.ready,
        repair=server.set_refused_file_aside,
        on_restart=on_restart,
    )


def worker_part(role: str, paths: StatePaths, environment: Mapping[str, str]) -> PartSpec:
    """The worker of a role (`CONTROL` or `HOST`). It is ready when it polls, which it tells by making a file."""
    ready_file = paths.root / "run" / f"{role}.ready"

    def command() -> Sequence[str]:
        ready_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        ready_file.unlink(missing_ok=True)
        return [*PYTHON, "-m", "workers.main", "--role", role]

    async def ready() -> bool:
        return ready_file.exists()

    return PartSpec(
        name=role,
        command=command,
        environment={**environment, "BRAINOPS_READY_FILE": str(ready_file)},
        log_file=paths.logs / f"{role}.log",
        ready=ready,
        stop_timeout=timedelta(seconds=15),
    )


def api_part(
    config: BrainOpsConfig, directory: Path, port: int, paths: StatePaths, environment: Mapping[str, str]
) -> PartSpec:
    """The HTTP API on `port` and its Unix socket. It is ready when `/live` answers. `directory`: from which the
    configuration's relative paths start."""
    api = config.api
    url = api_url(api, port)

    async def ready() -> bool:
        return await asyncio.to_thread(_lives, url)

    return PartSpec(
        name=API,
        command=lambda: [*PYTHON, "-m", "interfaces.api.main"],
        environment={
            **ONE_THREAD,
            **environment,
            **config.memory.variables(directory),
            "BRAINOPS_API_BIND": api.bind,
            "BRAINOPS_API_PORT": str(port),
            "BRAINOPS_API_SOCKET": str(paths.api_socket),
        },
        log_file=paths.logs / f"{API}.log",
        ready=ready,
    )


def _lives(url: str) -> bool:
    # Not aiohttp: importing it would take a tenth of the time in which the stack starts.
    try:
        with urllib.request.urlopen(f"{url}/live", timeout=2) as answer:  # noqa: S310 - our own API
            return answer.status == 200
    except (OSError, http.client.HTTPException):
        return False


def api_url(api: Api, port: int) -> str:
    """Where the API is reached from this machine: on loopback if it listens on every address."""
    if api.bind in {"0.0.0.0", "::"}:  # noqa: S104 - what a person wrote, to be compared
        host = "127.0.0.1" if api.bind == "0.0.0.0" else "[::1]"  # noqa: S104
    else:
        host = f"[{api.bind}]" if ":" in api.bind else api.bind
    return f"http://{host}:{port}"


def bring_up_command() -> list[str]:
    """The program that starts the plans which must always run."""
    return [*PYTHON, "-m", "workers.bring_up"]


def installer_command() -> list[str]:
    """The program that gets the Temporal server's binary."""
    return [*PYTHON, "-m", "workers.stack.temporal_binary"]


def log_files(paths: StatePaths) -> list[Path]:
    """The logs of BrainOps' own processes that there are."""
    return list(paths.logs.glob("*.log"))
