"""Working memory: values that an agent keeps for some hours."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, text

from brainops.contracts.memory import DeleteWorking, GetWorking, SetWorking, WorkingValue, WorkingValues
from brainops.database.engine import Database
from brainops.database.values import to_json
from brainops.errors import BadInputError
from brainops.memory.intake import value_without_secrets
from brainops.memory.validation import MAX_NAME_LENGTH, checked_text, checked_value

MOST_BYTES = 1_048_576
"""Of all values of an agent, over its sessions, as JSON: 1 MB."""

MOST_KEYS = 10_000
"""Of an agent."""

_LOCK = text("""
    SELECT pg_advisory_xact_lock(
        hashtext('brainops working memory'), hashtext(current_setting('brainops.tenant_id') || ' ' || :agent)
    )
""")

# What is over its time makes room. The value itself is measured, not what it takes the place of.
_SET = text("""
    WITH expired AS (
        DELETE FROM brainops.working_memory
        WHERE agent = :agent AND expires_at <= clock_timestamp() AND NOT (session_id = :session_id AND key = :key)
    ), others AS MATERIALIZED (
        SELECT coalesce(sum(bytes), 0)::int AS bytes, count(*)::int AS keys FROM brainops.working_memory
        WHERE agent = :agent AND expires_at > clock_timestamp() AND NOT (session_id = :session_id AND key = :key)
    ), kept AS (
        INSERT INTO brainops.working_memory (agent, session_id, key, value, bytes, expires_at)
        SELECT :agent, :session_id, :key, CAST(:value AS jsonb), :bytes, :expires_at FROM others
        WHERE others.bytes + :bytes <= :most_bytes AND others.keys < :most_keys
        ON CONFLICT (tenant_id, agent, session_id, key) DO UPDATE SET
            value = excluded.value, bytes = excluded.bytes, expires_at = excluded.expires_at,
            updated_at = clock_timestamp()
        RETURNING key
    )
    SELECT others.bytes, others.keys, EXISTS (SELECT FROM kept) FROM others
""")

_GET = text("""
    SELECT key, value, bytes, expires_at FROM brainops.working_memory
    WHERE agent = :agent AND session_id = :session_id AND expires_at > clock_timestamp()
        AND (CAST(:key AS text) IS NULL OR key = :key)
    ORDER BY key
""")

_BYTES = text("""
    SELECT coalesce(sum(bytes), 0)::int AS bytes FROM brainops.working_memory
    WHERE agent = :agent AND expires_at > clock_timestamp()
""")

_DELETE = text("""
    DELETE FROM brainops.working_memory WHERE agent = :agent AND session_id = :session_id AND key = :key
""")

_SWEEP = text("""
    WITH expired AS (
        SELECT agent, session_id, key FROM brainops.working_memory
        WHERE expires_at <= clock_timestamp() ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM brainops.working_memory USING expired
        WHERE working_memory.agent = expired.agent AND working_memory.session_id = expired.session_id
            AND working_memory.key = expired.key
        RETURNING 1
    )
    SELECT count(*)::int FROM gone
""")


class WorkingStore:
    """Reads and writes `working_memory`. What is over its time is gone at once, also before it is swept away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def set(self, request: SetWorking) -> WorkingValue:
        """Keep a value, in place of what its key had. Secrets are taken out.

        Raises BadInputError for a value that cannot be kept, and when all values of the agent, over its sessions,
        would be more than 1 MB: then what was there stays.
        """
        value = await value_without_secrets(request.value, len(checked_value(request.value)))
        size = len(checked_value(value).encode())
        expires_at = datetime.now(UTC) + timedelta(seconds=request.ttl_seconds)
        values: dict[str, Any] = _place(request.agent, request.session_id) | {
            "key": _key(request.key),
            "value": to_json(value),
            "bytes": size,
            "expires_at": expires_at,
            "most_bytes": MOST_BYTES,
            "most_keys": MOST_KEYS,
        }
        ((others, keys, kept),) = await self._database.write_rows((_LOCK, _SET), values)
        if not kept:
            raise _too_much(request, size, others, keys)
        return WorkingValue(key=request.key, value=value, bytes=size, expires_at=expires_at)

    async def get(self, request: GetWorking) -> WorkingValues:
        """What an agent keeps in a session, or outside of one; `bytes` counts all its sessions."""
        values = _place(request.agent, request.session_id) | {"key": request.key}
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_GET, values)).mappings().all()
            total = (await connection.execute(_BYTES, values)).scalar_one()
        return WorkingValues(values=tuple(_value(row) for row in rows), bytes=total)

    async def delete(self, request: DeleteWorking) -> WorkingValues:
        """Give a value up, and say what is left in the session; one that is not there is no mistake."""
        values = _place(request.agent, request.session_id) | {"key": _key(request.key)}
        await self._database.write(_DELETE, values)
        return await self.get(GetWorking(agent=request.agent, session_id=request.session_id))

    async def sweep(self, limit: int = 1_000) -> int:
        """Remove values that are over their time, the oldest first; says how many."""
        return (await self._database.write_rows((_SWEEP,), {"limit": limit}))[0][0]


def _place(agent: str, session_id: str) -> dict[str, str | None]:
    return {
        "agent": checked_text(agent, "agent", 4 * MAX_NAME_LENGTH),
        "session_id": checked_text(session_id, "session_id", 4 * MAX_NAME_LENGTH, may_be_blank=True),
    }


def _key(key: str) -> str:
    return checked_text(key, "key", 4 * MAX_NAME_LENGTH)


def _value(row: RowMapping) -> WorkingValue:
    return WorkingValue.model_validate({**row})


def _too_much(request: SetWorking, size: int, others: int, keys: int) -> BadInputError:
    if keys >= MOST_KEYS:
        return BadInputError(f"key: agent {request.agent!r} keeps {keys:,} keys; at most {MOST_KEYS:,}; delete some")
    return BadInputError(
        f"value: {size:,} bytes beside the {others:,} that agent {request.agent!r} keeps already; at most"
        f" {MOST_BYTES:,} together; delete some with working_delete, or wait until they expire"
    )
