"""What the API process is told by its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from brainops.config.models import LOCAL_HOST
from brainops.errors import BadInputError, SetupError


@dataclass(frozen=True)
class ApiSettings:
    """Where the API listens and what it stands on."""

    database_url: str
    bind: str = "127.0.0.1"
    port: int = 8420
    """0: any free port."""
    socket: Path | None = None
    """Unix socket beside the port; none if not set."""
    memory_only: bool = False
    """There is no Temporal to wait for."""
    host: str = LOCAL_HOST
    """Name of the host whose checks `/v1/status` shows."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "ApiSettings":
        """Read BRAINOPS_DATABASE_URL, BRAINOPS_API_BIND, BRAINOPS_API_PORT, BRAINOPS_API_SOCKET, BRAINOPS_ONLY and BRAINOPS_HOST.

        Raises SetupError without a database URL and BadInputError on a port that is none.
        """
        database_url = environment.get("BRAINOPS_DATABASE_URL")
        if not database_url:
            raise SetupError("BRAINOPS_DATABASE_URL is not set; `brainops up` starts the API with everything it needs")
        port = environment.get("BRAINOPS_API_PORT", str(cls.port))
        if not (port.isascii() and port.isdigit() and int(port) <= 65535):
            raise BadInputError(f"BRAINOPS_API_PORT is {port!r}, which is no port; give a number from 0 to 65535")
        socket = environment.get("BRAINOPS_API_SOCKET")
        return cls(
            database_url=database_url,
            bind=environment.get("BRAINOPS_API_BIND") or cls.bind,
            port=int(port),
            socket=Path(socket) if socket else None,
            memory_only=environment.get("BRAINOPS_ONLY") == "memory",
            host=environment.get("BRAINOPS_HOST") or cls.host,
        )
