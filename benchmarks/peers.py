"""What others do about the same faults, in the same run: Monit as Debian ships it and tuned, Docker, systemd.

Each peer looks after the API of a shop of its own, which is the very program that BrainOps heals. It is killed
(SIGKILL) and suspended (SIGSTOP), and the same independent prober holds the stopwatch. A peer whose program is not on
this machine, or that does not run here, is named and left out: nothing stands in for it.
"""

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table

from benchmarks import harness
from interfaces.demo.layout import Role, Shop
from interfaces.demo.prober import Prober, ProbeTarget
from interfaces.demo.stage import removing, running_stack, temporary_folder

FAULTS = {"crash": signal.SIGKILL, "hang": signal.SIGSTOP}
GIVEN_UP_SECONDS = {"monit_shipped": 300.0}
"""How long a peer is waited for; the others: 30 s. Monit as shipped looks every two minutes."""
_READY_SECONDS = 180.0
_PROBE_SECONDS = 0.01
_CALM_SECONDS = 5.0
"""Between two faults: the second is a fault of its own, for everybody."""


class Peer(ABC):
    """Something that looks after one command."""

    name: str

    @abstractmethod
    def absent(self) -> str:
        """Why it cannot be measured here; empty if it can."""

    @abstractmethod
    def looking_after(self, shop: Shop, folder: Path) -> contextlib.AbstractAsyncContextManager[None]:
        """It runs the shop's API, until the block ends."""


class BrainOps(Peer):
    """Ourselves, for the comparison in the same minutes."""

    name = "brainops"

    def absent(self) -> str:
        return ""

    @asynccontextmanager
    async def looking_after(self, shop: Shop, folder: Path) -> AsyncGenerator[None]:
        services = {
            name: declared | {"escalate_after": {"incidents": 1000, "within": "10m"}}
            for name, declared in shop.declarations().items()
        }
        async with running_stack(folder, services):
            yield


class Monit(Peer):
    """Monit with a process check and an http check. `every`: seconds from one look to the next."""

    def __init__(self, name: str, every: int) -> None:
        self.name = name
        self._every = every

    def absent(self) -> str:
        return "" if shutil.which("monit") else "monit is not installed (apt-get install monit)"

    @asynccontextmanager
    async def looking_after(self, shop: Shop, folder: Path) -> AsyncGenerator[None]:
        pidfile, config = folder / "api.pid", folder / "monitrc"
        start = _script(
            folder / "start", f"setsid {shlex.join(shop.command(Role.API))} >/dev/null 2>&1 &\necho $! > {pidfile}"
        )
        stop = _script(folder / "stop", f"kill -9 $(cat {pidfile})")
        config.write_text(
            f"set daemon {self._every}\nset idfile {folder}/id\nset statefile {folder}/state\nset pidfile {folder}/monit.pid\n"
            f"check process api with pidfile {pidfile}\n"
            f'  start program = "{start}" with timeout 10 seconds\n  stop program = "{stop}"\n'
            f"  if failed host 127.0.0.1 port {shop.ports[Role.API]} protocol http request /health"
            " with timeout 1 seconds then restart\n",
            encoding="utf-8",
        )
        config.chmod(0o600)
        monit = await asyncio.create_subprocess_exec(
            "monit", "-I", "-c", str(config), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            yield
        finally:
            monit.terminate()
            await monit.wait()


class Systemd(Peer):
    """A transient unit with Restart=always: it sees exits and no hangs."""

    name = "systemd"

    def absent(self) -> str:
        return "" if Path("/run/systemd/system").is_dir() else "process 1 of this machine is not systemd"

    @asynccontextmanager
    async def looking_after(self, shop: Shop, folder: Path) -> AsyncGenerator[None]:
        unit = f"brainops-peer-{os.getpid()}.service"
        command = ["systemd-run", f"--unit={unit}", "--property=Restart=always", *shop.command(Role.API)]
        started = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
        await started.wait()
        try:
            yield
        finally:
            stopped = await asyncio.create_subprocess_exec("systemctl", "stop", unit)
            await stopped.wait()


class Docker(Peer):
    """A container with `--restart=always` of the very same program: it sees the machine's files, network and pids.

    The engine is one of its own, started for the measurement as the tests do it.
    """

    name = "docker_restart_always"

    def absent(self) -> str:
        if os.geteuid() != 0:
            return "only root may start an engine"
        missing = [program for program in ("dockerd", "busybox") if shutil.which(program) is None]
        return f"{' and '.join(missing)} not installed (apt-get install docker.io busybox-static)" if missing else ""

    @asynccontextmanager
    async def looking_after(self, shop: Shop, folder: Path) -> AsyncGenerator[None]:
        sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "support"))
        from docker_engine import running_engine  # noqa: PLC0415 - needs an engine's packages

        engine_of_ours = running_engine()
        engine = await asyncio.to_thread(engine_of_ours.__enter__)
        try:
            await asyncio.to_thread(
                engine.run,
                "api",
                ["chroot", "/host", *shop.command(Role.API)],
                restart_policy={"Name": "always"},
                binds=["/:/host"],
                pid_mode="host",
                cap_add=["SYS_CHROOT"],
            )
            yield
        finally:
            await asyncio.to_thread(engine_of_ours.__exit__, None, None, None)


