"""Reading incidents: for people, for the watch that compares them with the checks, and for upkeep."""

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, literal, null, or_, select
from sqlalchemy import text as sql
from sqlalchemy.ext.asyncio import AsyncConnection

from brainops.checks.tables import check_states
from brainops.contracts.check import CheckState, Observation
from brainops.contracts.incident import Evidence, IncidentInput
from brainops.database.engine import Database
from brainops.effects.ledger import EffectLedger
from brainops.errors import BadInputError, NotFoundError
from brainops.incidents.approvals import ApprovalStore
from brainops.incidents.rows import (
    AlertRow,
    AttemptRow,
    FinishedPlan,
    IncidentDetail,
    IncidentRow,
    TimelineEntry,
    read_check_state,
    read_incident,
)
from brainops.incidents.tables import incident_alerts, incident_events, incidents, remediations

_SHORTEST_PREFIX = 4
_MOST_ALERTS = 1000
_PREFIX = re.compile(r"[0-9a-f]{4,32}")
_UNNOTICED_AFTER = sql("interval '2 seconds'")

_BULKY = {"observation", "evidence", "summary", "tenant_id"}
_root = incidents.alias("root")
_ROWS: Select[*tuple[Any, ...]] = select(
    *(column for column in incidents.c if column.name not in _BULKY),
    case((incidents.c.status == "absorbed", func.coalesce(_root.c.workflow_id, "")), else_=literal("")).label(
        "absorbed_into"
    ),
).select_from(incidents.outerjoin(_root, _root.c.plan_id == incidents.c.root_plan))
_ALERT = (
    incident_alerts.c.service,
    incident_alerts.c.check_name.label("check"),
    incident_alerts.c.reason,
    incident_alerts.c.detail,
    incident_alerts.c.since,
    incident_alerts.c.resolved_at,
)


