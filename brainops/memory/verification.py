"""Is everything there that belongs together? Rows and passages, vectors and rows, references and objects."""

from collections.abc import Iterable
from typing import Literal

from sqlalchemy import TextClause, text

from brainops.contracts.memory import Problem, Verified
from brainops.database.engine import Database
from brainops.memory.memory_rows import hash_of_row
from brainops.storage.objects import ObjectStore

MOST_PROBLEMS = 1_000

_PAGE = 2_000

Kind = Literal[
    "row_without_postings", "row_without_vector", "vector_without_row", "gap_in_session", "stale_model"
]  # fmt: skip

# Each: how many there are, and the first of them by name. What waits in the outbox is not missing, it is late.
_QUERIES: tuple[tuple[Kind, str, str], ...] = (
    (
        "row_without_postings",
        "brainops memory import of an export, or telling it again, writes its passages; look at the outbox's problem",
        """
        SELECT 'message ' || id AS what FROM brainops.messages AS message
        WHERE NOT from_memory AND status <> 'streaming' AND role <> 'system'
            AND jsonb_path_exists(parts, '$[*] ? (@.type == "text" || @.type == "tool_result").text ? (@ like_regex "\\\\S")')
            AND NOT EXISTS (SELECT FROM brainops.memory_chunks WHERE source_id = message.id)
            AND NOT EXISTS (
                SELECT FROM brainops.memory_outbox WHERE source_id = message.id AND attempts = 0
            )
        UNION ALL
        SELECT 'memory ' || id FROM brainops.persistent_memory AS memory
        WHERE NOT EXISTS (SELECT FROM brainops.memory_chunks WHERE source_id = memory.id AND NOT removed)
            AND NOT EXISTS (SELECT FROM brainops.memory_outbox WHERE source_id = memory.id AND attempts = 0)
        """,
    ),
    (
        "row_without_vector",
        "the embedder refused this text; it is found by its words. Another model tries it again",
        """
        SELECT source || ' ' || source_id || ', passage ' || position AS what FROM brainops.memory_chunks
        WHERE embedding IS NULL AND embedding_model <> '' AND NOT removed
        """,
    ),
    (
        "vector_without_row",
        "remove it: brainops memory forget, or restore the row from a backup",
        """
        SELECT DISTINCT source || ' ' || source_id AS what FROM brainops.memory_chunks AS chunk
        WHERE NOT removed AND CASE source
            WHEN 'memory' THEN NOT EXISTS (SELECT FROM brainops.persistent_memory WHERE id = chunk.source_id)
            ELSE NOT EXISTS (SELECT FROM brainops.messages WHERE id = chunk.source_id) AND NOT EXISTS (
                SELECT FROM brainops.episodes WHERE episodes.session_id = chunk.session_id
                    AND chunk.seq >= first_seq AND chunk.seq < first_seq + episodes.messages
            )
        END
        """,
    ),
    (
        "gap_in_session",
        "restore the session's messages from a backup",
        """
        SELECT 'session ' || id || ': ' || coalesce(rows.count, 0) + coalesce(archived.count, 0)
            || ' messages where it counts ' || last_seq AS what
        FROM brainops.sessions
        LEFT JOIN (SELECT session_id, count(*) AS count FROM brainops.messages GROUP BY 1) AS rows ON rows.session_id = id
        LEFT JOIN (SELECT session_id, sum(messages) AS count FROM brainops.episodes GROUP BY 1) AS archived
            ON archived.session_id = id
        WHERE coalesce(rows.count, 0) + coalesce(archived.count, 0) <> last_seq
        """,
    ),
    (
        "stale_model",
        "the indexer embeds them anew while it runs with the present model",
        """
        SELECT count(*) || ' passages are embedded by ' || embedding_model || ', the last ones by ' || last.model AS what
        FROM brainops.memory_chunks, (
            SELECT embedding_model AS model FROM brainops.memory_chunks WHERE embedding IS NOT NULL AND NOT removed
            ORDER BY changed DESC LIMIT 1
        ) AS last
        WHERE embedding IS NOT NULL AND NOT removed AND embedding_model <> last.model GROUP BY embedding_model, last.model
        """,
    ),
)

