"""The durability benchmark's checker finds what was lost and what was doubled."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.durability import Effect, Kill, check, figures
from interfaces.demo.layout import Role, Shop

INJECTED = datetime(2026, 1, 1, tzinfo=UTC)
KILL = Kill(what="host", service="d0-api", fault="crash", injected_at=INJECTED, healed_after=1.0)
FIRST = Effect(key="first", service="d0-api", kind="start_service", state="done")
AGAIN = Effect(key="again", service="d0-api", kind="restart_service", state="done")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop.create(tmp_path / "shop", roles=(Role.API,), prefix="d0-")
    started(shop, "first", -60)
    started(shop, "again", 1)
    return shop


def started(shop: Shop, key: str, seconds_after_injection: float) -> None:
    line = {"at": INJECTED.timestamp() + seconds_after_injection, "pid": 1, "effect_key": key}
    with (shop.directory(Role.API) / "starts.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")


def test_a_fault_that_one_effect_healed_is_neither_lost_nor_doubled(shop: Shop) -> None:
    verdict = check([KILL], [FIRST, AGAIN], {"d0-api": shop})
    assert (verdict.lost, verdict.doubled) == ([], [])


def test_an_effect_that_started_twice_is_doubled(shop: Shop) -> None:
    started(shop, "again", 2)
    found = check([KILL], [FIRST, AGAIN], {"d0-api": shop}).doubled
    assert "d0-api: effect 'again' started it 2 times" in found


def test_a_start_that_the_ledger_does_not_know_is_doubled(shop: Shop) -> None:
    found = check([KILL], [FIRST], {"d0-api": shop}).doubled
    assert "d0-api: was started by 'again', which the ledger does not know" in found
    assert "d0-api: 2 starts, 1 in the ledger" in found


def test_a_service_that_did_not_come_back_is_lost(shop: Shop) -> None:
    assert check([replace(KILL, healed_after=None)], [FIRST, AGAIN], {"d0-api": shop}).lost


def test_a_fault_without_a_later_start_is_lost(tmp_path: Path) -> None:
    shop = Shop.create(tmp_path / "other", roles=(Role.API,), prefix="d0-")
    started(shop, "first", -60)
    started(shop, "again", 61)
    assert check([KILL], [FIRST, AGAIN], {"d0-api": shop}).lost


def test_an_effect_that_was_never_finished_is_lost(shop: Shop) -> None:
    assert check([KILL], [FIRST, replace(AGAIN, state="begun")], {"d0-api": shop}).lost == [
        "d0-api: again was begun only"
    ]


def test_a_service_that_never_came_back_makes_the_percentile_endless() -> None:
    found = check([], [], {})
    assert figures([KILL, replace(KILL, healed_after=None)], found)["kill_to_healed_p95"] == float("inf")
