"""Snapshots: where a session stood, saved for the next one."""

from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

from pydantic import JsonValue
from sqlalchemy import exists, insert, or_, select

from brainops.contracts.memory import SessionSave, Snapshot
from brainops.database.engine import Database
from brainops.errors import BadInputError
from brainops.memory.intake import value_without_secrets
from brainops.memory.redaction import redact
from brainops.memory.tier_tables import context_snapshots as table
from brainops.memory.tier_tables import sessions
from brainops.memory.validation import checked_tags, checked_value


class SnapshotStore:
    """Reads and writes `context_snapshots`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, request: SessionSave, session_scope: str) -> Snapshot:
        """Keep a context without its secrets; each save is one more. `session_scope`: where the request names none."""
        context = cast("JsonValue", request.context)
        size = len(checked_value(context, "context"))
        at = request.at or datetime.now(UTC)
        if request.expires_at is not None and request.expires_at <= at:
            raise BadInputError(
                f"expires_at: {request.expires_at.isoformat()} is not after the snapshot ({at.isoformat()});"
                " give a later time, or none"
            )
        values: dict[str, Any] = {
            "id": uuid4(),
            "session_id": request.session_id,
            "scope": request.scope or session_scope,
            "timestamp": at,
            "context_type": request.context_type.value,
            "context_data": await value_without_secrets(context, size),
            "tags": [redact(tag).text for tag in checked_tags(request.tags)],
            "importance": request.importance,
            "expires_at": request.expires_at,
        }
        async with self._database.transaction() as connection:
            await connection.execute(insert(table), values)
        return Snapshot.model_validate(values)

    async def latest(
        self,
        scope: str,
        session_id: str | None = None,
        now: datetime | None = None,
        limit: int = 1,
        *,
        owner: str = "",
    ) -> list[Snapshot]:
        """The last snapshots of a scope, or of one session of it, newest first; not those of other people's own sessions.

        As of `now`: later ones and those that were over by then are left out. Default: now.
        """
        now = now or datetime.now(UTC)
        of_others = exists().where(sessions.c.id == table.c.session_id, sessions.c.owner.not_in(("", owner)))
        query = (
            select(table)
            .where(
                table.c.scope == scope,
                table.c.timestamp <= now,
                or_(table.c.expires_at.is_(None), table.c.expires_at > now),
                ~of_others,
            )
            .order_by(table.c.timestamp.desc(), table.c.created_at.desc())
            .limit(limit)
        )
        if session_id is not None:
            query = query.where(table.c.session_id == session_id)
        return [Snapshot.model_validate({**row}) for row in await self._database.read(query)]
