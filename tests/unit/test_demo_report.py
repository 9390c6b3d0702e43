"""What the demo says and writes at its end."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from interfaces.demo.command import planned
from interfaces.demo.experiment import Outcome
from interfaces.demo.faults import FAULTS
from interfaces.demo.layout import Role, Shop
from interfaces.demo.report import LiveDisplay, PlainDisplay, Trial, second_times, seconds, write_report

HEALED = Outcome(
    kind="slow",
    service="web",
    occurrence=1,
    detected=0.5123,
    healed=6.0,
    cause="the index has grown [to 20 MB]",
    remedy="run_command",
    verified=True,
    workflow_id="incident/web/health",
    plan_id="6a1f",
    tried=("restart", "run_command"),
    recorded=True,
)
AGAIN = replace(HEALED, occurrence=2, healed=1.5, tried=("run_command",))
LOST = Outcome("hang", "web", 1, problem="no incident was opened")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(root=tmp_path, ports={Role.WEB: 1, Role.API: 2, Role.STORE: 3})


def trials(shop: Shop) -> list[Trial]:
    return planned(shop, ("slow", "hang"))


def test_each_kind_is_met_once_and_two_of_them_again(shop: Shop) -> None:
    met = [(trial.fault.kind, trial.occurrence) for trial in planned(shop, tuple(FAULTS))]
    assert met == [*((kind, 1) for kind in FAULTS), ("bad_config", 2), ("slow", 2)]


def test_report_has_exactly_the_agreed_fields(shop: Shop, tmp_path: Path) -> None:
    write_report(tmp_path / "report.json", trials(shop), [HEALED, LOST])
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["faults"][0] == {
        "kind": "slow",
        "service": "web",
        "occurrence": 1,
        "detected_ms": 512,
        "healed_ms": 6000,
        "cause": "the index has grown [to 20 MB]",
        "remedy": "run_command",
        "verified": True,
        "model_calls": 0,
        "workflow_id": "incident/web/health",
    }
    assert document["faults"][1]["healed_ms"] is None
    assert (document["healed"], document["total"]) == (1, 3)


def test_healed_without_verification_is_not_good() -> None:
    assert HEALED.good
    assert not replace(HEALED, verified=False).good
    assert not replace(HEALED, healed=None).good


def test_second_time_is_compared_with_the_first() -> None:
    assert second_times([HEALED, AGAIN]) == [
        "slow: 6.00 s the first time, 1.50 s the second: 75% faster (restart → run_command, then run_command)"
    ]
    assert "no faster" in second_times([HEALED, replace(AGAIN, healed=7.0)])[0]
    assert second_times([HEALED, replace(AGAIN, healed=None)]) == []


def test_plain_lines_tell_the_story(shop: Shop) -> None:
    written = io.StringIO()
    display = PlainDisplay(Console(file=written, width=40))
    hang, slow = trials(shop)[:2]
    display.begun(slow)
    display.detected(slow, 0.5)
    display.ended(slow, HEALED)
    display.ended(hang, LOST)
    assert "detected after 500 ms" in written.getvalue()
    assert "restart → run_command: verified, healed after 6.00 s" in written.getvalue()
    assert "NOT HEALED: no incident was opened" in written.getvalue()


def test_live_table_shows_text_from_outside_as_it_is(shop: Shop) -> None:
    written = io.StringIO()
    met = trials(shop)
    display = LiveDisplay(Console(file=written, width=200), met)
    slow = next(trial for trial in met if trial.fault.kind == "slow")
    with display.live:
        display.begun(slow)
        display.ended(slow, replace(HEALED, absorbed=("api", "web")))
    assert "the index has grown [to 20 MB]" in written.getvalue()
    assert "one incident with api, web" in written.getvalue()


def test_times_are_readable() -> None:
    assert [seconds(0.1234), seconds(1.0), seconds(None)] == ["123 ms", "1.00 s", "never"]
