"""Where BrainOps keeps its state on this machine."""

import os
from dataclasses import dataclass
from pathlib import Path

STATE_VARIABLE = "BRAINOPS_STATE_DIR"


@dataclass(frozen=True)
class StatePaths:
    """The state folder and what stands in it. Nothing is created by reading a path."""

    root: Path

    @classmethod
    def default(cls) -> "StatePaths":
        """`$BRAINOPS_STATE_DIR`, else `/var/lib/brainops` for root, else `$XDG_DATA_HOME/brainops`."""
        named = os.environ.get(STATE_VARIABLE)
        if named:
            return cls(Path(named).absolute())
        if os.geteuid() == 0:
            return cls(Path("/var/lib/brainops"))
        data_home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
        return cls(Path(data_home) / "brainops")

    @property
    def stack_file(self) -> Path:
        """Pid and addresses of the running stack, mode 0600; absent when none runs."""
        return self.root / "stack.json"

    @property
    def lock_file(self) -> Path:
        """Held by the running `brainops up`."""
        return self.root / "stack.lock"

    @property
    def postgres(self) -> Path:
        """Embedded Postgres: data, sockets, copied binaries, passwords."""
        return self.root / "postgres"

    @property
    def temporal(self) -> Path:
        """The embedded Temporal server's database file."""
        return self.root / "temporal"

    @property
    def logs(self) -> Path:
        """Logs of BrainOps' own processes."""
        return self.root / "logs"

    @property
    def services(self) -> Path:
        """One folder for each service: run and exit records, output, effect markers."""
        return self.root / "services"

    @property
    def objects(self) -> Path:
        """The local object store."""
        return self.root / "objects"

    @property
    def spool(self) -> Path:
        """Events of coding agents that wait to be stored."""
        return self.root / "spool"

    @property
    def api_socket(self) -> Path:
        """Unix socket of the HTTP API."""
        return self.root / "api.sock"
