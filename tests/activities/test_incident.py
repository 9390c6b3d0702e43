"""The activity that acts: once, whatever dies meanwhile, and only what is allowed."""

from uuid import UUID, uuid4

import pytest
from one_host import Host
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.heartbeat import heartbeating
from activities.incident import perform_once
from brainops.contracts.action import ActionRequest, StartService
from brainops.contracts.agent import ActionClass
from brainops.contracts.names import effect_key
from brainops.database.engine import Database
from brainops.effects.ledger import EffectLedger
from brainops.errors import NotAllowedError


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


async def test_long_activity_without_a_heartbeat_timeout_is_refused() -> None:
    environment = ActivityEnvironment()
    environment.info = ActivityEnvironment.default_info()

    async def long_one() -> None:
        async with heartbeating():
            pass

    with pytest.raises(ApplicationError, match="heartbeat_timeout"):
        await environment.run(long_one)
