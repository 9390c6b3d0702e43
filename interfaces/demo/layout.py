"""Where a shop stands on disk, on which ports, and how `brainops.yaml` declares it."""

import asyncio
import contextlib
import json
import random
import socket
import sys
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil

from interfaces.demo import shop

PROGRAM = Path(shop.__file__).resolve()
MEMORY_LIMIT_BYTES = 80_000_000
SCRATCH_QUOTA_BYTES = 4_000_000
LATENCY_LIMIT_SECONDS = 0.15
JOURNAL_ITEMS = 200_000
"""Items in a new store's journal: enough that verifying it after a crash takes longer than a few probes."""
_SMALLEST_PORT = 15_000
_KNOWN_PAGES = ("home", "about", "contact", "terms")


class Role(StrEnum):
    """The three services."""

    WEB = "web"
    API = "api"
    STORE = "store"


UPSTREAM = {Role.WEB: Role.API, Role.API: Role.STORE}


def free_ports(count: int) -> list[int]:
    """Free loopback ports below the range that outgoing connections use.

    A prober that connects to a port within that range while nobody listens can be given the port itself as its
    source: it then talks to itself, and the service cannot start. Raises OSError when there are not enough.
    """
    lowest_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    found: list[int] = []
    for port in random.sample(range(_SMALLEST_PORT, lowest_outgoing), lowest_outgoing - _SMALLEST_PORT):
        if len(found) == count:
            return found
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    raise OSError(f"fewer than {count} free ports between {_SMALLEST_PORT} and {lowest_outgoing}")


@dataclass(frozen=True)
class Start:
    """One line of a service's `starts.jsonl`."""

    at: float
    """Seconds since the epoch."""
    pid: int
    effect_key: str


@dataclass
class Shop:
    """A shop's folders, ports and names. Its processes are started by BrainOps, or by a test."""

    root: Path
    ports: dict[Role, int]
    prefix: str = ""
    strays: list[asyncio.subprocess.Process] = field(default_factory=list[asyncio.subprocess.Process])
    """Processes that faults left behind; reaped by `remove`."""

    @classmethod
    def create(
        cls,
        root: Path,
        *,
        roles: tuple[Role, ...] = (Role.WEB, Role.API, Role.STORE),
        prefix: str = "",
        journal_items: int = JOURNAL_ITEMS,
    ) -> "Shop":
        """Make the folders and files of a new shop under `root`. `prefix`: before each service's name."""
        made = cls(root=root, ports=dict(zip(roles, free_ports(len(roles)), strict=True)), prefix=prefix)
        for role in roles:
            made._furnish(role, journal_items)
        return made

    def _furnish(self, role: Role, journal_items: int) -> None:
        folder = self.directory(role)
        folder.mkdir(parents=True)
        settings = {"upstream_port": self._upstream_port(role), "scratch_quota_bytes": SCRATCH_QUOTA_BYTES}
        self.config_file(role).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        if role is Role.API:
            (folder / "scratch").mkdir()
        if role is Role.WEB:
            index = "".join(f"{page}\tversion 1 of {page}\n" for page in _KNOWN_PAGES)
            (folder / "pages.idx").write_text(index, encoding="utf-8")
        if role is Role.STORE:
            _write_journal(folder, journal_items)

    def _upstream_port(self, role: Role) -> int | None:
        upstream = UPSTREAM.get(role)
        return self.ports.get(upstream) if upstream else None

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that this shop has."""
        return tuple(self.ports)

    def service(self, role: Role) -> str:
        """Name of a role's service in `brainops.yaml`."""
        return f"{self.prefix}{role.value}"

    def directory(self, role: Role) -> Path:
        """Folder of a role's files."""
        return self.root / self.service(role)

    def config_file(self, role: Role) -> Path:
        """The file that a role reads at its start."""
        return self.directory(role) / "config.json"

    def command(self, role: Role, port: int | None = None) -> tuple[str, ...]:
        """Command line of a role. `port`: another than its own."""
        where = ("--port", str(port or self.ports[role]), "--directory", str(self.directory(role)))
        return (sys.executable, "-I", "-S", str(PROGRAM), role.value, *where)

    def starts(self, role: Role) -> list[Start]:
        """Every start of a role so far, as its own log has it."""
        try:
            lines = (self.directory(role) / "starts.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [Start(**json.loads(line)) for line in lines]

    def pid(self, role: Role) -> int:
        """Pid of a role's newest start. Raises ProcessLookupError when that process has ended."""
        starts = self.starts(role)
        if not starts or str(self.directory(role)) not in _command_line(starts[-1].pid):
            raise ProcessLookupError(f"{self.service(role)} does not run")
        return starts[-1].pid

    def declarations(self) -> dict[str, dict[str, Any]]:
        """The `services` section of `brainops.yaml` for this shop."""
        return {self.service(role): self._declaration(role) for role in self.roles}

    def _declaration(self, role: Role) -> dict[str, Any]:
        folder = self.directory(role)
        declared: dict[str, Any] = {
            "run": {"command": list(self.command(role)), "directory": str(folder)},
            "checks": {
                "process": {"kind": "process", "interval": "250ms", "fail_after": 2},
                "health": {
                    "kind": "http",
                    "url": f"http://127.0.0.1:{self.ports[role]}/health",
                    "interval": "250ms",
                    "timeout": "400ms",
                    "fail_after": 2,
                },
            },
            "files": [{"path": str(self.config_file(role))}],
            "limits": {"memory": MEMORY_LIMIT_BYTES},
            "may_end": ["*shop.py squat*"],
            "autonomy": "act",
            "keep_good_after": "1s",
            "recover_within": "5s",
        }
        upstream = UPSTREAM.get(role)
        if upstream is not None and upstream in self.ports:
            declared["depends_on"] = [self.service(upstream)]
        if role is Role.API:
            scratch = {"path": str(folder / "scratch"), "limit": SCRATCH_QUOTA_BYTES, "clean": ["*.tmp"]}
            declared["folders"] = [scratch]
        if role is Role.WEB:
            # An answer that is too slow must arrive to be known as slow, also on a busy machine.
            declared["checks"]["health"] |= {"timeout": "4s", "max_latency": f"{round(LATENCY_LIMIT_SECONDS * 1000)}ms"}
            run = [sys.executable, "-I", "-S", str(PROGRAM), "compact", "--directory", str(folder)]
            declared["commands"] = {"compact": {"run": run, "helps_with": ["slow"]}}
        return declared

    async def remove_processes(self) -> None:
        """End every process that belongs to this shop, its strays too, and wait until they are gone."""
        ours = [process for process in psutil.process_iter() if f"{self.root}/" in _command_line(process.pid)]
        for process in ours:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for stray in self.strays:
            with contextlib.suppress(ProcessLookupError):
                stray.kill()
            await stray.wait()
        await asyncio.to_thread(psutil.wait_procs, ours, 5)
        self.strays.clear()


def _command_line(pid: int) -> str:
    """Command line of a process, empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _write_journal(folder: Path, items: int) -> None:
    """Write a store's journal of `items` items, and the marker of a clean end."""
    seal = ""
    with (folder / "journal.jsonl").open("w", encoding="utf-8") as journal:
        for number in range(1, items + 1):
            name = f"item {number}"
            seal = shop.sealed(seal, number, name)
            journal.write(json.dumps({"id": number, "name": name, "seal": seal}) + "\n")
    (folder / "clean").touch()