class IncidentReader:
    """Reads `incidents` and what belongs to them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def resolve_prefix(self, text: str) -> UUID:
        """The id of the one incident whose id begins with `text` (4 characters or more, hyphens as you like).

        Raises NotFoundError for none, BadInputError for several or for what cannot be an id.
        """
        prefix = text.strip().lower().replace("-", "")
        if not _PREFIX.fullmatch(prefix):
            raise BadInputError(
                f"{text!r} is no incident id; give at least {_SHORTEST_PREFIX} of its characters (0-9, a-f), "
                "as `brainops incidents` lists them"
            )
        # Ids are ordered as their digits are, so a prefix is a range of them and the key's index finds it.
        first, last = UUID(prefix.ljust(32, "0")), UUID(prefix.ljust(32, "f"))
        query = select(incidents.c.plan_id).where(incidents.c.plan_id.between(first, last)).limit(5)
        found = [row["plan_id"] for row in await self._database.read(query)]
        if not found:
            raise NotFoundError(f"there is no incident {text!r}; `brainops incidents` lists them")
        if len(found) > 1:
            names = ", ".join(str(plan_id) for plan_id in found)
            raise BadInputError(f"{text!r} could be {names}; give more characters")
        return found[0]

    async def get(self, id_or_prefix: UUID | str) -> IncidentDetail:
        """Everything about one incident. Raises NotFoundError or BadInputError, as `resolve_prefix`."""
        plan_id = id_or_prefix if isinstance(id_or_prefix, UUID) else await self.resolve_prefix(id_or_prefix)
        async with self._database.transaction() as connection:
            seen = select(incidents.c.observation, incidents.c.evidence).where(incidents.c.plan_id == plan_id)
            captured = (await connection.execute(seen)).mappings().first()
            if captured is None:
                raise NotFoundError(f"there is no incident {plan_id}; `brainops incidents` lists them")
            rows = await _mappings(
                connection, _ROWS.where(or_(incidents.c.plan_id == plan_id, incidents.c.root_plan == plan_id))
            )
            timeline = await _mappings(
                connection,
                select(incident_events).where(incident_events.c.plan_id == plan_id).order_by(incident_events.c.id),
            )
            attempts = await _mappings(
                connection,
                select(remediations).where(remediations.c.plan_id == plan_id).order_by(remediations.c.first_step),
            )
            alerts = await _mappings(
                connection,
                select(*_ALERT)
                .where(incident_alerts.c.plan_id == plan_id)
                .order_by(incident_alerts.c.resolved_at.is_not(None), *_ALERT[:2], incident_alerts.c.seq)
                .limit(_MOST_ALERTS),
            )
        related = [read_incident(row) for row in rows]
        return IncidentDetail(
            row=next(row for row in related if row.plan_id == plan_id),
            observation=Observation.model_validate(captured["observation"]),
            evidence=Evidence.model_validate(captured["evidence"]) if captured["evidence"] else None,
            timeline=tuple(TimelineEntry.model_validate(dict(row)) for row in timeline),
            attempts=tuple(AttemptRow.model_validate(dict(row)) for row in attempts),
            effects=tuple(await EffectLedger(self._database).list(plan_id)),
            approvals=tuple(await ApprovalStore(self._database).plan_approvals(plan_id)),
            absorbed=tuple(row for row in related if row.plan_id != plan_id),
            alerts=tuple(AlertRow.model_validate(dict(row)) for row in alerts),
        )

    async def evidence(self, plan_id: UUID) -> Evidence:
        """What was captured last. Raises NotFoundError when nothing was."""
        found = await self._database.read(select(incidents.c.evidence).where(incidents.c.plan_id == plan_id))
        if not found or found[0]["evidence"] is None:
            raise NotFoundError(f"no evidence was captured for incident {plan_id}; capture it first")
        return Evidence.model_validate(found[0]["evidence"])

    async def wanted(self, plan_id: UUID) -> bool:
        """Whether the incident is open and not part of another one: asked on the host before each act."""
        query = select(exists().where(incidents.c.plan_id == plan_id, incidents.c.closed_at.is_(None)).label("wanted"))
        return bool((await self._database.read(query))[0]["wanted"])

    async def uncovered(self, host: str) -> list[CheckState]:
        """Failing checks of `host` on which nobody works: no open incident of the service, or that it is part of."""
        covering = exists().where(
            incidents.c.closed_at.is_(None),
            or_(
                incidents.c.service == check_states.c.service,
                incidents.c.dependents.op("?")(check_states.c.service),
                exists().where(
                    incident_alerts.c.plan_id == incidents.c.plan_id,
                    incident_alerts.c.service == check_states.c.service,
                    incident_alerts.c.check_name == check_states.c.check_name,
                    incident_alerts.c.seq == check_states.c.seq,
                ),
            ),
        )
        query = select(check_states).where(check_states.c.host == host, check_states.c.status == "failing", ~covering)
        return [read_check_state(row) for row in await self._database.read(query)]

    async def unnoticed_recoveries(self, host: str) -> list[CheckState]:
        """Checks of `host` that have passed for two seconds and more while their incident is still open."""
        query = (
            select(check_states)
            .join(incidents, _same_check())
            .where(
                incidents.c.closed_at.is_(None),
                check_states.c.host == host,
                check_states.c.status == "passing",
                check_states.c.seq >= incidents.c.seq,
                check_states.c.since < func.clock_timestamp() - _UNNOTICED_AFTER,
            )
            .distinct()
        )
        return [read_check_state(row) for row in await self._database.read(query)]

    async def open_plans(self) -> list[tuple[IncidentInput, str]]:
        """What is needed to take every open incident up again, with its workflow id; oldest first."""
        query = (
            select(incidents.c.plan_id, incidents.c.observation, incidents.c.workflow_id)
            .where(incidents.c.closed_at.is_(None))
            .order_by(incidents.c.opened_at)
        )
        return [
            (
                IncidentInput(observation=Observation.model_validate(row["observation"]), plan_id=row["plan_id"]),
                row["workflow_id"],
            )
            for row in await self._database.read(query)
        ]

    async def unarchived(self, limit: int) -> list[FinishedPlan]:
        """Closed incidents whose workflow history is not kept yet, longest closed first."""
        query = (
            select(incidents.c.plan_id, incidents.c.workflow_id, incidents.c.run_id)
            .where(incidents.c.closed_at.is_not(None), incidents.c.history_key.is_(null()))
            .order_by(incidents.c.closed_at)
            .limit(limit)
        )
        return [
            FinishedPlan(row["plan_id"], row["workflow_id"], row["run_id"]) for row in await self._database.read(query)
        ]

    async def list(self, limit: int, open_only: bool = False, service: str | None = None) -> list[IncidentRow]:
        """Incidents, newest first, at most `limit`."""
        query = _ROWS.order_by(incidents.c.opened_at.desc(), incidents.c.plan_id).limit(limit)
        if open_only:
            query = query.where(incidents.c.closed_at.is_(None))
        if service is not None:
            query = query.where(incidents.c.service == service)
        return [read_incident(row) for row in await self._database.read(query)]


async def _mappings(connection: AsyncConnection, query: Select[*tuple[Any, ...]]) -> Sequence[Any]:
    return (await connection.execute(query)).mappings().all()


def _same_check() -> ColumnElement[bool]:
    return and_(incidents.c.service == check_states.c.service, incidents.c.check_name == check_states.c.check_name)
