"""The decision on the root, written: one transaction under a lock of the tenant's own."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid as UuidType
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from brainops.config.models import Recurrence
from brainops.contracts.incident import IncidentStatus, Root, RootRequest
from brainops.database.engine import Database
from brainops.database.values import to_json
from brainops.errors import ConflictError, NotFoundError
from brainops.incidents.roots import WAIT_SECONDS, Decision, Dependencies, OpenIncident, Scene, decide

# Taken before the scene is read, in a statement of its own: a statement sees what was committed when it began.
_LOCK = text("""
    SELECT pg_advisory_xact_lock(hashtext('brainops roots'), hashtext(current_setting('brainops.tenant_id')))
""")

_SCENE = text("""
    SELECT mine.status, mine.plan_id, mine.workflow_id, mine.service, mine.opened_at, mine.root_plan, mine.dependents,
        root.workflow_id AS root_workflow_id, root.service AS root_service,
        (SELECT jsonb_agg(jsonb_build_object('plan_id', plan_id, 'workflow_id', workflow_id, 'service', service,
                'opened_at', opened_at, 'is_root', root_plan IS NOT NULL, 'dependents', dependents))
            FROM brainops.incidents WHERE closed_at IS NULL AND plan_id <> mine.plan_id) AS others,
        (SELECT jsonb_agg(DISTINCT service) FROM brainops.check_states WHERE status = 'failing') AS failing,
        (SELECT jsonb_agg(workflow_id ORDER BY opened_at)
            FROM brainops.incidents WHERE root_plan = mine.plan_id AND plan_id <> mine.plan_id) AS absorbed,
        (SELECT array_agg(opened_at ORDER BY opened_at) FROM brainops.incidents
            WHERE service = mine.service AND signature = :signature AND root_plan = plan_id
                AND plan_id <> mine.plan_id AND opened_at >= :since) AS recent
    FROM brainops.incidents mine LEFT JOIN brainops.incidents root ON root.plan_id = mine.root_plan
    WHERE mine.plan_id = :plan
""")

_BECOME_ROOT = text("""
    UPDATE brainops.incidents
    SET root_plan = plan_id, dependents = CAST(:dependents AS jsonb), signature = :signature,
        signature_description = :description
    WHERE plan_id = :plan
""")

# One statement: the rows, those that were part of them, a line in each timeline, and the questions that nobody needs to
# answer any more.
_ABSORB = text("""
    WITH part AS (
        UPDATE brainops.incidents
        SET status = 'absorbed', root_plan = :into, closed_at = clock_timestamp()
        WHERE plan_id = ANY(:plans)
        RETURNING plan_id, workflow_id, run_id
    ), parts_of_part AS (
        UPDATE brainops.incidents SET root_plan = :into WHERE root_plan = ANY(:plans) AND plan_id <> ALL(:plans)
    ), line AS (
        INSERT INTO brainops.incident_events (plan_id, workflow_id, run_id, status, note)
        SELECT plan_id, workflow_id, run_id, 'absorbed', :note FROM part
    ), question AS (
        UPDATE brainops.approvals SET status = 'withdrawn', decided_at = clock_timestamp()
        WHERE plan_id = ANY(:plans) AND status = 'pending'
    )
    UPDATE brainops.incidents SET dependents = (
        SELECT jsonb_agg(DISTINCT name)
        FROM jsonb_array_elements_text(dependents || CAST(:dependents AS jsonb)) AS name
    )
    WHERE plan_id = :into AND jsonb_array_length(CAST(:dependents AS jsonb)) > 0
""").bindparams(bindparam("plans", type_=ARRAY(UuidType())))


async def decide_root(
    database: Database, request: RootRequest, dependencies: Dependencies, recurrence: Recurrence, now: datetime
) -> Root:
    """`IncidentStore.decide_root`."""
    values = {
        "plan": request.plan.plan_id,
        "signature": request.signature.key,
        "since": now - recurrence.within,
    }
    async with database.transaction() as connection:
        await connection.execute(_LOCK)
        row = (await connection.execute(_SCENE, values)).mappings().first()
        if row is None:
            raise NotFoundError(f"there is no incident {request.plan.plan_id}; open it before asking for its root")
        recent = tuple(row["recent"] or ())
        decided = _decided_before(row, recent)
        if decided is not None:
            return decided
        me = _incident(row)
        decision = decide(me, _scene(row, request), dependencies, last_try=request.last_try)
        if decision.wait:
            return Root(is_root=False, wait_seconds=WAIT_SECONDS)
        if decision.into is not None:
            await _absorb(connection, [me], decision.into)
            return _part_of(decision.into.workflow_id, decision.into.service)
        await _become_root(connection, me, decision, request)
        return Root(
            is_root=True,
            root_service=me.service,
            dependents=decision.dependents,
            absorbed=tuple(part.workflow_id for part in decision.absorbed),
            recent_openings=recent,
        )


def _decided_before(row: Mapping[Any, Any], recent: tuple[datetime, ...]) -> Root | None:
    """The same answer for the same plan, whatever has happened since; None when it has not asked yet."""
    status = IncidentStatus(row["status"])
    if status is IncidentStatus.ABSORBED:
        return _part_of(row["root_workflow_id"] or "", row["root_service"] or "")
    if status.closed:
        raise ConflictError(f"incident {row['plan_id']} is {status.value} already; its root is decided no more")
    if row["root_plan"] is None:
        return None
    return Root(
        is_root=True,
        root_service=row["service"],
        dependents=tuple(row["dependents"]),
        absorbed=tuple(row["absorbed"] or ()),
        recent_openings=recent,
    )


def _part_of(workflow_id: str, service: str) -> Root:
    return Root(is_root=False, absorbed_into=workflow_id, root_service=service)


def _scene(row: Mapping[Any, Any], request: RootRequest) -> Scene:
    return Scene(
        others=tuple(
            _incident(other | {"opened_at": datetime.fromisoformat(other["opened_at"])})
            for other in row["others"] or ()
        ),
        failing=frozenset(row["failing"] or ()) | frozenset(request.failing_dependencies),
    )


def _incident(row: Mapping[Any, Any]) -> OpenIncident:
    return OpenIncident(
        plan_id=UUID(str(row["plan_id"])),
        workflow_id=row["workflow_id"],
        service=row["service"],
        opened_at=row["opened_at"],
        is_root=row.get("is_root", False),
        dependents=frozenset(row["dependents"]),
    )


async def _become_root(connection: AsyncConnection, me: OpenIncident, decision: Decision, request: RootRequest) -> None:
    await connection.execute(
        _BECOME_ROOT,
        {
            "plan": me.plan_id,
            "dependents": to_json(decision.dependents),
            "signature": request.signature.key,
            "description": request.signature.description,
        },
    )
    if decision.absorbed:
        await _absorb(connection, decision.absorbed, me)


async def _absorb(connection: AsyncConnection, parts: Sequence[OpenIncident], into: OpenIncident) -> None:
    services = sorted(set[str]().union(*(part.dependents | {part.service} for part in parts)) - {into.service})
    await connection.execute(
        _ABSORB,
        {
            "plans": [part.plan_id for part in parts],
            "into": into.plan_id,
            "note": f"part of the incident of {into.service}",
            "dependents": to_json(services),
        },
    )
