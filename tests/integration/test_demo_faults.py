"""Every fault of the demo is real: an outsider sees it, it survives the wrong remedy, and the right one cures it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Generator
from pathlib import Path

import pytest

from interfaces.demo.faults import FAULTS, Fault
from interfaces.demo.layout import PROGRAM, Role, Shop
from interfaces.demo.prober import Prober, ProbeTarget, ask


class Hands:
    """Does by hand what BrainOps would do: starts and ends a shop's processes."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.running: dict[Role, subprocess.Popen[bytes]] = {}

    def start(self, role: Role) -> subprocess.Popen[bytes]:
        log = (self.shop.directory(role) / "log").open("ab")
        with log:
            self.running[role] = subprocess.Popen(
                self.shop.command(role), stderr=log, env=os.environ | {"BRAINOPS_EFFECT_KEY": f"hand-{role}"}
            )
        return self.running[role]

    def stop(self, role: Role) -> None:
        process = self.running.pop(role)
        process.kill()
        process.wait()

    def restart(self, role: Role) -> None:
        self.stop(role)
        self.start(role)

    def compact(self) -> None:
        folder = str(self.shop.directory(Role.WEB))
        subprocess.run([sys.executable, "-I", "-S", PROGRAM, "compact", "--directory", folder], check=True)

    def restore_config(self, kept: bytes) -> None:
        self.shop.config_file(Role.API).write_bytes(kept)
        self.restart(Role.API)

    def free_port(self) -> None:
        self.shop.strays[0].kill()
        self.restart(Role.WEB)

    def clean_scratch(self) -> None:
        for path in (self.shop.directory(Role.API) / "scratch").iterdir():
            path.unlink()

    def log(self, role: Role) -> str:
        return (self.shop.directory(role) / "log").read_text()


@contextlib.contextmanager
def opened(hands: Hands) -> Generator[None]:
    for role in (Role.STORE, Role.API, Role.WEB):
        if role in hands.shop.ports:
            hands.start(role)
    try:
        yield
    finally:
        for role in list(hands.running):
            hands.stop(role)


def until_good(port: int) -> None:
    deadline = time.monotonic() + 10
    while not ask(ProbeTarget(port=port)).good:
        assert time.monotonic() < deadline, f"nothing healthy on port {port}"
        time.sleep(0.02)


@pytest.fixture
async def hands(tmp_path: Path) -> AsyncIterator[Hands]:
    shop = Shop.create(tmp_path / "shop", prefix="t-", journal_items=2000)
    hands = Hands(shop)
    with opened(hands):
        until_good(shop.ports[Role.WEB])
        yield hands
    await shop.remove_processes()


Remedy = Callable[[Hands, bytes], None]

REMEDIES: dict[str, Remedy] = {
    "crash": lambda hands, _: hands.restart(Role.API),
    "hang": lambda hands, _: hands.restart(Role.WEB),
    "bad_config": lambda hands, kept: hands.restore_config(kept),
    "stray_port": lambda hands, _: hands.free_port(),
    "store_down": lambda hands, _: hands.restart(Role.STORE),
    "memory_leak": lambda hands, _: hands.restart(Role.WEB),
    "slow": lambda hands, _: hands.compact(),
    "scratch_full": lambda hands, _: hands.clean_scratch(),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_fault_is_seen_from_outside_and_cured_by_its_remedy(fault: Fault, hands: Hands) -> None:
    kept = hands.shop.config_file(Role.API).read_bytes()
    with Prober(fault.target(hands.shop), fault.probe_interval_seconds) as prober:
        injection = await fault.inject(hands.shop)
        bad = await prober.bad_after(injection.monotonic, timeout_seconds=5)
        assert bad is not None, "the fault is not visible"

        REMEDIES[fault.kind](hands, kept)

        assert await prober.good_after(bad, timeout_seconds=10) is not None, prober.verdicts[-1]


@pytest.mark.parametrize("kind", ["bad_config", "stray_port", "slow", "scratch_full"])
async def test_a_restart_alone_does_not_help(kind: str, hands: Hands) -> None:
    fault = FAULTS[kind]
    injection = await fault.inject(hands.shop)
    with Prober(fault.target(hands.shop), fault.probe_interval_seconds) as prober:
        assert await prober.bad_after(injection.monotonic, timeout_seconds=5) is not None
        hands.restart(fault.role)
        restarted = time.monotonic()
        assert await prober.good_after(restarted, timeout_seconds=1.5) is None


async def test_corrupt_configuration_ends_the_process_with_the_reason_in_its_log(hands: Hands) -> None:
    api = hands.running[Role.API]
    await FAULTS["bad_config"].inject(hands.shop)
    assert await asyncio.to_thread(api.wait, 5) == 78
    assert "cannot read config.json: Expecting value" in hands.log(Role.API)
    assert await asyncio.to_thread(hands.start(Role.API).wait, 5) == 78


async def test_store_down_takes_both_dependents_with_it(hands: Hands) -> None:
    await FAULTS["store_down"].inject(hands.shop)
    verdicts = {role: ask(ProbeTarget(port=hands.shop.ports[role])).why for role in hands.shop.roles}
    assert verdicts[Role.WEB] == verdicts[Role.API] == "status 503"
    assert "refused" in verdicts[Role.STORE]


async def test_every_start_is_in_the_services_own_log_with_its_effect_key(hands: Hands) -> None:
    hands.restart(Role.API)
    until_good(hands.shop.ports[Role.API])
    starts = hands.shop.starts(Role.API)
    assert [start.effect_key for start in starts] == ["hand-api", "hand-api"]
    assert hands.shop.pid(Role.API) == starts[-1].pid == hands.running[Role.API].pid


async def test_pid_of_an_ended_service_is_refused(hands: Hands) -> None:
    hands.stop(Role.API)
    with pytest.raises(ProcessLookupError, match="t-api does not run"):
        hands.shop.pid(Role.API)


async def test_a_changed_configuration_is_taken_over_on_sighup(hands: Hands) -> None:
    hands.shop.config_file(Role.API).write_text('{"upstream_port": 9, "scratch_quota_bytes": 1}')
    hands.running[Role.API].send_signal(signal.SIGHUP)
    with Prober(ProbeTarget(port=hands.shop.ports[Role.API])) as prober:
        assert await prober.bad_after(0, timeout_seconds=5) is not None
    assert hands.running[Role.API].poll() is None


async def test_a_store_that_ended_uncleanly_verifies_its_journal(hands: Hands) -> None:
    journal = hands.shop.directory(Role.STORE) / "journal.jsonl"
    hands.stop(Role.STORE)
    journal.write_text(journal.read_text().replace("item 7", "item 8", 1))
    assert await asyncio.to_thread(hands.start(Role.STORE).wait, 10) == 1
    assert "the journal is damaged at item 7" in hands.log(Role.STORE)


async def test_removing_a_shop_ends_its_processes_and_strays(hands: Hands) -> None:
    await FAULTS["stray_port"].inject(hands.shop)
    stray = hands.shop.strays[0]
    await hands.shop.remove_processes()
    assert stray.returncode is not None
    assert all(process.wait(5) is not None for process in hands.running.values())
