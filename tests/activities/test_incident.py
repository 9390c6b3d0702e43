"""The activity that acts: once, whatever dies meanwhile, and only what is allowed."""

from pathlib import Path
from uuid import UUID, uuid4

import pytest
from one_host import Host, one_host
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.heartbeat import heartbeating
from activities.incident import perform_once
from brainops.config.models import Service
from brainops.contracts.action import ActionRequest, ActionResult, StartService
from brainops.contracts.agent import ActionClass
from brainops.contracts.names import effect_key
from brainops.database.engine import Database
from brainops.effects.ledger import EffectLedger
from brainops.errors import AmbiguousEffectError, NotAllowedError
from brainops.remedies.start import StartHandler
from brainops.services.container_effects import ContainerEffects, Effect


def start(plan_id: UUID, step: int = 1) -> ActionRequest:
    return ActionRequest(
        plan_id=plan_id, step=step, action_class=ActionClass.START, service="shop", action=StartService(service="shop")
    )


async def allowed(_request: ActionRequest) -> None:
    """Anything goes."""


async def forbidden(_request: ActionRequest) -> None:
    raise NotAllowedError("services.shop.autonomy is observe for start")


def beat() -> None:
    """No heartbeat is needed outside of a worker."""


async def test_repeated_action_is_answered_from_the_ledger(database: Database, host: Host) -> None:
    ledger = EffectLedger(database)
    request = start(uuid4())
    first = await perform_once(ledger, host.performer, request, beat, allowed)
    second = await perform_once(ledger, host.performer, request, beat, allowed)
    assert (first.ok, first.repeated) == (True, False)
    assert (second.ok, second.repeated) == (True, True)
    assert host.starts() == 1


async def test_effect_of_a_worker_that_died_before_writing_it_down_is_found(database: Database, host: Host) -> None:
    ledger = EffectLedger(database)
    request = start(uuid4())
    key = effect_key(request.plan_id, request.step)
    await ledger.begin(request, key)
    await host.adapter.start("shop", host.services["shop"], key)

    result = await perform_once(ledger, host.performer, request, beat, forbidden)

    assert result.ok
    assert host.starts() == 1
    assert [effect.state for effect in await ledger.list(request.plan_id)] == ["done"]


async def test_effect_that_was_begun_and_did_not_happen_is_carried_out(database: Database, host: Host) -> None:
    ledger = EffectLedger(database)
    request = start(uuid4())
    await ledger.begin(request, effect_key(request.plan_id, request.step))
    result = await perform_once(ledger, host.performer, request, beat, allowed)
    assert result.ok
    assert host.starts() == 1


async def test_what_is_not_allowed_is_refused_and_written_down(database: Database, host: Host) -> None:
    ledger = EffectLedger(database)
    request = start(uuid4())
    with pytest.raises(NotAllowedError):
        await perform_once(ledger, host.performer, request, beat, forbidden)
    assert host.starts() == 0
    assert [effect.state for effect in await ledger.list(request.plan_id)] == ["failed"]


async def test_only_what_a_plan_has_done_may_be_undone_by_it(database: Database, host: Host) -> None:
    ledger, plan_id = EffectLedger(database), uuid4()
    undo = start(plan_id, step=2).model_copy(update={"undoing": True})
    with pytest.raises(NotAllowedError, match="has done nothing that start_service of shop would undo"):
        await perform_once(ledger, host.performer, undo, beat, forbidden)
    assert host.starts() == 0

    done = start(plan_id)
    await ledger.begin(done, effect_key(plan_id, 1))
    await ledger.finish(
        effect_key(plan_id, 1), ActionResult(ok=True, summary="stopped", undo=StartService(service="shop"))
    )
    again = start(plan_id, step=3).model_copy(update={"undoing": True})
    assert (await perform_once(ledger, host.performer, again, beat, forbidden)).ok


async def test_what_never_answers_is_a_failure_that_people_learn_of(database: Database, tmp_path: Path) -> None:
    ledger = EffectLedger(database)
    host = one_host(database, tmp_path, patience_seconds=0.3)
    host.services["shop"] = Service.model_validate(
        {"run": {"kind": "docker", "container": "shop", "endpoint": f"unix://{tmp_path}/none.sock"}, "autonomy": "act"}
    )
    request = start(uuid4())
    result = await perform_once(ledger, host.performer, request, beat, allowed)
    assert not result.ok
    assert "no Docker engine listens" in result.summary
    assert [effect.state for effect in await ledger.list(request.plan_id)] == ["failed"]


async def test_a_fault_of_ours_is_told_and_not_repeated(
    database: Database, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> ActionResult:
        raise KeyError("no such field")

    monkeypatch.setattr(StartHandler, "perform", broken)
    with pytest.raises(AmbiguousEffectError, match="BrainOps itself failed"):
        await perform_once(EffectLedger(database), host.performer, start(uuid4()), beat, allowed)


async def test_whether_it_happened_is_not_asked_for_ever(database: Database, tmp_path: Path) -> None:
    ledger = EffectLedger(database)
    host = one_host(database, tmp_path, patience_seconds=0.3)
    run = {"kind": "docker", "container": "shop", "endpoint": f"unix://{tmp_path}/none.sock"}
    host.services["shop"] = Service.model_validate({"run": run, "autonomy": "act"})
    request = start(uuid4())
    key = effect_key(request.plan_id, request.step)
    await ledger.begin(request, key)
    ContainerEffects((tmp_path / "state" / "services" / "shop").absolute()).write(
        Effect(effect_key=key, previous=("a",))
    )
    with pytest.raises(AmbiguousEffectError, match="no Docker engine listens"):
        await perform_once(ledger, host.performer, request, beat, allowed)


async def test_long_activity_without_a_heartbeat_timeout_is_refused() -> None:
    environment = ActivityEnvironment()
    environment.info = ActivityEnvironment.default_info()

    async def long_one() -> None:
        async with heartbeating():
            pass

    with pytest.raises(ApplicationError, match="heartbeat_timeout"):
        await environment.run(long_one)
