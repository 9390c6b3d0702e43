"""The embedded Temporal server: how it is started, and what is seen to once it answers.

Its flags matter more than our code: without the two dynamic values every hop of a plan waits for a 50 ms slot.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError, RPCStatusCode

from brainops.contracts.names import NAMESPACE_RETENTION_DAYS, SEARCH_ATTRIBUTES
from brainops.errors import SetupError, UnavailableError

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
        """Whether the server answers for its namespace. Sets the namespace's retention where it differs."""
        try:
            client = await Client.connect(self.address, namespace=NAMESPACE)
            await keep_histories(client, timedelta(days=NAMESPACE_RETENTION_DAYS))
            await ensure_search_attributes(client)
        except (RuntimeError, RPCError):
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


async def keep_histories(client: Client, retention: timedelta) -> None:
    """Let closed histories of the client's namespace be kept for `retention` (a dev server keeps a day)."""
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    if described.config.workflow_execution_retention_ttl.ToTimedelta() == retention:
        return
    request = UpdateNamespaceRequest(namespace=client.namespace)
    request.config.workflow_execution_retention_ttl.FromTimedelta(retention)
    await client.workflow_service.update_namespace(request)


async def ensure_search_attributes(client: Client, names: Sequence[str] = SEARCH_ATTRIBUTES) -> None:
    """Register those of `names` that the client's namespace lacks, as keywords. Others' attributes are left alone."""
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    missing = [name for name in names if name not in listed.custom_attributes]
    if not missing:
        return
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=dict.fromkeys(missing, keyword))
    try:
        await client.operator_service.add_search_attributes(request)
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise


def external_address(environment: dict[str, str]) -> str | None:
    """The server that `environment` or Temporal's profile file names; None where none is: then one is embedded."""
    try:
        return ClientConfig.load_client_connect_config(override_env_vars=environment).get("target_host")
    except RuntimeError as error:
        raise SetupError(
            f"Temporal's own configuration (TEMPORAL_* or its profile file) cannot be read: {error}"
        ) from error


async def prepare_external(environment: dict[str, str], progress: Callable[[str], None]) -> None:
    """See that a server which we did not start answers and knows our search attributes.

    Retention is its owner's business. Raises UnavailableError when it does not answer. A server that lets nobody
    register attributes (Temporal Cloud) is used all the same, after saying which to create.
    """
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