_LOOKED_AT = text("""
    SELECT (SELECT count(*) FROM brainops.messages) + (SELECT count(*) FROM brainops.persistent_memory)
        + (SELECT count(*) FROM brainops.memory_chunks) + (SELECT count(*) FROM brainops.sessions) AS rows
""")

_ARTIFACTS = text("SELECT key FROM brainops.artifacts WHERE key > :after ORDER BY key LIMIT :limit")
_EPISODES = text("SELECT key FROM brainops.episodes WHERE key > :after ORDER BY key LIMIT :limit")

_MEMORIES = text("""
    SELECT id, type, name, content, encode(content_hash, 'hex') AS content_hash FROM brainops.persistent_memory
    WHERE id > :after ORDER BY id LIMIT :limit
""")


class _Report:
    """Counts everything, and keeps the first problems."""

    def __init__(self) -> None:
        self.looked_at = 0
        self.count = 0
        self.problems: list[Problem] = []

    def note(self, problems: Iterable[Problem], count: int) -> None:
        self.count += count
        self.problems += list(problems)[: max(0, MOST_PROBLEMS - len(self.problems))]


async def verify(database: Database, objects: ObjectStore) -> Verified:
    """Look at everything of the tenant, a page or a statement at a time; nothing is changed.

    Of objects it is looked whether they are there, not read. Raises UnavailableError.
    """
    report = _Report()
    (rows,) = await database.read(_LOOKED_AT)
    report.looked_at = rows["rows"]
    for kind, remedy, query in _QUERIES:
        counted = text(
            f"SELECT what, count(*) OVER () AS count FROM ({query}) AS found ORDER BY what LIMIT {MOST_PROBLEMS}"  # noqa: S608
        )
        found = await database.read(counted)
        problems = (Problem(kind=kind, what=row["what"], remedy=remedy) for row in found)
        report.note(problems, found[0]["count"] if found else 0)
    await _verify_hashes(database, report)
    await _verify_objects(database, objects, report)
    return Verified(looked_at=report.looked_at, problems=tuple(report.problems), count=report.count)


async def _verify_hashes(database: Database, report: _Report) -> None:
    after = "00000000-0000-0000-0000-000000000000"
    while rows := await database.read(_MEMORIES, {"after": after, "limit": _PAGE}):
        wrong = [row for row in rows if hash_of_row(dict(row)).hex() != row["content_hash"]]
        remedy = "it was changed by other hands: tell it again, and forget this one"
        report.note(
            (Problem(kind="wrong_hash", what=f"memory {row['id']}", remedy=remedy) for row in wrong), len(wrong)
        )
        after = str(rows[-1]["id"])


async def _verify_objects(database: Database, objects: ObjectStore, report: _Report) -> None:
    queries: tuple[tuple[Literal["artifact_without_object", "episode_without_object"], TextClause], ...] = (
        ("artifact_without_object", _ARTIFACTS),
        ("episode_without_object", _EPISODES),
    )
    for kind, query in queries:
        present: dict[str, set[str]] = {}
        after = ""
        while rows := await database.read(query, {"after": after, "limit": _PAGE}):
            report.looked_at += len(rows)
            lost = [row["key"] for row in rows if row["key"] not in await _present(objects, row["key"], present)]
            report.note((_lost(kind, key) for key in lost), len(lost))
            after = rows[-1]["key"]


def _lost(kind: Literal["artifact_without_object", "episode_without_object"], key: str) -> Problem:
    return Problem(kind=kind, what=key, remedy="restore the object from a backup, or forget its session")


async def _present(objects: ObjectStore, key: str, listed: dict[str, set[str]]) -> set[str]:
    """The keys of the folder in which `key` stands; each folder is listed once."""
    folder = key.rpartition("/")[0]
    if folder not in listed:
        # Keys come sorted, so a folder that was left is not come back to.
        listed.clear()
        listed[folder] = set(await objects.list(folder))
    return listed[folder]
