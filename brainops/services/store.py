"""The services as rows: what the configuration names, and what people have paused."""

import difflib
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import RowMapping, select, text

from brainops.config.models import Service
from brainops.contracts.agent import Autonomy
from brainops.contracts.base import Contract
from brainops.database.engine import Database
from brainops.database.values import to_json
from brainops.errors import NotFoundError
from brainops.services.tables import services

_APPLY = text("""
    WITH declared AS (
        SELECT * FROM jsonb_to_recordset(CAST(:declared AS jsonb)) AS d (name text, host text, kind text, autonomy jsonb)
    ), removed AS (
        UPDATE brainops.services SET removed_at = clock_timestamp(), updated_at = clock_timestamp()
        WHERE removed_at IS NULL AND name NOT IN (SELECT name FROM declared)
    )
    INSERT INTO brainops.services AS kept (name, host, kind, autonomy)
    SELECT name, host, kind, autonomy FROM declared
    ON CONFLICT (tenant_id, name) DO UPDATE
    SET host = excluded.host, kind = excluded.kind, autonomy = excluded.autonomy, removed_at = NULL,
        updated_at = clock_timestamp()
    WHERE (kept.host, kept.kind, kept.autonomy) IS DISTINCT FROM (excluded.host, excluded.kind, excluded.autonomy)
        OR kept.removed_at IS NOT NULL
""")

_SET_PAUSED = text("""
    UPDATE brainops.services SET paused = :paused, paused_reason = :reason, updated_at = clock_timestamp()
    WHERE name = :name AND removed_at IS NULL
""")


class ServiceRow(Contract):
    """One service that the configuration names."""

    name: str
    host: str
    kind: str
    paused: bool
    paused_reason: str
    autonomy: Autonomy | dict[str, Autonomy]
    """One level, or one for each action class."""
    updated_at: datetime


class ServiceStore:
    """Reads and writes `services`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply(self, declared: Mapping[str, Service]) -> None:
        """Bring the rows into agreement with the configuration. Those it no longer names are marked as removed.

        A pause outlives it, also that of a service which comes back.
        """
        rows = [
            {"name": name, "host": service.host, "kind": service.run.kind, "autonomy": service.autonomy}
            for name, service in declared.items()
        ]
        async with self._database.transaction() as connection:
            await connection.execute(_APPLY, {"declared": to_json(rows)})

    async def set_paused(self, service: str, paused: bool, reason: str = "") -> None:
        """Have nothing done about a service, or take it up again. Raises NotFoundError with the nearest names."""
        values = {"name": service, "paused": paused, "reason": reason if paused else ""}
        async with self._database.transaction() as connection:
            done = await connection.execute(_SET_PAUSED, values)
        if done.rowcount == 0:
            raise await self._unknown(service)

    async def get(self, name: str) -> ServiceRow:
        """One service. Raises NotFoundError with the nearest names."""
        rows = await self._database.read(
            select(services).where(services.c.name == name, services.c.removed_at.is_(None))
        )
        if not rows:
            raise await self._unknown(name)
        return _service(rows[0])

    async def list(self) -> list[ServiceRow]:
        """Every service that the configuration names, by name."""
        query = select(services).where(services.c.removed_at.is_(None)).order_by(services.c.name)
        return [_service(row) for row in await self._database.read(query)]

    async def _unknown(self, name: str) -> NotFoundError:
        known = [row.name for row in await self.list()]
        nearest = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"known: {', '.join(known) or 'none yet'}"
        return NotFoundError(f"there is no service {name!r}; {hint}")


def _service(row: RowMapping) -> ServiceRow:
    return ServiceRow.model_validate(dict(row))
