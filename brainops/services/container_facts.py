"""A container as the engine describes it, read into what is asked of it."""

import math
import re
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from brainops.contracts.service import ExitRecord, SupervisorFacts
from brainops.services import procfs
from brainops.services.container_engine import Raw

SUPERVISOR = "docker"
PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"

_NEVER = "0001-01-01"
_FIRST_BACK_OFF_SECONDS = 0.1
_LONGEST_BACK_OFF_SECONDS = 60.0
_STEADY_SECONDS = 10.0
"""The engine doubles its pause before each restart, from 100 ms to a minute, unless the container ran for 10 s:
moby/restartmanager/restartmanager.go."""

_CGROUP_LIMIT = 16 * 1024
_FRACTION = re.compile(r"\.(\d{1,6})\d*")


class _Health(BaseModel):
    status: str = Field("", alias="Status")
    log: list[dict[str, Any]] | None = Field(None, alias="Log")  # Any: the engine's


class _State(BaseModel):
    status: str = Field("", alias="Status")
    oom_killed: bool = Field(False, alias="OOMKilled")
    dead: bool = Field(False, alias="Dead")
    pid: int = Field(0, alias="Pid")
    exit_code: int = Field(0, alias="ExitCode")
    error: str = Field("", alias="Error")
    started_at: str = Field("", alias="StartedAt")
    finished_at: str = Field("", alias="FinishedAt")
    health: _Health | None = Field(None, alias="Health")


class _Policy(BaseModel):
    name: str = Field("", alias="Name")
    maximum_retries: int = Field(0, alias="MaximumRetryCount")


class _HostConfig(BaseModel):
    policy: _Policy = Field(_Policy.model_construct(), alias="RestartPolicy")
    memory: int = Field(0, alias="Memory")
    memory_swap: int = Field(0, alias="MemorySwap")


class _Config(BaseModel):
    image: str = Field("", alias="Image")
    labels: dict[str, str] | None = Field(None, alias="Labels")
    stop_signal: str = Field("", alias="StopSignal")


class _Network(BaseModel):
    address: str = Field("", alias="IPAddress")


class _Networks(BaseModel):
    ports: dict[str, list[dict[str, str]] | None] | None = Field(None, alias="Ports")
    networks: dict[str, _Network | None] | None = Field(None, alias="Networks")


class _Inspected(BaseModel):
    id: str = Field(alias="Id")
    name: str = Field(alias="Name")
    image: str = Field("", alias="Image")
    restart_count: int = Field(0, alias="RestartCount")
    state: _State = Field(alias="State")
    config: _Config = Field(alias="Config")
    host_config: _HostConfig = Field(alias="HostConfig")
    networks: _Networks = Field(_Networks.model_construct(), alias="NetworkSettings")


@dataclass(frozen=True)
class Container:
    """One container at one moment."""

    id: str
    name: str
    image: str
    image_id: str
    status: str
    """`created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`."""
    pid: int
    exit_code: int
    memory_killed: bool
    error: str
    """Why the engine could not start it."""
    started: str
    """When, as the engine writes it; empty: never."""
    started_at: datetime | None
    finished_at: datetime | None
    health: str
    health_output: str
    policy: str
    maximum_retries: int
    restarts: int
    memory_limit: int
    """0: none."""
    memory_swap: int
    stop_signal: int
    labels: Mapping[str, str] = field(repr=False)
    ports: frozenset[int]
    """Published on the machine."""
    addresses: frozenset[str]
    raw: Raw = field(repr=False)
    """The whole description. It holds secrets."""

    @property
    def short_id(self) -> str:
        """As people know it."""
        return self.id[:12]

    @property
    def run_id(self) -> str:
        """Tells one run from every other."""
        return f"{self.short_id}/{self.started or 'never'}"

    @property
    def runs(self) -> bool:
        """Whether its processes are there, frozen or not."""
        return self.status in ("running", "paused")

    @property
    def badness(self) -> int:
        """By it the worst of several is found: the higher the worse."""
        return {"running": 0, "paused": 1, "created": 3, "restarting": 2}.get(self.status, 4)

    @property
    def end(self) -> ExitRecord | None:
        """How its last run ended; None while it runs, or when it never did."""
        if self.runs or self.finished_at is None or not self.started:
            return None
        return exit_record(self.run_id, self.exit_code, self.finished_at)

    @property
    def back_off_seconds(self) -> float:
        """How long the engine will about wait before it restarts it again by itself."""
        if self.started_at is None or self.finished_at is None or self.finished_at < self.started_at:
            return _FIRST_BACK_OFF_SECONDS
        if (self.finished_at - self.started_at).total_seconds() > _STEADY_SECONDS:
            return _FIRST_BACK_OFF_SECONDS
        doublings = min(
            max(0, self.restarts - 1), int(math.log2(_LONGEST_BACK_OFF_SECONDS / _FIRST_BACK_OFF_SECONDS)) + 1
        )
        return min(_LONGEST_BACK_OFF_SECONDS, _FIRST_BACK_OFF_SECONDS * 2**doublings)

    def supervisor(self, patience: timedelta) -> SupervisorFacts | None:
        """Whether the engine restarts it by itself. It has given up if the next try is further off than `patience`."""
        if self.policy in ("", "no"):
            return None
        ended = self.status in ("exited", "dead", "created", "removing")
        waiting = self.status == "restarting" and self.back_off_seconds > patience.total_seconds()
        return SupervisorFacts(
            name=SUPERVISOR,
            policy=self.policy,
            restarts=self.restarts,
            gave_up=ended or waiting,
        )