@dataclass
class Tries:
    """What a peer came to, by fault: seconds from injection to the first good answer; infinite where it did not heal."""

    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])


def peers() -> Sequence[Peer]:
    """Everybody there is, ourselves first."""
    return BrainOps(), Docker(), Systemd(), Monit("monit_tuned", every=1), Monit("monit_shipped", every=120)


async def compare(chosen: Sequence[Peer], repeat: int, say: Callable[[str], None]) -> dict[str, Tries]:
    """Let each peer that is here meet each fault `repeat` times; the slow ones once. Arms alternate."""
    found: dict[str, Tries] = {}
    for number in range(repeat):
        for peer in chosen:
            if why := peer.absent():
                if number == 0:
                    say(f"{peer.name}: left out, {why}")
                continue
            if peer.name in GIVEN_UP_SECONDS and number > 0:
                continue
            tries = found.setdefault(peer.name, Tries())
            for fault, seconds in (await _meet(peer)).items():
                tries.seconds.setdefault(fault, []).append(seconds)
                say(f"{number + 1}: {peer.name} {fault}: {seconds:.2f} s")
    return found


async def _meet(peer: Peer) -> dict[str, float]:
    """Seconds to heal each fault, by one instance of the peer."""
    with temporary_folder("peers") as folder:
        shop = Shop.create(folder / "shop", roles=(Role.API,))
        async with removing([shop]), peer.looking_after(shop, folder):
            target = ProbeTarget(port=shop.ports[Role.API], patience_seconds=0.5)
            with Prober(target, interval_seconds=_PROBE_SECONDS) as prober:
                if await prober.good_after(time.monotonic(), _READY_SECONDS) is None:
                    raise RuntimeError(f"{peer.name} did not start the API within {_READY_SECONDS:.0f} s")
                found: dict[str, float] = {}
                for fault, number in FAULTS.items():
                    await asyncio.sleep(_CALM_SECONDS)
                    found[fault] = await _heal(peer, shop, prober, number)
                return found


async def _heal(peer: Peer, shop: Shop, prober: Prober, number: signal.Signals) -> float:
    limit = GIVEN_UP_SECONDS.get(peer.name, 30.0)
    begun = time.monotonic()
    os.kill(shop.pid(Role.API), number)
    if await prober.bad_after(begun, 10) is None:
        raise RuntimeError(f"{peer.name}: the API goes on answering after {number.name}")
    bad = prober.first_bad_after(begun) or begun
    good = await prober.good_after(bad, limit)
    if good is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(shop.pid(Role.API), signal.SIGCONT)
        await prober.good_after(time.monotonic(), 10)
        return float("inf")
    return good - begun


def figures(found: dict[str, Tries]) -> dict[str, float]:
    """`PEER_FAULT_healed_share`, and `PEER_FAULT_p50` in seconds of those that healed."""
    result: dict[str, float] = {}
    for name, tries in found.items():
        for fault, seconds in tries.seconds.items():
            healed = [value for value in seconds if value != float("inf")]
            result[f"{name}_{fault}_healed_share"] = len(healed) / len(seconds)
            if healed:
                result[f"{name}_{fault}_p50"] = harness.percentile(healed, 0.5)
    return result


def table(found: dict[str, Tries]) -> Table:
    """A row for each peer."""
    shown = Table(
        "who looks after it", *(f"{fault} p50" for fault in FAULTS), "tries", title="the same service, the same run"
    )
    for name, tries in found.items():
        cells = (_cell(harness.percentile(tries.seconds.get(fault, []), 0.5)) for fault in FAULTS)
        shown.add_row(name.replace("_", " "), *cells, str(len(tries.seconds.get("crash", []))))
    return shown


def _cell(seconds: float) -> str:
    return "not healed" if seconds == float("inf") else f"{seconds:.2f} s"


def _script(path: Path, line: str) -> Path:
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o700)
    return path
