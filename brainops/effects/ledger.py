"""The effect ledger: what a plan was about to do and what became of it, written before and after.

Activities run at least once; with the ledger, effects happen once. A `begun` entry without an end means that a
worker died in between: whoever finds it looks at the world before doing anything.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import select, text

from brainops.contracts.action import Action, ActionRequest, ActionResult
from brainops.contracts.agent import ActionClass
from brainops.contracts.base import Contract
from brainops.database.engine import Database
from brainops.database.values import to_json
from brainops.effects.tables import effects
from brainops.errors import NotFoundError

_ACTION: TypeAdapter[Action] = TypeAdapter(Action)


class LedgerEntry(Contract):
    """What the ledger holds for a key. `new`: this call wrote it, and nobody began the effect before."""

    key: str
    state: Literal["new", "begun", "done", "failed"]
    result: ActionResult | None = None


class Effect(Contract):
    """One effect of a plan, for people."""

    key: str
    step: int
    service: str
    action_class: ActionClass
    action: Action
    undoing: bool
    state: Literal["begun", "done", "failed"]
    result: ActionResult | None
    begun_at: datetime
    finished_at: datetime | None


# The update changes nothing: it makes the statement return the row of whoever was first, also when that one commits
# while we wait for it. `xmax` is 0 only in a row that this statement inserted.
_BEGIN = text("""
    INSERT INTO brainops.effects AS entry
        (key, plan_id, workflow_id, run_id, step, service, action_class, undoing, action, state)
    SELECT :key, CAST(:plan AS uuid), coalesce(i.workflow_id, ''), coalesce(i.run_id, ''), :step, :service,
        :action_class, :undoing, CAST(:action AS jsonb), 'begun'
    FROM (SELECT 1) AS one LEFT JOIN brainops.incidents i ON i.plan_id = CAST(:plan AS uuid)
    ON CONFLICT (tenant_id, key) DO UPDATE SET key = entry.key
    RETURNING entry.xmax = 0 AS inserted, entry.state, entry.result
""")

_FINISH = text("""
    UPDATE brainops.effects
    SET state = :state, result = CAST(:result AS jsonb), finished_at = clock_timestamp()
    WHERE key = :key AND state = 'begun'
    RETURNING key
""")

_KNOWN = text("SELECT state FROM brainops.effects WHERE key = :key")


class EffectLedger:
    """Reads and writes `effects`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, request: ActionRequest, key: str) -> LedgerEntry:
        """Write down that `key` begins, or read what became of it. Of any number of callers exactly one gets `new`."""
        async with self._database.transaction() as connection:
            found = await connection.execute(
                _BEGIN,
                {
                    "key": key,
                    "plan": request.plan_id,
                    "step": request.step,
                    "service": request.service,
                    "action_class": request.action_class.value,
                    "undoing": request.undoing,
                    "action": to_json(request.action),
                },
            )
            row = found.mappings().one()
        if row["inserted"]:
            return LedgerEntry(key=key, state="new")
        return LedgerEntry(key=key, state=row["state"], result=_result(row["result"]))

    async def finish(self, key: str, result: ActionResult) -> None:
        """Write down what became of `key`. The first end holds: repeating it changes nothing.

        Raises NotFoundError for a key that was never begun.
        """
        state = "done" if result.ok else "failed"
        async with self._database.transaction() as connection:
            done = await connection.execute(_FINISH, {"key": key, "state": state, "result": to_json(result)})
            if done.first() is None and (await connection.execute(_KNOWN, {"key": key})).first() is None:
                raise NotFoundError(f"the effect {key!r} was never begun; begin it before finishing it")

    async def list(self, plan_id: UUID) -> list[Effect]:
        """The effects of a plan, by step."""
        query = select(effects).where(effects.c.plan_id == plan_id).order_by(effects.c.step, effects.c.begun_at)
        async with self._database.transaction() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [_effect(row) for row in rows]


def _effect(row: Mapping[Any, Any]) -> Effect:
    action = _ACTION.validate_python(row["action"])
    return Effect.model_validate({**row, "action": action, "result": _result(row["result"])})


def _result(value: object) -> ActionResult | None:
    return None if value is None else ActionResult.model_validate(value)
