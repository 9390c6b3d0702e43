"""How much is kept, and how far behind the index is."""

from sqlalchemy import text

from brainops.contracts.memory import Stats
from brainops.database.engine import Database

# Messages are counted by their sessions, so that archived ones count and no row of them is read.
_STATS = text("""
    SELECT said.*, kept.*, found.chunks, found.embedded, coalesce(found.model, '') AS embedding_model,
        waiting.rows + CASE WHEN found.embedded > 0 OR waiting.embedder_failed THEN found.bare ELSE 0 END AS outbox,
        coalesce(extract(epoch FROM clock_timestamp() - waiting.since), 0)::float8 AS outbox_seconds,
        stored.artifacts, stored.artifact_bytes,
        (SELECT count(*) FROM brainops.episodes) AS episodes,
        (SELECT count(*) FROM brainops.todos WHERE done_at IS NULL) AS todos_open,
        (SELECT count(*) FROM brainops.work_items
            WHERE state = 'claimed' AND NOT told AND (lease_until IS NULL OR lease_until > clock_timestamp())) AS work_claimed,
        (SELECT count(*) FROM brainops.proposals WHERE status = 'open') AS proposals_open
    FROM (
        SELECT count(*) AS sessions, coalesce(sum(last_seq), 0) AS messages, coalesce(sum(redacted), 0) AS redacted,
            coalesce(sum(tokens_before), 0)::bigint AS tokens_before, coalesce(sum(tokens_after), 0)::bigint AS tokens_after
        FROM brainops.sessions
    ) AS said, (
        SELECT count(*) AS memories, count(*) FILTER (
            WHERE (valid_to IS NULL OR valid_to > clock_timestamp()) AND (expires_at IS NULL OR expires_at > clock_timestamp())
        ) AS current FROM brainops.persistent_memory
    ) AS kept, (
        SELECT count(*) AS chunks, count(embedding) AS embedded,
            count(*) FILTER (WHERE embedding IS NULL AND embedding_model = '') AS bare,
            mode() WITHIN GROUP (ORDER BY embedding_model) FILTER (WHERE embedding IS NOT NULL) AS model
        FROM brainops.memory_chunks WHERE NOT removed
    ) AS found, (
        SELECT count(*) FILTER (WHERE source <> 'embedder') AS rows, min(created_at) AS since,
            coalesce(bool_or(source = 'embedder'), false) AS embedder_failed
        FROM brainops.memory_outbox
    ) AS waiting, (
        SELECT count(*) AS artifacts, coalesce(sum(bytes), 0)::bigint AS artifact_bytes FROM brainops.artifacts
    ) AS stored
""")


async def read_stats(database: Database) -> Stats:
    """Counts of one moment, in one query that is linear in the rows of the tenant.

    `outbox` counts what has no words yet and, where meanings are used, what has no vector; while the embedder fails,
    `outbox_seconds` is at least as old as its first failure.
    """
    (row,) = await database.read(_STATS)
    return Stats.model_validate(dict(row))
