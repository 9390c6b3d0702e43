"""The effect ledger on a real server, and the points at which the durability benchmark kills."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from brainops.contracts.action import ActionRequest, ActionResult, RestartService, StartService
from brainops.contracts.agent import ActionClass
from brainops.database.engine import Database
from brainops.effects.fault_points import VARIABLE, reach
from brainops.effects.ledger import EffectLedger
from brainops.errors import NotFoundError


@pytest.fixture
def ledger(database: Database) -> EffectLedger:
    return EffectLedger(database)


def request(step: int = 1) -> ActionRequest:
    return ActionRequest(
        plan_id=uuid4(),
        step=step,
        action_class=ActionClass.RESTART,
        service="api",
        action=RestartService(service="api"),
    )


async def test_of_twenty_callers_with_one_key_exactly_one_begins(ledger: EffectLedger) -> None:
    asked = request()
    entries = await asyncio.gather(*(ledger.begin(asked, "key") for _ in range(20)))
    assert sorted(entry.state for entry in entries) == ["begun"] * 19 + ["new"]


@pytest.mark.parametrize(("ok", "state"), [(True, "done"), (False, "failed")])
async def test_a_finished_effect_is_answered_with_its_result(ledger: EffectLedger, ok: bool, state: str) -> None:
    asked = request()
    result = ActionResult(ok=ok, summary="started as 4711", undo=StartService(service="api"))
    await ledger.begin(asked, "key")
    await ledger.finish("key", result)
    entry = await ledger.begin(asked, "key")
    assert (entry.state, entry.result) == (state, result)


async def test_the_first_end_of_an_effect_holds(ledger: EffectLedger) -> None:
    asked = request()
    await ledger.begin(asked, "key")
    await ledger.finish("key", ActionResult(ok=True, summary="first"))
    await ledger.finish("key", ActionResult(ok=False, summary="second"))
    assert [(effect.state, effect.result and effect.result.summary) for effect in await ledger.list(asked.plan_id)] == [
        ("done", "first")
    ]


async def test_an_effect_that_was_never_begun_cannot_end(ledger: EffectLedger) -> None:
    with pytest.raises(NotFoundError, match="never begun"):
        await ledger.finish("unknown", ActionResult(ok=True, summary=""))


async def test_the_effects_of_a_plan_are_listed_by_step(ledger: EffectLedger) -> None:
    first = request(1)
    await ledger.begin(first.model_copy(update={"step": 2}), "b")
    await ledger.begin(first, "a")
    await ledger.begin(request(), "of another plan")
    assert [effect.key for effect in await ledger.list(first.plan_id)] == ["a", "b"]


def test_a_kill_point_without_the_switch_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    reach("after-begin")


def test_a_token_kills_the_first_that_reaches_its_point_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "after-begin").touch()
    code = "from brainops.effects.fault_points import reach; reach('before-begin'); reach('after-begin')"

    def run() -> int:
        environment = os.environ | {VARIABLE: str(tmp_path)}
        return subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode

    assert run() == -signal.SIGKILL
    assert run() == 0
