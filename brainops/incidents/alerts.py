"""Alerts that are part of an incident: failing checks without an incident of their own, and when they passed again."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import Text, bindparam, text
from sqlalchemy import Uuid as UuidType
from sqlalchemy.dialects.postgresql import ARRAY

from brainops.database.engine import Database
from brainops.incidents.storm import Key, OpenRoot

_MOST = 10_000
_MOST_OPEN = 1000

_UNPLACED = text("""
    SELECT s.service, s.check_name FROM brainops.check_states s
    WHERE s.host = :host AND s.status = 'failing'
        AND NOT EXISTS (
            SELECT FROM brainops.incidents i
            WHERE i.closed_at IS NULL AND i.service = s.service AND i.check_name = s.check_name
        )
        AND NOT EXISTS (
            SELECT FROM brainops.incident_alerts a JOIN brainops.incidents i ON i.plan_id = a.plan_id
            WHERE a.service = s.service AND a.check_name = s.check_name AND a.seq = s.seq AND i.closed_at IS NULL
        )
    LIMIT :limit
""")

_OPEN_ROOTS = text("""
    SELECT plan_id, service, check_name, root_plan IS NOT NULL AS is_root FROM brainops.incidents
    WHERE closed_at IS NULL ORDER BY opened_at LIMIT :limit
""")

# In one statement: the rows, and the services in the list of those that fail because of the incident.
_PLACE = text("""
    WITH given AS (
        SELECT g.service, g.check_name, g.plan_id
        FROM unnest(:services, :checks, :plans) AS g (service, check_name, plan_id)
        JOIN brainops.incidents i ON i.plan_id = g.plan_id AND i.closed_at IS NULL
    ), placed AS (
        INSERT INTO brainops.incident_alerts AS kept
            (service, check_name, seq, plan_id, host, reason, detail, since)
        SELECT s.service, s.check_name, s.seq, g.plan_id, s.host, s.reason, s.detail, s.since
        FROM given g JOIN brainops.check_states s ON s.service = g.service AND s.check_name = g.check_name
        WHERE s.status = 'failing'
        ON CONFLICT (tenant_id, service, check_name, seq) DO UPDATE SET plan_id = excluded.plan_id
    )
    UPDATE brainops.incidents i SET dependents = (
        SELECT coalesce(jsonb_agg(name ORDER BY name), '[]') FROM (
            SELECT jsonb_array_elements_text(i.dependents) AS name
            UNION SELECT g.service FROM given g WHERE g.plan_id = i.plan_id AND g.service <> i.service
        ) AS names
    )
    WHERE i.plan_id IN (SELECT plan_id FROM given)
""").bindparams(
    bindparam("services", type_=ARRAY(Text)),
    bindparam("checks", type_=ARRAY(Text)),
    bindparam("plans", type_=ARRAY(UuidType())),
)

_RESOLVE = text("""
    UPDATE brainops.incident_alerts a SET resolved_at = clock_timestamp()
    FROM brainops.check_states s
    WHERE a.host = :host AND a.resolved_at IS NULL AND s.service = a.service AND s.check_name = a.check_name
        AND (s.status <> 'failing' OR s.seq > a.seq)
""")

_UNRESOLVED = text("SELECT count(*) AS count FROM brainops.incident_alerts WHERE host = :host AND resolved_at IS NULL")


class AlertStore:
    """Reads and writes `incident_alerts`. What is not written now is found again by the next look."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unplaced(self, host: str) -> list[Key]:
        """Failing checks of `host` that have no open incident of their own and are part of none."""
        rows = await self._database.read(_UNPLACED, {"host": host, "limit": _MOST})
        return [(row["service"], row["check_name"]) for row in rows]

    async def open_roots(self) -> list[OpenRoot]:
        """The open incidents, oldest first."""
        rows = await self._database.read(_OPEN_ROOTS, {"limit": _MOST_OPEN})
        return [OpenRoot(row["plan_id"], row["service"], row["check_name"], row["is_root"]) for row in rows]

    async def place(self, placed: Mapping[Key, UUID]) -> None:
        """Make these checks part of incidents, all at once; those that have closed meanwhile are passed over."""
        if not placed:
            return
        values = {
            "services": [service for service, _ in placed],
            "checks": [check for _, check in placed],
            "plans": list(placed.values()),
        }
        async with self._database.transaction() as connection:
            await connection.execute(_PLACE, values)

    async def resolve(self, host: str) -> int:
        """Note which alerts of `host` are over; how many are not."""
        async with self._database.transaction() as connection:
            await connection.execute(_RESOLVE, {"host": host})
            return int((await connection.execute(_UNRESOLVED, {"host": host})).scalar_one())
