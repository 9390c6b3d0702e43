"""Maintenance: times at which nothing is done about some services, and nobody is paged for them.

A window comes by the calendar of the file, by a command, or from a plan. It suppresses acting and paging, never
probing nor resolution. At its end what is still broken counts as if it broke then.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import select, text

from brainops.config.maintenance import MaintenanceWindow
from brainops.config.notify import names
from brainops.contracts.maintenance import CloseMaintenance, Covered, OpenMaintenance, Window
from brainops.crew.tables import maintenance_windows
from brainops.database.engine import Database
from brainops.errors import ConflictError, NotFoundError

_OPEN = text("""
    INSERT INTO brainops.maintenance_windows (id, services, reason, opened_by, plan_id, ends_at)
    VALUES (:id, :services, :reason, :actor, :plan, clock_timestamp() + make_interval(secs => :seconds))
    ON CONFLICT (tenant_id, id) DO NOTHING
""")

_CLOSE = text("""
    UPDATE brainops.maintenance_windows SET closed_at = clock_timestamp(), closed_by = :actor
    WHERE id = :id AND closed_at IS NULL AND ends_at > clock_timestamp()
    RETURNING id
""")

_MOST_OPEN = 1000


class MaintenanceStore:
    """Reads and writes `maintenance_windows`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, request: OpenMaintenance) -> Window:
        """Open a window; the same one again is answered as it stands."""
        values = {
            "id": request.id,
            "services": list(request.services),
            "reason": request.reason,
            "actor": str(request.actor),
            "plan": request.plan_id,
            "seconds": request.seconds,
        }
        async with self._database.transaction() as connection:
            await connection.execute(_OPEN, values)
        return await self.get(request.id)

    async def close(self, request: CloseMaintenance) -> Window:
        """Close a window before its end. By the same actor again: answered as it stands.

        Raises NotFoundError, and ConflictError when it has ended already.
        """
        async with self._database.transaction() as connection:
            closed = (await connection.execute(_CLOSE, {"id": request.id, "actor": str(request.actor)})).first()
        window = await self.get(request.id)
        if closed is None and window.closed_by != str(request.actor):
            ended = window.closed_at or window.ends_at
            raise ConflictError(f"maintenance window {request.id} ended already at {ended:%Y-%m-%d %H:%M:%S %Z}")
        return window

    async def get(self, window_id: UUID) -> Window:
        """One window. Raises NotFoundError."""
        rows = await self._database.read(select(maintenance_windows).where(maintenance_windows.c.id == window_id))
        if not rows:
            raise NotFoundError(f"there is no maintenance window {window_id}; `brainops maintenance list` lists them")
        return Window.model_validate(dict(rows[0]))

    async def open_windows(self, now: datetime) -> list[Window]:
        """Those that are open at `now`, the first to end first."""
        query = (
            select(maintenance_windows)
            .where(maintenance_windows.c.closed_at.is_(None), maintenance_windows.c.ends_at > now)
            .order_by(maintenance_windows.c.ends_at)
            .limit(_MOST_OPEN)
        )
        return [Window.model_validate(dict(row)) for row in await self._database.read(query)]


class Maintenance:
    """Every window: those of the file's calendar and those that were opened."""

    def __init__(self, calendar: Sequence[MaintenanceWindow], store: MaintenanceStore) -> None:
        self._calendar = calendar
        self._store = store

    async def covers(self, service: str) -> Covered | None:
        """Why the service is let be now; of several windows the one that ends last."""
        return (await self.covered([service])).get(service)

    async def covered(self, services: Iterable[str]) -> dict[str, Covered]:
        """Those of `services` that are let be now, and why. One read, however many they are."""
        now = datetime.now(UTC)
        opened = await self._store.open_windows(now)
        found = [(window.services, _named(window)) for window in opened]
        for declared in self._calendar:
            until = declared.open_until(now)
            if until is not None:
                found.append((declared.services, Covered(reason=_sentence(declared.name, until), until=until)))
        found.sort(key=lambda entry: entry[1].until)
        return {service: window for service in services for globs, window in found if names(globs, service)}


def _named(window: Window) -> Covered:
    return Covered(reason=_sentence(f"({window.reason or window.opened_by})", window.ends_at), until=window.ends_at)


def _sentence(what: str, until: datetime) -> str:
    return f"maintenance {what} until {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"[:500]
