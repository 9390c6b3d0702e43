"""The embedded Temporal server: how it is started, and what is seen to once it answers.

Its flags matter more than our code: without the two dynamic values every hop of a plan waits for a 50 ms slot.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from brainops.contracts.names import SEARCH_ATTRIBUTES
from brainops.errors import SetupError, UnavailableError
from workers.stack.errands import SEE_TO_TEMPORAL, errand

NAMESPACE = "default"

_REFUSED_FILE = re.compile(
    r"file is not a database|malformed|SQL logic error|no such (table|column)|schema version", re.IGNORECASE
)


@dataclass(frozen=True)
class TemporalServer:
    """One dev server on loopback with its database in `folder`."""

    binary: Path
    folder: Path
    port: int
    ui_port: int

    @property
    def address(self) -> str:
        """Host and port of its gRPC service."""
        return f"127.0.0.1:{self.port}"

    @property
    def ui_url(self) -> str:
        """Its Web UI."""
        return f"http://127.0.0.1:{self.ui_port}"

    @property
    def database_file(self) -> Path:
        """Histories, timers, schedules. Not promised across versions of the server."""
        return self.folder / "temporal.db"

    def command(self) -> list[str]:
        """The command line; makes the folder that it needs."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = {
            "ip": "127.0.0.1",
            "port": str(self.port),
            "ui-port": str(self.ui_port),
            "db-filename": str(self.database_file),
            "namespace": NAMESPACE,
            "log-level": "warn",
            "log-format": "json",
        }
        command = [str(self.binary), "server", "start-dev", *(f"--{name}={value}" for name, value in flags.items())]
        command += ["--sqlite-pragma=journal_mode=wal", "--sqlite-pragma=synchronous=2"]
        command += ["--dynamic-config-value=history.transferProcessorMaxPollRPS=10000"]
        command += ["--dynamic-config-value=system.enableActivityEagerExecution=true", "--ui-disable-news-fetch"]
        return command + [f"--search-attribute={name}=Keyword" for name in SEARCH_ATTRIBUTES]

    async def ready(self) -> bool:
        """Whether the server answers for its namespace, within some seconds. Sees to retention and attributes there."""
        async with errand(SEE_TO_TEMPORAL) as seeing_to:
            try:
                await seeing_to.done({"address": self.address, "namespace": NAMESPACE})
            except UnavailableError:
                return False
        return True

    def set_refused_file_aside(self, said: str) -> str | None:
        """Where the server ended because of its database file, rename that: the next start begins a fresh one.

        `said`: what the server printed. Returns a line for people, or None where the file is not the cause. Open
        plans are not lost: they are started anew from their rows in BrainOps' own database.
        """
        if not self.database_file.exists() or not _REFUSED_FILE.search(said):
            return None
        suffix = f".refused-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        kept = self.database_file.with_name(self.database_file.name + suffix)
        for companion in ("", "-wal", "-shm"):
            file = self.database_file.with_name(self.database_file.name + companion)
            if file.exists():
                file.rename(kept.with_name(kept.name + companion))
        return (
            f"the Temporal server refuses its database file: it is kept as {kept}, and a fresh one is begun. "
            "Open plans are started anew; finished histories are in that file and with their rows."
        )


def external_address(environment: dict[str, str]) -> str | None:
    """The server that `environment` or Temporal's profile file names; None where none is: then one is embedded."""
    if not _names_a_server(environment):
        return None
    from temporalio.envconfig import ClientConfig  # noqa: PLC0415 - 25 MB that a stack with its own server does not need

    try:
        return ClientConfig.load_client_connect_config(override_env_vars=environment).get("target_host")
    except RuntimeError as error:
        raise SetupError(
            f"Temporal's own configuration (TEMPORAL_* or its profile file) cannot be read: {error}"
        ) from error


def _names_a_server(environment: dict[str, str]) -> bool:
    """Whether a variable or the profile file says anything at all; if not, the SDK need not be asked."""
    if any(name.startswith("TEMPORAL_") and name != "TEMPORAL_CONFIG_FILE" for name in environment):
        return True
    folder = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    file = environment.get("TEMPORAL_CONFIG_FILE") or str(Path(folder, "temporalio", "temporal.toml"))
    return file != os.devnull and Path(file).exists()


async def prepare_external(environment: dict[str, str], progress: Callable[[str], None]) -> None:
    """See that a server which we did not start answers and knows our search attributes.

    Retention is its owner's business. Raises UnavailableError when it does not answer. A server that lets nobody
    register attributes (Temporal Cloud) is used all the same, after saying which to create.
    """
    from temporalio.client import Client  # noqa: PLC0415 - as above
    from temporalio.envconfig import ClientConfig  # noqa: PLC0415
    from temporalio.service import RPCError  # noqa: PLC0415

    from workers.stack.temporal_namespace import ensure_search_attributes  # noqa: PLC0415

    settings = ClientConfig.load_client_connect_config(override_env_vars=environment)
    address = settings.get("target_host")
    try:
        client = await Client.connect(**settings)
    except RuntimeError as error:
        raise UnavailableError(
            f"The Temporal server at {address} does not answer: {error}. Start it, or unset TEMPORAL_ADDRESS."
        ) from error
    try:
        await ensure_search_attributes(client)
    except RPCError as error:
        names = ", ".join(SEARCH_ATTRIBUTES)
        progress(f"{address} does not let us register search attributes ({error}): create these as keywords: {names}")