def read_container(raw: Raw) -> Container:
    """From what the engine answers to an inspection. Raises ValueError for what is no such answer."""
    seen = _Inspected.model_validate(raw)
    state, config, host = seen.state, seen.config, seen.host_config
    never = not state.started_at or state.started_at.startswith(_NEVER)
    published = (seen.networks.ports or {}).values()
    ports = {int(port) for bound in published for one in bound or () if (port := one.get("HostPort", "")).isdigit()}
    networks = (seen.networks.networks or {}).values()
    return Container(
        id=seen.id,
        name=seen.name.removeprefix("/"),
        image=config.image,
        image_id=seen.image,
        status="dead" if state.dead else state.status,
        pid=state.pid,
        exit_code=state.exit_code,
        memory_killed=state.oom_killed and not state.pid,
        error=state.error,
        started="" if never else state.started_at,
        started_at=parse_time(state.started_at),
        finished_at=parse_time(state.finished_at),
        health=state.health.status if state.health is not None and state.health.status != "none" else "",
        health_output=_last_output(state.health),
        policy=host.policy.name,
        maximum_retries=host.policy.maximum_retries,
        restarts=seen.restart_count,
        memory_limit=host.memory,
        memory_swap=host.memory_swap,
        stop_signal=signal_number(config.stop_signal or "SIGTERM"),
        labels=config.labels or {},
        ports=frozenset(ports),
        addresses=frozenset(network.address for network in networks if network is not None and network.address),
        raw=raw,
    )


def parse_time(text: str) -> datetime | None:
    """A time of the engine, which counts nanoseconds; None for its `never`."""
    if not text or text.startswith(_NEVER):
        return None
    return datetime.fromisoformat(_FRACTION.sub(r".\1", text)).astimezone(UTC)


def signal_number(text: str) -> int:
    """`SIGTERM`, `TERM` or `15`; 0 for what is no signal of this system."""
    if text.isdigit():
        return int(text)
    name = text if text.startswith("SIG") else f"SIG{text}"
    return next((number.value for number in signal.Signals if number.name == name), 0)


def exit_record(run_id: str, exit_code: int, ended_at: datetime) -> ExitRecord:
    """An end; the engine tells that of a signal as 128 and its number."""
    number = exit_code - 128
    by_signal = any(number == known.value for known in signal.Signals)
    return ExitRecord(
        pid=0,
        effect_key=run_id[:200],
        exit_code=None if by_signal else exit_code,
        signal=number if by_signal else None,
        ended_at=ended_at,
    )


def worst(containers: Iterable[Container]) -> Container:
    """The one that is worst off; the newest start counts among equals."""
    return max(containers, key=lambda one: (one.badness, one.health == "unhealthy", one.started))


def is_in_container(pid: int, container_id: str) -> bool:
    """Whether a process of this machine is in the container, by its control group."""
    return container_id.encode() in _read_start(Path(f"/proc/{pid}/cgroup"))


def memory_bytes(pid: int) -> int | None:
    """What the control group of a process uses, without pages of files that can be dropped; None if it is not seen."""
    for line in _read_start(Path(f"/proc/{pid}/cgroup")).decode("utf-8", "replace").splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if "memory" in controllers.split(","):
            return _used(
                Path("/sys/fs/cgroup/memory") / path.lstrip("/"), "memory.usage_in_bytes", "total_inactive_file"
            )
        if number == "0" and not controllers:
            found = _used(Path("/sys/fs/cgroup") / path.lstrip("/"), "memory.current", "inactive_file")
            if found is not None:
                return found
    return None


def _used(folder: Path, usage: str, droppable: str) -> int | None:
    try:
        used = int((folder / usage).read_text())
        statistics = (folder / "memory.stat").read_text()
    except (OSError, ValueError):  # it has ended, or its group is not seen from here
        return None
    found = re.search(rf"^{droppable} (\d+)$", statistics, re.MULTILINE)
    return max(0, used - int(found[1])) if found else used


def suspended(pid: int) -> bool:
    """Whether a process of this machine is stopped by a signal."""
    process = procfs.stat(pid)
    return process is not None and procfs.suspended(process)


def _last_output(health: _Health | None) -> str:
    if health is None or not health.log:
        return ""
    return str(health.log[-1].get("Output", "")).strip()[:400]


def _read_start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_CGROUP_LIMIT)
    except OSError:  # it is gone, or another user's
        return b""
